"""World + memory + settings -> Plan: actions, each with its reason, and what is held back, with the reason. Pure.

Supply first, demand last: idle jobs are packed onto free room, booting nodes and draining nodes; only what is left over
makes new nodes, and only what nothing was packed onto may be retired. What is beyond our own limits is no supply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ehoslite import growing, retiring, shrinking
from ehoslite.actions import Create, Outcome, Plan
from ehoslite.draft import Draft, idle_jobs
from ehoslite.memory import Memory
from ehoslite.model import Room, World
from ehoslite.nodes import join
from ehoslite.settings import Settings
from ehoslite.windows import in_force


def plan(world: World, memory: Memory, settings: Settings) -> Plan:
    """What this pass should do. The same world, memory and settings give the same plan, in whatever order they come."""
    scaling, windows = in_force(settings.scaling, world.now)
    settings = replace(settings, scaling=scaling)
    draft = Draft(world, settings, join(world, memory, settings.pool), memory)
    cost = draft.cost()
    report_silence(draft)
    report_not_counted(draft)
    report_windows(draft, windows)
    growing.report_failing(draft)
    retiring.keep_jobs_off_what_is_beyond(draft)
    growing.serve_demand(draft)
    growing.keep_minimum(draft)
    growing.keep_spare(draft)
    growing.keep_reserve(draft)
    shrinking.take_back_or_delete_drained(draft)
    shrinking.replace_broken(draft)
    retiring.retire_idle(draft)
    retiring.report_drift(draft)
    shrinking.sweep_leftovers(draft)
    packed = {node.id: jobs for node in draft.nodes if (jobs := draft.packing.used[node.id])}
    return Plan(tuple(draft.actions), tuple(draft.held), draft.nodes, tuple(draft.flavors.values()), cost, packed)


def plan_elsewhere(world: World, memory: Memory, settings: Settings, outcomes: Sequence[Outcome]) -> Plan:
    """The creations that certainly made nothing in this pass, planned for other clouds; nothing when there are none. A
    cloud where one has failed, for whatever reason, gets no more in this pass, so each round is for fewer of them."""
    refusing = {
        outcome.action.flavor.cloud for outcome in outcomes if isinstance(outcome.action, Create) and outcome.certain
    }
    if not refusing:
        return Plan()
    full = Room(0, 0, 0, "refusal of a creation")
    clouds = tuple(replace(cloud, room=full) if cloud.name in refusing else cloud for cloud in world.clouds)
    again = plan(replace(world, clouds=clouds), memory, settings)
    return replace(again, actions=tuple(action for action in again.actions if isinstance(action, Create)))


def report_windows(draft: Draft, names: Sequence[str]) -> None:
    """Which windows are open."""
    if names:
        zone = draft.settings.scaling.time_zone
        draft.hold("windows", "window", f"the limits are those of {' and '.join(names)} ({zone})")


def report_silence(draft: Draft) -> None:
    """What did not answer, or makes no sense, is said; nothing is decided about it."""
    for cloud in draft.world.clouds:
        if cloud.fault:
            draft.hold(cloud.name, "cloud-silent", f"cloud {cloud.name}: {cloud.fault}; its nodes are left alone")
    for schedd, why in sorted(draft.world.demand.silent.items()):
        draft.hold(schedd, "schedd-silent", f"schedd {schedd}: {why}; its jobs are not known, so nothing is retired")
    if draft.world.unmatched:
        text = f"Requirements are not evaluated, amounts alone decide: {draft.world.unmatched}"
        draft.hold("matching", "not-matched", text)
    for slot in sorted(draft.world.slots, key=lambda slot: slot.name):
        if slot.forged:
            draft.hold(slot.name, "forged-ad", f"the ad of {slot.name} is not believed: {slot.forged}")
        if slot.unreadable:
            text = f"the ad of {slot.name} cannot be read: it is too large or nested too deep; nothing is known of it"
            draft.hold(slot.name, "unreadable-ad", text)


def report_not_counted(draft: Draft) -> None:
    """Which idle jobs do not count, and why."""
    for odd in draft.world.demand.unreadable:
        text = f"ask for {odd.what}, which comes to no number: the negotiator cannot place them either"
        draft.hold(odd.what, "unreadable-request", f"{idle_jobs(odd.count)} {text}")
    for part in draft.world.demand.unserved:
        text = f"{idle_jobs(part.count)} {part.what}: they start no node"
        if part.code == "capped":
            unknown = "; a schedd that does not answer may run as many" if draft.world.demand.silent else ""
            draft.hold(part.what, "capped", f"{text}{unknown}")
        else:
            draft.hold(part.what, "not-negotiated", text)
