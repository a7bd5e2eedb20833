"""Ports and floating IPs of nodes: found while they are asked for, and when their options are switched off again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ehoslite.clouds.openstack import OpenStack
from ehoslite.errors import CloudFault, CloudUnreachable, Gone
from tests.unit.answering import PROJECT, Answering, in_pages

NODE = "ehos-lab-0123abcd"
PORTS = {"ports": True}
BOTH = {"floating_ip": "public", "networks": ("net",)}


class Neutron:
    """Ports and floating IPs of two projects, and what goes wrong there."""

    def __init__(self) -> None:
        self.ports: list[dict[str, Any]] = []
        self.addresses: list[dict[str, Any]] = []
        self.faults: dict[str, Exception] = {}
        self.answering = Answering(ports=self._list_ports, floatingips=self._list_addresses)
        self.known: dict[str, Any] = {}

    def make(self, node: str = NODE, server: str = "") -> None:
        """What a creation makes before its server."""
        self.ports.append({"id": f"port-{node}", "name": node, "device_id": server})
        self.addresses.append({"id": f"address-{node}", "description": node, "port_id": f"port-{node}"})

    def _list_ports(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        return self._list("ports", self.ports, query)

    def _list_addresses(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        return self._list("floatingips", self.addresses, query)

    def _list(self, kind: str, every: list[dict[str, Any]], query: Mapping[str, list[str]]) -> dict[str, Any]:
        if kind in self.faults:
            raise self.faults[kind]
        wanted = query.get("project_id", [""])[0]
        seen = [one for one in every if not wanted or one.get("project", PROJECT) == wanted]
        return in_pages(kind, "id", seen, 2)(query)

    def found(self, **options: Any) -> list[tuple[str, str, bool]]:
        """What the next pass finds with these options."""
        self.answering.asked.clear()
        cloud: OpenStack = self.answering.cloud(self.known, **options)
        return sorted((one.kind, one.node, one.in_use) for one in cloud.leftovers())

    @property
    def asked(self) -> list[str]:
        return self.answering.asked


FREE = [("floating IP", NODE, False), ("port", NODE, False)]
USED = [("floating IP", NODE, True), ("port", NODE, True)]


@pytest.mark.parametrize("options", [BOTH, PORTS, {}], ids=["both", "ports", "off"])
def test_what_is_left_is_found_whatever_the_options_are_now(options: dict[str, Any]) -> None:
    neutron = Neutron()
    neutron.make(server="its-server")
    for _ in range(3):
        assert neutron.found(**options) == USED
    neutron.ports[0]["device_id"] = ""
    assert neutron.found(**options) == FREE
    neutron.ports.clear()
    assert neutron.found(**options) == FREE[:1], "its port is gone already"


@pytest.mark.parametrize(("options", "always"), [(BOTH, ["/ports", "/floatingips"]), (PORTS, ["/ports"]), ({}, [])])
def test_what_is_not_asked_for_is_looked_for_once(options: dict[str, Any], always: list[str]) -> None:
    """Until the memory of names ends."""
    neutron = Neutron()
    for _ in range(2):
        assert neutron.found(**options) == []
        assert neutron.asked == ["/ports", "/floatingips"]
        for _ in range(2):
            assert neutron.found(**options) == []
            assert neutron.asked == always
        neutron.known.clear()


@pytest.mark.parametrize("before", [BOTH, PORTS], ids=["both", "ports"])
def test_each_switch_begins_the_look_anew(before: dict[str, Any]) -> None:
    neutron = Neutron()
    assert neutron.found() == []
    neutron.found(**before)
    neutron.make()
    assert neutron.found() == FREE


@pytest.mark.parametrize(
    "fault",
    [CloudUnreachable("no Neutron here", "misconfigured"), CloudUnreachable("503", "server-error"), Gone("404"),
     KeyError("ports")],
    ids=["none", "503", "404", "nonsense"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["ports", "floatingips"])
def test_a_fault_at_what_is_not_asked_for_is_none_and_not_repeated(fault: Exception, kind: str) -> None:
    neutron = Neutron()
    neutron.known["flavor small"] = "kept"
    neutron.faults[kind] = fault
    for asked in (["/ports", "/floatingips"][: 1 if kind == "ports" else 2], []):
        assert (neutron.found(), neutron.asked) == ([], asked)
    assert neutron.known["flavor small"] == "kept"


def test_without_floating_ips_ports_are_found_all_the_same() -> None:
    """A Neutron without routers knows no /floatingips."""
    neutron = Neutron()
    neutron.make()
    neutron.faults["floatingips"] = Gone("404")
    assert neutron.found() == neutron.found(**PORTS) == FREE[1:]


@pytest.mark.parametrize(("options", "kind"), [(PORTS, "ports"), (BOTH, "ports"), (BOTH, "floatingips")])
def test_a_fault_at_what_is_asked_for_is_the_clouds(options: dict[str, Any], kind: str) -> None:
    neutron = Neutron()
    neutron.faults[kind] = CloudUnreachable("503", "server-error")
    with pytest.raises(CloudFault):
        neutron.found(**options)


def test_pages_are_followed_and_other_projects_left_alone() -> None:
    """An administrator is shown everybody's, and Neutron cuts its listings at pagination_max_limit."""
    neutron = Neutron()
    nodes = [f"ehos-lab-0000000{number}" for number in range(5)]
    for node in nodes:
        neutron.make(node)
    neutron.ports += [{"id": "theirs", "name": NODE, "device_id": "", "project": "another"}]
    neutron.addresses += [{"id": "theirs", "description": NODE, "port_id": None, "project": "another"}]
    found = neutron.found(**BOTH)
    assert found == [(kind, node, False) for kind in ("floating IP", "port") for node in nodes]
    assert neutron.asked == ["/ports"] * 3 + ["/floatingips"] * 3


@pytest.mark.parametrize(
    "name", ["ehos-lab-2-0123abcd", "ehos-lab-mine", "ehos-lab-0123", "ehos-lab-0123ABCD", "0123abcd", "", None]
)
def test_what_is_not_named_like_a_node_of_this_pool_is_nobodys_we_know(name: str | None) -> None:
    neutron = Neutron()
    neutron.ports.append({"id": "1", "name": name, "device_id": ""})
    neutron.addresses.append({"id": "2", "description": name, "port_id": None})
    assert neutron.found(**BOTH) == []
