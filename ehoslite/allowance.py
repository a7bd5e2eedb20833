"""What may still be made: what quotas, our own limits, the budget and failed boots leave. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf

from ehoslite.booting import keys_of
from ehoslite.model import Flavor, Room
from ehoslite.resources import UNLIMITED
from ehoslite.settings import ScalingSettings

# Prices are decimal fractions, and sums of them are off by a little.
CENT_OF_A_CENT = 1e-9


@dataclass(frozen=True, slots=True)
class Amounts:
    """Servers with their cores, memory (MB, as quotas count it) and price an hour, summed up; or what is left of so
    much. `month` is the price again, against what is left of the month's budget."""

    nodes: float = 0.0
    cores: float = 0.0
    memory: float = 0.0
    hour: float = 0.0
    month: float = 0.0

    def less(self, other: Amounts, times: float = 1) -> Amounts:
        """What is left when so much is taken."""
        return Amounts(
            self.nodes - other.nodes * times,
            self.cores - other.cores * times,
            self.memory - other.memory * times,
            self.hour - other.hour * times,
            self.month - other.month * times,
        )

    def times(self, count: float) -> Amounts:
        """So many times as much."""
        return Amounts(*(count * one for one in (self.nodes, self.cores, self.memory, self.hour, self.month)))

    def holds(self, other: Amounts) -> float:
        """How many times it holds the other; below 1 where none is left."""
        pairs = (
            (self.nodes, other.nodes),
            (self.cores, other.cores),
            (self.memory, other.memory),
            (self.hour, other.hour),
            (self.month, other.month),
        )
        return min((have / need + CENT_OF_A_CENT if need else inf) for have, need in pairs)

    def overdrawn(self) -> list[str]:
        """The names of those of which less than nothing is left."""
        names = ("nodes", "cores", "memory", "hour", "month")
        return [name for name in names if getattr(self, name) < -CENT_OF_A_CENT]

    def lacking(self, other: Amounts) -> list[str]:
        """The names of those of which too little is left for the other."""
        return [name for name in self.less(other).overdrawn() if getattr(other, name) > 0]


def amounts_of(flavor: Flavor) -> Amounts:
    """What a node of this flavor takes of our own limits."""
    return Amounts(1, flavor.counted_cpus, flavor.counted_memory, flavor.price, flavor.price)


def limits_of(scaling: ScalingSettings, spent: float) -> Amounts:
    """Our own limits on all nodes; `spent` is what they have cost in this month. Every node is granted an hour of the
    month's budget, so that what is made can run for a while."""
    month = inf if scaling.cost_per_month is None else scaling.cost_per_month - spent
    return Amounts(
        scaling.nodes_max,
        inf if scaling.cores_max is None else scaling.cores_max,
        inf if scaling.memory_max is None else scaling.memory_max,
        inf if scaling.cost_per_hour is None else scaling.cost_per_hour,
        month,
    )


@dataclass
class Allowance:
    """What may still be made in each cloud and in all: our own `limits` less the `total` of all nodes, and the clouds'
    `rooms`. `trials` says how often a flavor or a cloud may be tried whose boots have failed (booting.keys_of names
    them); `nodes_in` counts our nodes by cloud, `made` those that are new."""

    limits: Amounts
    total: Amounts
    rooms: dict[str, Room]
    trials: dict[str, int] = field(default_factory=dict)
    nodes_in: Counter[str] = field(default_factory=Counter)
    made: int = 0

    def __post_init__(self) -> None:
        self.left = self.limits.less(self.total)

    def copy(self) -> Allowance:
        """One to try things out on."""
        return Allowance(
            self.limits, self.total, dict(self.rooms), dict(self.trials), Counter(self.nodes_in), self.made
        )

    def in_time(self) -> Allowance:
        """The same once what builds has been built: no cap on servers that build is in the way."""
        rooms = {name: room.in_time for name, room in self.rooms.items()}
        return Allowance(self.limits, self.total, rooms, dict(self.trials), Counter(self.nodes_in), self.made)

    def trusted(self, flavor: Flavor) -> int:
        """How many nodes of it may be made, after what its boots and its cloud's have taught."""
        return min(self.trials.get(key, UNLIMITED) for key in keys_of(flavor)) if self.trials else UNLIMITED

    def allows(self, flavor: Flavor) -> int:
        """How many nodes of this flavor may be made."""
        room = self.rooms.get(flavor.cloud)
        if room is None or (quota := room.holds(flavor)) <= 0:
            return 0
        return int(max(0, min(quota, self.left.holds(amounts_of(flavor)), self.trusted(flavor))))

    def allows_together(self, first: Flavor, nodes: int, then: Flavor, more: int) -> bool:
        """Whether so many of the one and so many of the other may be made."""
        if first == then:
            return self.allows(first) >= nodes + more
        if self.allows(first) < nodes or self.allows(then) < more:
            return False
        after = Allowance(self.limits, self.total.less(amounts_of(first), -nodes), self.rooms, self.trials)
        if first.cloud == then.cloud:
            after.rooms = {first.cloud: self.rooms[first.cloud].less(first, nodes)}
        return after.allows(then) >= more

    def take(self, flavor: Flavor, nodes: int) -> None:
        """Count nodes that are to be made."""
        self._count(amounts_of(flavor), nodes)
        self.rooms[flavor.cloud] = self.rooms[flavor.cloud].less(flavor, nodes)
        self.nodes_in[flavor.cloud] += nodes
        self.made += nodes
        for key in keys_of(flavor):
            if key in self.trials:
                self.trials[key] = max(0, self.trials[key] - nodes)

    def _count(self, amounts: Amounts, nodes: float) -> None:
        self.total = self.total.less(amounts, -nodes)
        self.left = self.limits.less(self.total)

    def give_back(self, cloud: str, amounts: Amounts) -> None:
        """Count a node that goes."""
        self._count(amounts, -1)
        if cloud in self.rooms:
            room = self.rooms[cloud]
            self.rooms[cloud] = replace(
                room,
                instances=room.instances + amounts.nodes,
                lasting=room.lasting + amounts.nodes,
                cores=room.cores + amounts.cores,
                memory=room.memory + amounts.memory,
            )

    def what_binds(self, flavors: Iterable[Flavor]) -> str:
        """Which limits of the clouds keep from making any of these, in words: of each cloud those that the first of its
        flavors meets which is not kept back by boots that fail."""
        found: dict[str, list[str]] = {}
        for flavor in flavors:
            if flavor.cloud not in found and self.trusted(flavor):
                limits = self.rooms[flavor.cloud].what_binds(flavor).items()
                found[flavor.cloud] = [f"{limit} of {flavor.cloud}: {figures}" for limit, figures in limits]
        return "; ".join(one for texts in found.values() for one in texts) or "the clouds allow none that fits"
