"""What people do to servers by hand, beside the passes: each has its fate, and what is not ours is never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ehoslite.clouds.openstack import OpenStack
from ehoslite.model import Server
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack_stand import external_network
from lab.stand import Finished
from tests.openstack.conftest import MakeOpenStack
from tests.openstack.direct import NOTHING, TINY, all_servers, delete_all, look, new_node, of_node, only, open_directly

OPTIONS = {"alpha": {"flavors": [TINY]}}
CALM = {"boot_timeout": 900, "intent_timeout": 1, "nodes_max": 20}


@pytest.fixture
def bare(alpha: OpenStackLab) -> OpenStackLab:
    """Alpha, whose servers never join."""
    alpha.set_knobs(never_join=-1)
    return alpha


class Person:
    """Somebody with the project's own login."""

    def __init__(self, lab: OpenStackLab, entry: str = "") -> None:
        self.lab = lab
        self.calls = open_directly(lab, cloud=entry or lab.name).calls

    def do(self, server: str, action: str, value: Any = None) -> None:
        self.calls.post("compute", f"/servers/{server}/action", {action: value}, "2.90")

    def request(self, method: str, path: str, **body: Any) -> None:
        answer = self.calls.connection().compute.request(path, method, microversion="2.90", **body)
        assert answer.status_code < 300, answer.text

    def reset_to_error(self, server: str) -> None:
        """As the administrator: a user may not."""
        self.lab.call_as_admin("POST", "nova", f"/servers/{server}/action", {"os-resetState": {"state": "error"}})

    def boot(self, name: str, **more: Any) -> str:
        """A server of their own making, at the cloud's leisure."""
        cloud = open_directly(self.lab)
        look(cloud)
        body = {"name": name, "flavorRef": cloud.names.flavors()[TINY]["id"], "imageRef": cloud.names.image()}
        made = self.calls.post("compute", "/servers", {"server": {**body, "networks": "none", **more}}, "2.90")
        return str(made["server"]["id"])


def statuses(lab: OpenStackLab) -> dict[str, str]:
    """Every server there is, by id, past the proxy."""
    return {server["id"]: server["status"] for server in all_servers(lab)}


def fates(done: Finished) -> dict[str, str]:
    """What a pass did to nodes that it knew, by node: the reason codes."""
    return {one["subject"]: one["reason"]["code"] for one in done.data["actions"] if one["verb"] != "create"}


def active(cloud: OpenStack, count: int) -> list[Server]:
    """So many servers, once they are active."""
    wait_until(lambda: [one.status for one in cloud.servers()] == ["ACTIVE"] * count, 90, f"{count} active servers")
    return list(cloud.servers())


def test_each_change_by_hand_has_its_fate(make_openstack: MakeOpenStack, bare: OpenStackLab) -> None:
    person, cloud = Person(bare), open_directly(bare, pool="lab")
    changes: dict[str, tuple[Callable[[str], None], str]] = {
        "stopped": (lambda server: person.do(server, "os-stop"), "SHUTOFF"),
        "suspended": (lambda server: person.do(server, "suspend"), "SUSPENDED"),
        "paused": (lambda server: person.do(server, "pause"), "PAUSED"),
        "shelved": (lambda server: person.do(server, "shelve"), "SHELVED_OFFLOADED"),
        "failed": (person.reset_to_error, "ERROR"),
        "rescued": (lambda server: person.do(server, "rescue", {}), "RESCUE"),
        "renamed": (
            lambda server: person.request("PUT", f"/servers/{server}", json={"server": {"name": "my-pet"}}),
            "ACTIVE",
        ),
        "rebooted": (lambda server: person.do(server, "reboot", {"type": "HARD"}), "ACTIVE"),
    }
    stand = make_openstack(bare, options=OPTIONS, scaling={**CALM, "nodes_min": len(changes)})
    assert stand.reconcile().verbs() == ["create"] * len(changes)
    made = dict(zip(changes, active(cloud, len(changes)), strict=True))
    for name, (change, _) in changes.items():
        change(made[name].id)
    expected = {made[name].id: status for name, (_, status) in changes.items()}
    wait_until(lambda: expected.items() <= statuses(bare).items(), 60, "the changes to be done")
    done = stand.reconcile()
    deleted = {made[name].node: "stopped" for name in ("stopped", "shelved")}
    assert fates(done) == {**deleted, made["failed"].node: "build-failed"}
    held = {one["subject"]: one["reason"] for one in done.data["held"]}
    frozen = {made[name].node: "stopped" for name in ("suspended", "paused")}
    assert {node for node, reason in held.items() if reason["code"] == "claimed"} == set(frozen), (
        "a job may sleep there"
    )
    assert held[made["rescued"].node]["code"] == "vm-unknown"
    assert "RESCUE" in held[made["rescued"].node]["text"]
    stand.configure(lost_timeout=1)
    assert fates(stand.reconcile_until("delete", 60)) == frozen
    deleted |= frozen

    def settled() -> bool:
        return stand.reconcile().verbs() == [] and not any(of_node(cloud, node) for node in deleted)

    wait_until(settled, 60, "the deleted ones to be gone and replaced")
    kept = {made[name].node for name in ("renamed", "rebooted", "rescued")}
    assert kept < set(stand.nodes())
    assert len(stand.nodes()) in {len(changes), len(changes) + 1}, "the rescued one may not count as alive"
    assert only(cloud, made["renamed"].node).id == made["renamed"].id


@pytest.mark.parametrize("later", ["2.51", "2.96"], ids=["metadata", "tags since then"])
def test_without_tags_a_renamed_server_stays_a_node(
    make_openstack: MakeOpenStack, bare: OpenStackLab, later: str
) -> None:
    """It is known by its metadata, also when tags come; else every pass would find the listing not whole."""
    person = Person(bare)
    options = {"alpha": {"flavors": [TINY], "max_microversion": "2.51"}}
    stand = make_openstack(bare, options=options, scaling={**CALM, "nodes_min": 1})
    assert stand.reconcile().verbs() == ["create"]
    (server,) = active(open_directly(bare, pool="lab", max_microversion="2.51"), 1)
    person.request("PUT", f"/servers/{server.id}", json={"server": {"name": "my-pet"}})
    stand.document["clouds"]["alpha"]["max_microversion"] = later
    stand.configure()
    for _ in range(2):
        done = stand.reconcile()
        assert (done.code, done.verbs(), done.data["silent"]) == (0, [], {})
        assert set(stand.nodes()) == {server.node}
    person.reset_to_error(server.id)
    assert fates(stand.reconcile()) == {server.node: "build-failed"}


def test_deleted_and_untagged_servers_are_forgotten_and_replaced(
    make_openstack: MakeOpenStack, bare: OpenStackLab
) -> None:
    """One whose tags are gone is nobody's we know: replaced, and left where it is."""
    person, cloud = Person(bare), open_directly(bare, pool="lab")
    stand = make_openstack(bare, options=OPTIONS, scaling={**CALM, "nodes_min": 3})
    stand.reconcile()
    deleted, untagged, kept = active(cloud, 3)
    person.request("DELETE", f"/servers/{deleted.id}")
    person.request("DELETE", f"/servers/{untagged.id}/tags")
    wait_until(lambda: deleted.id not in statuses(bare), 60, "the server to be gone")
    try:
        done = stand.reconcile()
        assert done.verbs() == ["create", "create"]
        assert deleted.node not in {node["node"] for node in done.data["nodes"]}
        wait_until(lambda: stand.reconcile().verbs() == [], 30, "peace")
        assert kept.node in stand.nodes()
        assert len(stand.nodes()) == 3
        assert statuses(bare)[untagged.id] == "ACTIVE"
    finally:
        person.request("DELETE", f"/servers/{untagged.id}")


@pytest.fixture
def strangers(bare: OpenStackLab) -> Iterator[set[str]]:
    """Servers that are not ours, though they look so: by name, by half of the tags, by another pool's."""
    person, neighbour = Person(bare), Person(bare, f"{bare.name}-neighbour")
    other = open_directly(bare, pool="lab-2")
    made = [
        (person, person.boot(new_node("lab"))),
        (person, person.boot(new_node("lab"), tags=["ehoslite-pool=lab"])),
        (person, person.boot(new_node("lab"), tags=["ehoslite-pool=lab-2", f"ehoslite-node={new_node('lab')}"])),
        (person, person.boot("precious", metadata={"ehoslite-pool": "lab"})),
        (neighbour, neighbour.boot(new_node("lab"), tags=["ehoslite-pool=lab", "ehoslite-node=ehos-lab-00000000"])),
    ]
    other.create(new_node("lab-2"), TINY, NOTHING)
    found = {server for _, server in made} | {server.id for server in other.servers()}
    wait_until(lambda: {statuses(bare)[server] for server in found} == {"ACTIVE"}, 90, "the strangers to be active")
    yield found
    for who, server in made:
        who.request("DELETE", f"/servers/{server}")
    delete_all(other, wait=False)


@pytest.mark.parametrize("microversion", ["2.96", "2.51"], ids=["tags", "metadata"])
def test_strangers_are_never_touched(
    make_openstack: MakeOpenStack, bare: OpenStackLab, strangers: set[str], microversion: str
) -> None:
    """While nodes come, break and go beside them; half of the strangers are broken, too."""
    person = Person(bare)
    own = [server["id"] for server in all_servers(bare) if server["id"] in strangers and server["name"] == "precious"]
    person.reset_to_error(own[0])
    options = {"alpha": {"flavors": [TINY], "max_microversion": microversion}}
    stand = make_openstack(bare, options=options, scaling={**CALM, "nodes_min": 2})
    before = {server: statuses(bare)[server] for server in strangers}
    assert stand.reconcile().verbs() == ["create", "create"]
    first, second = active(open_directly(bare, pool="lab", max_microversion=microversion), 2)
    person.do(first.id, "os-stop")
    wait_until(lambda: statuses(bare)[first.id] == "SHUTOFF", 30, "it to be stopped")
    assert fates(stand.reconcile()) == {first.node: "stopped"}
    stand.configure(nodes_min=0, nodes_max=0)
    person.reset_to_error(second.id)
    wait_until(lambda: stand.reconcile().code == 0 and second.node not in stand.nodes(), 60, "the second to go")
    assert {server: statuses(bare)[server] for server in strangers} == before


# --- ports and addresses


@pytest.fixture
def external(bare: OpenStackLab) -> Iterator[str]:
    """An external network, to which the project's own one is routed; everything is taken down at the end."""
    with external_network(bare) as network:
        yield network
        delete_all(open_directly(bare, pool="lab"))


def named(cloud: OpenStack) -> list[tuple[str, str]]:
    """Ports and addresses with a node's name, in order."""
    return sorted((leftover.kind, leftover.node) for leftover in cloud.leftovers())


def test_ports_and_addresses_come_and_go_with_their_nodes(
    make_openstack: MakeOpenStack, bare: OpenStackLab, external: str
) -> None:
    options = {"alpha": {"flavors": [TINY], "floating_ip": external, "security_groups": ["condor"]}}
    stand = make_openstack(bare, options=options, scaling={**CALM, "nodes_min": 1})
    cloud = open_directly(bare, pool="lab", floating_ip=external)
    network = cloud.names.network("internal")
    kept = cloud.calls.post("network", "/ports", {"port": {"network_id": network, "name": "ehos-lab-mine"}})["port"]
    gone = cloud.calls.post("network", "/ports", {"port": {"network_id": network, "name": "ehos-lab-0000dead"}})
    done = stand.reconcile()
    assert (done.code, sorted(done.verbs())) == (0, ["create", "sweep"]), done.err
    (server,) = active(cloud, 1)
    assert named(cloud) == [("floating IP", server.node), ("port", server.node)]
    assert stand.reconcile().verbs() == []
    bare.call_as_admin("POST", "nova", f"/servers/{server.id}/action", {"os-resetState": {"state": "error"}})
    stand.configure(nodes_min=0)
    wait_until(lambda: stand.reconcile().code == 0 and not named(cloud), 60, "the address and the port to be gone")
    ports = {port["id"] for port in cloud.calls.get("network", "/ports?fields=id")["ports"]}
    assert kept["id"] in ports
    assert gone["port"]["id"] not in ports
    cloud.calls.delete("network", f"/ports/{kept['id']}")
