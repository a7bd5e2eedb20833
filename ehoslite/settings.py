"""Every option, once: its type, default, help, check and sample. config.py reads YAML into these; docs list them.

A field's type tells how it is read: `Seconds` takes 300, "5m" or "1h 30m"; `Megabytes` takes 2048 or "2 GB".
`Place` is a path, relative ones being taken from the folder of the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ehoslite.demand_settings import DemandSettings
from ehoslite.options import DAY, HOUR, MINUTE, NAME, Megabytes, Place, Seconds, option

# HTCondor's JOB_DEFAULT_LEASE_DURATION: so long a schedd waits for a silent startd before it starts the job elsewhere.
JOB_LEASE = 2400.0


@dataclass(frozen=True)
class CondorSettings:
    """The HTCondor pool."""

    config: Place | None = option(
        "CONDOR_CONFIG to use; its identity needs READ and ADMINISTRATOR at the collector and READ at the schedds. "
        "Default: the environment's, else HTCondor's own search",
        None,
        sample="/etc/condor/condor_config",
    )
    tools: Place | None = option(
        "folder of condor_drain and condor_token_fetch, if they are not on PATH", None, sample="/usr/bin"
    )
    collector: str = option(
        "HOST[:PORT] at which nodes reach the collector. Default: COLLECTOR_HOST of the configuration above",
        "",
        sample="cm.example.org:9618",
    )
    domain: str = option("TRUST_DOMAIN of the pool's tokens. Default: as in the configuration above", "")
    node_domain: str = option(
        "domain that completes a node's name in its ads: Machine is NODE.DOMAIN",
        "nodes.ehos",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",
        pattern_help="a DNS domain",
    )
    query_timeout: Seconds = option(
        "how long to wait for the collector or one schedd before calling it silent", Seconds(10), at_least=0.1
    )
    collector_warmup: Seconds = option(
        "how long a restarted collector is not believed when it misses a node; nodes report every minute or when "
        "their state changes, foreign configurations every 5 minutes",
        Seconds(10 * MINUTE),
        at_least=0,
    )
    token_source: Literal["fetch", "create"] = option(
        "how a node's token is made. fetch: condor_token_fetch, no key needed, the token carries our identity with "
        "the rights of a node only; create: condor_token_create with the pool's signing key, the token carries the "
        "identity node-NAME",
        "fetch",
    )
    token_key: Place | None = option(
        "signing key for token_source: create (readable by this user alone)",
        None,
        sample="/etc/condor/passwords.d/POOL",
    )
    token_lifetime: Seconds = option(
        "how long a node's token lets it join the pool; a running node outlives it, a rebooted one does not",
        Seconds(30 * DAY),
        at_least=60,
    )
    retirement: Seconds = option(
        "MAXJOBRETIREMENTTIME of the nodes: how long a drain lets running jobs go on. Without it a drain kills",
        Seconds(30 * DAY),
        at_least=HOUR,
    )
    high_availability: bool = option(
        "two central managers, each with passes of its own: only those of the machine act whose high-availability "
        "daemon (HAD) is active",
        False,
    )


@dataclass(frozen=True)
class ScalingSettings:
    """How many nodes, and for how long."""

    nodes_min: int = option("nodes to keep, whatever the queue", 0, at_least=0)
    nodes_max: int = option("never more nodes than this, booting, stopped and failed ones included", 10, at_least=0)
    nodes_spare: int = option("idle nodes to keep ready beyond what the queue needs", 0, at_least=0)
    idle_timeout: Seconds = option("a node idle for so long is retired", Seconds(5 * MINUTE), at_least=0)
    boot_timeout: Seconds = option(
        "a new node that has not joined the pool after so long is replaced; where boots were observed, after three "
        "times the longest of them, if that is less",
        Seconds(15 * MINUTE),
        at_least=1,
    )
    boot_backoff: Seconds = option(
        "how long nothing is created of a flavor whose boots or creations have failed; twice as long with each pass in "
        "which more fail, up to an hour. 0: no wait",
        Seconds(2 * MINUTE),
        at_least=0,
    )
    boot_failures: int = option(
        "so many failed boots in a row of a flavor, and twice as many in a whole cloud, let only one node at a time be "
        "tried there, until one has joined",
        3,
        at_least=1,
    )
    lost_timeout: Seconds = option(
        "a node that joined and fell silent is replaced after so long: the job lease (40 min) and a margin, so that "
        "no schedd waits for it any more",
        Seconds(JOB_LEASE + 10 * MINUTE),
        at_least=1,
    )
    intent_timeout: Seconds = option(
        "a node that was intended, or that boots, and that no listing shows for so long is not there; five times as "
        "long where the cloud's reply was lost",
        Seconds(MINUTE),
        at_least=0,
    )
    lease: Seconds = option(
        "idle nodes power themselves off when no pass has run for so long: nobody looks after them any more. Every "
        "pass renews it; let it outlast what may keep passes or the collector away for a while. 0: nodes stay on; "
        "those made with a lease keep to theirs",
        Seconds(2 * HOUR),
        at_least=0,
    )
    node_allocation: Literal["fill-first", "round-robin", "random", "cheapest"] = option(
        "which cloud gets the next node. fill-first: the first in the order of the configuration that has room; "
        "round-robin: the one with the fewest nodes; random: any, by random_seed; cheapest: where a fitting flavor "
        "costs least",
        "fill-first",
    )
    random_seed: int = option("for node_allocation: random; the same seed gives the same choice at the same time", 0)


def default_state_path() -> Place:
    """In a checkout its state/; else systemd's StateDirectory, where a person's passes find it too."""
    checkout = Path(__file__).resolve().parent.parent / "state"
    folder = Path("/var/lib/ehoslite")
    return Place((checkout if (checkout / "README.md").exists() else folder) / "state.json")


@dataclass(frozen=True)
class RecordSettings:
    """The memory between passes."""

    path: Place = option(
        "the TinyDB file; its folder is made if need be. Losing it loses history, never a node or a job",
        factory=default_state_path,
        shown="/var/lib/ehoslite/state.json",
    )
    retention: Seconds = option("how long passes are kept in the history", Seconds(7 * DAY), at_least=0)
    retention_passes: int = option("at most so many passes are kept in the history", 2000, at_least=1)


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


@dataclass(frozen=True)
class Settings:
    """The whole configuration."""

    pool: str = option(
        "name of the pool: it tags every server of ours and names the nodes. Two pools in one project need two names",
        sample="demo",
        **NAME,
    )
    clouds: Mapping[str, CloudSettings] = option("the clouds in the order in which they fill", sample="here")
    deadline: Seconds = option(
        "a pass ends within so long; below the minute in which the next one starts", Seconds(50), at_least=1
    )
    template_values: Mapping[str, str] = option(
        "values of your own {tags} in the templates; a file that holds any must not be readable by others",
        factory=dict,
        secret=True,
        sample={},
    )
    condor: CondorSettings = option("the HTCondor pool", factory=CondorSettings)
    demand: DemandSettings = option("whose idle jobs start nodes", factory=DemandSettings)
    scaling: ScalingSettings = option("how many nodes, and for how long", factory=ScalingSettings)
    record: RecordSettings = option("the memory between passes", factory=RecordSettings)
