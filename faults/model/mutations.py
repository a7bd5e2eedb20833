"""Deliberate breakages of the product, and the laws that each must be seen to break: the proof of the harness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from ehoslite import act, nodes, observe, policies, record, shrinking
from ehoslite import pool as condor
from ehoslite.act import Hands
from ehoslite.actions import Delete, Outcome, Reason, Sweep
from ehoslite.ads import read_demand
from ehoslite.draft import Draft
from ehoslite.errors import NotRecorded
from ehoslite.memory import Intent, Memory, Remembered
from ehoslite.model import CloudView, CondorState, Demand, Node, Slot
from ehoslite.pool import Pool
from ehoslite.record import Record
from faults.model import motifs, pool
from faults.model.cloud import PretendCloud
from faults.model.histories import USUAL, Reach
from faults.model.motifs import Motif

Swap = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutation:
    """A breakage: how to break the product, the laws of which one must be seen broken, and how far troubles go."""

    swap: Swap
    laws: frozenset[str]
    reach: Reach = USUAL
    motif: Motif | None = None


def _save_the_end_alone(self: Record, memory: Memory, finished: Any = None, now: float = 0.0) -> None:
    if finished:
        SAVE(self, memory, finished, now)


def _save_or_not(self: Record, memory: Memory, finished: Any = None, now: float = 0.0) -> None:
    try:
        SAVE(self, memory, finished, now)
    except NotRecorded:
        return


def _drain_unchecked(self: Pool, node: Node) -> None:
    self._drain_tool("-graceful", "-reason", nodes.DRAIN_REASON, node.machine)


def _delete_blindly(action: Delete, _seen: Any, hands: Hands) -> Outcome:
    return DELETE_ONE(replace(action, drained=False), (), hands)


def _delete_what_speaks(action: Delete, seen: Any, hands: Hands) -> Outcome:
    return DELETE_ONE(replace(action, node=replace(action.node, heard=10.0**12)), seen, hands)


def _create_again(creation: Any, values: Mapping[str, str], hands: Hands) -> Outcome:
    done = CREATE_ONE(creation, values, hands)
    return CREATE_ONE(creation, values, hands) if done.fault == "unclear" else done


def _keep_the_token(creation: Any, values: Mapping[str, str], hands: Hands) -> Outcome:
    done = CREATE_ONE(creation, values, hands)
    return replace(done, server=hands.pool.node_token(done.node))


def _tell_the_token(creation: Any, values: Mapping[str, str], hands: Hands) -> Outcome:
    done = CREATE_ONE(creation, values, hands)
    return replace(done, error=done.error and f"{done.error}: {hands.pool.node_token(done.node)}")


def _call_it_unmade(creation: Any, values: Mapping[str, str], hands: Hands) -> Outcome:
    done = CREATE_ONE(creation, values, hands)
    return replace(done, certain=done.certain or done.fault == "unclear")


def _look_and_believe(cloud: Any, memory: Memory) -> CloudView:
    return replace(LOOK(cloud, memory), fault="")


def _hear_all(answers: Mapping[str, Any]) -> Demand:
    return replace(READ_DEMAND(answers), silent={})


def _forget_the_unclear(intents: Mapping[str, Intent], *rest: Any) -> dict[str, Intent]:
    return OPEN_INTENTS({node: replace(intent, unclear=False) for node, intent in intents.items()}, *rest)


def _trust_the_clock(past: Remembered, _slots: Any, _now: float) -> Remembered:
    return past


def _stumble(_path: Any, _now: float, why: Exception, _keep: bool) -> None:
    raise why


def _sweep_all(draft: Draft) -> None:
    reason = Reason("leftover", "")
    draft.actions += [Sweep(leftover, reason) for cloud in draft.clouds for leftover in cloud.leftovers]


def _take_any_pool(world: Any, pool: str) -> dict[str, tuple[Slot, ...]]:
    ours = tuple(replace(slot, pool=pool) for slot in world.slots)
    return SLOTS_BY_NODE(replace(world, slots=ours), pool)


SAVE, DELETE_ONE, CREATE_ONE, LOOK = Record.save, act._delete_one, act._create_one, observe._look  # noqa: SLF001
READ_DEMAND, SLOTS_BY_NODE, OPEN_INTENTS = read_demand, nodes.slots_by_node, nodes._open_intents  # noqa: SLF001


def _of(owner: Any, name: str, new: Any, *laws: str, motif: Motif | None = None, **reach: Any) -> Mutation:
    return Mutation(lambda: patch.object(owner, name, new), frozenset(laws), Reach(**reach), motif)


def _unasked(owner: Any, name: str, new: Any, *laws: str, motif: Motif | None = None, **reach: Any) -> Mutation:
    """A breakage that the question to the schedds makes good: neither is done."""

    @contextmanager
    def swap() -> Iterator[None]:
        with patch.object(owner, name, new), patch.object(act, "_kept_for_jobs", lambda *_: {}):
            yield

    return Mutation(swap, frozenset(laws), Reach(**reach), motif)


def _nothing(*_ignored: Any) -> None:
    return


MUTATIONS: dict[str, Mutation] = {
    "no intents first": _of(Record, "save", _save_the_end_alone, "limits", motif=motifs.late_creation),
    "created though the intents cannot be written": _of(
        Record, "save", _save_or_not, "limits", motif=motifs.late_creation
    ),
    "intents are dropped at once": _of(nodes, "_open_intents", lambda *_: {}, "limits", motif=motifs.late_creation),
    "drain without check": _of(Pool, "drain", _drain_unchecked, "killed", motif=motifs.job_before_the_drain),
    "drain with a check that does not parse": _of(
        condor, "ONLY_IF_IDLE", "State = Unclaimed", "killed", motif=motifs.job_before_the_drain
    ),
    "delete without looking again": _of(act, "_delete_one", _delete_blindly, "killed", motif=motifs.drain_forgotten),
    "delete what is heard of again": _of(
        act, "_delete_one", _delete_what_speaks, "killed", motif=motifs.back_at_the_last_moment
    ),
    "schedds are not asked before a delete": _of(
        act, "_kept_for_jobs", lambda *_: {}, "killed", motif=motifs.cut_off_unseen
    ),
    "no lock": _of(record, "_hold", _nothing, "lock"),
    "the listing ignores the tag": _of(
        PretendCloud,
        "is_tagged",
        lambda *_: True,
        "foreign",
        "limits",
        "queue",
        "unrest",
        "orphan",
        motif=motifs.strangers_beside_us,
    ),
    "startds of any pool are ours": _of(nodes, "slots_by_node", _take_any_pool, "foreign", "orphan", "queue"),
    "somebody else's drain is ours": _of(nodes, "DRAIN_REASON", "", "foreign", motif=motifs.drained_by_somebody),
    "a silent cloud is an empty one": _of(
        observe, "_look", _look_and_believe, "limits", "killed", "orphan", motif=motifs.silence_of_a_cloud
    ),
    "a listing is believed whatever it leaves out": _of(
        observe, "_check_whole", _nothing, "limits", "killed", motif=motifs.listed_in_part
    ),
    "an unclear creation is waited for no longer than others": _of(
        nodes, "_open_intents", _forget_the_unclear, "limits", motif=motifs.late_creation
    ),
    "a silent schedd has no jobs": _of(pool, "read_demand", _hear_all, "blind", motif=motifs.schedd_not_known_yet),
    "claims do not matter, and schedds are not asked": _unasked(
        policies, "may_hold_a_job", lambda *_: False, "killed", motif=motifs.frozen_by_hand
    ),
    "a startd is lost within minutes, and schedds are not asked": _unasked(
        policies, "silence_allowed", lambda *_: 300.0, "killed", motif=motifs.silent_for_a_while
    ),
    "the clock never jumps, and schedds are not asked": _unasked(
        nodes, "_watch", _trust_the_clock, "killed", motif=motifs.clock_ahead, latest=0.0, skews=True
    ),
    "nodes_max ignores what boots": _of(
        policies, "counts_to_limits", lambda node, _: node.condor_state is not CondorState.ABSENT, "limits"
    ),
    "unclear creations are repeated": _of(
        act, "_create_one", _create_again, "doubled", "limits", motif=motifs.late_creation
    ),
    "unclear creations are forgotten": _of(act, "_create_one", _call_it_unmade, "limits", motif=motifs.late_creation),
    "what is drained is kept": _of(shrinking, "take_back_or_delete_drained", _nothing, "orphan", "queue"),
    "what is broken is kept": _of(shrinking, "replace_broken", _nothing, "orphan", "queue"),
    "what differs is kept": _of(policies, "has_drifted", lambda *_: False, "drift", motif=motifs.another_image),
    "nothing is swept": _of(shrinking, "sweep_leftovers", _nothing, "orphan"),
    "what is in use is swept": _of(shrinking, "sweep_leftovers", _sweep_all, "cut off"),
    "the state file keeps the token": _of(act, "_create_one", _keep_the_token, "secret"),
    "an error quotes the token": _of(act, "_create_one", _tell_the_token, "secret", motif=motifs.late_creation),
    "an unusable state file is not set aside": _of(
        record, "_set_aside", _stumble, "crashed", motif=motifs.damaged_in_between
    ),
}
