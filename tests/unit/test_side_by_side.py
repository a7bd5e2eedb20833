"""Clouds are acted on side by side: one that hangs keeps no other waiting."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, cast

from ehoslite.act import SIDE_BY_SIDE, Hands, act
from ehoslite.actions import Delete, Plan, Reason
from ehoslite.memory import Memory
from ehoslite.model import CondorState, Node, Server, Slot, VmState
from ehoslite.options import Place
from ehoslite.record import Record
from ehoslite.resources import Resources
from ehoslite.settings import RecordSettings
from tests.unit.worlds import NOW, server, settings


class Silent:
    """A pool that knows nothing of these nodes."""

    def slots_of(self, nodes: list[Node]) -> dict[str, tuple[Slot, ...]]:
        return {node.id: () for node in nodes}

    def jobs_on(self, _nodes: list[Node]) -> dict[str, str]:
        return {}

    def invalidate(self, nodes: list[Node]) -> None:
        """There are no ads."""


class Waiting:
    """A cloud whose deletes hang until the other cloud has done its own."""

    def __init__(self, other: Event) -> None:
        self.other = other

    def delete(self, _server: Server) -> None:
        assert self.other.wait(30), "the other cloud had no turn"


class Quick:
    """A cloud that says when it has deleted something."""

    def __init__(self, done: Event) -> None:
        self.done = done

    def delete(self, _server: Server) -> None:
        self.done.set()


def delete(cloud: str, node: str) -> Delete:
    mine = replace(server(node), cloud=cloud)
    gone = Node(node, cloud, "small", VmState.ACTIVE, CondorState.LOST, Resources(), (mine,), heard=NOW - 4000)
    return Delete(gone, Reason("lost", "it is silent"))


def test_a_cloud_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    done = Event()
    clouds = cast(Any, {"alpha": Waiting(done), "beta": Quick(done)})
    hands = Hands(settings(), cast(Any, Silent()), clouds, random.Random(1), lambda: 50.0)  # noqa: S311
    actions = (*(delete("alpha", f"a{number}") for number in range(3 * SIDE_BY_SIDE)), delete("beta", "b"))
    record = Record(RecordSettings(path=Place(tmp_path / "state.json")), NOW)
    outcomes, _ = act(Plan(actions), Memory(), hands, record, NOW)
    assert [(outcome.node, outcome.error) for outcome in outcomes] == [(one.node.id, "") for one in actions]
