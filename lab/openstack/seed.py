"""Fills a new cloud: users, catalog, flavors, images, and what the projects have of their own."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from lab.openstack.layout import APIS, REGION, Layout
from lab.openstack.rest import Login, log_in
from lab.openstack.settings import SERVICE_PROJECT

TENANT = "tenant"
NEIGHBOUR = "neighbour"
SERVICE_USERS = ("nova", "glance", "placement", "neutron", "cinder")
NETWORK = "internal"
SECURITY_GROUP = "condor"
SECURITY_GROUP_WITHOUT_UDP = "condor-tcp-only"
CONDOR_PORT = 9618
KEYPAIR = "lab"


@dataclass(frozen=True)
class Flavor:
    """A flavor; memory in MiB, disk in GB."""

    name: str
    cpus: int
    memory: int
    disk: int
    specs: tuple[tuple[str, str], ...] = ()


FLAVORS = (
    Flavor("m1.tiny", 1, 512, 1),
    Flavor("m1.small", 1, 1024, 10),
    Flavor("m1.medium", 2, 4096, 20),
    Flavor("c4.large", 4, 4096, 20),
    Flavor("m8.large", 8, 32768, 40),
    Flavor("g1.vgpu", 4, 8192, 20, (("resources:VGPU", "1"),)),
    Flavor("g2.a100", 8, 16384, 40, (("pci_passthrough:alias", "a100:2"),)),
    Flavor("x1.none", 4096, 99_999_999, 10),  # no host has room for it
)
# with the dates that they are given: glance's have whole seconds, and ours are made within one
IMAGES = {
    "debian-12": "2026-01-10 12:00:00",
    "worker-2026-01": "2026-01-15 12:00:00",
    "worker-2026-02": "2026-02-15 12:00:00",
}


class Seeder:
    """Fills a cloud as its administrator, at the daemons' own ports."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._identity = layout.ports.back_url("keystone")
        self._admin = log_in(self._identity, "admin", layout.secrets.admin, "admin")
        roles = self._admin.call("GET", f"{self._identity}/roles")["roles"]
        self._roles: dict[str, str] = {role["name"]: role["id"] for role in roles}

    def seed_identity(self) -> None:
        """Create projects, users, and the catalog. Nova needs this much to come up."""
        project = self._create("projects", "project", name=SERVICE_PROJECT)["id"]
        for name in SERVICE_USERS:
            self._add_user(name, self._layout.secrets.service, project, ("admin", "service"))
        for name, password in ((TENANT, self._layout.secrets.tenant), (NEIGHBOUR, self._layout.secrets.neighbour)):
            project = self._create("projects", "project", name=name)["id"]
            self._add_user(name, password, project, ("member", "reader"))
        for name, kind in APIS.items():
            if name != "keystone":  # its bootstrap has made its own
                self._add_service(name, kind)

    def seed_resources(self) -> None:
        """Create flavors, images, and the projects' networks, security groups and keypairs."""
        for flavor in FLAVORS:
            self._add_flavor(flavor)
        for name in IMAGES:
            self._add_image(name)
        secrets = self._layout.secrets
        for name, password in ((TENANT, secrets.tenant), (NEIGHBOUR, secrets.neighbour)):
            login = log_in(self._identity, name, password, name)
            self._add_network(login)
            self._add_security_group(login, SECURITY_GROUP, ("tcp", "udp"))
            self._add_security_group(login, SECURITY_GROUP_WITHOUT_UDP, ("tcp",))
            body = {"keypair": {"name": KEYPAIR, "public_key": _make_public_key()}}
            login.call("POST", f"{self._nova}/os-keypairs", body)

    def list_ids(self) -> list[str]:
        """Return the ids of all that differs from cloud to cloud."""
        urls = [f"{self._identity}/{what}" for what in ("projects", "users", "roles", "services", "endpoints")]
        urls += [f"{self._layout.ports.back_url('glance')}/v2/images"]
        neutron = f"{self._layout.ports.back_url('neutron')}/v2.0"
        urls += [f"{neutron}/{what}" for what in ("networks", "subnets", "security-groups", "security-group-rules")]
        found = []
        for url in urls:
            what = url.rpartition("/")[2].replace("-", "_")
            found += [one["id"] for one in self._admin.call("GET", url)[what]]
        flavors = self._admin.call("GET", f"{self._nova}/flavors?is_public=None")["flavors"]
        return found + [flavor["id"] for flavor in flavors]

    @property
    def _nova(self) -> str:
        return self._layout.ports.back_url("nova")

    def _create(self, what: str, kind: str, **values: object) -> Any:
        return self._admin.call("POST", f"{self._identity}/{what}", {kind: values})[kind]

    def _add_user(self, name: str, password: str, project: str, roles: tuple[str, ...]) -> None:
        user = self._create("users", "user", name=name, password=password, default_project_id=project)["id"]
        for role in roles:
            self._admin.call("PUT", f"{self._identity}/projects/{project}/users/{user}/roles/{self._roles[role]}")

    def _add_service(self, name: str, kind: str) -> None:
        service = self._create("services", "service", name=name, type=kind)["id"]
        ports = self._layout.ports
        for interface, url in (("public", ports.url(name)), ("internal", ports.back_url(name))):
            self._create("endpoints", "endpoint", service_id=service, interface=interface, region_id=REGION, url=url)

    def _add_flavor(self, flavor: Flavor) -> None:
        values = {"name": flavor.name, "vcpus": flavor.cpus, "ram": flavor.memory, "disk": flavor.disk}
        made = self._admin.call("POST", f"{self._nova}/flavors", {"flavor": values})["flavor"]
        if flavor.specs:
            specs = {"extra_specs": dict(flavor.specs)}
            self._admin.call("POST", f"{self._nova}/flavors/{made['id']}/os-extra_specs", specs)

    def _add_image(self, name: str) -> None:
        glance = f"{self._layout.ports.back_url('glance')}/v2/images"
        values = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        image = self._admin.call("POST", glance, values)["id"]
        self._admin.call("PUT", f"{glance}/{image}/file", name.encode())

    def _add_network(self, login: Login) -> None:
        neutron = f"{self._layout.ports.back_url('neutron')}/v2.0"
        network = login.call("POST", f"{neutron}/networks", {"network": {"name": NETWORK}})["network"]["id"]
        subnet = {"name": NETWORK, "network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16", "enable_dhcp": False}
        login.call("POST", f"{neutron}/subnets", {"subnet": subnet})

    def _add_security_group(self, login: Login, name: str, protocols: tuple[str, ...]) -> None:
        neutron = f"{self._layout.ports.back_url('neutron')}/v2.0"
        group = login.call("POST", f"{neutron}/security-groups", {"security_group": {"name": name}})
        for protocol in protocols:
            rule = {
                "security_group_id": group["security_group"]["id"],
                "direction": "ingress",
                "ethertype": "IPv4",
                "protocol": protocol,
                "port_range_min": CONDOR_PORT,
                "port_range_max": CONDOR_PORT,
            }
            login.call("POST", f"{neutron}/security-group-rules", {"security_group_rule": rule})


def _make_public_key() -> str:
    """Make a well-formed public key, in the wire form of RFC 4253 and RFC 8709; nobody has its private one."""
    words = (b"ssh-ed25519", bytes(range(32)))
    blob = b"".join(len(word).to_bytes(4, "big") + word for word in words)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} lab"
