"""What a server may be given: volumes, zones, groups, keypairs, ports, metadata; and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from ehoslite.clouds.openstack import OpenStack
from ehoslite.errors import NoCapacity
from ehoslite.memory import Memory, Remembered
from ehoslite.model import Room
from ehoslite.observe import look_at_clouds
from ehoslite.options import Megabytes
from ehoslite.settings import FlavorChoice, OpenStackLimits
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.faults import Fault
from tests.openstack.direct import (
    NOTHING,
    TINY,
    delete_all,
    new_node,
    of_node,
    only,
    open_directly,
)


def test_a_scratch_volume_comes_and_goes_with_its_server(bare: OpenStackLab, node: str) -> None:
    cloud = open_directly(bare, scratch_size=1)
    cloud.create(node, TINY, NOTHING)
    wait_until(lambda: only(cloud, node).status == "ACTIVE", 60, "the server to be active")

    def volumes() -> list[int]:
        return [volume["size"] for volume in cloud.calls.get("block_storage", "/volumes/detail")["volumes"]]

    assert volumes() == [1]
    cloud.delete(only(cloud, node))
    wait_until(lambda: volumes() == [], 60, "the volume to be gone")


@pytest.mark.parametrize(("quota", "bound"), [("volumes", "volumes"), ("gigabytes", "gigabytes")])
def test_the_quota_of_volumes_counts(bare: OpenStackLab, quota: str, bound: str) -> None:
    cloud = open_directly(bare, scratch_size=5)
    before = bare.call_as_admin("GET", "cinder", f"/os-quota-sets/{project_of(bare)}")["quota_set"][quota]
    set_volume_quota(bare, quota, 13 if quota == "gigabytes" else 2)
    try:
        cloud.servers()
        assert (cloud.room().instances, cloud.room().bound) == (2, f"the quota of {bound}")
    finally:
        set_volume_quota(bare, quota, before)


def project_of(lab: OpenStackLab) -> str:
    return str(lab.call_as_admin("GET", "keystone", f"/projects?name={lab.project_name}")["projects"][0]["id"])


def set_volume_quota(lab: OpenStackLab, quota: str, value: int) -> None:
    lab.call_as_admin("PUT", "cinder", f"/os-quota-sets/{project_of(lab)}", {"quota_set": {quota: value}})


def test_each_option_of_a_server_reaches_nova(bare: OpenStackLab, node: str) -> None:
    """A server group, a zone, a keypair, a config drive, metadata, a boot volume: as the configuration gives them."""
    plain = open_directly(bare)
    body = {"server_group": {"name": "apart", "policy": "soft-anti-affinity"}}
    group = plain.calls.post("compute", "/os-server-groups", body, "2.64")["server_group"]["id"]
    options: dict[str, Any] = {"server_group": group, "availability_zone": "nova", "keypair": "lab"}
    options |= {"config_drive": True, "metadata": {"owner": "physics"}, "boot_volume": 2, "scratch_size": 1}
    cloud = open_directly(bare, security_groups=("condor",), **options)
    cloud.create(node, TINY, NOTHING)
    wait_until(lambda: only(cloud, node).status != "BUILD", 60, "the server to be built")
    assert (only(cloud, node).status, only(cloud, node).fault) == ("ACTIVE", "")
    server = cloud.calls.get("compute", f"/servers/{only(cloud, node).id}", "2.96")["server"]
    assert server["server_groups"] == [group]
    assert (server["OS-EXT-AZ:availability_zone"], server["key_name"], server["config_drive"]) == (
        "nova",
        "lab",
        "True",
    )
    assert server["metadata"]["owner"] == "physics"
    assert server["image"] == ""
    assert [group["name"] for group in server["security_groups"]] == ["condor"]
    volumes = cloud.calls.get("block_storage", "/volumes/detail")["volumes"]
    assert sorted((volume["size"], volume["bootable"]) for volume in volumes) == [(1, "false"), (2, "true")]
    assert all(volume["delete_on_termination"] for volume in server["os-extended-volumes:volumes_attached"])
    cloud.delete(only(cloud, node))
    wait_until(lambda: not cloud.calls.get("block_storage", "/volumes")["volumes"], 60, "the volumes to be gone")
    plain.calls.delete("compute", f"/os-server-groups/{group}")


def test_servers_made_without_tags_are_found_when_tags_come(bare: OpenStackLab, node: str) -> None:
    """max_microversion is raised past 2.51 while nodes are there; one whose tags were taken away stays let go."""
    old, new = open_directly(bare, max_microversion="2.51"), open_directly(bare)
    untagged = new_node()
    new.create(untagged, TINY, NOTHING)
    wait_until(lambda: only(new, untagged).status == "ACTIVE", 60, "it to be active")  # till then its tags are locked
    new.calls.connection().compute.request(f"/servers/{only(new, untagged).id}/tags", "DELETE", microversion="2.96")
    old.create(node, TINY, NOTHING)
    later = open_directly(bare)
    assert [server.node for server in later.servers()] == [node]
    assert [server.node for server in later.servers()] == [node]
    assert later.exists(only(later, node).id)
    later.delete(only(later, node))
    wait_until(lambda: not of_node(later, node), 60, "the server to be gone")
    bare.forget_calls()
    later.servers()
    assert len(bare.calls("nova", "GET", "/servers/detail")) == 1, "none is left: no more is looked for"


@pytest.mark.parametrize("microversion", ["2.96", "2.46"])
def test_our_own_limits_count_our_servers(bare: OpenStackLab, microversion: str) -> None:
    """Below 2.47 Nova does not tell a server's size; and the flavor may not be configured any more."""
    limits = OpenStackLimits(nodes=9, cores=10, memory=Megabytes(9000))
    cloud = open_directly(bare, pool="limits", limits=limits, max_microversion=microversion)
    assert (room_in(cloud).cores, room_in(cloud).memory) == (10, 9000)
    cloud.create(new_node("limits"), TINY, NOTHING)
    flavor = cloud.names.flavors()[TINY]
    assert (room_in(cloud).cores, room_in(cloud).memory) == (10 - flavor["vcpus"], 9000 - flavor["ram"])
    if microversion == "2.96":
        other = open_directly(bare, pool="limits", limits=limits, flavors=(FlavorChoice("m1.small"),))
        assert room_in(other).cores == 10 - flavor["vcpus"]
    delete_all(cloud)


def room_in(cloud: OpenStack) -> Room:
    """As a pass asks for it: after the servers."""
    cloud.servers()
    return cloud.room()


def test_neutrons_quota_is_a_quota(bare: OpenStackLab, node: str) -> None:
    cloud = open_directly(bare, ports=True)
    project = project_of(bare)
    path = f"/v2.0/quotas/{project}"
    mine = f"/v2.0/ports?project_id={project}"  # those of other tests' servers are on their way out
    wait_until(lambda: not bare.call_as_admin("GET", "neutron", mine)["ports"], 60, "a project without ports")
    bare.call_as_admin("PUT", "neutron", path, {"quota": {"port": 0}})
    try:
        with pytest.raises(NoCapacity, match=r"[Qq]uota"):
            cloud.create(node, TINY, NOTHING)
        cloud.servers()
        assert (cloud.room().instances <= 0, cloud.room().bound) == (True, "the quota of ports")
    finally:
        bare.call_as_admin("DELETE", "neutron", path)
    cloud.create(node, TINY, NOTHING)
    assert [leftover.node for leftover in cloud.leftovers()] == [node]
    cloud.delete(only(cloud, node))
    wait_until(lambda: not of_node(cloud, node), 60, "the server to be gone")
    for leftover in cloud.leftovers():
        cloud.remove(leftover)
    assert cloud.leftovers() == ()


def test_a_listing_that_leaves_servers_out_is_no_answer(bare: OpenStackLab, node: str) -> None:
    cloud = open_directly(bare)
    second = new_node()
    for name in (node, second):
        cloud.create(name, TINY, NOTHING)
    seen = {name: only(cloud, name) for name in (node, second)}
    memory = Memory({name: Remembered(name, "alpha", TINY, 0.0, server=one.id) for name, one in seen.items()})
    bare.faults.add(Fault("drop_servers", "nova", "GET", "/servers/detail", drop=node))
    (view,) = look_at_clouds([cloud], memory)
    assert (view.servers, seen[node].id in view.fault) == ((), True)
    bare.faults.clear()
    cloud.delete(seen[node])
    wait_until(lambda: not of_node(cloud, node), 60, "the server to be gone")
    (view,) = look_at_clouds([cloud], memory)
    assert ([server.node for server in view.servers], view.fault) == ([second], "")
