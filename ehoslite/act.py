"""Carries out a plan: intents first, then the calls, side by side. Each action fails alone; no boot is waited for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ehoslite.actions import Create, Delete, Drain, Forget, Outcome, Plan, Sweep, Undrain
from ehoslite.booting import note_failures
from ehoslite.cloudinit import read_template, user_data
from ehoslite.clouds import Cloud
from ehoslite.config import find_template
from ehoslite.errors import AlreadyDraining, CloudFault, DeadlinePassed, DrainOver, EhosError, NotIdle, Unclear
from ehoslite.memory import Intent, Memory
from ehoslite.model import Node, Slot, VmState
from ehoslite.nodes import is_drained, is_drained_by_us
from ehoslite.pool import Pool
from ehoslite.record import Record
from ehoslite.settings import Settings

Task = TypeVar("Task")

# Threads for each cloud; how many calls it gets at a time is its own limits.calls.
SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Hands:
    """What a pass acts with. `chance` chooses node ids; `remaining` tells the seconds left of the pass."""

    settings: Settings
    pool: Pool
    clouds: Mapping[str, Cloud]
    chance: random.Random
    remaining: Callable[[], float]


def rehearse(
    _plan: Plan, memory: Memory, _hands: Hands, _record: Record, _now: float
) -> tuple[tuple[Outcome, ...], Memory]:
    """Do nothing: the act of a dry run."""
    return (), memory


def act(plan: Plan, memory: Memory, hands: Hands, record: Record, now: float) -> tuple[tuple[Outcome, ...], Memory]:
    """Do what the plan says; gives what came of each action, and the memory with what is now intended or gone.

    Raises NotRecorded before anything is created when the intents cannot be written.
    """
    begun = now + max(0.0, hands.settings.deadline - hands.remaining())  # an intent ages from the call on
    creations = _intend([action for action in plan.actions if isinstance(action, Create)], memory, hands, begun)
    memory = replace(memory, intents={**memory.intents, **{intent.node: intent for intent, _ in creations}})
    if creations:
        record.save(memory)
    outcomes = [
        *_create(creations, hands),
        *_drain_and_undrain([action for action in plan.actions if isinstance(action, Drain | Undrain)], hands),
        *_delete([action for action in plan.actions if isinstance(action, Delete)], hands),
        *_forget([action for action in plan.actions if isinstance(action, Forget)], hands),
        *_sweep([action for action in plan.actions if isinstance(action, Sweep)], hands),
    ]
    return tuple(outcomes), note_failures(_settled(memory, outcomes), outcomes, plan.flavors, now)


def _intend(actions: Sequence[Create], memory: Memory, hands: Hands, now: float) -> list[tuple[Intent, Create]]:
    """A node id for each creation; ids are never used twice. A pass that dies before it has an answer leaves what a
    lost reply leaves, so until then each is unclear."""
    taken = {*memory.nodes, *memory.intents}
    intents: list[tuple[Intent, Create]] = []
    for action in actions:
        node, flavor = _new_id(hands.settings.pool, taken, hands.chance), action.flavor
        taken.add(node)
        intents.append((Intent(node, flavor.cloud, flavor.name, now, unclear=True, recipe=flavor.recipe), action))
    return intents


def _new_id(pool: str, taken: set[str], chance: random.Random) -> str:
    while (node := f"ehos-{pool}-{chance.getrandbits(32):08x}") in taken:
        continue
    return node


def _create(creations: Sequence[tuple[Intent, Create]], hands: Hands) -> list[Outcome]:
    if not creations:
        return []
    try:
        values = {"collector": hands.pool.collector(), "domain": hands.pool.domain()}
    except EhosError as error:
        return [_not_made(action, intent, error) for intent, action in creations]
    return _side_by_side(lambda creation: _create_one(creation, values, hands), creations, lambda one: one[0].cloud)


def _create_one(creation: tuple[Intent, Create], values: Mapping[str, str], hands: Hands) -> Outcome:
    intent, action = creation
    try:
        _check_time(hands)
        data = _user_data(intent, values, hands)
    except EhosError as error:
        return _not_made(action, intent, error)
    try:
        server = hands.clouds[intent.cloud].create(intent.node, intent.flavor, data)
    except Unclear as error:
        return Outcome(action, intent.node, str(error), fault=error.code)
    except EhosError as error:
        return _not_made(action, intent, error)
    return Outcome(action, intent.node, server=server)


def _not_made(action: Create, intent: Intent, error: EhosError) -> Outcome:
    """A creation that certainly made nothing: its intent is dropped at once."""
    fault = error.code if isinstance(error, CloudFault) else ""
    return Outcome(action, intent.node, str(error), harmless=fault == "quota", certain=True, fault=fault)


def _user_data(intent: Intent, values: Mapping[str, str], hands: Hands) -> str:
    settings = hands.settings
    template = find_template(Path(settings.clouds[intent.cloud].template)) or Path(
        settings.clouds[intent.cloud].template
    )
    filled = {
        **settings.template_values,
        **values,
        "node": intent.node,
        "pool": settings.pool,
        "cloud": intent.cloud,
        "flavor": intent.flavor,
        "node_domain": settings.condor.node_domain,
        "retirement": f"{settings.condor.retirement:.0f}",
        "lease": f"{settings.scaling.lease:.0f}",
        "token": hands.pool.node_token(intent.node),
    }
    return user_data(read_template(template), filled, template)


def _drain_and_undrain(actions: Sequence[Drain | Undrain], hands: Hands) -> list[Outcome]:
    """Ask the startds; which drains are still ours is looked at once more before any is cancelled."""
    back = [action.node for action in actions if isinstance(action, Undrain)]
    try:
        seen = hands.pool.slots_of(back) if back else {}
    except EhosError as error:
        return [Outcome(action, action.node.id, str(error)) for action in actions]
    return _side_by_side(lambda action: _drain_or_undrain(action, seen.get(action.node.id, ()), hands), actions)


def _drain_or_undrain(action: Drain | Undrain, seen: Sequence[Slot], hands: Hands) -> Outcome:
    if isinstance(action, Undrain) and not is_drained_by_us(seen):
        return Outcome(action, action.node.id, "no drain of ours is seen there any more", harmless=True)
    try:
        _check_time(hands)
        if isinstance(action, Drain):
            hands.pool.drain(action.node)
        else:
            hands.pool.undrain(action.node)
    except (NotIdle, DrainOver) as error:
        return Outcome(action, action.node.id, str(error), harmless=True)
    except AlreadyDraining:
        return Outcome(action, action.node.id)
    except EhosError as error:
        return Outcome(action, action.node.id, str(error))
    return Outcome(action, action.node.id)


def _delete(actions: Sequence[Delete], hands: Hands) -> list[Outcome]:
    """Look once more, ask drained startds themselves and for all others the schedds, delete, and take the ads away: a
    restarted startd has forgotten its drain and takes jobs."""
    if not actions:
        return []
    try:
        seen = hands.pool.slots_of([action.node for action in actions])
    except EhosError as error:
        return [Outcome(action, action.node.id, str(error)) for action in actions]
    kept = _kept_for_jobs(actions, hands)
    going = [action for action in actions if action.node.id not in kept]
    outcomes = _side_by_side(
        lambda action: _delete_one(action, seen[action.node.id], hands), going, lambda action: action.node.cloud
    )
    outcomes += [
        Outcome(action, action.node.id, kept[action.node.id], harmless=True)
        for action in actions
        if action.node.id in kept
    ]
    gone = [outcome.action.node for outcome in outcomes if isinstance(outcome.action, Delete) and not outcome.error]
    if gone:
        try:
            hands.pool.invalidate(gone)
        except EhosError as error:
            return [replace(outcome, error=outcome.error or str(error)) for outcome in outcomes]
    return outcomes


def _kept_for_jobs(actions: Sequence[Delete], hands: Hands) -> dict[str, str]:
    """Why some are not deleted now, by node id: a schedd runs a job there, or could not be asked. A drained startd has
    no job, and of a server that is being deleted already nothing is saved."""
    asked = [one.node for one in actions if not one.drained and one.node.vm_state is not VmState.DELETING]
    if not asked:
        return {}
    try:
        return {node: f"{job} runs on it" for node, job in hands.pool.jobs_on(asked).items()}
    except EhosError as error:
        return {node.id: str(error) for node in asked}


def _delete_one(action: Delete, seen: Sequence[Slot], hands: Hands) -> Outcome:
    node = action.node
    if action.drained and not is_drained(seen):
        return Outcome(action, node.id, "it is not seen Drained/Idle any more", harmless=True)
    if not action.drained and any(slot.heard > node.heard for slot in seen):
        # idle or not: its startd may take a job before the delete is carried out
        return Outcome(action, node.id, "it has been heard of again", harmless=True)
    detail = ""
    try:
        _check_time(hands)
        if action.drained:
            _make_sure_of_drain(node, hands)
        detail = _last_words(action, hands)
        for server in node.servers:
            hands.clouds[server.cloud].delete(server)
    except NotIdle:
        return Outcome(action, node.id, "its startd has forgotten the drain and taken a job", harmless=True)
    except EhosError as error:
        return Outcome(action, node.id, str(error), detail=detail)
    return Outcome(action, node.id, detail=detail)


def _make_sure_of_drain(node: Node, hands: Hands) -> None:
    """Ads are a second old or more (1.1 s measured, HTCondor 23.9.6), and in it a startd whose drain was taken back or
    forgotten has taken a job. A startd that still drains refuses a second drain and changes nothing; one that does not
    drains anew, if it is idle. Raises NotIdle, ActionFailed."""
    with suppress(AlreadyDraining):
        hands.pool.drain(node)


def _last_words(action: Delete, hands: Hands) -> str:
    """The end of the console log of a boot that never joined: mostly it says why. Without it, it goes all the same."""
    if action.reason.code != "boot-timeout":
        return ""
    try:
        said = [hands.clouds[server.cloud].console(server) for server in action.node.servers]
    except EhosError as error:
        return f"its console log was not to be had: {error}"
    return f"its console ends with: {said[0]}" if said and said[0] else "its console log is empty"


def _forget(actions: Sequence[Forget], hands: Hands) -> list[Outcome]:
    if not actions:
        return []
    try:
        hands.pool.invalidate([action.node for action in actions])
    except EhosError as error:
        return [Outcome(action, action.node.id, str(error)) for action in actions]
    return [Outcome(action, action.node.id) for action in actions]


def _sweep(actions: Sequence[Sweep], hands: Hands) -> list[Outcome]:
    def sweep_one(action: Sweep) -> Outcome:
        try:
            _check_time(hands)
            hands.clouds[action.leftover.cloud].remove(action.leftover)
        except EhosError as error:
            return Outcome(action, action.leftover.node, str(error))
        return Outcome(action, action.leftover.node)

    return _side_by_side(sweep_one, actions, lambda action: action.leftover.cloud)


def _side_by_side(
    do: Callable[[Task], Outcome], tasks: Sequence[Task], cloud_of: Callable[[Task], str] = lambda _: ""
) -> list[Outcome]:
    """Each cloud has threads of its own: one that hangs keeps no other waiting."""
    by_cloud: dict[str, list[Task]] = {}
    for task in tasks:
        by_cloud.setdefault(cloud_of(task), []).append(task)
    with ExitStack() as stack:
        begun = {
            cloud: stack.enter_context(ThreadPoolExecutor(SIDE_BY_SIDE)).map(do, theirs)
            for cloud, theirs in by_cloud.items()
        }
        return [next(begun[cloud_of(task)]) for task in tasks]


def _check_time(hands: Hands) -> None:
    if hands.remaining() <= 0:
        raise DeadlinePassed("not begun: the pass has no time left; the next one does it")


def _settled(memory: Memory, outcomes: Sequence[Outcome]) -> Memory:
    """The memory without what certainly was not made and what certainly is gone, and with what creations gave."""
    unmade = {outcome.node for outcome in outcomes if outcome.certain}
    gone = {outcome.node for outcome in outcomes if isinstance(outcome.action, Delete | Forget) and not outcome.error}
    intents = dict(memory.intents)
    for outcome in outcomes:
        if isinstance(outcome.action, Create) and outcome.node in intents:
            unclear = outcome.fault == Unclear.code
            intents[outcome.node] = replace(intents[outcome.node], server=outcome.server, unclear=unclear)
    return replace(
        memory,
        nodes={node: seen for node, seen in memory.nodes.items() if node not in gone},
        intents={node: intent for node, intent in intents.items() if node not in unmade | gone},
    )
