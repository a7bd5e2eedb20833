"""The part of the plan that adds nodes: for the queue, for the minimum, for the spare and the reserve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil

from ehoslite import policies
from ehoslite.actions import Reason
from ehoslite.allowance import amounts_of
from ehoslite.booting import keys_of
from ehoslite.choosing import Waiting, cheapest_basket, stages
from ehoslite.draft import Draft, idle_jobs
from ehoslite.making_room import room_to_come
from ehoslite.model import CloudView, Flavor, Shape
from ehoslite.packing import Rank, largest_first
from ehoslite.resources import Resources
from ehoslite.ways import choose_flavors

# Of how many flavors a text says why they do not fit.
SHOWN = 3


def serve_demand(draft: Draft) -> None:
    """Pack the idle jobs onto the room that there is, and make nodes for those that find none."""
    left = place_on_room(draft)
    waiting = [(shape, count) for shape, count in left if policies.flavors_for(shape, draft.clouds)]
    unsure = [(shape, count) for shape, count in left if not policies.flavors_for(shape, draft.clouds)]
    for clouds in stages(draft.settings.scaling.node_allocation, draft.clouds):
        if waiting:
            basket = cheapest_basket(draft.basket, waiting, clouds)
            draft.adopt(basket)
            waiting = basket.left
    draft.short = [one for one in (*waiting, *unsure) if not is_tried_or_unfit(draft, *one)]
    draft.room_for = room_to_come(draft)
    for shape, count in draft.short:
        flavors = [*policies.flavors_for(shape, draft.clouds), *policies.flavors_to_try(shape, draft.clouds)]
        report_limit(draft, shape, f"no node for {idle_jobs(count)} of {shape}", flavors)


def place_on_room(draft: Draft) -> list[Waiting]:
    """Put jobs onto free slots and onto nodes that boot, come back or can be taken back; gives those left over."""
    left: list[Waiting] = []
    for shape in largest_first(draft.world.demand.shapes, draft.packing.rooms()):
        placed = draft.packing.place(shape.request, shape.count, shape.takes)
        if placed[Rank.BOOTING]:
            verb = "waits" if placed[Rank.BOOTING] == 1 else "wait"
            text = f"{idle_jobs(placed[Rank.BOOTING])} of {shape} {verb} for a node that boots or comes back"
            draft.hold(shape, "waits-for-boot", text)
        if placed.total() < shape.count:
            left.append((shape, shape.count - placed.total()))
    return left


def is_tried_or_unfit(draft: Draft, shape: Shape, count: int) -> bool:
    """Whether all is said of jobs for which no node of a known flavor was made: a flavor is or will be tried out on
    them, or none can ever run them. Else it is a limit that keeps them waiting."""
    unknown = policies.flavors_to_try(shape, draft.clouds)
    if unknown:
        return try_out(draft, shape, count, unknown)
    if policies.flavors_for(shape, draft.clouds):
        return False
    report_unfit(draft, shape, count, [flavor for cloud in draft.clouds for flavor in cloud.flavors])
    return True


def try_out(draft: Draft, shape: Shape, count: int, unknown: Sequence[Flavor]) -> bool:
    """One node of a flavor of which it is not known whether the shape runs there: its ad will tell. Another flavor is
    tried when that node has not helped, none while one boots. Gives whether limits allow one, or it boots."""
    what = next((misfit for misfit in shape.misfits if misfit.flavor == f"{unknown[0].cloud}/{unknown[0].name}"), None)
    asked = f": {' && '.join(what.clauses)}" if what else ""
    if any(draft.tried[keys_of(flavor)[0]] for flavor in unknown):
        text = f"{idle_jobs(count)} of {shape} wait for a node that boots, whose ad will tell whether they run there"
        draft.hold(shape, "tried-out", text + asked)
        return True
    clouds = [replace(cloud, flavors=tuple(one for one in cloud.flavors if one in unknown)) for cloud in draft.clouds]
    flavor = smallest_allowed(draft, shape.request, 1, clouds)
    if flavor:
        text = f"{idle_jobs(count)} of {shape} may run there; its first node will tell{asked}"
        draft.create_tried(flavor, (shape, count), Reason("tried-out", text))
    return flavor is not None


def report_unfit(draft: Draft, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
    """No flavor can ever run it: say which resource is short on the nearest one."""
    what = f"no node for {idle_jobs(count)} of {shape}"
    if not flavors:
        draft.hold(shape, "no-flavor", f"{what}: no cloud offers a flavor now")
        return
    large = policies.fitting_flavors(shape.request, flavors)
    if large and shape.misfits:
        report_misfits(draft, shape, what, [f"{one.cloud}/{one.name}" for one in large])
        return
    nearest = min(flavors, key=lambda flavor: (len(flavor.resources.lacking(shape.request)), flavor.name))
    short = ", ".join(nearest.resources.lacking(shape.request))
    text = f"{what}: no flavor is large enough; {nearest.cloud}/{nearest.name} has {nearest.resources}, too few {short}"
    draft.hold(shape, "no-flavor-fits", text)


def report_misfits(draft: Draft, shape: Shape, what: str, large: Sequence[str]) -> None:
    """What fails on these flavors; or that it is not known though a node is there, so that another would not tell."""
    misfits = {misfit.flavor: misfit for misfit in shape.misfits if misfit.flavor in large}
    failing = [f"{name}: {' && '.join(misfits[name].clauses) if name in misfits else '?'}" for name in large]
    more = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
    told = f"{'; '.join(failing[:SHOWN])}{more}"
    if all(misfit.surely for misfit in misfits.values()):
        text = f"{what}: on every flavor that is large enough its Requirements fail: {told}"
        draft.hold(shape, "requirements-fail", text)
    else:
        text = f"{what}: a node is there that does not tell whether they run on such a one, nor would another: {told}"
        draft.hold(shape, "not-told", text)


def report_limit(draft: Draft, subject: str | Shape, what: str, fitting: Sequence[Flavor]) -> None:
    """Which limit keeps from making one of these: one of our own, the clouds' quotas, or that boots fail."""
    if not draft.clouds:
        draft.hold(subject, "no-cloud", f"{what}: no cloud answers")
    elif draft.allowance.left.nodes < 1:
        draft.hold(subject, "nodes-max", f"{what}: nodes_max {draft.settings.scaling.nodes_max} is reached")
    elif not any(draft.allowance.trusted(flavor) for flavor in fitting):
        draft.hold(subject, "boots-fail", f"{what}: boots have failed wherever one could be made")
    elif reason := own_limit(draft, fitting):
        draft.hold(subject, reason.code, f"{what}: {reason.text}")
    else:
        draft.hold(subject, "quota", f"{what}: {draft.allowance.what_binds(fitting)}")


def own_limit(draft: Draft, fitting: Iterable[Flavor]) -> Reason | None:
    """Which of our own limits, beside nodes_max, keeps from making any of these though its cloud has room for it."""
    allowance, scaling = draft.allowance, draft.settings.scaling
    for flavor in fitting:
        if allowance.rooms[flavor.cloud].holds(flavor) < 1 or not allowance.trusted(flavor):
            continue
        lacking = allowance.left.lacking(amounts_of(flavor))
        now = allowance.total
        one = f"one more {flavor.cloud}/{flavor.name}"
        if "cores" in lacking:
            text = f"all nodes have {now.cores:g} cores, and {one} has {flavor.counted_cpus:g}"
            return Reason("cores-max", f"cores_max is {scaling.cores_max}; {text}")
        if "memory" in lacking:
            text = f"all nodes have {now.memory:g} MB, and {one} has {flavor.counted_memory:g}"
            return Reason("memory-max", f"memory_max is {scaling.memory_max} MB; {text}")
        if "hour" in lacking:
            text = f"all nodes cost {now.hour:.6g} an hour, and {one} costs {flavor.price:g}"
            return Reason("cost-per-hour", f"cost_per_hour is {scaling.cost_per_hour:g}; {text}")
        if "month" in lacking:
            text = f"nodes have cost {draft.spent:.2f} in this month, {now.hour:.6g} goes with the next hour"
            return Reason("cost-per-month", f"cost_per_month is {scaling.cost_per_month:g}; {text}, and {one} is more")
    return None


def keep_minimum(draft: Draft) -> None:
    """Nodes for nodes_min, of each cloud and of all, that the queue alone would not make."""
    for cloud in draft.clouds:
        own = policies.cloud_minimum(cloud.name, draft.settings)
        reason = Reason("nodes-min", f"nodes_min of {cloud.name} is {own}")
        add_nodes(draft, own - draft.count_alive(cloud.name), reason, [cloud])
    minimum = draft.settings.scaling.nodes_min
    add_nodes(draft, minimum - draft.count_alive(), Reason("nodes-min", f"nodes_min is {minimum}"), draft.clouds)


def keep_spare(draft: Draft) -> None:
    """Nodes that nothing is packed onto, ready for the next jobs."""
    spare = draft.settings.scaling.nodes_spare
    missing = spare - draft.count_unused_soon()
    if missing > 0 and not is_for_capped(draft, "nodes-spare", smallest_allowed(draft, Resources(), 1, draft.clouds)):
        add_nodes(draft, missing, Reason("nodes-spare", f"nodes_spare is {spare}"), draft.clouds)


def keep_reserve(draft: Draft) -> None:
    """Free cores, ready for the next jobs."""
    wanted, free = draft.reserve()
    missing = wanted - free
    if missing <= 0:
        return
    if is_for_capped(draft, "reserve", smallest_allowed(draft, Resources(cpus=1), ceil(missing), draft.clouds)):
        return
    reason = Reason("reserve", f"{wanted:g} free cores are kept ready, {missing:g} are missing")
    while missing > 0 and (node := draft.take_back(reason)):
        missing -= node.resources.cpus
    while missing > 0 and (flavor := smallest_allowed(draft, Resources(cpus=1), ceil(missing), draft.clouds)):
        draft.create_unused(flavor, reason)
        missing -= flavor.resources.cpus
    if missing > 0:
        report_missing(draft, "reserve", f"{reason.text} and {missing:g} will be", draft.clouds)


def is_for_capped(draft: Draft, subject: str, flavor: Flavor | None) -> bool:
    """Whether a spare node of this flavor would be for jobs that start no node, which is then said: they would take it,
    and each one after it."""
    for part in draft.world.demand.unserved if flavor else ():
        if flavor and any(flavor.resources.fits(request) for request in part.requests):
            draft.hold(subject, "capped", f"none is made: {idle_jobs(part.count)} {part.what} would take it")
            return True
    return False


def add_nodes(draft: Draft, count: int, reason: Reason, clouds: Sequence[CloudView]) -> None:
    """Take draining nodes of these clouds back, then make nodes of the smallest flavors, as far as limits and quotas
    go."""
    names = {cloud.name for cloud in clouds}
    while count > 0 and draft.take_back(reason, names):
        count -= 1
    while count > 0 and (flavor := smallest_allowed(draft, Resources(), 1, clouds)):
        draft.create_unused(flavor, reason)
        count -= 1
    if count > 0:
        report_missing(draft, reason.code, f"{reason.text}, {count} missing", clouds)


def report_missing(draft: Draft, subject: str, what: str, clouds: Iterable[CloudView]) -> None:
    """Why there are too few nodes for the minimum, the spare or the reserve."""
    flavors = policies.smallest_first(flavor for cloud in clouds for flavor in cloud.flavors)
    if any(draft.would_take_room(flavor) for flavor in flavors):
        text = f"{what}: the room that nodes leave now is for jobs that a limit keeps waiting"
        draft.hold(subject, "make-room", text)
    else:
        report_limit(draft, subject, what, flavors)


def smallest_allowed(draft: Draft, request: Resources, count: int, clouds: Sequence[CloudView]) -> Flavor | None:
    """The flavor for one more node with room for so many requests, in the cloud whose turn it is."""
    allowance, scaling = draft.allowance, draft.settings.scaling
    draw = f"{scaling.random_seed}/{draft.now:.0f}/{draft.new.total()}"
    for cloud in policies.cloud_order(scaling.node_allocation, clouds, allowance.nodes_in, request, draw):
        fitting = policies.fitting_flavors(request, cloud.flavors)
        while chosen := choose_flavors(request, count, fitting, allowance):
            flavor = chosen[0][0]
            if not draft.would_take_room(flavor):
                return flavor
            fitting.remove(flavor)
    return None


def report_failing(draft: Draft) -> None:
    """Where boots fail, why, and when the next one is tried."""
    for flavor in sorted(draft.flavors.values(), key=lambda flavor: (flavor.cloud, flavor.name)):
        boots = draft.memory.boots.get(keys_of(flavor)[0])
        if boots is None or not boots.failures:
            continue
        wait = policies.backs_off_until(boots, draft.settings) - draft.now
        how = f"in {wait:.0f} s at the earliest" if wait > 0 else "now"
        nodes = "one node" if boots.failures >= draft.settings.scaling.boot_failures else "nodes"
        text = f"{boots.failures} boots or creations in a row have failed, the last: {boots.why}; {nodes} tried {how}"
        draft.hold(f"{flavor.cloud}/{flavor.name}", "boots-fail", f"{flavor.cloud}/{flavor.name}: {text}")
