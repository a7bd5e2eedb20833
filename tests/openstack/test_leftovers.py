"""Ports and floating IPs of nodes that are no more: when what made them is switched off, and beside other projects'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack_stand import external_network
from tests.openstack.conftest import MakeOpenStack
from tests.openstack.direct import TINY, delete_all, new_node, only, open_directly


@pytest.fixture
def external(bare: OpenStackLab) -> Iterator[str]:
    """An external network, to which the project's own one is routed."""
    with external_network(bare) as network:
        yield network
        delete_all(open_directly(bare, pool="lab"))


def named(lab: OpenStackLab, node: str) -> list[str]:
    """What there is with this name, past the proxy."""
    ports = lab.call_as_admin("GET", "neutron", f"/v2.0/ports?name={node}")["ports"]
    addresses = lab.call_as_admin("GET", "neutron", f"/v2.0/floatingips?description={node}")["floatingips"]
    return ["port"] * len(ports) + ["floating IP"] * len(addresses)


def test_both_go_with_their_node_after_they_are_switched_off(
    make_openstack: MakeOpenStack, bare: OpenStackLab, external: str
) -> None:
    """And then no pass asks for them any more."""
    scaling = {"boot_timeout": 900, "intent_timeout": 1, "nodes_min": 1}
    stand = make_openstack(bare, options={"alpha": {"flavors": [TINY], "floating_ip": external}}, scaling=scaling)
    assert stand.reconcile().verbs() == ["create"]
    (node,) = stand.nodes()
    assert named(bare, node) == ["port", "floating IP"]
    del stand.document["clouds"]["alpha"]["floating_ip"]
    stand.configure()
    cloud = open_directly(bare, pool="lab")
    wait_until(lambda: only(cloud, node).status == "ACTIVE", 60, "the server to be active")
    assert stand.reconcile().verbs() == [], "the server has them"
    cloud.delete(only(cloud, node))
    stand.configure(nodes_min=0)
    wait_until(lambda: stand.reconcile().code == 0 and named(bare, node) == [], 60, "the port and the address to go")
    stand.reconcile()
    bare.forget_calls()
    assert stand.reconcile().code == 0
    assert not bare.calls("neutron", "GET")


@pytest.fixture
def administrator(alpha: OpenStackLab) -> Iterator[dict[str, Any]]:
    """A login of alpha's administrator to the pool's own project."""

    def admin(method: str, what: str) -> Any:
        return alpha.call_as_admin(method, "keystone", what)

    (project,) = admin("GET", f"/projects?name={alpha.project_name}")["projects"]
    (user,) = admin("GET", "/users?name=admin")["users"]
    (role,) = admin("GET", "/roles?name=admin")["roles"]
    grant = f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    admin("PUT", grant)
    login = {"username": "admin", "password": alpha.layout.secrets.admin, "project_name": alpha.project_name}
    yield {"clouds_yaml": None, "cloud": "", "auth_url": alpha.auth_url, **login}
    admin("DELETE", grant)


def test_an_administrators_login_touches_no_other_project(alpha: OpenStackLab, administrator: dict[str, Any]) -> None:
    """Neutron lists everybody's for it, and another project may have a pool of this name and groups of these names."""
    own, neighbour = open_directly(alpha), open_directly(alpha, cloud=f"{alpha.name}-neighbour")
    made = {}
    for cloud in (own, neighbour):
        port = {"network_id": cloud.names.network("internal"), "name": new_node()}
        made[cloud] = cloud.calls.post("network", "/ports", {"port": port})["port"]
    try:
        admin = open_directly(alpha, **administrator, ports=True)
        seen = {port["id"] for port in admin.calls.get("network", "/ports?fields=id")["ports"]}
        assert {port["id"] for port in made.values()} <= seen, "it would see both"
        assert [one.node for one in admin.leftovers()] == [made[own]["name"]]
        assert admin.names.security_group("condor") == own.names.security_group("condor")
        assert admin.names.security_group("condor") != neighbour.names.security_group("condor")
    finally:
        for cloud, port in made.items():
            cloud.calls.delete("network", f"/ports/{port['id']}")


def test_neutrons_pages_are_followed(alpha: OpenStackLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at a time as it gives: here as few as are asked for."""
    cloud = open_directly(alpha, ports=True)
    get, network, asked = cloud.calls.get, cloud.names.network("internal"), list[str]()

    def get_few(service: str, path: str, microversion: str | None = None) -> dict[str, Any]:
        asked.append(path)
        return get(service, path if "limit=" in path or service != "network" else f"{path}&limit=2", microversion)

    bodies = [{"port": {"network_id": network, "name": new_node()}} for _ in range(5)]
    made = [cloud.calls.post("network", "/ports", body)["port"] for body in bodies]
    try:
        monkeypatch.setattr(cloud.calls, "get", get_few)
        assert {one.id for one in cloud.leftovers()} >= {port["id"] for port in made}
        assert len(asked) > 3
        assert all("fields=name" in path and "project_id=" in path for path in asked if path.startswith("/ports"))
    finally:
        for port in made:
            cloud.calls.delete("network", f"/ports/{port['id']}")
