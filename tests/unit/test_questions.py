"""Ads that HTCondor's bindings cannot read are named, and cost no other ad."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

htcondor2 = pytest.importorskip("htcondor2")
classad2 = pytest.importorskip("classad2")

from ehoslite.ads import read_slots  # noqa: E402
from ehoslite.booting import keys_of  # noqa: E402
from ehoslite.matching import Matching, Verdict, Wanted  # noqa: E402
from ehoslite.matchmaking import explain, match  # noqa: E402
from ehoslite.model import Flavor  # noqa: E402
from ehoslite.questions import query_slots  # noqa: E402
from ehoslite.resources import Resources  # noqa: E402
from ehoslite.wouldbe import LEFT_OUT, read_attributes  # noqa: E402


class FakeCollector:
    """Has slots of these names. `bad` ones spoil every answer that holds more than their names; after `lives` queries
    it answers nothing any more."""

    def __init__(self, names: Sequence[str], bad: Sequence[str] = (), lives: int = 1000, **more: Any) -> None:
        self.names, self.bad, self.lives, self.more = names, bad, lives, more
        self.asked = 0

    def query(self, _kind: object, constraint: str, projection: Sequence[str]) -> list[object]:
        self.asked += 1
        listed = re.findall(r'"([^"]*)"', constraint) if constraint.startswith("member(") else list(self.names)
        if self.asked > self.lives or (list(projection) != ["Name"] and set(self.bad) & set(listed)):
            raise htcondor2.HTCondorException("Failed communication with collector.")
        return [classad2.ClassAd({"Name": name, "Cpus": 1, **self.more}) for name in listed]


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


def test_an_ad_that_cannot_be_read_switches_matching_off_for_its_slot_alone() -> None:
    asked = Matching(('Requirements = TARGET.Site == "north"',), (), {})
    matched = match(FakeCollector(NAMES, NAMES[3:4], site="north"), asked)
    assert matched.slots == dict.fromkeys([*NAMES[:3], *NAMES[4:]], 1)


def test_an_ad_that_cannot_be_read_teaches_nothing_and_stops_no_lesson() -> None:
    wanted = tuple(Wanted(name, name, "", exact=True) for name in NAMES[:3])
    learned = match(FakeCollector(NAMES, NAMES[1:2]), Matching((), (), {}, wanted)).samples
    assert [sample.key for sample in learned] == [NAMES[0], NAMES[2]]


def test_a_long_ad_is_judged_whole_and_remembered_short() -> None:
    """Else nothing would be learned of it, and one node after the other be made to ask."""
    long: dict[str, Any] = {"Software": "root," * 5000, "Start": "true", "PartitionableSlot": True}
    long |= {"Requirements": classad2.ExprTree("true"), "Notes": "x" * 30_000}
    requirements = 'Requirements = stringListMember("root", TARGET.Software)'
    flavor = Flavor("here", "small", Resources(1, 1000, 10_000), recipe="today")
    wanted = (Wanted(keys_of(flavor)[0], NAMES[0], "", exact=True, made_of="image A"),)
    for shapes, left_out in (((requirements,), {"Notes"}), ((), {"Notes", "Software"})):
        matched = match(FakeCollector(NAMES[:1], **long), Matching(shapes, (flavor,), {}, wanted))
        (sample,) = matched.samples
        assert (sample.exact, sample.made_of) == (True, "image A")
        assert {name for name, text in read_attributes(sample.ad).items() if text == LEFT_OUT} == left_out
        assert all(verdicts == (Verdict(True),) for verdicts in matched.flavors if shapes)


def test_an_ad_of_too_many_attributes_is_not_remembered() -> None:
    many: dict[str, Any] = {f"Attribute{number}": "" for number in range(20_000)}
    matched = match(FakeCollector(NAMES[:1], **many), Matching((), (), {}, (Wanted("x", NAMES[0], "", exact=True),)))
    assert matched.samples == ()


def test_a_slot_that_cannot_be_read_is_said_where_others_are_explained() -> None:
    found = dict(explain(FakeCollector(NAMES, NAMES[3:5]), "Requirements = true"))
    assert found["its ad cannot be read",] == NAMES[3:5]
    assert sum(map(len, found.values())) == len(NAMES)
