"""What passes remember: nodes seen, intents still open, what boots have taught. Memory, not truth (law 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ehoslite.model import Flavor
from ehoslite.resources import Resources
from ehoslite.samples import Sample


@dataclass(frozen=True, slots=True)
class Remembered:
    """What earlier passes saw of a node: history that no ad carries. Losing it costs time, never a node or a job."""

    node: str
    cloud: str
    flavor: str
    first_seen: float
    created_here: bool = False  # made by a pass that this memory knows of
    joined: float = 0.0  # when its startd was first seen, 0 if never
    heard: float = 0.0  # when its startd was last heard
    listed: float = 0.0  # when its cloud last listed its server
    server: str = ""  # the id of that server
    idle_since: float = 0.0  # since when passes have seen it idle without a break, 0 if it is not
    watched: float = 0.0  # since when passes have looked for it, without a long break, and not heard its startd
    recipe: str = ""  # of what it was made, empty if that is not known (Flavor.recipe)


@dataclass(frozen=True, slots=True)
class Intent:
    """ "I am about to create this node in this cloud", written before the call; `server` is the id that the cloud gave,
    `unclear` says that there was no answer: the reply was lost, or the pass has died."""

    node: str
    cloud: str
    flavor: str
    at: float
    server: str = ""
    unclear: bool = False
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Boots:
    """What the boots of one flavor (or of a whole cloud) have taught; `key` says which, as booting.py makes it.

    `failures` counts nodes since the last success, `rounds` the passes in which some failed; `why` is the last one's
    reason; `times` how long the last boots took, in seconds.
    """

    key: str
    failures: int = 0
    rounds: int = 0
    failed_at: float = 0.0
    why: str = ""
    times: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownFlavor:
    """What a flavor came to when its cloud last answered; `key` is its cloud and name. So the nodes of a silent cloud,
    and of a flavor that is configured no more, count to the limits with what they are, and hold jobs while they boot.
    `cores` and `memory` (MB) are as quotas count, `price` is an hour's, the rest is what a startd on it offers: nothing
    in a state file that is older than these fields."""

    key: str
    cores: float
    memory: float
    price: float
    cpus: float = 0.0
    offered_memory: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0

    @classmethod
    def of(cls, flavor: Flavor) -> KnownFlavor:
        """What is remembered of a flavor that is offered now."""
        size, key = flavor.resources, f"{flavor.cloud}/{flavor.name}"
        counted = flavor.counted_cpus, flavor.counted_memory, flavor.price
        return cls(key, *counted, size.cpus, size.memory, size.disk, size.gpus)

    @property
    def resources(self) -> Resources:
        """Its size; nothing where that is not known."""
        return Resources(self.cpus, self.offered_memory, self.disk, self.gpus)


@dataclass(frozen=True, slots=True)
class Spent:
    """What nodes have cost in one calendar month, as far as passes have seen it; `until` is when that was last added
    up. `month` is written 2026-11."""

    month: str
    amount: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state file holds for the decisions: nodes seen, intents still open, what boots have taught, what nodes
    of each flavor advertise, what flavors come to, what nodes have cost."""

    nodes: Mapping[str, Remembered] = field(default_factory=dict)
    intents: Mapping[str, Intent] = field(default_factory=dict)
    boots: Mapping[str, Boots] = field(default_factory=dict)
    samples: Mapping[str, Sample] = field(default_factory=dict)
    flavors: Mapping[str, KnownFlavor] = field(default_factory=dict)
    spent: Mapping[str, Spent] = field(default_factory=dict)
