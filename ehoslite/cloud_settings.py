"""The options of a cloud, of each kind; settings.py has the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ehoslite.options import NAME, Megabytes, Place, Seconds, option


@dataclass(frozen=True)
class FlavorSettings:
    """A size of node on the local cloud."""

    name: str = option("its name", sample="small", **NAME)
    cpus: int = option("cores", 1, at_least=1)
    memory: Megabytes = option("memory", Megabytes(1024), at_least=64)
    disk: Megabytes = option("disk", Megabytes(10240), at_least=64)
    gpus: int = option("GPUs (pretended)", 0, at_least=0)
    price: float = option("price per hour", 0.0, at_least=0)


@dataclass(frozen=True)
class LocalQuota:
    """Limits of the local cloud; beyond them it refuses, as OpenStack does."""

    instances: int = option("servers", 20, at_least=0)
    cores: int = option("cores of all servers", 1000, at_least=0)
    memory: Megabytes = option("memory of all servers", Megabytes(1_000_000), at_least=0)


@dataclass(frozen=True)
class LocalCloudSettings:
    """Nodes as process groups on this machine: each a real condor_master and startd. For laptops, demos and tests."""

    directory: Place = option("folder in which the nodes live", sample="/var/lib/ehoslite/nodes")
    type: Literal["local"] = option("the kind of cloud", "local")
    flavors: tuple[FlavorSettings, ...] = option(
        "sizes of node", factory=lambda: (FlavorSettings(name="small"),), sample=({"name": "small", "cpus": 1},)
    )
    quota: LocalQuota = option("limits", factory=LocalQuota)
    nodes_min: int = option("nodes to keep in this cloud, whatever the queue; they count for the pool's", 0, at_least=0)
    boot_delay: Seconds = option("how long a node takes before its startd starts", Seconds(0), at_least=0)
    user: str = option("account that runs the nodes when we are root", "nobody")
    release: Place | None = option(
        "HTCondor's installation (the folder above sbin/condor_master). Default: the one on PATH", None, sample="/usr"
    )
    template: Place = option("user data of a node, with {tags}", Place(Path("execute.yaml")))


@dataclass(frozen=True)
class FlavorChoice:
    """A flavor that may be used; a bare name is enough."""

    name: str = option("its name in the cloud", sample="m1.large")
    price: float = option("price per hour", 0.0, at_least=0)


@dataclass(frozen=True)
class OpenStackLimits:
    """Our own limits in one cloud, below its quota."""

    nodes: int = option("servers of ours", 1_000_000, at_least=0)
    cores: int = option("cores of our servers", 1_000_000_000, at_least=0)
    memory: Megabytes = option("memory of our servers", Megabytes(10**12), at_least=0)
    calls: int = option("calls to its API at the same time", 8, at_least=1, at_most=64)
    building: int = option("servers of ours that build at the same time; more only stall Nova", 30, at_least=1)


@dataclass(frozen=True)
class OpenStackCloudSettings:
    """Nodes on an OpenStack cloud. The login is an entry of clouds.yaml, or stands here (auth_url and what follows)."""

    image: str = option("image of the nodes: its id or exact name", sample="ehos-worker")
    flavors: tuple[FlavorChoice, ...] = option("flavors that may be used", sample=({"name": "m1.large"},))
    type: Literal["openstack"] = option("the kind of cloud", "openstack")
    cloud: str = option("entry of clouds.yaml. Default: the name of this section", "")
    clouds_yaml: Place | None = option(
        "clouds.yaml to use. Default: as all OpenStack clients look for it (OS_CLIENT_CONFIG_FILE, the working "
        "directory, ~/.config/openstack, /etc/openstack)",
        None,
    )
    region_name: str = option("region, where the login knows several", "")
    auth_url: str = option(
        "Keystone's address, for a login that stands here", "", sample="https://keystone.example.org:5000/v3"
    )
    username: str = option("user", "")
    password: str = option("password; the file must then not be readable by others", "", secret=True)
    project_name: str = option("project", "")
    user_domain_name: str = option("domain of the user", "Default")
    project_domain_name: str = option("domain of the project", "Default")
    image_newest: bool = option("take image as a prefix, and of the images whose names begin with it the newest", False)
    networks: tuple[str, ...] = option("networks by name or id. Default: what the cloud gives", factory=tuple)
    security_groups: tuple[str, ...] = option("security groups by name; they must let port 9618 in", factory=tuple)
    keypair: str = option("keypair for ssh by an administrator", "")
    availability_zone: str = option("availability zone", "")
    server_group: str = option("server group by id (anti-affinity and the like)", "")
    config_drive: bool = option("give nodes a config drive, where the metadata service is slow or missing", False)
    boot_volume: int = option("boot from a new volume of so many GB; 0 boots from the flavor's disk", 0, at_least=0)
    scratch_size: int = option("a further volume of so many GB for each node; 0 for none", 0, at_least=0)
    floating_ip: str = option("network from which each node gets a floating IP; empty for none", "")
    ports: bool = option(
        "make a node's ports ourselves, named after it, before its server; always so with floating_ip", False
    )
    metadata: Mapping[str, str] = option("metadata of every server", factory=dict)
    template: Place = option("user data of a node, with {tags}", Place(Path("execute.yaml")))
    memory_reserved: Megabytes = option(
        "what the node's system takes of a flavor's memory: a startd offers less than the flavor",
        Megabytes(256),
        at_least=0,
    )
    disk_reserved: Megabytes = option("what the node's system takes of its disk", Megabytes(3072), at_least=0)
    nodes_min: int = option("nodes to keep in this cloud, whatever the queue; they count for the pool's", 0, at_least=0)
    limits: OpenStackLimits = option("our own limits in this cloud", factory=OpenStackLimits)
    timeout: Seconds = option("how long to wait for one answer of the API", Seconds(10), at_least=0.1)
    max_microversion: str = option(
        "highest microversion of Nova to use; before 2.52 servers are known by metadata instead of tags",
        "2.96",
        pattern=r"2\.\d{1,3}",
        pattern_help="2.1 to 2.999",
    )

    @property
    def makes_ports(self) -> bool:
        """Whether the ports of a node are ours to make and to remove."""
        return self.ports or bool(self.floating_ip)


CloudSettings = LocalCloudSettings | OpenStackCloudSettings
CLOUD_TYPES: Mapping[str, type[CloudSettings]] = {"local": LocalCloudSettings, "openstack": OpenStackCloudSettings}
