"""Every option, once: its type, default, help, check and sample. config.py reads YAML into these; docs list them.

A field's type tells how it is read: `Seconds` takes 300, "5m" or "1h 30m"; `Megabytes` takes 2048 or "2 GB".
`Place` is a path, relative ones being taken from the folder of the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ehoslite.cloud_settings import CLOUD_TYPES as CLOUD_TYPES
from ehoslite.cloud_settings import CloudSettings as CloudSettings
from ehoslite.cloud_settings import FlavorChoice as FlavorChoice
from ehoslite.cloud_settings import FlavorSettings as FlavorSettings
from ehoslite.cloud_settings import LocalCloudSettings as LocalCloudSettings
from ehoslite.cloud_settings import LocalQuota as LocalQuota
from ehoslite.cloud_settings import OpenStackCloudSettings as OpenStackCloudSettings
from ehoslite.cloud_settings import OpenStackLimits as OpenStackLimits
from ehoslite.demand_settings import DemandSettings
from ehoslite.options import DAY, HOUR, MINUTE, NAME, Megabytes, Place, Seconds, option

# HTCondor's JOB_DEFAULT_LEASE_DURATION: so long a schedd waits for a silent startd before it starts the job elsewhere.
JOB_LEASE = 2400.0

LIMIT: dict[str, Any] = {"at_least": 0, "sample": 100}
SHARE: dict[str, Any] = {"at_least": 0, "at_most": 1}
TIME_ZONE: dict[str, Any] = {"pattern": r"[A-Za-z0-9_+/-]{1,64}", "pattern_help": "a name such as Europe/Berlin"}


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
        "how long to wait for the collector or one schedd before calling it silent; a schedd with a million jobs needs "
        "up to 15 s in a pool without startds",
        Seconds(20),
        at_least=0.1,
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
class WindowSettings:
    """A time in which other limits hold. Both ends are cron expressions, read by the wall clock of `time_zone`."""

    name: str = option("its name, for the reasons", sample="night", **NAME)
    start: str = option("cron expression: from each such minute on", sample='"0 20 * * 1-5"')
    end: str = option("cron expression: until the next such minute", sample='"0 6 * * *"')
    nodes_min: int | None = option("in place of scaling.nodes_min", None, **LIMIT)
    nodes_max: int | None = option("in place of scaling.nodes_max", None, **LIMIT)
    nodes_spare: int | None = option("in place of scaling.nodes_spare", None, **LIMIT)
    reserve_cores: int | None = option("in place of scaling.reserve_cores", None, **LIMIT)
    reserve_share: float | None = option("in place of scaling.reserve_share", None, at_least=0, at_most=10, sample=0.5)
    cores_max: int | None = option("in place of scaling.cores_max", None, **LIMIT)
    memory_max: Megabytes | None = option("in place of scaling.memory_max", None, at_least=0, sample=1024000)
    cost_per_hour: float | None = option("in place of scaling.cost_per_hour", None, at_least=0, sample=12.5)
    idle_timeout: Seconds | None = option("in place of scaling.idle_timeout", None, at_least=0, sample="10m")


@dataclass(frozen=True)
class ScalingSettings:
    """How many nodes, and for how long."""

    nodes_min: int = option("nodes to keep, whatever the queue", 0, at_least=0)
    nodes_max: int = option("never more nodes than this, booting, stopped and failed ones included", 10, at_least=0)
    nodes_spare: int = option("idle nodes to keep ready beyond what the queue needs", 0, at_least=0)
    reserve_cores: int = option(
        "free cores to keep ready beyond what the queue needs; one whose share of its node's memory or disk is taken "
        "counts as in use",
        0,
        at_least=0,
    )
    reserve_share: float = option(
        "the same as a share of the load, that is of the cores in use or about to be: 0.2 keeps a fifth more than they "
        "need; the larger of the two counts",
        0.0,
        at_least=0,
        at_most=10,
    )
    cores_max: int | None = option(
        "never more cores than this, counted as nodes are. Default: no limit", None, at_least=0
    )
    memory_max: Megabytes | None = option(
        "never more memory than this, counted as nodes are. Default: no limit", None, at_least=0
    )
    cost_per_hour: float | None = option(
        "no node is made that would let all nodes together cost more an hour, by the prices of their flavors, "
        "which must all be given. Default: no limit",
        None,
        at_least=0,
    )
    cost_per_month: float | None = option(
        "no node is made once what nodes have cost in this calendar month, and will cost within the next hour, is "
        "more. Default: no limit",
        None,
        at_least=0,
    )
    time_zone: str = option("where a month begins, and what the clock of the windows shows", "UTC", **TIME_ZONE)
    windows: tuple[WindowSettings, ...] = option("times in which other limits hold", factory=tuple)
    idle_timeout: Seconds = option("a node idle for so long is retired", Seconds(5 * MINUTE), at_least=0)
    retire_first: Literal["longest-idle", "dearest", "emptiest", "oldest-image"] = option(
        "which idle node goes first. longest-idle; dearest: of the highest price; emptiest: with the most free room; "
        "oldest-image: made of something else than a new one would be, then the oldest server",
        "longest-idle",
    )
    drift_nodes: int = option(
        "so many nodes at a time that differ from what would be made today (image, flavor, template, options) are "
        "replaced while they are idle. 0: none for that reason alone",
        1,
        at_least=0,
    )
    drift_share: float = option("the same as a share of all nodes; the larger of the two counts", 0.0, **SHARE)
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
        "long where the cloud's reply was lost or the pass has died",
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
