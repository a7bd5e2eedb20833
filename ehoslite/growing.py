"""The part of the plan that adds nodes: for the queue, for the minimum, for the spare."""

from __future__ import annotations

from collections.abc import Sequence

from ehoslite import policies
from ehoslite.actions import Reason
from ehoslite.booting import keys_of
from ehoslite.draft import Draft, idle_jobs
from ehoslite.model import Flavor, Resources, Shape
from ehoslite.packing import Rank, largest_first

# Of how many flavors a text says why they do not fit.
SHOWN = 3


def serve_demand(draft: Draft) -> None:
    """Pack the idle jobs, making nodes where room is missing."""
    flavors = [flavor for cloud in draft.clouds for flavor in cloud.flavors]
    for shape in largest_first(draft.world.demand.shapes, flavors):
        placed = draft.packing.place(shape.request, shape.count, shape.takes)
        if placed[Rank.BOOTING]:
            verb = "waits" if placed[Rank.BOOTING] == 1 else "wait"
            text = f"{idle_jobs(placed[Rank.BOOTING])} of {shape} {verb} for a node that boots or comes back"
            draft.hold(str(shape), "waits-for-boot", text)
        left = shape.count - placed.total()
        if left:
            make_room(draft, shape, left, flavors)


def make_room(draft: Draft, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
    """New nodes for `count` jobs of a shape, as far as limits and quotas go."""
    if not policies.fitting_flavors(shape.request, [flavor for flavor in flavors if shape.runs(flavor.ilk)]):
        try_out(draft, shape, count, flavors)
        return
    reason = Reason("demand", f"no room for {idle_jobs(count)} of {shape}")
    while count > 0 and (chosen := draft.choose(shape.request, count, lambda flavor: shape.runs(flavor.ilk))):
        draft.create(*chosen, reason)
        count -= draft.packing.place(shape.request, count, shape.runs).total()
    if count > 0 and any(flavor.ilk in shape.tries for flavor in flavors):
        try_out(draft, shape, count, flavors)
    elif count > 0:
        report_limit(draft, str(shape), f"no node for {idle_jobs(count)} of {shape}")


def try_out(draft: Draft, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
    """One node of a flavor of which it is not known whether the shape runs there: its ad will tell. Another flavor is
    tried when that node has not helped, none while one boots."""
    unknown = policies.fitting_flavors(shape.request, [flavor for flavor in flavors if flavor.ilk in shape.tries])
    if not unknown:
        report_unfit(draft, shape, count, flavors)
        return
    what = next((misfit for misfit in shape.misfits if misfit.flavor == f"{unknown[0].cloud}/{unknown[0].name}"), None)
    asked = f": {' && '.join(what.clauses)}" if what else ""
    if any(draft.tried[keys_of(flavor)[0]] for flavor in unknown):
        text = f"{idle_jobs(count)} of {shape} wait for a node that boots, whose ad will tell whether they run there"
        draft.hold(str(shape), "tried-out", text + asked)
        return
    if chosen := draft.choose(shape.request, 1, lambda flavor: flavor in unknown):
        text = f"{idle_jobs(count)} of {shape} may run there; its first node will tell{asked}"
        draft.create(chosen[0], 1, Reason("tried-out", text))
        draft.packing.place(shape.request, count, shape.takes)
    else:
        report_limit(draft, str(shape), f"no node for {idle_jobs(count)} of {shape}")


def report_unfit(draft: Draft, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
    """No flavor can ever run it: say which resource is short on the nearest one."""
    what = f"no node for {idle_jobs(count)} of {shape}"
    if not flavors:
        draft.hold(str(shape), "no-flavor", f"{what}: no cloud offers a flavor now")
        return
    large = policies.fitting_flavors(shape.request, flavors)
    if large and shape.misfits:
        whys = {misfit.flavor: " && ".join(misfit.clauses) for misfit in shape.misfits}
        failing = [f"{name}: {whys.get(name, '?')}" for name in (f"{one.cloud}/{one.name}" for one in large)]
        more = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
        text = f"{what}: on every flavor that is large enough its Requirements fail: {'; '.join(failing[:SHOWN])}{more}"
        draft.hold(str(shape), "requirements-fail", text)
        return
    nearest = min(flavors, key=lambda flavor: (len(flavor.resources.lacking(shape.request)), flavor.name))
    short = ", ".join(nearest.resources.lacking(shape.request))
    text = f"{what}: no flavor is large enough; {nearest.cloud}/{nearest.name} has {nearest.resources}, too few {short}"
    draft.hold(str(shape), "no-flavor-fits", text)


def report_limit(draft: Draft, subject: str, what: str) -> None:
    """Which limit binds: our own on nodes, or the clouds' quotas."""
    if draft.nodes_left <= 0:
        draft.hold(subject, "nodes-max", f"{what}: nodes_max {draft.settings.scaling.nodes_max} is reached")
    elif not draft.clouds:
        draft.hold(subject, "no-cloud", f"{what}: no cloud answers")
    elif not any(draft.trusted(flavor) for cloud in draft.clouds for flavor in cloud.flavors):
        draft.hold(subject, "boots-fail", f"{what}: boots have failed wherever one could be made")
    else:
        bounds = [f"{draft.rooms[cloud.name].bound or 'the quota'} of {cloud.name}" for cloud in draft.clouds]
        draft.hold(subject, "quota", f"{what}: {', '.join(bounds)} allows none that fits")


def keep_minimum(draft: Draft) -> None:
    """Nodes for nodes_min that the queue alone would not make."""
    minimum = draft.settings.scaling.nodes_min
    add_nodes(draft, minimum - draft.count_alive(), Reason("nodes-min", f"nodes_min is {minimum}"))


def keep_spare(draft: Draft) -> None:
    """Nodes that nothing is packed onto, ready for the next jobs."""
    spare = draft.settings.scaling.nodes_spare
    add_nodes(draft, spare - draft.count_unused_soon(), Reason("nodes-spare", f"nodes_spare is {spare}"))


def add_nodes(draft: Draft, count: int, reason: Reason) -> None:
    """Take draining nodes back, then make nodes of the smallest flavors, as far as limits and quotas go."""
    for node in draft.counted:
        if count > 0 and policies.can_be_taken_back(node) and not draft.is_kept(node):
            draft.wanted_back[node.id] = reason
            count -= 1
    while count > 0 and (chosen := draft.choose(Resources(), 1)):
        draft.create(chosen[0], 1, reason)
        count -= 1
    if count > 0:
        report_limit(draft, reason.code, f"{reason.text}, {count} missing")


def report_failing(draft: Draft) -> None:
    """Where boots fail, why, and when the next one is tried."""
    for flavor in sorted(draft.flavors.values(), key=lambda flavor: (flavor.cloud, flavor.name)):
        boots = draft.boots.get(keys_of(flavor)[0])
        if boots is None or not boots.failures:
            continue
        wait = policies.backs_off_until(boots, draft.settings) - draft.now
        how = f"in {wait:.0f} s at the earliest" if wait > 0 else "now"
        nodes = "one node" if boots.failures >= draft.settings.scaling.boot_failures else "nodes"
        text = f"{boots.failures} boots or creations in a row have failed, the last: {boots.why}; {nodes} tried {how}"
        draft.hold(f"{flavor.cloud}/{flavor.name}", "boots-fail", f"{flavor.cloud}/{flavor.name}: {text}")
