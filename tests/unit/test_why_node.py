"""`ehoslite why node`: which nodes a name means, and what is said of each state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ehoslite.look import Look
from ehoslite.memory import Boots, Memory
from ehoslite.model import CondorState, Node, Room, VmState, World
from ehoslite.nodes import DRAIN_REASON, remember
from ehoslite.options import Seconds
from ehoslite.plan import plan
from ehoslite.settings import WindowSettings
from ehoslite.why_node import find_nodes, node_lines, past_lines, plan_lines
from tests.unit.worlds import LARGE, NOW, SMALL, claim, jobs, memory, remembered, server, settings, slot, world

TWO = world([server("ehos-lab-01aa"), server("ehos-lab-02aa")], [slot("ehos-lab-01aa")])


def look_at(seen: World, past: Memory | None = None) -> Look:
    known = remember(past or Memory(), seen, settings())
    return Look(seen, known, plan(seen, known, settings()))


def said(seen: World, past: Memory | None = None) -> str:
    look = look_at(seen, past)
    return "\n".join(line for node in look.plan.nodes for line in node_lines(node, look, settings()))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ehos-lab-01aa", ["ehos-lab-01aa"]),
        ("01aa", ["ehos-lab-01aa"]),
        ("aa", ["ehos-lab-01aa", "ehos-lab-02aa"]),
        ("id-ehos-lab-02aa", ["ehos-lab-02aa"]),
        ("slot1@ehos-lab-01aa", ["ehos-lab-01aa"]),
        ("ehos-lab-01aa.nodes", ["ehos-lab-01aa"]),
        ("03", []),
        ("", []),
    ],
)
def test_a_name_means_these_nodes(name: str, found: list[str]) -> None:
    assert [node.id for node in find_nodes(look_at(TWO).plan.nodes, name)] == found


STATES = {
    "idle and due": (world([server("n1")], [slot("n1")]), Memory(), "drain: idle for 1000 s [idle-timeout]"),
    "idle": (world([server("n1")], [slot("n1", idle_for=10)]), Memory(), "not yet: 1 idle nodes are kept"),
    "busy": (world([server("n1")], [slot("n1"), claim("n1")]), Memory(), "nothing: it does what it is there for"),
    "booting": (world([server("n1")]), memory(remembered("n1", age=100)), "it is given 900 s"),
    "lost": (world([server("n1")]), memory(remembered("n1", joined=1.0, heard=NOW - 600)), "silent for 600 s"),
    "failed": (world([server("n1", VmState.ERROR, fault="no disk")]), Memory(), "delete: it is in error: no disk"),
    "gone": (world([], [slot("n1", heard_ago=181)]), Memory(), "no cloud that answers lists one"),
}


@pytest.mark.parametrize("case", STATES)
def test_what_is_said_of_a_node_in_each_state(case: str) -> None:
    seen, past, text = STATES[case]
    assert text in said(seen, past)


TODAY = replace(SMALL, made_of="today")
OLD = replace(server("n2"), made_of="old")
NEW = replace(server("n1"), made_of="today")
GOING = replace(server("n1", VmState.DELETING), changed=NOW)
# What else there is; what the next pass does with n1, and with n2 if it is there: the ends of the lines.
DONE_WITH: dict[str, tuple[World, Memory, dict[str, Any], list[str], list[str]]] = {
    "jobs fit on it": (
        world([server("n1"), server("n2")], [slot("n1"), slot("n2", idle_for=10, flavor=LARGE)], [jobs(1)]),
        *(Memory(), {}),
        *(["nothing: there is room on it for 1 idle job"], ["[idle-timeout]"]),
    ),
    "the minimum keeps it": (
        world([server("n1"), server("n2")], [slot("n1"), slot("n2", idle_for=10)]),
        *(Memory(), {"nodes_min": 2}),
        *(["[kept]"], ["[idle-timeout]"]),
    ),
    "its schedds are silent": (
        world([server("n1"), server("n2")], [slot("n1"), slot("n2", idle_for=10)], silent={"one": "no answer"}),
        *(Memory(), {}),
        *(["[schedd-silent]"], ["nothing: it has not been idle for 300 s"]),
    ),
    "another has drifted": (
        world([NEW, OLD], [slot("n1", idle_for=10), slot("n2"), claim("n2")], flavors=[TODAY]),
        *(Memory(), {}),
        *(["[idle-timeout]"], ["nothing: it does what it is there for"]),
    ),
    "it has drifted": (
        world([NEW, OLD], [slot("n1", idle_for=10), slot("n2", idle_for=10)], flavors=[TODAY]),
        *(Memory(), {"drift_nodes": 0}),
        *(["[idle-timeout]"], ["[idle-timeout]", "[drift]"]),
    ),
    "it has drifted, and nothing would be allowed in its place": (
        world([NEW, OLD], [slot("n1", idle_for=10), slot("n2", idle_for=10)], flavors=[TODAY], room=Room(-1)),
        *(Memory(), {"nodes_min": 2}),
        *(["[idle-timeout]"], ["[no-successor]", "[idle-timeout]", "[drift]"]),
    ),
    "its cloud is silent": (
        world(slots=[slot("n1")], fault="no route to host"),
        *(memory(remembered("n1", joined=1.0), remembered("n2")), {}),
        *(["[cloud-silent]"], ["[cloud-silent]"]),
    ),
    "its server goes, or its startd drains": (
        world(
            [GOING, server("n2")],
            [slot("n1"), slot("n2", draining=True, drain_reason=DRAIN_REASON)],
        ),
        *(Memory(), {}),
        *(["nothing: its server is deleting"], ["nothing: it drains"]),
    ),
}


@pytest.mark.parametrize("case", DONE_WITH)
def test_the_reasons_are_those_of_this_node(case: str) -> None:
    seen, past, scaling, *expected = DONE_WITH[case]
    wanted = settings(**scaling)
    known = remember(past, seen, wanted)
    look = Look(seen, known, plan(seen, known, wanted))
    for node, ends in zip(look.plan.nodes, expected, strict=True):
        lines = plan_lines(node, look, wanted)
        assert len(lines) == len(ends), lines
        assert [end for line, end in zip(lines, ends, strict=True) if not line.endswith(end)] == [], lines


def test_the_time_out_is_that_of_an_open_window() -> None:
    window = WindowSettings("night", "0 0 * * *", "0 0 1 1 *", idle_timeout=Seconds(2000))
    wanted = settings(windows=(window,))
    seen = world([server("n1")], [slot("n1")])
    look = Look(seen, Memory(), plan(seen, Memory(), wanted))
    (line,) = plan_lines(look.plan.nodes[0], look, wanted)
    assert line.endswith("kept until they have been idle for 2000 s [idle-timeout]")


def test_a_node_that_has_drifted_is_said_to() -> None:
    today = replace(SMALL, made_of="today")
    node = replace(server("n1"), made_of="yesterday")
    differs = "it differs from what would be made today"
    assert differs in said(world([node], [slot("n1")], flavors=[today]))
    assert differs not in said(world([replace(node, made_of="today")], [slot("n1")], flavors=[today]))


def test_a_node_that_stays_as_boots_fail_is_said_to() -> None:
    node, wanted = replace(server("n1"), made_of="yesterday"), settings(nodes_min=1)
    seen = world([node], [slot("n1")], flavors=[replace(SMALL, made_of="today")])
    past = Memory(boots={"here/small/": Boots("here/small/", failures=1, rounds=1, failed_at=1.0)})
    look = Look(seen, past, plan(seen, past, wanted))
    assert "[boots-fail]" in "".join(plan_lines(look.plan.nodes[0], look, wanted))


def test_what_passes_did_is_told_of_that_node_alone() -> None:
    passes = [
        {"at": NOW - 120, "actions": [{"verb": "create", "node": "n1", "code": "demand"}]},
        {"at": NOW - 60, "actions": [{"verb": "drain", "node": "n2", "code": "idle-timeout"}]},
        {"at": NOW - 60, "error": "the collector did not answer"},
        {"at": NOW, "actions": [{"verb": "delete", "node": "n1", "code": "drained", "error": "no answer"}]},
    ]
    assert past_lines("n1", passes, NOW) == [
        "what passes did to it:",
        "  2m ago: create [demand]",
        "  0s ago: delete [drained], no answer",
    ]
    assert past_lines("n3", passes, NOW) == ["no pass in the history did anything to it"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ehos-lab-01aa", ["  1m ago: delete [drained]"]),
        ("01aa", ["  1m ago: delete ehos-lab-01aa [drained]"]),
        ("aa", ["  1m ago: delete ehos-lab-01aa [drained]", "  0s ago: delete ehos-lab-02aa [drained]"]),
        ("03", []),
        ("", []),
    ],
)
def test_what_passes_did_to_a_node_that_is_no_more_is_found_by_the_end_of_its_id(name: str, told: list[str]) -> None:
    ids = ((NOW - 60, "ehos-lab-01aa"), (NOW, "ehos-lab-02aa"))
    passes = [{"at": at, "actions": [{"verb": "delete", "node": node, "code": "drained"}]} for at, node in ids]
    assert past_lines(name, passes, NOW)[1:] == told


def test_a_node_of_no_state_that_we_know_has_lines_too() -> None:
    """Every state has its words."""
    look = look_at(TWO)
    for state in CondorState:
        node = Node("n1", "", "", VmState.UNKNOWN, state, SMALL.resources)
        assert list(node_lines(node, look, settings()))
