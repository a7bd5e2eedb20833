"""The ways to serve jobs of one shape with new nodes of one cloud, and which of them is taken under limits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from ehoslite.allowance import CENT_OF_A_CENT, Allowance
from ehoslite.carving import side_by_side
from ehoslite.model import Flavor
from ehoslite.resources import Resources

# Flavors, and how many nodes of each.
Way = list[tuple[Flavor, int]]

# How much more a job may cost so that it need not wait for what builds.
HASTE = 0.1


def choose_flavors(request: Resources, count: int, fitting: Sequence[Flavor], allowance: Allowance) -> Way:
    """The flavors for `count` jobs, and how many nodes of each: the cheapest way that is allowed whole, and of equal
    ones that with the smallest flavor; else as many as are allowed of the flavor that serves the most. What builds now
    is waited for rather than paid for. Empty if no node is allowed at all. `fitting` is in the order of
    `smallest_first`, all of one cloud."""
    if not any(allowance.allows(flavor) for flavor in fitting):
        return []
    ways = cheapest_ways(request, count, fitting)
    if is_allowed(ways[0], allowance):
        return ways[0]
    useful = without_idle_gpus(request, fitting, ways[0], allowance)
    if useful != fitting:
        ways = cheapest_ways(request, count, useful)
    patient = allowance.in_time()
    wish = next((way for way in ways if is_allowed(way, patient)), None) or most_served(request, useful, patient)
    if is_allowed(wish, allowance):
        return wish
    return now_rather_than_later(request, count, wish, ways, allowance)


def is_allowed(way: Way, allowance: Allowance) -> bool:
    """Whether it may be made whole."""
    (first, nodes), (then, more) = way[0], way[-1]
    return allowance.allows_together(first, nodes, then, more if len(way) > 1 else 0)


def without_idle_gpus(request: Resources, fitting: Sequence[Flavor], best: Way, allowance: Allowance) -> list[Flavor]:
    """The flavors for jobs that a limit keeps from the best way: none with GPUs where they ask for none, but what is
    best itself, and where nothing else is allowed."""
    cheapest = {flavor for flavor, _ in best}
    without = [one for one in fitting if request.gpus or not one.resources.gpus or one in cheapest]
    return without if any(allowance.allows(flavor) for flavor in without) else list(fitting)


def most_served(request: Resources, fitting: Sequence[Flavor], allowance: Allowance) -> Way:
    """As many nodes as are allowed of the flavor that serves the most; empty if none is."""
    served = [(allowance.allows(flavor) * side_by_side(flavor.resources, request), flavor) for flavor in fitting]
    most, flavor = max(served, key=lambda one: one[0], default=(0, None))
    return [(flavor, allowance.allows(flavor))] if flavor and most else []


def now_rather_than_later(request: Resources, count: int, wish: Way, ways: Sequence[Way], allowance: Allowance) -> Way:
    """What to make at once where the wish must wait for what builds: that which serves the most of these jobs, where a
    job costs HASTE more at most; else the wish, as far as it goes."""
    flavors = dict.fromkeys(flavor for way in ways for flavor, _ in way)
    full = [[(one, min(allowance.allows(one), count // side_by_side(one.resources, request)))] for one in flavors]
    price = (1 + HASTE) * cost_of(wish) / min(count, jobs_on(wish, request))
    best: tuple[int, Way] = 0, []
    for way in (*ways, *full):
        jobs = min(count, jobs_on(way, request))
        if jobs > best[0] and cost_of(way) <= price * jobs + CENT_OF_A_CENT and is_allowed(way, allowance):
            best = jobs, way
    first, nodes = wish[0]
    return best[1] or [(first, min(nodes, allowance.allows(first)))]


def cost_of(way: Way) -> float:
    """What these nodes cost an hour."""
    return sum(flavor.price * nodes for flavor, nodes in way)


def jobs_on(way: Way, request: Resources) -> int:
    """How many such jobs they run at a time."""
    return sum(side_by_side(flavor.resources, request) * nodes for flavor, nodes in way)


def cheapest_ways(request: Resources, count: int, fitting: Sequence[Flavor]) -> list[Way]:
    """How `count` jobs can be served alone, the cheapest first: by nodes of one flavor, or by as many as they fill and
    a second flavor for the rest."""
    times = [side_by_side(flavor.resources, request) for flavor in fitting]
    ways: list[tuple[float, int, int, Way]] = []
    for place, flavor in enumerate(fitting):
        full, rest = divmod(count, times[place])
        nodes = full + (rest > 0)
        ways.append((round(nodes * flavor.price, 9), place, place, [(flavor, nodes)]))
        if full and rest:
            ends = [(ceil(rest / times[other]) * end.price, other) for other, end in enumerate(fitting)]
            price, other = min(ends)
            if other != place:
                more = [(flavor, full), (fitting[other], ceil(rest / times[other]))]
                ways.append((round(full * flavor.price + price, 9), place, other, more))
    return [way for _, _, _, way in sorted(ways, key=lambda way: way[:3])]
