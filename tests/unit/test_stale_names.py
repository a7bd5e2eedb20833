"""Ids behind names that the cloud knows no more are asked for anew, whichever call of a creation is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ehoslite.clouds.openstack import OpenStack
from ehoslite.errors import BadRequest, CloudFault, Gone
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings


@pytest.mark.parametrize("fault", [Gone, BadRequest])
def test_a_refused_port_or_address_resolves_the_names_anew(
    monkeypatch: pytest.MonkeyPatch, fault: type[CloudFault]
) -> None:
    known = {"network external": "an id of yesterday"}
    cloud = OpenStack("alpha", OpenStackCloudSettings("image", (FlavorChoice("small"),)), "lab", lambda: 60.0, known)

    def refuse(*_arguments: Any) -> Any:
        raise fault("External network could not be found")

    monkeypatch.setattr(OpenStack, "request", refuse)
    with pytest.raises(fault):
        cloud.create("ehos-lab-1", "small", "#cloud-config\n")
    assert known == {}
