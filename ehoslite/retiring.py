"""The part of the plan that drains idle nodes: idle for too long, beyond the limits, in the way of a job, or made of
something else than a new one would be. A node that runs a job is never among them, and one that waiting jobs fit on is
only where it is beyond a limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ehoslite import policies
from ehoslite.actions import Drain, Reason
from ehoslite.allowance import Allowance
from ehoslite.booting import keys_of
from ehoslite.draft import Draft, idle_jobs
from ehoslite.making_room import allowance_after, flavors_worth_room, is_unneeded, on_their_way_out
from ehoslite.memory import Boots
from ehoslite.model import Flavor, Node
from ehoslite.shrinking import is_ambiguous

Choice = tuple[Node, Reason]


def keep_jobs_off_what_is_beyond(draft: Draft) -> None:
    """What our own limits have no place for gets no job: what is drained is let go, and what is idle will be drained.
    Else a lowered limit would never be met while jobs wait. Where a month's budget is not used up yet, but is within
    the hour, what is there works on: a node made shortly before would go before its first job."""
    after = draft.allowance.copy()
    borne = {"month"} if after.limits.month > 0 else set[str]()
    surely_first = sorted(on_their_way_out(draft), key=lambda node: (policies.can_be_taken_back(node), node.claimed))
    idle = [node for node in draft.counted if is_unneeded(draft, node) and not draft.shares_machine(node)]
    can_go = in_order(draft, idle) if policies.may_retire(draft.world, draft.settings) else []
    draft.beyond = {node.id for node, _ in those_beyond(draft, surely_first, after)}
    draft.beyond |= {node.id for node, _ in those_beyond(draft, can_go, after, borne)}
    draft.packing.close(draft.beyond)


def those_beyond(
    draft: Draft, nodes: Iterable[Node], after: Allowance, borne: Collection[str] = ()
) -> list[tuple[Node, str]]:
    """The first of these nodes without which `after` is within our own limits but those that are `borne`, each with the
    limit, less those that need not go when a larger one goes; `after` has them given back."""
    chosen: list[tuple[Node, str]] = []
    for node in nodes:
        if over := _exceeds(draft, node, after, borne):
            after.give_back(node.cloud, draft.amounts[node.id])
            chosen.append((node, over))
    needed: list[tuple[Node, str]] = []
    for node, over in reversed(chosen):
        amounts = draft.amounts[node.id]
        after.give_back(node.cloud, amounts.times(-1))
        if _exceeds(draft, node, after, borne):
            after.give_back(node.cloud, amounts)
            needed.append((node, over))
    return needed[::-1]


def _exceeds(draft: Draft, node: Node, after: Allowance, borne: Collection[str]) -> str:
    """The first limit that is exceeded and in which the node has a part; empty if there is none."""
    amounts = draft.amounts[node.id]
    over = (name for name in after.left.overdrawn() if name not in borne)
    return next((name for name in over if getattr(amounts, name) > 0), "")


def retire_idle(draft: Draft) -> None:
    """Drain idle nodes, each for the first of these reasons that it meets; nothing while not all jobs are known."""
    idle = in_order(draft, [node for node in draft.counted if may_be_drained(draft, node)])
    drains: list[Choice] = []
    for choose in idle_too_long, beyond_limits, to_make_room, for_drift:
        gone = {node.id for node, _ in drains}
        drains += choose(draft, [node for node in idle if node.id not in gone], [node for node, _ in drains])
    ready = sum(policies.idle_too_long(node, draft.now, draft.settings) for node in idle)
    if (drains or ready) and draft.world.demand.silent:
        text = f"{max(len(drains), ready)} idle nodes are kept: not all schedds have answered"
        draft.hold("retire", "schedd-silent", text)
    elif (drains or ready) and policies.collector_is_young(draft.world, draft.settings):
        text = "idle nodes are kept: the collector has just started and may not know every schedd yet"
        draft.hold("retire", "collector-young", f"{max(len(drains), ready)} {text}")
    else:
        draft.actions += [Drain(node, reason) for node, reason in drains]
        gone = {node.id for node, _ in drains}
        report_kept(draft, [node for node in idle if node.id not in gone])


def in_order(draft: Draft, idle: Sequence[Node]) -> list[Node]:
    """These nodes in the order in which they go."""
    order = draft.settings.scaling.retire_first
    return sorted(
        idle,
        key=lambda node: policies.retire_order(
            order, node, draft.amounts[node.id].hour, drifted=order == "oldest-image" and draft.drifted(node)
        ),
    )


def may_be_drained(draft: Draft, node: Node) -> bool:
    """Idle, not wanted, and alone with its Machine."""
    return is_unneeded(draft, node) and not is_ambiguous(draft, node)


def idle_too_long(draft: Draft, idle: Sequence[Node], _gone: Sequence[Node]) -> list[Choice]:
    """Those idle past idle_timeout that are beyond the limits, or that the minimum, the spare and the reserve do not
    need."""
    due = [node for node in idle if policies.idle_too_long(node, draft.now, draft.settings)]
    going = draft.beyond | not_needed(draft, [node for node in due if node.id not in draft.beyond])
    return [
        (node, Reason("idle-timeout", f"idle for {draft.now - node.idle_since:.0f} s"))
        for node in due
        if node.id in going
    ]


def not_needed(draft: Draft, due: Iterable[Node]) -> set[str]:
    """The ids of the first of these nodes that the minimum, the spare and the reserve do not need; what is beyond the
    limits is no part of these."""
    chosen, scaling = set[str](), draft.settings.scaling
    beyond = [node for node in draft.counted if node.id in draft.beyond and policies.is_serving(node)]
    alive = draft.count_alive() - scaling.nodes_min - len(beyond)
    unused = draft.count_unused() - scaling.nodes_spare - len(beyond)
    wanted, free = draft.reserve()
    cores = free - wanted
    clouds = {name: draft.count_alive(name) - policies.cloud_minimum(name, draft.settings) for name in draft.names()}
    clouds = {name: left - sum(node.cloud == name for node in beyond) for name, left in clouds.items()}
    for node in due:
        is_reserve = policies.has_reserve(draft.settings) and cores < node.resources.cpus
        if alive > 0 and unused > 0 and not is_reserve and clouds.get(node.cloud, 1) > 0:
            chosen.add(node.id)
            alive, unused, cores = alive - 1, unused - 1, cores - node.resources.cpus
            clouds[node.cloud] = clouds.get(node.cloud, 1) - 1
    return chosen


def beyond_limits(draft: Draft, idle: Sequence[Node], gone: Sequence[Node]) -> list[Choice]:
    """So many that the rest is within our limits, before their time: a limit was lowered, or is another one now. The
    minimum and the spare give way."""
    return [(node, why_beyond(draft, limit)) for node, limit in those_beyond(draft, idle, allowance_after(draft, gone))]


def why_beyond(draft: Draft, limit: str) -> Reason:
    """What is beyond which limit."""
    scaling, now = draft.settings.scaling, draft.allowance.total
    if limit == "nodes":
        return Reason(
            "nodes-max", f"{now.nodes - scaling.nodes_max:g} nodes too many: nodes_max is {scaling.nodes_max}"
        )
    if limit == "cores":
        return Reason("cores-max", f"all nodes have {now.cores:g} cores: cores_max is {scaling.cores_max}")
    if limit == "memory":
        return Reason("memory-max", f"all nodes have {now.memory:g} MB: memory_max is {scaling.memory_max} MB")
    if limit == "hour":
        return Reason(
            "cost-per-hour", f"all nodes cost {now.hour:.6g} an hour: cost_per_hour is {scaling.cost_per_hour}"
        )
    text = f"nodes have cost {draft.spent:.2f} in this month and {now.hour:.6g} goes with the next hour"
    return Reason("cost-per-month", f"{text}: cost_per_month is {scaling.cost_per_month}")


def to_make_room(draft: Draft, idle: Sequence[Node], gone: Sequence[Node]) -> list[Choice]:
    """Those without which a limit would let a node be made for jobs that fit on none of them. Else the minimum, or
    nodes that are not idle for long yet, could keep such jobs waiting."""
    if not draft.short or not idle:
        return []
    after = allowance_after(draft, gone)
    without_all = allowance_after(draft, [*gone, *idle])
    for shape, count in draft.short:
        flavors = flavors_worth_room(draft, shape)
        if any(after.allows(flavor) for flavor in flavors):
            return []  # what goes already is enough
        if flavor := next((one for one in flavors if without_all.allows(one)), None):
            text = f"its place is needed: {idle_jobs(count)} of {shape} fit on no idle node"
            return [(node, Reason("make-room", text)) for node in those_in_the_way(draft, idle, after, flavor)]
    return []


def those_in_the_way(draft: Draft, idle: Sequence[Node], after: Allowance, flavor: Flavor) -> list[Node]:
    """The first of these nodes without which one of this flavor may be made; all of them together are enough."""
    after, leaving = after.copy(), list[Node]()
    for node in idle:
        if after.allows(flavor):
            break
        after.give_back(node.cloud, draft.amounts[node.id])
        leaving.append(node)
    for node in list(leaving):  # those that were not needed for it stay
        with_it = after.copy()
        with_it.give_back(node.cloud, draft.amounts[node.id].times(-1))
        if with_it.allows(flavor):
            after, leaving = with_it, [other for other in leaving if other is not node]
    return leaving


def for_drift(draft: Draft, idle: Sequence[Node], gone: Sequence[Node]) -> list[Choice]:
    """A few of those that differ from what would be made today. The next ones wait until these are gone and nothing
    boots any more, and as long as boots of what would be made fail, or no limit would allow it, none goes."""
    leaving = {node.id for node in (*gone, *on_their_way_out(draft)) if draft.drifted(node)}
    most = policies.drift_at_once(len(draft.counted), draft.settings)
    allowed = most - len(leaving) - len(draft.joining) - draft.new.total()
    drifted = [node for node in idle if draft.drifted(node)]
    ready = [node for node in drifted if not offered(draft, node) or successors(draft, node)]
    if most and len(ready) < len(drifted):
        text = "stay until a boot of what would take their place has succeeded, or a day after the last that failed"
        draft.hold("drift", "boots-fail", f"idle nodes that differ from what would be made today {text}")
    text = "its image, flavor, template or options are not what a new node would have"
    return [(node, Reason("drift", text)) for node in with_successors(draft, ready, gone, allowed)]


def with_successors(draft: Draft, ready: Sequence[Node], gone: Sequence[Node], most: int) -> list[Node]:
    """At most so many of these nodes: those whose successors quotas and limits allow once they are gone."""
    after, chosen, why = allowance_after(draft, gone), list[Node](), ""
    for node in ready:
        if len(chosen) >= most:
            break
        with_it = after.copy()
        after.give_back(node.cloud, draft.amounts[node.id])
        successor = next((one for one in successors(draft, node) if after.allows(one)), None)
        if successor and has_minimum(draft, node.cloud):
            after.take(successor, 1)
            chosen.append(node)
        else:
            after = with_it
            why = why or ("nodes are missing for nodes_min" if successor else "limits allow none in their place")
    if why:
        draft.hold("drift", "no-successor", f"idle nodes that differ from what would be made today stay: {why}")
    return chosen


def has_minimum(draft: Draft, cloud: str) -> bool:
    """Whether all nodes are there, or made now, that are to be kept in this cloud and in all. Where some are missing
    that could not be made, the next one could not either: others may use up what a node leaves of a quota."""
    own = policies.cloud_minimum(cloud, draft.settings)
    return draft.count_alive() >= draft.settings.scaling.nodes_min and draft.count_alive(cloud) >= own


def successors(draft: Draft, node: Node) -> list[Flavor]:
    """What may be made in its place: those of what is offered there of which no boot has failed since the last that
    joined. Boots of other flavors speak against the whole cloud where as many have failed as for its trials."""
    many = 2 * draft.settings.scaling.boot_failures
    found = []
    for flavor in offered(draft, node):
        own, whole = (draft.memory.boots.get(key, Boots(key)).failures for key in keys_of(flavor))
        if not own and whole < many:
            found.append(flavor)
    return found


def offered(draft: Draft, node: Node) -> list[Flavor]:
    """Its flavor, or all of its cloud where that is offered no more."""
    flavors = [one for one in draft.flavors.values() if one.cloud == node.cloud]
    return [one for one in flavors if one.name == node.flavor] or policies.smallest_first(flavors)


def report_kept(draft: Draft, kept: Sequence[Node]) -> None:
    """Why idle nodes stay."""
    scaling = draft.settings.scaling
    due = sum(policies.idle_too_long(node, draft.now, draft.settings) for node in kept)
    if due:
        minima = {name: policies.cloud_minimum(name, draft.settings) for name in draft.names()}
        reasons = [f"nodes_min {scaling.nodes_min}"]
        reasons += [f"nodes_min {least} of {name}" for name, least in minima.items() if least]
        reasons += [f"nodes_spare {scaling.nodes_spare}"]
        reasons += ["the reserve"] if policies.has_reserve(draft.settings) else []
        draft.hold("retire", "kept", f"{due} idle nodes are kept for {' or '.join(reasons)}")
    if len(kept) > due:
        text = f"{len(kept) - due} idle nodes are kept until they have been idle for {scaling.idle_timeout:.0f} s"
        draft.hold("retire", "idle-timeout", text)


def report_drift(draft: Draft) -> None:
    """How many nodes differ from what would be made today, and what is done about it."""
    drifted = sum(draft.drifted(node) for node in draft.counted)
    if drifted:
        most = policies.drift_at_once(len(draft.counted), draft.settings)
        how = f"{most} at a time are replaced while they are idle" if most else "drift_nodes is 0: they stay"
        nodes = "1 node differs" if drifted == 1 else f"{drifted} nodes differ"
        draft.hold(
            "drift", "drift", f"{nodes} from what would be made today (image, flavor, template or options); {how}"
        )
