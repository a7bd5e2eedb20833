"""The clock of the passes jumps: no node is taken for lost, and none is waited for till the future comes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehoslite.memory import Intent, Memory
from ehoslite.nodes import remember
from ehoslite.plan import plan
from ehoslite.policies import collector_is_young
from tests.unit.worlds import NOW, claim, memory, remembered, server, settings, slot, world

HOUR = 3600.0


def verbs(past: Memory, busy: bool = False, heard_ago: float = 0.0) -> list[str]:
    """What a pass does about a node that it sees listed, and with a job where it is busy."""
    slots = [slot("n1", heard_ago=heard_ago), claim("n1", heard_ago=heard_ago)] if busy else []
    seen = world([server("n1")], slots)
    return [one.verb for one in plan(seen, remember(past, seen, settings()), settings()).actions]


def before(listed_ago: float, heard_ago: float) -> Memory:
    return memory(remembered("n1", age=9e4, joined=NOW - 9e4, listed=NOW - listed_ago, heard=NOW - heard_ago))


def test_a_busy_node_outlives_a_jump_of_an_hour() -> None:
    """In the first pass after it, and in the later ones, whose clock stays ahead of the collector's."""
    assert verbs(before(HOUR + 60, HOUR + 90), busy=True, heard_ago=HOUR + 30) == []
    assert verbs(before(60, HOUR + 90), busy=True, heard_ago=HOUR + 30) == []


def test_a_node_that_is_not_heard_is_replaced_all_the_same() -> None:
    assert verbs(before(60, 3001), busy=True, heard_ago=3001) == ["delete"]
    assert verbs(before(60, 3001)) == ["delete"]


def test_silence_is_counted_from_the_end_of_a_break_between_passes() -> None:
    """The collector may have restarted meanwhile and know nobody."""
    past = before(601, 3001)
    assert verbs(past) == []
    seen = world([server("n1")])
    watched = remember(past, seen, settings()).nodes["n1"]
    assert watched.watched == NOW
    later = world([server("n1")], now=NOW + 3001)
    kept = memory(replace(watched, listed=NOW + 2990))
    assert [one.verb for one in plan(later, remember(kept, later, settings()), settings()).actions] == ["delete"]


@pytest.mark.parametrize("ahead", [10.0, 9e4])
def test_what_is_remembered_of_the_future_was_now(ahead: float) -> None:
    """The clock was ahead and is set right: a boot is timed from now on, not from a day to come."""
    past = memory(remembered("n1", age=-ahead, listed=NOW + ahead))
    now_remembered = remember(past, world([server("n1")]), settings()).nodes["n1"]
    assert now_remembered.first_seen == NOW
    assert now_remembered.listed == NOW


def test_an_intent_of_the_future_was_now() -> None:
    """It is kept for intent_timeout: the server may be listed yet."""
    past = Memory(intents={"n1": Intent("n1", "here", "small", NOW + 1000)})
    assert remember(past, world(), settings()).intents["n1"].at == NOW


@pytest.mark.parametrize(("collector_age", "young"), [(100, True), (599, True), (700, False)])
def test_a_collector_is_as_old_as_it_says_itself(collector_age: float, young: bool) -> None:
    """Our clock is ahead of its own by an hour: what it has heard lately is an hour old, and so is its start."""
    heard = NOW - HOUR
    nodes = slot("n1", heard_ago=HOUR)
    seen = world([server("n1")], [nodes], collector_since=heard - collector_age)
    assert collector_is_young(seen, settings()) == young
