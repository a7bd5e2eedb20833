"""The nouns and verbs: what a pass sees, remembers, decides and what came of it. Values only, no behaviour of the edge.

Units, everywhere: cpus in cores, memory in MB and disk in KiB (as RequestMemory and RequestDisk of HTCondor), gpus in
devices, time in epoch seconds, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ehoslite.resources import UNLIMITED, Resources
from ehoslite.samples import Misfit, Sample

# The bound of a Room that is a matter of minutes: how many servers may build at a time.
BUILDING = "limits.building"


class VmState(StrEnum):
    """What the cloud says of a server, in six words."""

    BOOTING = "booting"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    DELETING = "deleting"
    UNKNOWN = "unknown"


class CondorState(StrEnum):
    """What the startd's ads say of a node; derived from what is seen, never assigned."""

    ABSENT = "absent"  # never seen in the collector
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    DRAINED = "drained"
    LOST = "lost"  # seen before, silent now


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of server that a cloud offers; `price` is per hour in whatever money the configuration uses.

    `resources` is what a startd on it offers; `quota_memory` what a quota counts, where that is more (the system takes
    a part), and `quota_cpus` the same of cores; `recipe` stands for all that decides what its servers are made of, as
    far as the configuration tells, by which boots are remembered; `made_of` for that and the image's id and the
    flavor's own size, empty when the cloud did not tell them. `promises` are the attributes that its template gives to
    its startds (name and expression), and `ilk` numbers what runs on it (Shape.runs_on)."""

    cloud: str
    name: str
    resources: Resources
    price: float = 0.0
    quota_memory: float = 0.0
    recipe: str = ""
    promises: tuple[tuple[str, str], ...] = ()
    quota_cpus: float = 0.0
    ilk: int = 0
    made_of: str = ""

    @property
    def counted_cpus(self) -> float:
        """The cores that a quota counts."""
        return self.quota_cpus or self.resources.cpus

    @property
    def counted_memory(self) -> float:
        """The memory that a quota counts, in MB."""
        return max(self.quota_memory, self.resources.memory)


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a cloud's quota and of our own limits there, in servers, cores and MB of memory. `bound` says
    which limit on servers is the tightest, where it is not the quota of instances. Where it is the cap on servers that
    build, which passes by itself, `lasting` is what the others leave. `cores_bound` and `memory_bound` name the limits
    of ours that are tighter than the quota of those."""

    instances: float = UNLIMITED
    cores: float = UNLIMITED
    memory: float = UNLIMITED
    bound: str = ""
    lasting: float = UNLIMITED
    cores_bound: str = ""
    memory_bound: str = ""

    @property
    def in_time(self) -> Room:
        """The room once what builds has been built."""
        return replace(self, instances=self.lasting, bound="") if self.bound == BUILDING else self

    def holds(self, flavor: Flavor) -> int:
        """How many servers of this flavor the quota still allows."""
        needs = ((self.instances, 1), (self.cores, flavor.counted_cpus), (self.memory, flavor.counted_memory))
        return int(min(max(left, 0) // need if need else UNLIMITED for left, need in needs))

    def less(self, flavor: Flavor, servers: int = 1) -> Room:
        """The room that is left when `servers` of this flavor have been made."""
        return Room(
            self.instances - servers,
            self.cores - flavor.counted_cpus * servers,
            self.memory - flavor.counted_memory * servers,
            self.bound,
            self.lasting - servers,
            self.cores_bound,
            self.memory_bound,
        )

    def what_binds(self, flavor: Flavor) -> dict[str, str]:
        """The limits that leave no room for a server of this flavor, each with what is left of it."""
        name, found = f"{flavor.cloud}/{flavor.name}", {}
        if self.instances < 1:
            found[self.bound or "the quota of instances"] = f"{self.instances:.0f} servers left"
        if max(self.cores, 0) < flavor.counted_cpus:
            figures = f"{self.cores:g} left, {name} has {flavor.counted_cpus:g}"
            found[self.cores_bound or "the quota of cores"] = figures
        if max(self.memory, 0) < flavor.counted_memory:
            figures = f"{self.memory:.0f} MB left, {name} has {flavor.counted_memory:.0f}"
            found[self.memory_bound or "the quota of memory"] = figures
        return found


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something beside a server that we made for a node and that costs quota: a port, a floating IP, a volume.
    `in_use` says that a server has it, listed or not."""

    cloud: str
    kind: str
    id: str
    node: str
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """A server of ours as its cloud lists it. `node` is the node id from its tags; `fault` the cloud's own words,
    `status` its own word for the state, `changed` when it last changed, `made_of` its flavor's `made_of` at its
    creation (empty for a server that is older than this word)."""

    cloud: str
    id: str
    node: str
    flavor: str
    vm_state: VmState
    created: float
    fault: str = ""
    status: str = ""
    changed: float = 0.0
    made_of: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot ad, reduced. `node`, `pool` and `cloud` are what our execute template advertises, empty on foreign nodes.

    `idle_since` is when its last job left or its state last changed, by the ad itself; 0 if the ad does not tell.
    `forged` says why its ad is not believed: then it is of no node of ours and no room. Of an `unreadable` one only the
    name is known. `ilk` numbers what runs on it (Shape.runs_on).
    """

    name: str
    machine: str
    state: str
    activity: str
    kind: str  # Static, Partitionable or Dynamic
    free: Resources
    total: Resources
    node: str = ""
    pool: str = ""
    cloud: str = ""
    drain_reason: str = ""
    drain_request: str = ""  # the startd's own number of the drain
    draining: bool = False
    accepts_jobs: bool = True
    idle_since: float = 0.0
    heard: float = 0.0
    forged: str = ""
    unreadable: bool = False
    ilk: int = 0

    @property
    def claimed(self) -> bool:
        """Whether a schedd holds it: a job runs here, ran just now, or is about to."""
        return self.state in {"Claimed", "Preempting", "Matched"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Idle jobs that ask for the same, summed over the schedds. `ad` holds what matching needs of them as a ClassAd.

    It runs on slots and flavors whose ilk is in `runs_on` (None: it was not matched, amounts alone decide), and may run
    on flavors whose ilk is in `tries`, of which nobody knows yet; `misfits` say why not on the others.
    """

    request: Resources
    count: int
    requirements: str = ""
    ad: str = ""
    runs_on: frozenset[int] | None = None
    tries: frozenset[int] = frozenset()
    misfits: tuple[Misfit, ...] = ()

    def runs(self, ilk: int) -> bool:
        """Whether it matches slots of this ilk; 0 stands for those of which nothing is known."""
        return not ilk or self.runs_on is None or ilk in self.runs_on

    def takes(self, ilk: int) -> bool:
        """Whether it may be packed there: where it runs, and where that is being tried out."""
        return self.runs(ilk) or ilk in self.tries

    def __str__(self) -> str:
        return str(self.request)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Idle jobs whose requests do not come to numbers; the negotiator cannot place them either."""

    count: int
    what: str


@dataclass(frozen=True, slots=True)
class Unserved:
    """Idle jobs that do not count by the configuration; `code` is their reason's (docs/reasons.md). `requests` are what
    those that are capped ask for, each once."""

    count: int
    code: str
    what: str
    requests: tuple[Resources, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """The idle jobs of the whole pool, and the schedds that did not say theirs (name -> why)."""

    shapes: tuple[Shape, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    unserved: tuple[Unserved, ...] = ()


@dataclass(frozen=True, slots=True)
class CloudView:
    """What one cloud answered. `fault` is empty when the answer is whole; else nothing in it may be relied upon."""

    name: str
    flavors: tuple[Flavor, ...] = ()
    servers: tuple[Server, ...] = ()
    room: Room = Room()
    fault: str = ""
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """Everything one pass has seen. `collector_since` is when the collector started: a young one knows few nodes.
    `samples` are ads of nodes that have been seen, by flavor; `unmatched` says why Requirements were not evaluated."""

    now: float
    clouds: tuple[CloudView, ...]
    slots: tuple[Slot, ...]
    demand: Demand
    collector_since: float = 0.0
    samples: tuple[Sample, ...] = ()
    unmatched: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A server of ours joined to its startd's ads and to what is remembered of it. `resources` is the size of its
    flavor, as its cloud tells or last told; nothing where that is not known."""

    id: str
    cloud: str
    flavor: str
    vm_state: VmState
    condor_state: CondorState
    resources: Resources
    servers: tuple[Server, ...] = ()
    slots: tuple[Slot, ...] = ()
    created: float = 0.0
    joined: float = 0.0
    heard: float = 0.0
    watched: float = 0.0
    idle_since: float = 0.0
    created_here: bool = False
    drained_by_us: bool = False
    boot_allowed: float = 0.0  # how long it may take to join

    @property
    def machine(self) -> str:
        """The Machine of its startd, empty while it has none in the collector."""
        return self.slots[0].machine if self.slots else ""

    @property
    def claimed(self) -> bool:
        """Whether any slot of it is claimed, as far as the collector knows."""
        return any(slot.claimed for slot in self.slots)
