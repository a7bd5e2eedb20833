"""The last look before a delete: what the collector says then, against what the plan was made of."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ehoslite.act import Hands, act
from ehoslite.actions import Create, Delete, Plan, Reason, Undrain
from ehoslite.errors import ActionFailed, AlreadyDraining, DrainOver, EhosError, NotIdle, PoolUnreachable
from ehoslite.memory import Memory
from ehoslite.model import CondorState, Node, Server, Slot, VmState
from ehoslite.options import Place
from ehoslite.record import Record
from ehoslite.resources import Resources
from ehoslite.settings import RecordSettings
from tests.unit.worlds import NOW, SMALL, claim, server, settings, slot


class Condor:
    """A pool that answers the last look with these slots; its startd answers a drain with this error, if any."""

    def __init__(
        self, slots: list[Slot], answer: EhosError | None = None, jobs: dict[str, str] | EhosError | None = None
    ) -> None:
        self.slots = slots
        self.answer = answer
        self.jobs = jobs or {}
        self.asked: list[str] = []
        self.asked_of: list[str] = []  # the nodes that schedds were asked about

    def slots_of(self, nodes: list[Node]) -> dict[str, tuple[Slot, ...]]:
        return {node.id: tuple(self.slots) for node in nodes}

    def jobs_on(self, nodes: list[Node]) -> dict[str, str]:
        self.asked_of += [node.id for node in nodes]
        if isinstance(self.jobs, EhosError):
            raise self.jobs
        return self.jobs

    def drain(self, node: Node) -> None:
        self.asked.append(node.id)
        if self.answer is not None:
            raise self.answer

    def undrain(self, node: Node) -> None:
        self.drain(node)

    def invalidate(self, nodes: list[Node]) -> None:
        """Nothing lingers here."""


class Deleted:
    """A cloud that notes what is deleted."""

    def __init__(self) -> None:
        self.servers: list[str] = []

    def delete(self, one: Server) -> None:
        self.servers.append(one.node)


def hands(condor: Condor, cloud: Deleted) -> Hands:
    chance = random.Random(1)  # noqa: S311
    return Hands(settings(), cast(Any, condor), cast(Any, {"here": cloud}), chance, lambda: 50.0)


SILENT = 4000.0
CASES: dict[str, tuple[bool, list[Slot], bool]] = {
    "lost, and no ad of it": (False, [], True),
    "lost, and its ad as old as it was": (False, [slot("n1", heard_ago=SILENT)], True),
    "lost, and its claim as old as it was": (False, [claim("n1", heard_ago=SILENT)], True),
    "lost, and back with a job": (False, [slot("n1"), claim("n1")], False),
    "lost, and back without one: it may take one at once": (False, [slot("n1")], False),
    "drained, and seen so again": (True, [slot("n1", "Drained")], True),
    "drained, and it takes jobs again": (True, [slot("n1")], False),
    "drained, and its ads are gone": (True, [], False),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_last_look_stops(case: str) -> None:
    drained, seen, deleted = CASES[case]
    heard = NOW - (0 if drained else SILENT)
    lost = Node("n1", "here", "small", VmState.ACTIVE, CondorState.LOST, Resources(), (server("n1"),), heard=heard)
    cloud, plan = Deleted(), Plan((Delete(lost, Reason("lost", "it is silent"), drained=drained),))
    condor = Condor(seen)
    outcomes, _ = act(plan, Memory(), hands(condor, cloud), cast(Record, None), NOW)
    assert condor.asked == (["n1"] if drained and deleted else []), "only what is to be deleted is asked to drain"
    assert cloud.servers == (["n1"] if deleted else [])
    assert [(not one.error, one.harmless) for one in outcomes] == [(deleted, not deleted)]


JOBS: dict[str, dict[str, str] | EhosError] = {
    "a schedd runs a job on it": {"n1": "job 7.0 of schedd"},
    "a schedd does not answer": PoolUnreachable(
        "a schedd may run a job on it and did not answer: no answer within 9 s"
    ),
}


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("state", VmState)
def test_what_is_not_drained_is_kept_while_a_schedd_may_run_a_job_on_it(case: str, state: VmState) -> None:
    """It may have joined, got its job and fallen silent between two passes."""
    never_seen = Node("n1", "here", "small", state, CondorState.ABSENT, Resources(), (server("n1"),))
    cloud, plan = Deleted(), Plan((Delete(never_seen, Reason("lost", "it is silent")),))
    condor = Condor([], jobs=JOBS[case])
    outcomes, _ = act(plan, Memory(), hands(condor, cloud), cast(Record, None), NOW)
    kept = state is not VmState.DELETING
    assert (condor.asked_of, cloud.servers) == ((["n1"], []) if kept else ([], ["n1"]))
    assert [(bool(one.error), one.harmless) for one in outcomes] == [(kept, kept)]


# The startd's answer to one more drain: whether the node is deleted then, and whether not to do it is harmless.
ANSWERS: dict[str, tuple[EhosError | None, bool, bool]] = {
    "it still drains": (AlreadyDraining("10001"), True, False),
    "it had forgotten the drain and is idle": (None, True, False),
    "it had forgotten the drain and has a job": (NotIdle("10003"), False, True),
    "none": (ActionFailed("Failed to start DRAIN_JOBS command"), False, False),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_drained_node_is_deleted_on_its_startd_s_own_word_only(case: str) -> None:
    """The collector may show it Drained/Idle for a second and more after its drain has ended."""
    answer, deleted, harmless = ANSWERS[case]
    node = Node("n1", "here", "small", VmState.ACTIVE, CondorState.DRAINED, Resources(), (server("n1"),), heard=NOW)
    cloud, plan = Deleted(), Plan((Delete(node, Reason("drained", "it is drained"), drained=True),))
    condor = Condor([slot("n1", "Drained")], answer)
    outcomes, _ = act(plan, Memory(), hands(condor, cloud), cast(Record, None), NOW)
    assert (condor.asked, cloud.servers) == (["n1"], ["n1"] if deleted else [])
    assert [(not one.error, one.harmless) for one in outcomes] == [(deleted, harmless)]


UNDRAINED: dict[str, tuple[list[Slot], EhosError | None, bool, bool]] = {
    "it drains as it did": ([slot("n1", "Drained")], None, True, False),
    "its drain is over by now": ([slot("n1", "Drained")], DrainOver("10002"), False, True),
    "no drain of ours is seen any more": ([slot("n1")], None, False, True),
    "its startd cannot be reached": ([slot("n1", "Drained")], ActionFailed("Failed to start"), False, False),
}


@pytest.mark.parametrize("case", UNDRAINED)
def test_what_comes_of_taking_a_drained_node_back(case: str) -> None:
    seen, answer, done, harmless = UNDRAINED[case]
    node = Node("n1", "here", "small", VmState.ACTIVE, CondorState.DRAINED, Resources(), (server("n1"),), heard=NOW)
    plan = Plan((Undrain(node, Reason("demand", "jobs wait")),))
    outcomes, _ = act(plan, Memory(), hands(Condor(seen, answer), Deleted()), cast(Record, None), NOW)
    assert [(not one.error, one.harmless) for one in outcomes] == [(done, harmless)]


def test_an_intent_ages_from_its_call_and_not_from_the_start_of_the_pass(folder: Path) -> None:
    """A pass that is killed late has asked late: what it asked for may show as late."""
    condor = SimpleNamespace(collector=lambda: "cm", domain=lambda: "lab", node_token=lambda _: "a.b.c")
    cloud = SimpleNamespace(create=lambda *_: "id-1")
    late = Hands(settings(), cast(Any, condor), {"here": cast(Any, cloud)}, random.Random(1), lambda: 10.0)  # noqa: S311
    plan = Plan((Create(SMALL, Reason("demand", "")),))
    _, memory = act(plan, Memory(), late, Record(RecordSettings(Place(folder / "state.json")), NOW), NOW)
    assert [intent.at for intent in memory.intents.values()] == [NOW + settings().deadline - 10]
