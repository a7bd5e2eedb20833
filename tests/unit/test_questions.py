"""Ads that HTCondor's bindings cannot read are named, and cost no other ad."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

htcondor2 = pytest.importorskip("htcondor2")
classad2 = pytest.importorskip("classad2")

from ehoslite.ads import read_slots  # noqa: E402
from ehoslite.questions import query_slots  # noqa: E402


class FakeCollector:
    """Has slots of these names. `bad` ones spoil every answer that holds more than their names; after `lives` queries
    it answers nothing any more."""

    def __init__(self, names: Sequence[str], bad: Sequence[str] = (), lives: int = 1000) -> None:
        self.names, self.bad, self.lives = names, bad, lives
        self.asked = 0

    def query(self, _kind: object, constraint: str, projection: Sequence[str]) -> list[object]:
        self.asked += 1
        listed = re.findall(r'"([^"]*)"', constraint) if constraint.startswith("member(") else list(self.names)
        if self.asked > self.lives or (list(projection) != ["Name"] and set(self.bad) & set(listed)):
            raise htcondor2.HTCondorException("Failed communication with collector.")
        return [classad2.ClassAd({"Name": name, "Cpus": 1}) for name in listed]


NAMES = [f"slot1@n{number}" for number in range(100)]


def test_all_is_one_query_while_all_can_be_read() -> None:
    collector = FakeCollector(NAMES)
    assert query_slots(collector, "True") == [{"Name": name, "Cpus": 1} for name in NAMES]
    assert collector.asked == 1


@pytest.mark.parametrize("bad", [NAMES[:1], NAMES[99:], [NAMES[3], NAMES[70]], NAMES])
def test_what_cannot_be_read_is_named_and_the_others_are_read(bad: list[str]) -> None:
    collector = FakeCollector(NAMES, bad)
    slots = read_slots(query_slots(collector, "True"))
    assert sorted(slot.name for slot in slots) == sorted(NAMES)
    assert sorted(slot.name for slot in slots if slot.unreadable) == sorted(bad)
    assert all(slot.free.cpus == 1 for slot in slots if not slot.unreadable)
    assert collector.asked <= 3 + len(bad) * 16


@pytest.mark.parametrize("lives", range(10))
def test_a_collector_that_falls_silent_makes_nothing_unreadable(lives: int) -> None:
    """Else all nodes would look lost: not knowing is not zero."""
    with pytest.raises(htcondor2.HTCondorException):
        query_slots(FakeCollector(NAMES, NAMES[50:51], lives), "True")
