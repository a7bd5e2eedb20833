"""What matching and choosing owe each other: flavors are chosen, tried out and counted by what really runs on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ehoslite.allowance import amounts_of
from ehoslite.look import Look
from ehoslite.memory import Memory
from ehoslite.model import Flavor, Room, Shape, World
from ehoslite.nodes import remember
from ehoslite.resources import Resources
from ehoslite.why import unserved_lines
from ehoslite.why_waits import concerns
from tests.unit.test_retiring import drained
from tests.unit.worlds import (
    LARGE,
    NOW,
    SMALL,
    acts,
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

ONE, TWO = replace(SMALL, ilk=1), replace(LARGE, ilk=2)


def shape(count: int, cpus: float = 1, runs_on: tuple[int, ...] = (), tries: tuple[int, ...] = ()) -> Shape:
    ad = f"Cpus = {cpus}\nOn = {runs_on}{tries}"
    return replace(jobs(count, cpus), ad=ad, runs_on=frozenset(runs_on), tries=frozenset(tries))


def look(seen: World, **scaling: Any) -> Look:
    return Look(seen, Memory(), decide(seen, **scaling))


def test_what_is_left_over_on_new_nodes_is_for_shapes_that_run_there() -> None:
    large, other = shape(1, 7, runs_on=(2,)), shape(1, 1, runs_on=(1,))
    assert made(decide(world(shapes=[large, other], flavors=[ONE, TWO]))) == {"large": 1, "small": 1}
    anywhere = shape(1, 1, runs_on=(1, 2))
    assert made(decide(world(shapes=[large, anywhere], flavors=[ONE, TWO]))) == {"large": 1}


def test_nothing_is_tried_out_in_place_of_what_is_certain() -> None:
    sure, unsure = shape(3, runs_on=(1,)), shape(3, 2, tries=(2,))
    assert made(decide(world(shapes=[unsure, sure], flavors=[ONE, TWO]), nodes_max=3)) == {"small": 3}


def test_a_node_that_was_just_made_for_others_will_tell() -> None:
    sure, unsure = shape(8, runs_on=(2,)), shape(3, 2, tries=(2,))
    decided = decide(world(shapes=[unsure, sure], flavors=[TWO]))
    assert made(decided) == {"large": 1}
    assert held(decided) == {"tried-out"}


def test_a_node_that_is_tried_out_is_no_spare() -> None:
    decided = decide(world(shapes=[shape(1, tries=(1,))], flavors=[ONE]), nodes_spare=1)
    assert [code for _, _, code in acts(decided)] == ["tried-out", "nodes-spare"]


def test_an_idle_node_gives_way_to_a_trial() -> None:
    """Else the minimum would keep jobs waiting for ever that another flavor may well run."""
    there = world([server("n1")], [slot("n1", idle_for=10, ilk=9)], [shape(1, tries=(2,))], flavors=[ONE, TWO])
    assert drained(decide(there, memory(remembered("n1", joined=NOW - 99)), nodes_max=1, nodes_min=1)) == ["n1"]
    never = replace(there, demand=replace(there.demand, shapes=(shape(1),)))
    assert drained(decide(never, memory(remembered("n1", joined=NOW - 99)), nodes_max=1, nodes_min=1)) == []


THREADS = Flavor("here", "threads", Resources(4, 8000, 80_000), 1.0, quota_cpus=8)


def test_limits_count_the_cores_that_quotas_count() -> None:
    assert amounts_of(THREADS).cores == 8
    assert made(decide(world(shapes=[jobs(8)], flavors=[THREADS]), cores_max=15)) == {"threads": 1}
    decided = decide(world(shapes=[jobs(8)], flavors=[THREADS]), cores_max=7)
    assert any("one more here/threads has 8" in one.reason.text for one in decided.held)
    assert remember(Memory(), world(flavors=[THREADS]), settings()).flavors["here/threads"].cores == 8


def test_cores_that_startds_do_not_offer_are_no_load() -> None:
    idle = world([server("n1", flavor=THREADS)], [slot("n1", flavor=THREADS)], flavors=[THREADS])
    assert made(decide(idle, memory(remembered("n1", flavor=THREADS, joined=NOW - 99)), reserve_share=2.0)) == {}


def test_a_job_is_not_told_what_holds_back_another_shape_of_the_same_request() -> None:
    nowhere, waiting = shape(1), shape(2, runs_on=(1,))
    assert str(nowhere) == str(waiting)
    seen = look(world(shapes=[nowhere, waiting], flavors=[ONE]), nodes_max=0)
    told = {
        one: {hold.reason.code for hold in seen.plan.held if concerns(hold, "", {}, one, seen)}
        for one in (nowhere, waiting)
    }
    assert told == {nowhere: {"no-flavor-fits"}, waiting: {"nodes-max"}}


@pytest.mark.parametrize("scaling", [{"nodes_min": 2}, {"nodes_spare": 2}, {"reserve_cores": 2}])
def test_no_job_waits_for_the_minimum_the_spare_or_the_reserve(scaling: dict[str, int]) -> None:
    seen = look(world(flavors=[ONE], room=Room(instances=0)), **scaling)
    assert held(seen.plan) == {"quota"}
    assert "every job has room" in unserved_lines(seen)[1]
    assert not any(concerns(hold, "", {}, shape(1), seen) for hold in seen.plan.held)
