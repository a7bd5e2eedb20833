"""Verdicts become ilks, and the plan makes nodes only where a shape runs, or where one has to be tried out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehoslite import act
from ehoslite.act import Hands
from ehoslite.actions import Create, Reason
from ehoslite.booting import keys_of
from ehoslite.errors import PoolUnreachable
from ehoslite.matching import (
    LEARN_EVERY,
    Matched,
    Matching,
    Verdict,
    Wanted,
    what_nodes_ask,
    what_to_learn,
    what_to_match,
    with_matches,
)
from ehoslite.memory import Intent, Memory
from ehoslite.model import CloudView, Flavor, Room, Shape, Slot, World
from ehoslite.nodes import remember
from ehoslite.observe import evaluate
from ehoslite.pool import Pool
from ehoslite.resources import Resources
from ehoslite.samples import Misfit, Sample
from tests.unit.worlds import (
    LARGE,
    NOW,
    SMALL,
    acts,
    alien,
    decide,
    held,
    jobs,
    made,
    memory,
    remembered,
    server,
    settings,
    slot,
    world,
)

YES, NO, MAYBE = Verdict(True), Verdict(False, ("clause",)), Verdict(False, ("clause",), surely=False)
KEY = keys_of(SMALL)[0]


def shape(count: int = 1, **more: Any) -> Shape:
    return replace(jobs(count, **more), ad=f"Number = {count}")


def judged(
    seen: World, small: Verdict = YES, large: Verdict = YES, slots: Mapping[str, int] | None = None, **more: Any
) -> World:
    """The world with these verdicts on its first shape."""
    asked = what_to_match(seen, Memory())
    assert asked is not None
    rest = tuple(YES for _ in asked.shapes[1:])
    return with_matches(
        seen, asked, Matched(slots or {}, ((small, *rest), (large, *rest)), judged=len(asked.shapes), **more)
    )


# What the plan makes of verdicts


def test_a_node_is_made_of_the_flavor_on_which_the_shape_runs() -> None:
    assert made(decide(judged(world(shapes=[shape(2)])))) == {"small": 2}
    assert made(decide(judged(world(shapes=[shape(2)]), small=NO))) == {"large": 1}


def test_no_node_for_a_shape_that_runs_nowhere() -> None:
    decided = decide(judged(world(shapes=[shape(2)]), small=NO, large=NO))
    assert made(decided) == {}
    (hold,) = decided.held
    assert hold.reason.code == "requirements-fail"
    assert "here/small: clause" in hold.reason.text


def test_what_is_not_known_is_tried_with_one_node() -> None:
    seen = judged(world(shapes=[shape(20)]), small=MAYBE, large=NO)
    assert made(decide(seen)) == {"small": 1}
    assert [code for _, _, code in acts(decide(seen))] == ["tried-out"]


def test_while_one_is_tried_no_other_is_made() -> None:
    booting = [server("n1")]
    seen = judged(world(booting, shapes=[shape(20)]), small=MAYBE, large=MAYBE)
    decided = decide(seen, memory(remembered("n1", age=10)))
    assert made(decided) == {}
    assert "tried-out" in held(decided)


def test_another_is_tried_when_the_first_has_not_helped() -> None:
    there = judged(world([server("n1")], [slot("n1")], [shape(20)]), small=NO, large=MAYBE, slots={"slot1@n1": 0})
    assert made(decide(there, memory(remembered("n1", joined=NOW - 100)))) == {"large": 1}


def test_what_runs_for_certain_comes_before_what_is_to_be_tried() -> None:
    assert made(decide(judged(world(shapes=[shape(2)]), small=MAYBE, large=YES))) == {"large": 1}


def test_what_is_unknown_is_tried_where_the_rest_is_full() -> None:
    large = replace(LARGE, cloud="there")
    seen = world(shapes=[shape(2)], flavors=[SMALL], room=Room(instances=0))
    seen = replace(seen, clouds=(*seen.clouds, CloudView("there", (large,))))
    assert made(decide(judged(seen, small=YES, large=MAYBE))) == {"large": 1}


def test_room_on_which_the_shape_does_not_run_is_no_room() -> None:
    free = alien(free=Resources(8, 8000, 80_000))
    assert made(decide(judged(world(slots=[free], shapes=[shape(1)]), slots={free.name: 1}))) == {}
    assert made(decide(judged(world(slots=[free], shapes=[shape(1)]), slots={free.name: 0}))) == {"small": 1}


def test_a_slot_of_which_nothing_is_known_is_room() -> None:
    free = alien(free=Resources(8, 8000, 80_000))
    assert made(decide(judged(world(slots=[free], shapes=[shape(1)])))) == {}


def test_nodes_that_boot_serve_the_shapes_that_run_on_their_flavor() -> None:
    past = memory(remembered("n1", age=10))
    assert made(decide(judged(world([server("n1")], shapes=[shape(1)])), past)) == {}
    assert made(decide(judged(world([server("n1")], shapes=[shape(1)]), small=NO), past)) == {"large": 1}


def test_an_idle_node_is_not_kept_for_jobs_that_do_not_run_there() -> None:
    seen, past = world([server("n1")], [slot("n1")], [shape(1)]), memory(remembered("n1", joined=NOW - 100))
    assert "drain" not in [verb for verb, _, _ in acts(decide(judged(seen, slots={"slot1@n1": 1}), past))]
    assert "drain" in [verb for verb, _, _ in acts(decide(judged(seen, slots={"slot1@n1": 0}), past))]


def test_equal_slots_are_of_one_ilk() -> None:
    slots = [alien(name=f"slot{number}", machine=f"m{number}") for number in range(4)]
    seen = judged(world(slots=slots, shapes=[shape(1), shape(2)]), slots={"slot0": 1, "slot1": 3, "slot2": 3})
    first, second, third, unknown = (one.ilk for one in seen.slots)
    assert second == third != first
    assert unknown == 0
    one, both = seen.demand.shapes
    assert (one.runs(first), one.runs(second), both.runs(first), both.runs(second)) == (True, True, False, True)


def test_why_a_shape_does_not_run_is_kept() -> None:
    (seen,) = judged(world(shapes=[shape(1)]), small=NO, large=MAYBE).demand.shapes
    assert seen.misfits == (Misfit("here/small", ("clause",)), Misfit("here/large", ("clause",), surely=False))


def test_shapes_that_time_did_not_suffice_for_are_packed_by_amounts() -> None:
    seen = world(shapes=[shape(1), shape(2)])
    asked = what_to_match(seen, Memory())
    assert asked is not None
    seen = with_matches(seen, asked, Matched({}, ((NO,), (NO,)), judged=1))
    decided = decide(seen)
    assert made(decided) == {"small": 2}
    assert {"not-matched", "requirements-fail"} <= held(decided)


@given(
    patterns=st.lists(st.tuples(*[st.sampled_from((YES, NO, MAYBE))] * 2), min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 30), min_size=5, max_size=5),
    random=st.randoms(use_true_random=False),
)
def test_no_node_is_made_that_no_shape_may_run_on(
    patterns: list[tuple[Verdict, Verdict]], counts: list[int], random: random.Random
) -> None:
    shapes = [replace(shape(counts[number]), ad=f"Number = {number}") for number in range(len(patterns))]
    seen = world(shapes=shapes)
    asked = what_to_match(seen, Memory())
    assert asked is not None
    small, large = zip(*patterns, strict=True)
    seen = with_matches(seen, asked, Matched({}, (small, large), judged=len(shapes)))
    decided = decide(seen)
    for name, verdicts in (("small", small), ("large", large)):
        runs = [count for count, verdict in zip(counts, verdicts, strict=False) if verdict.runs]
        tried = any(not verdict.runs and not verdict.surely for verdict in verdicts)
        assert made(decided).get(name, 0) <= sum(runs) + tried
    served = {str(one) for one in seen.demand.shapes if any(one.runs(ilk) for ilk in (1, 2))}
    assert not served or made(decided), "who can run somewhere is served"
    mixed = list(seen.demand.shapes)
    random.shuffle(mixed)
    again = decide(replace(seen, demand=replace(seen.demand, shapes=tuple(mixed))))
    assert made(again) == made(decided), "the order of the queue decides nothing"


# Asking


class Silent(Pool):
    def __init__(self) -> None:
        self.asked: list[Matching] = []

    def match(self, matching: Matching) -> Matched:
        self.asked.append(matching)
        raise PoolUnreachable("the collector did not answer")


def test_without_an_answer_amounts_decide_and_it_is_said() -> None:
    seen = evaluate(Silent(), world(shapes=[shape(2)]), Memory())
    assert made(decide(seen)) == {"small": 2}
    assert "not-matched" in held(decide(seen))


def test_nothing_is_asked_while_nothing_waits_and_all_is_known() -> None:
    pool = Silent()
    evaluate(pool, world(), Memory())
    seen = world([server("n1")], [slot("n1")])
    evaluate(pool, seen, Memory(samples={KEY: Sample(KEY, NOW - LEARN_EVERY + 1, "", exact=False)}))
    assert pool.asked == []
    evaluate(pool, seen, Memory(samples={KEY: Sample(KEY, NOW - LEARN_EVERY, "", exact=False)}))
    assert [one.wanted for one in pool.asked] == [(Wanted(KEY, "slot1@n1", "n1", False),)]


# Learning

OF_TODAY = replace(SMALL, recipe="today")


def learn(*past: Any, known: Sample | None = None, slots: tuple[Slot, ...] | None = None) -> list[tuple[str, bool]]:
    """From which nodes the flavor is learned, and whether they are certainly of today's recipe."""
    servers = [replace(server(f"n{number}"), created=float(number)) for number in (1, 2, 3)]
    seen = world(servers, slots or [slot(f"n{number}") for number in (1, 2, 3)], flavors=[OF_TODAY])
    kept = Memory({one.node: one for one in past}, samples={known.key: known} if known else {})
    return [(one.node, one.exact) for one in what_to_learn(seen, kept)]


def test_the_newest_node_teaches() -> None:
    assert learn() == [("n3", False)]


def test_a_node_of_todays_recipe_teaches_best() -> None:
    assert learn(remembered("n1", recipe="today"), remembered("n2", recipe="old")) == [("n1", True)]


def test_a_node_that_has_just_joined_teaches_by_its_intent() -> None:
    seen = world([server("n1")], [slot("n1")], flavors=[OF_TODAY])
    past = Memory(intents={"n1": Intent("n1", "here", "small", 1.0, recipe="today")})
    assert [one.exact for one in what_to_learn(seen, past)] == [True]


def test_nodes_of_another_recipe_do_not_replace_what_is_certain() -> None:
    key = keys_of(OF_TODAY)[0]
    assert learn(known=Sample(key, 1.0, "x")) == []
    assert learn(known=Sample(key, 1.0, "x", exact=False)) == [("n3", False)]


@pytest.mark.parametrize(
    "changed",
    [{"kind": "Dynamic"}, {"unreadable": True}, {"draining": True}, {"state": "Drained"}, {"accepts_jobs": False}],
)
def test_slots_that_do_not_take_jobs_teach_nothing(changed: dict[str, Any]) -> None:
    """A startd that drains advertises no START."""
    assert learn(slots=(slot("n1"), replace(slot("n3"), **changed))) == [("n1", False)]
    assert learn(slots=(slot("n1"), slot("n3"))) == [("n3", False)]


def test_a_draining_node_is_taken_back_for_what_runs_on_its_flavor() -> None:
    drained = slot("n1", "Drained")
    seen = world([server("n1")], [drained], [shape(1)])
    past = memory(remembered("n1", joined=NOW - 100))
    verbs = [verb for verb, _, _ in acts(decide(judged(seen, slots={drained.name: 0}), past))]
    assert verbs == ["undrain"]
    verbs = [verb for verb, _, _ in acts(decide(judged(seen, small=NO, slots={drained.name: 1}), past))]
    assert verbs == ["create", "delete"]


def test_a_flavor_is_as_large_as_its_nodes_have_shown() -> None:
    sample = Sample(KEY, NOW, "", cpus=1, memory=900, disk=9000)
    seen = judged(world(shapes=[shape(1, memory=950)]), samples=(sample,))
    (small, _) = seen.clouds[0].flavors
    assert (small.resources, small.counted_memory, small.counted_cpus) == (Resources(1, 900, 9000), 1000, 1)
    assert made(decide(seen)) == {"large": 1}


@pytest.mark.parametrize("changed", [{"exact": False}, {"cpus": 0}])
def test_a_flavor_is_not_as_large_as_a_doubtful_sample(changed: dict[str, Any]) -> None:
    sample = replace(Sample(KEY, NOW, "", cpus=1, memory=900, disk=9000), **changed)
    assert judged(world(shapes=[shape(1)]), samples=(sample,)).clouds[0].flavors[0].resources == SMALL.resources


def test_what_a_node_is_made_of_is_intended_and_remembered() -> None:
    hands = cast(Hands, SimpleNamespace(settings=settings(), chance=random.Random(1)))  # noqa: S311
    ((intent, _),) = act._intend([Create(OF_TODAY, Reason("demand", ""))], Memory(), hands, 1.0)  # noqa: SLF001
    assert intent.recipe == "today"
    past = Memory(intents={"n1": replace(intent, node="n1")})
    assert remember(past, world([server("n1")]), settings()).nodes["n1"].recipe == "today"


def test_samples_outlive_the_acts_of_a_pass() -> None:
    samples = {KEY: Sample(KEY, 1.0, "")}
    assert act._settled(Memory(samples=samples), ()).samples == samples  # noqa: SLF001


def test_samples_are_remembered_while_their_flavor_is_there() -> None:
    old, new = Sample("here/gone/", 1.0, ""), Sample(KEY, NOW + 5, "")
    kept = remember(Memory(samples={old.key: old}), replace(world(), samples=(new,)), settings()).samples
    assert kept == {KEY: replace(new, at=NOW)}
    silent = remember(Memory(samples={KEY: old}), world(fault="down"), settings()).samples
    assert list(silent) == [KEY]


def test_what_the_starts_of_nodes_to_come_ask_of_jobs() -> None:
    promised = Flavor("here", "x", Resources(), promises=(("Start", 'TARGET.Owner == "Bob" && f(Size) > MY.Cpus'),))
    learned = Sample(KEY, 1.0, 'Arch = Other\nStart = true && Color isnt "MY.x Y"')
    assert what_nodes_ask([CloudView("here", (promised,))], Memory(samples={KEY: learned})) == {
        "Owner",
        "Size",
        "Color",
    }


@pytest.mark.parametrize("known", ["by its flavor", "by its ad"])
def test_a_node_with_gpus_asks_for_gpus(known: str) -> None:
    flavor = Flavor("here", "x", Resources(gpus=1 if known == "by its flavor" else 0))
    learned = Sample(KEY, 1.0, "", gpus=1 if known == "by its ad" else 0)
    assert what_nodes_ask([CloudView("here", (flavor,))], Memory(samples={KEY: learned})) == {"RequestGPUs"}
    assert what_nodes_ask([CloudView("here", (Flavor("here", "x", Resources()),))], Memory()) == set()
