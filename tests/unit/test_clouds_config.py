"""Configurations of clouds that cannot work are refused at the door."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehoslite.config import load
from ehoslite.errors import FixConfiguration
from ehoslite.settings import OpenStackCloudSettings

GOOD = "pool: p\nclouds:\n  c:\n    type: openstack\n    image: i\n    flavors: [m1.small, {name: m1.big, price: 2}]\n"


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("    floating_ip: public\n", "clouds.c.floating_ip: needs networks"),
        ("    flavors: []\n", "clouds.c.flavors: at least one flavor is needed"),
        ("    max_microversion: latest\n", "clouds.c.max_microversion"),
        ("    password: 5ecret\n", "chmod"),
    ],
)
def test_faults(tmp_path: Path, more: str, fault: str) -> None:
    path = tmp_path / "ehos.yaml"
    path.write_text(GOOD.replace("    flavors: [m1.small, {name: m1.big, price: 2}]\n", "") + more
                    if "flavors" in more else GOOD + more)  # fmt: skip
    path.chmod(0o644)
    with pytest.raises(FixConfiguration, match=fault):
        load(path)


def test_a_flavor_may_be_a_bare_name(tmp_path: Path) -> None:
    path = tmp_path / "ehos.yaml"
    path.write_text(GOOD)
    cloud = load(path).clouds["c"]
    assert isinstance(cloud, OpenStackCloudSettings)
    assert [(flavor.name, flavor.price) for flavor in cloud.flavors] == [("m1.small", 0), ("m1.big", 2)]
