"""A real HTCondor pool whose nodes are servers of real OpenStack clouds, each server a real condor_master."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.cloud import RunningCloud
from lab.release import Release
from lab.stand import CHECKOUT, Stand

FLAVORS = ("m1.small", "m1.medium", "c4.large")


def guest_command(release: Release) -> list[str]:
    """What a server runs: the local cloud's guest, which carries out the user data."""
    guest = CHECKOUT / "ehoslite" / "clouds" / "guest.py"
    return [sys.executable, str(guest), "--release", str(release.prefix), "--user", "nobody"]


def cloud_options(cloud: OpenStackLab, **more: Any) -> dict[str, Any]:
    """The section of ehos.yaml for this cloud. Guests offer a flavor whole: no system takes of it."""
    return {
        "type": "openstack",
        "cloud": cloud.name,
        "clouds_yaml": str(cloud.clouds_yaml),
        "image": "debian-12",
        "flavors": list(FLAVORS),
        "networks": ["internal"],
        "security_groups": ["condor"],
        "keypair": "lab",
        "memory_reserved": 0,
        "disk_reserved": 0,
        **more,
    }


class OpenStackStand(Stand):
    """A stand on running clouds. Stopping it deletes its servers and waits until they are gone; the clouds go on."""

    def __init__(
        self,
        directory: Path,
        release: Release,
        labs: Sequence[OpenStackLab],
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        **more: Any,
    ) -> None:
        self.labs = {lab.name: lab for lab in labs}
        clouds = {lab.name: cloud_options(lab, **(options or {}).get(lab.name, {})) for lab in labs}
        super().__init__(directory, release, clouds=clouds, **more)

    def delete_nodes(self) -> None:
        """Heal the clouds, delete every server of ours, and wait until the clouds list none."""
        for lab in self.labs.values():
            lab.faults.clear()
            lab.clear_knobs()
        super().delete_nodes()
        wait_until(lambda: not self.nodes(), 60, "the servers to be deleted")


@contextmanager
def external_network(cloud: RunningCloud) -> Iterator[str]:
    """An external network of this name, to which the project's own one is routed: floating IPs can be had. At the end
    every floating IP and the network are deleted; no server may need one any more."""

    def make(path: str, kind: str, **values: Any) -> str:
        return str(cloud.call_as_admin("POST", "neutron", f"/v2.0/{path}", {kind: values})[kind]["id"])

    network = make("networks", "network", **{"name": "external", "router:external": True})
    make("subnets", "subnet", network_id=network, ip_version=4, cidr="192.0.2.0/24", enable_dhcp=False)
    router = make("routers", "router", name="edge", external_gateway_info={"network_id": network})
    project = cloud.call_as_admin("GET", "keystone", f"/projects?name={cloud.project_name}")["projects"][0]["id"]
    own = f"/v2.0/subnets?name=internal&tenant_id={project}"
    (inside,) = cloud.call_as_admin("GET", "neutron", own)["subnets"]
    gateway = {"network_id": inside["network_id"], "fixed_ips": [{"subnet_id": inside["id"]}], "name": "edge"}
    port = make("ports", "port", **gateway, tenant_id=inside["tenant_id"])
    cloud.call_as_admin("PUT", "neutron", f"/v2.0/routers/{router}/add_router_interface", {"port_id": port})
    try:
        yield "external"
    finally:
        for address in cloud.call_as_admin("GET", "neutron", "/v2.0/floatingips")["floatingips"]:
            cloud.call_as_admin("DELETE", "neutron", f"/v2.0/floatingips/{address['id']}")
        cloud.call_as_admin("PUT", "neutron", f"/v2.0/routers/{router}/remove_router_interface", {"port_id": port})
        cloud.call_as_admin("DELETE", "neutron", f"/v2.0/routers/{router}")
        cloud.call_as_admin("DELETE", "neutron", f"/v2.0/networks/{network}")
