"""Which flavors, and how many nodes of each, for idle jobs that find no room. Pure.

Each shape gets the flavors that serve it alone at the least cost; what is left over on their nodes takes the next ones.
Such a greedy plan may be dearer than one that had fewer flavors to choose from. So where flavors and shapes are few it
is made for every subset of the flavors, and the cheapest counts: a further flavor then never makes the plan dearer.
Plans are compared within a cloud, and beyond clouds where the cheapest is to be taken: elsewhere their order is a wish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from math import inf
from operator import itemgetter

from ehoslite import policies
from ehoslite.allowance import Allowance
from ehoslite.carving import left_beside, side_by_side
from ehoslite.model import CloudView, Flavor, Shape
from ehoslite.packing import largest_first
from ehoslite.resources import Resources
from ehoslite.ways import HASTE, choose_flavors

# So many shapes are packed at most while plans are compared: a tenth of a second.
EFFORT = 600

Waiting = tuple[Shape, int]


@dataclass(frozen=True, slots=True)
class Purchase:
    """So many nodes of a flavor for so many jobs of a shape."""

    flavor: Flavor
    nodes: int
    shape: Shape
    jobs: int


@dataclass
class Basket:
    """A plan for new nodes in the making. `rooms` counts what is free on them, by flavor and room; `left` are the jobs
    for which nothing may be made."""

    allowance: Allowance
    allocation: str
    draw: str
    rooms: dict[tuple[Flavor, Resources], int] = field(default_factory=dict)
    bought: list[Purchase] = field(default_factory=list)
    left: list[Waiting] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """What these nodes cost an hour."""
        return round(sum(one.flavor.price * one.nodes for one in self.bought), 6)

    @property
    def idle_gpus(self) -> int:
        """How many of these nodes have GPUs though no job that asked for them was the reason."""
        return sum(one.nodes for one in self.bought if one.flavor.resources.gpus and not one.shape.request.gpus)

    def serve(self, waiting: Sequence[Waiting], clouds: Sequence[CloudView]) -> Basket:
        """Pack the jobs, shape by shape, buying nodes in these clouds where room is missing."""
        counts = dict(waiting)
        sizes = [flavor.resources for cloud in clouds for flavor in useful(cloud.flavors, waiting)]
        for shape in largest_first(counts, sizes):
            count = counts[shape]
            views = [replace(cloud, flavors=tuple(policies.flavors_for(shape, [cloud]))) for cloud in clouds]
            known = {flavor for view in views for flavor in view.flavors}
            left = wanted = count - self._fill(shape.request, count, known)
            while left and (ways := self._choose(shape, left, views)):
                for flavor, nodes in ways:
                    left -= self._buy(flavor, min(nodes, self.allowance.allows(flavor)), shape, left, wanted)
            if left:
                self.left.append((shape, left))
        return self

    def _choose(self, shape: Shape, count: int, clouds: Sequence[CloudView]) -> list[tuple[Flavor, int]]:
        """Flavors, and how many of each, in the cloud whose turn it is; empty when none may be made."""
        draw = f"{self.draw}/{self.allowance.made}"
        for cloud in policies.cloud_order(self.allocation, clouds, self.allowance.nodes_in, shape.request, draw):
            if chosen := choose_flavors(shape.request, count, cloud.flavors, self.allowance):
                return [(chosen[0][0], 1)] if policies.one_at_a_time(self.allocation) else chosen
        return []

    def _buy(self, flavor: Flavor, nodes: int, shape: Shape, left: int, wanted: int) -> int:
        """Count new nodes and put jobs onto them; gives how many jobs."""
        self.allowance.take(flavor, nodes)
        if nodes:
            self.bought.append(Purchase(flavor, nodes, shape, wanted))
            key = flavor, flavor.resources
            self.rooms[key] = self.rooms.get(key, 0) + nodes
        return self._fill(shape.request, left, {flavor})

    def _fill(self, request: Resources, count: int, fitting: set[Flavor]) -> int:
        """Put up to `count` jobs onto what is free on the new nodes, the tightest room first; gives how many."""
        left = count
        for key in sorted(self.rooms, key=tightness):
            if not left:
                break
            times = side_by_side(key[1], request) if key[0] in fitting else 0
            if times:
                left -= self._fill_group(key, request, times, left)
        return count - left

    def _fill_group(self, key: tuple[Flavor, Resources], request: Resources, times: int, count: int) -> int:
        flavor, free = key
        full, rest = divmod(count, times)
        nodes = self.rooms.pop(key)
        full = min(full, nodes)
        rest = rest if full < nodes else 0
        for touched, jobs in ((full, times), (1 if rest else 0, rest), (nodes - full - (1 if rest else 0), 0)):
            if touched:
                left = flavor, left_beside(free, request, jobs) if jobs else free
                self.rooms[left] = self.rooms.get(left, 0) + touched
        return full * times + rest


def tightness(key: tuple[Flavor, Resources]) -> tuple[float, float, float, float, str, str]:
    """In which order rooms are filled."""
    flavor, free = key
    return free.cpus, free.memory, free.disk, free.gpus, flavor.cloud, flavor.name


def cheapest_basket(basket: Callable[[], Basket], waiting: Sequence[Waiting], clouds: Sequence[CloudView]) -> Basket:
    """The plan with all flavors, or one with some of them that serves every job for less. `basket` makes empty ones."""
    if len(clouds) == 1:  # there is nothing to allocate, and node by node is slow
        basket = partial(_filled_first, basket)
    whole = basket().serve(waiting, clouds)
    limited = bool(whole.left)
    best = rank_of(whole, limited), whole
    flavors = [flavor for cloud in clouds for flavor in cloud.flavors]
    free_to_choose = len(clouds) == 1 or whole.allocation == "cheapest"
    if not free_to_choose or not any(flavor.price for flavor in flavors):
        return whole
    most = worth_haste(basket, waiting, clouds) if limited else inf
    for some in (*subsets(flavors, waiting), *(cloud.flavors for cloud in clouds if len(clouds) > 1)):
        views = [CloudView(cloud.name, tuple(one for one in cloud.flavors if one in some)) for cloud in clouds]
        tried = basket().serve(waiting, views)
        if not tried.left and tried.cost <= most:
            best = min(best, (rank_of(tried, limited), tried), key=itemgetter(0))
    return best[1]


def rank_of(basket: Basket, limited: bool) -> tuple[int, bool, float]:
    """How a plan compares with others, less being better: where limits bind, GPUs are not spent on serving more."""
    return basket.idle_gpus if limited else 0, bool(basket.left), basket.cost


def worth_haste(basket: Callable[[], Basket], waiting: Sequence[Waiting], clouds: Sequence[CloudView]) -> float:
    """What a plan that serves every job at once may cost at most, where all could be served once what builds is built;
    without a bound where other limits are in the way."""
    empty = basket()
    patient = replace(empty, allowance=empty.allowance.in_time()).serve(waiting, clouds)
    return inf if patient.left else (1 + HASTE) * patient.cost


def _filled_first(basket: Callable[[], Basket]) -> Basket:
    return replace(basket(), allocation="fill-first")


def subsets(flavors: Sequence[Flavor], waiting: Sequence[Waiting]) -> Iterator[tuple[Flavor, ...]]:
    """Flavors to make a plan with, beside all of them: every subset where there are few, else each alone, as far as the
    effort goes."""
    chosen = useful(policies.smallest_first(flavors), waiting)
    few = 2 ** len(chosen) * len(waiting) <= EFFORT
    if few or len(chosen) * len(waiting) <= EFFORT:
        for size in range(1, len(chosen) if few else 2):
            yield from combinations(chosen, size)


def useful(flavors: Sequence[Flavor], waiting: Sequence[Waiting]) -> list[Flavor]:
    """Those on which any of the jobs could run; the others have no say, not even in the order of packing."""
    return [one for one in flavors if any(policies.runs_on(shape, one) for shape, _ in waiting)]


def stages(allocation: str, clouds: Sequence[CloudView]) -> list[tuple[CloudView, ...]]:
    """The clouds that are asked together, in turn: filled first to last, each for itself, or all at once."""
    return [(cloud,) for cloud in clouds] if allocation == "fill-first" else [tuple(clouds)]
