"""The last look before a delete: what the collector says then, against what the plan was made of."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from ehoslite.act import Hands, act
from ehoslite.actions import Delete, Plan, Reason
from ehoslite.memory import Memory
from ehoslite.model import CondorState, Node, Resources, Server, Slot, VmState
from ehoslite.record import Record
from tests.unit.worlds import NOW, claim, server, settings, slot


class Condor:
    """A pool that answers the last look with these slots."""

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = slots

    def slots_of(self, nodes: list[Node]) -> dict[str, tuple[Slot, ...]]:
        return {node.id: tuple(self.slots) for node in nodes}

    def invalidate(self, nodes: list[Node]) -> None:
        """Nothing lingers here."""


class Deleted:
    """A cloud that notes what is deleted."""

    def __init__(self) -> None:
        self.servers: list[str] = []

    def delete(self, one: Server) -> None:
        self.servers.append(one.node)


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
    hands = Hands(settings(), cast(Any, Condor(seen)), cast(Any, {"here": cloud}), random.Random(1), lambda: 50.0)  # noqa: S311
    outcomes, _ = act(plan, Memory(), hands, cast(Record, None), NOW)
    assert cloud.servers == (["n1"] if deleted else [])
    assert [(not one.error, one.harmless) for one in outcomes] == [(deleted, not deleted)]
