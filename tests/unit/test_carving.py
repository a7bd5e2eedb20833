"""Startds cut larger pieces than jobs ask for, while those fit: packing and choosing count the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehoslite.carving import left_beside, rounded_up, side_by_side
from ehoslite.model import Flavor
from ehoslite.packing import Packing, Rank, Space
from ehoslite.resources import UNLIMITED, Resources
from tests.unit.worlds import SMALL, decide, jobs, made, server, slot, world

ROOM = Resources(16, 1000, 1_000_000, 1)

FIT: dict[str, tuple[Resources, int]] = {
    "100 MB take 128, the last one what is left": (Resources(1, 100, 100), 8),
    "a piece that fits in no larger size": (Resources(1, 1000, 100), 1),
    "the rest is cut as it is asked for, again and again": (Resources(1, 30, 100), 7 + 3),
    "whole steps": (Resources(1, 128, 1024), 7),
    "half a core takes one": (Resources(0.5, 10, 100), 7 + 10),
    "disk in steps of 1 MB": (Resources(0, 0, 1), 976 + 576),
    "devices are not rounded": (Resources(0, 0, 0, 1), 1),
    "too large": (Resources(1, 1001, 1), 0),
    "nothing is asked for": (Resources(), UNLIMITED),
}


@pytest.mark.parametrize("case", FIT)
def test_how_many_run_at_a_time(case: str) -> None:
    request, count = FIT[case]
    assert side_by_side(ROOM, request) == count


AMOUNTS = st.builds(
    Resources, st.sampled_from([0, 0.5, 1, 2, 3]), st.integers(0, 600), st.integers(1, 5000), st.integers(0, 1)
)


@given(
    AMOUNTS, st.builds(Resources, st.integers(0, 9), st.integers(0, 3000), st.integers(0, 30_000), st.integers(0, 2))
)
def test_jobs_are_cut_one_after_the_other(request: Resources, room: Resources) -> None:
    left, count = room, 0
    while left.holds(request):
        piece = rounded_up(request)
        left -= piece if left.holds(piece) else request
        count += 1
        assert left_beside(room, request, count) == left
    assert side_by_side(room, request) == count


@given(AMOUNTS, st.builds(Resources, *[st.integers(-1, 3000)] * 4))
def test_what_fits_once_is_what_is_held_at_least_once(request: Resources, room: Resources) -> None:
    assert room.fits(request) == (room.holds(request) > 0)


def test_packing_counts_pieces() -> None:
    packing = Packing([Space(Rank.EMPTY, ROOM, "n1")])
    assert packing.place(Resources(1, 100, 100), 7)[Rank.EMPTY] == 7
    assert packing.rooms() == [ROOM - Resources(1, 128, 1024) * 7]
    assert packing.place(Resources(1, 100, 100), 9)[Rank.EMPTY] == 1


def test_a_static_slot_takes_one_job_however_small() -> None:
    static = Space(Rank.EMPTY, ROOM, "n1", whole=True)
    packing = Packing([static, Space(Rank.EMPTY, ROOM, "n2")])
    assert packing.place(Resources(17, 100, 100), 1)[Rank.EMPTY] == 0
    assert packing.place(Resources(16, 100, 100), 2)[Rank.EMPTY] == 2
    assert packing.used == {"n1": 1, "n2": 1}
    assert packing.rooms() == [ROOM - Resources(16, 128, 1024)]
    assert Packing([static]).place(Resources(0, 0, 1001), 9)[Rank.EMPTY] == 1


def test_jobs_beside_one_on_a_static_slot_get_a_node() -> None:
    roomy = Resources(8, 8000, 80_000)
    for kind, nodes in (("Static", {"small": 2}), ("Partitionable", {})):
        seen = world([server("n1")], [slot("n1", kind=kind, free=roomy, total=roomy)], [jobs(3)], flavors=[SMALL])
        assert made(decide(seen)) == nodes


def test_new_nodes_count_pieces() -> None:
    flavor = Flavor("here", "wide", Resources(16, 1000, 1_000_000), 1.0)
    assert made(decide(world(shapes=[jobs(8)], flavors=[flavor]))) == {"wide": 1}
    assert made(decide(world(shapes=[jobs(10)], flavors=[flavor]))) == {"wide": 2}


def test_what_is_left_on_new_nodes_is_less_than_was_not_asked_for() -> None:
    flavor = Flavor("here", "wide", Resources(4, 1000, 1_000_000), 1.0)
    assert made(decide(world(shapes=[jobs(1, 2, 600), jobs(1, 2, 360)], flavors=[flavor]))) == {"wide": 1}
    assert made(decide(world(shapes=[jobs(1, 2, 600), jobs(1, 2, 361)], flavors=[flavor]))) == {"wide": 2}
