"""Which of a cloud's quotas and of our own limits binds, and how many servers it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from ehoslite.clouds.quotas import room_of
from ehoslite.model import Room
from ehoslite.settings import OpenStackLimits
from tests.unit.answering import PROJECT, Answering, openstack_settings
from tests.unit.worlds import SMALL

NOVA = {
    "maxTotalInstances": 50, "totalInstancesUsed": 10, "maxTotalCores": 100, "totalCoresUsed": 20,
    "maxTotalRAMSize": 10_000, "totalRAMUsed": 1_000,
}  # fmt: skip
WIDE = {"limit": 500, "used": 0, "reserved": 0}
LISTED = [("small", {"status": status}) for status in ("BUILD", "ACTIVE", "ERROR", "BUILD", "SHUTOFF")]


def room(quotas: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, **options: Any) -> Room:
    """What is left beside five servers, of which two build, with these quotas of Neutron."""
    quota = {"port": WIDE, "floatingip": WIDE, **(quotas or {})}
    answering = Answering(limits=lambda _: {"limits": {"absolute": NOVA}})
    answering.replies[f"/quotas/{PROJECT}/details.json"] = lambda _: {"quota": quota}
    settings = openstack_settings(limits=OpenStackLimits(**(limits or {})), **options)
    return room_of(settings, answering.calls(settings), LISTED, (), "2.96")


def test_novas_own_quota_binds_without_a_name() -> None:
    assert (room().instances, room().bound) == (28, "limits.building")
    assert (room(limits={"building": 1000}).instances, room(limits={"building": 1000}).bound) == (40, "")


@pytest.mark.parametrize(
    ("limits", "instances", "bound"),
    [
        ({"nodes": 12}, 7, "limits.nodes"),
        ({"nodes": 5}, 0, "limits.nodes"),
        ({"nodes": 3}, -2, "limits.nodes"),
        ({"building": 9}, 7, "limits.building"),
        ({"building": 2}, 0, "limits.building"),
        ({"nodes": 12, "building": 8}, 6, "limits.building"),
    ],
)
def test_our_own_limits_count_all_servers_of_ours_and_those_that_build(
    limits: dict[str, int], instances: int, bound: str
) -> None:
    assert (room(limits=limits).instances, room(limits=limits).bound) == (instances, bound)


@pytest.mark.parametrize(
    ("limits", "cores", "memory"),
    [
        ({}, (80, ""), (9_000, "")),
        ({"cores": 30}, (30, "limits.cores"), (9_000, "")),
        ({"cores": 80, "memory": 5_000}, (80, ""), (5_000, "limits.memory")),
    ],
)
def test_the_tighter_of_the_quota_and_our_own_limit_on_cores_and_memory_is_named(
    limits: dict[str, int], cores: tuple[float, str], memory: tuple[float, str]
) -> None:
    seen = room(limits=limits)
    assert (seen.cores, seen.cores_bound) == cores
    assert (seen.memory, seen.memory_bound) == memory
    less = seen.less(SMALL)
    assert (less.cores_bound, less.memory_bound) == (cores[1], memory[1])


def test_what_the_other_limits_leave_beside_the_cap_on_servers_that_build() -> None:
    assert (room().lasting, room().in_time.instances) == (40, 40)
    assert room(limits={"nodes": 12, "building": 8}).in_time.instances == 7
    assert room(limits={"nodes": 12}).in_time.instances == 7


@pytest.mark.parametrize(
    ("quotas", "instances", "bound"),
    [
        ({"floatingip": {"limit": 9, "used": 3, "reserved": 1}}, 5, "the quota of floating IPs"),
        ({"floatingip": {"limit": 2, "used": 3, "reserved": 0}}, -1, "the quota of floating IPs"),
        ({"floatingip": {"limit": -1, "used": 3, "reserved": 0}}, 28, "limits.building"),
        ({"port": {"limit": 20, "used": 4, "reserved": 1}}, 7, "the quota of ports"),  # a node has two
        ({"port": {"limit": 20, "used": 4}, "floatingip": {"limit": 9, "used": 3}}, 6, "the quota of floating IPs"),
    ],
)
def test_neutrons_quotas_bind_where_a_node_uses_them(quotas: dict[str, Any], instances: int, bound: str) -> None:
    two: dict[str, Any] = {"networks": ("one", "two")}
    seen = room(quotas, **two, floating_ip="public")
    assert (seen.instances, seen.bound) == (instances, bound)
    assert room(quotas, **two).bound == "limits.building", "Nova's ports are no matter of ours"
    if "port" not in quotas:
        assert room(quotas, **two, ports=True).bound == "limits.building", "a node has no floating IP"
