"""`ehoslite why node`: which nodes a name means, and what is said of each state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehoslite.look import Look
from ehoslite.memory import Memory
from ehoslite.model import CondorState, Node, VmState, World
from ehoslite.nodes import remember
from ehoslite.plan import plan
from ehoslite.why_node import find_nodes, node_lines, past_lines
from tests.unit.worlds import NOW, SMALL, claim, memory, remembered, server, settings, slot, world

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


def test_a_node_that_has_drifted_is_said_to() -> None:
    today = replace(SMALL, made_of="today")
    node = replace(server("n1"), made_of="yesterday")
    differs = "it differs from what would be made today"
    assert differs in said(world([node], [slot("n1")], flavors=[today]))
    assert differs not in said(world([replace(node, made_of="today")], [slot("n1")], flavors=[today]))


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


def test_a_node_of_no_state_that_we_know_has_lines_too() -> None:
    """Every state has its words."""
    look = look_at(TWO)
    for state in CondorState:
        node = Node("n1", "", "", VmState.UNKNOWN, state, SMALL.resources)
        assert list(node_lines(node, look, settings()))
