"""The fate of nodes that fail, stop, never join, fall silent or are doubled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehoslite.actions import Delete
from ehoslite.memory import Memory, Remembered
from ehoslite.model import Slot, VmState, World
from ehoslite.nodes import DRAIN_REASON
from tests.unit.worlds import (
    NOW,
    acts,
    alien,
    claim,
    decide,
    held,
    jobs,
    made,
    memory,
    remembered,
    server,
    slot,
    world,
)

BROKEN: dict[str, tuple[World, Memory, list[tuple[str, str, str]], set[str]]] = {
    "a failed build": (world([server("n1", VmState.ERROR)]), Memory(), [("delete", "n1", "build-failed")], set()),
    "a stopped server": (world([server("n1", VmState.STOPPED)]), Memory(), [("delete", "n1", "stopped")], set()),
    "a stopped server that a schedd may still claim": (
        world([server("n1", VmState.STOPPED)], [slot("n1"), claim("n1")]),
        Memory(),
        [],
        {"claimed"},
    ),
    "a stopped server whose claim has run out": (
        world([server("n1", VmState.STOPPED)], [slot("n1", heard_ago=3001), claim("n1", heard_ago=3001)]),
        Memory(),
        [("delete", "n1", "stopped")],
        set(),
    ),
    "a server that somebody suspended: a job may sleep in it, whatever its last ad says": (
        world([replace(server("n1", VmState.STOPPED), status="SUSPENDED")], [slot("n1", heard_ago=2999)]),
        Memory(),
        [],
        {"claimed"},
    ),
    "a suspended server of which nothing else is known": (
        world([replace(server("n1", VmState.STOPPED), status="SUSPENDED")]),
        memory(remembered("n1", age=2999)),
        [],
        {"claimed"},
    ),
    "a server that was suspended when its drain was done": (
        world([replace(server("n1", VmState.STOPPED), status="SUSPENDED")], [slot("n1", "Drained")]),
        Memory(),
        [("delete", "n1", "stopped")],
        set(),
    ),
    "a server suspended beyond the job lease": (
        world([replace(server("n1", VmState.STOPPED), status="SUSPENDED")], [slot("n1", heard_ago=3001)]),
        memory(remembered("n1")),
        [("delete", "n1", "stopped")],
        set(),
    ),
    "a boot past its time": (
        world([server("n1")]),
        memory(remembered("n1", age=901)),
        [("delete", "n1", "boot-timeout")],
        set(),
    ),
    "a boot within its time": (world([server("n1")]), memory(remembered("n1", age=899)), [], set()),
    "a boot past its time while the collector is young": (
        world([server("n1")], collector_since=NOW - 599),
        memory(remembered("n1", age=901)),
        [],
        {"collector-young"},
    ),
    "a failed build while the collector is young": (
        world([server("n1", VmState.ERROR)], collector_since=NOW),
        memory(remembered("n1")),
        [("delete", "n1", "build-failed")],
        set(),
    ),
    "one in error of which nothing is remembered, while the collector is young: it may have run before": (
        world([server("n1", VmState.ERROR)], collector_since=NOW),
        Memory(),
        [],
        {"collector-young"},
    ),
    "a build that found no host": (
        world([replace(server("n1", VmState.ERROR), fault="No valid host was found. There are not enough hosts.")]),
        Memory(),
        [("delete", "n1", "no-valid-host")],
        set(),
    ),
    "a build that found the quota used up": (
        world([replace(server("n1", VmState.ERROR), fault="Quota exceeded for cores: Requested 2")]),
        Memory(),
        [("delete", "n1", "build-quota")],
        set(),
    ),
    "a build whose volume found the quota used up": (
        world([replace(server("n1", VmState.ERROR), fault="VolumeSizeExceedsAvailableQuota: it exceeds the quota")]),
        Memory(),
        [("delete", "n1", "build-quota")],
        set(),
    ),
    "one in error that has joined, while the collector is young and may not know its schedd": (
        world([server("n1", VmState.ERROR)], collector_since=NOW),
        memory(remembered("n1", joined=1.0, heard=NOW - 9)),
        [],
        {"collector-young"},
    ),
    "a failed build while a schedd is silent: it may have been in the pool for less than a pass": (
        world([server("n1", VmState.ERROR)], silent={"schedd": "no answer"}),
        Memory(),
        [],
        {"schedd-silent"},
    ),
    "one that deletes for ever while a schedd is silent": (
        world([replace(server("n1", VmState.DELETING), changed=NOW - 901)], silent={"schedd": "no answer"}),
        Memory(),
        [("delete", "n1", "delete-again")],
        {"schedd-silent"},
    ),
    "a server in error whose startd takes jobs": (
        world([server("n1", VmState.ERROR)], [slot("n1")]),
        memory(remembered("n1")),
        [("drain", "n1", "build-failed")],
        set(),
    ),
    "a server in error whose startd has another's name: a drain might hit the other": (
        world([server("n1", VmState.ERROR)], [slot("n1"), alien(machine="n1.nodes")]),
        memory(remembered("n1")),
        [],
        {"ambiguous-machine"},
    ),
    "a server in error whose startd has a job": (
        world([server("n1", VmState.ERROR)], [slot("n1"), claim("n1")]),
        memory(remembered("n1")),
        [],
        {"claimed"},
    ),
    "a server in error whose startd still has the slot of a job that has ended": (
        world([server("n1", VmState.ERROR)], [slot("n1"), claim("n1", state="Unclaimed", activity="Idle")]),
        memory(remembered("n1")),
        [("drain", "n1", "build-failed")],
        set(),
    ),
    "a server in error whose startd is draining": (
        world([server("n1", VmState.ERROR)], [slot("n1", draining=True, drain_reason=DRAIN_REASON)]),
        memory(remembered("n1")),
        [],
        {"drains"},
    ),
    "a server in error whose startd is drained": (
        world([server("n1", VmState.ERROR)], [slot("n1", "Drained")]),
        memory(remembered("n1")),
        [("delete", "n1", "build-failed")],
        set(),
    ),
    "an absent node that we do not remember making may be a running one": (
        world([server("n1")]),
        memory(remembered("n1", age=2999, created_here=False)),
        [],
        set(),
    ),
    "such a node after the job lease": (
        world([server("n1")]),
        memory(remembered("n1", age=3001, created_here=False)),
        [("delete", "n1", "lost")],
        set(),
    ),
    "a node that fell silent within the job lease": (
        world([server("n1")]),
        memory(remembered("n1", joined=1.0, heard=NOW - 2999)),
        [],
        set(),
    ),
    "a node silent beyond the job lease": (
        world([server("n1")]),
        memory(remembered("n1", joined=1.0, heard=NOW - 3001)),
        [("delete", "n1", "lost")],
        set(),
    ),
    "a busy node": (world([server("n1")], [slot("n1"), claim("n1")]), memory(remembered("n1")), [], set()),
    "a server that is being deleted": (
        world([replace(server("n1", VmState.DELETING), changed=NOW - 899)]),
        Memory(),
        [],
        set(),
    ),
    "a server that deletes for ever": (
        world([replace(server("n1", VmState.DELETING), changed=NOW - 901)]),
        Memory(),
        [("delete", "n1", "delete-again")],
        set(),
    ),
    "a server in a state that we do not know": (
        world([server("n1", VmState.UNKNOWN)]),
        memory(remembered("n1", joined=1.0, heard=1.0)),
        [],
        {"vm-unknown"},
    ),
    "ads that a deleted server left": (
        world([], [slot("n1", heard_ago=181)]),
        Memory(),
        [("forget", "n1", "server-gone")],
        set(),
    ),
    "fresh ads of a server that is not listed": (world([], [slot("n1"), claim("n1")]), Memory(), [], {"no-server"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_nodes(case: str) -> None:
    seen, past, actions, codes = BROKEN[case]
    decided = decide(seen, past)
    assert (acts(decided), held(decided)) == (actions, codes)


TWICE = (replace(server("n1"), created=NOW - 90), replace(server("n1"), id="id-again", created=NOW - 80))


def test_of_doubled_servers_the_oldest_stays_while_none_has_joined() -> None:
    decided = decide(world(TWICE), memory(remembered("n1", age=100)), nodes_min=1)
    assert acts(decided) == [("delete", "n1", "duplicate")]
    (action,) = decided.actions
    assert isinstance(action, Delete)
    assert [server.id for server in action.node.servers] == ["id-again"]


@pytest.mark.parametrize(("slots", "past"), [([slot("n1")], [remembered("n1")]), ([], [])])
def test_doubled_servers_that_may_run_jobs_are_said_and_left_alone(slots: list[Slot], past: list[Remembered]) -> None:
    decided = decide(world(TWICE, slots), memory(*past), nodes_min=1)
    assert (acts(decided), "duplicate" in held(decided)) == ([], True)
    assert any("id-n1, id-again" in one.reason.text for one in decided.held)


def test_doubled_servers_count_twice_to_nodes_max() -> None:
    assert made(decide(world(TWICE, [slot("n1"), claim("n1")], [jobs(99)]), nodes_max=3)) == {"large": 1}
