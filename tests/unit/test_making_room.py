"""Room that is made for jobs is not taken again by the minimum, the spare or the reserve; and room that they would not
take, or that does not come, keeps none of them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehoslite.actions import Plan
from ehoslite.model import CloudView, Demand, Flavor, Room, Server, Slot, VmState, World
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.settings import LocalCloudSettings
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

GPU = Flavor("alpha", "gpu", Resources(8, 8000, 80_000, 1))
LEAN = Flavor("alpha", "lean", Resources(1, 1000, 10_000))
BETA = replace(SMALL, cloud="beta", name="cpu")
NONE_LEFT = Room(instances=0)
PAST = memory(remembered("n1", flavor=LEAN, joined=NOW - 4000, heard=NOW - 5))


def deleting(since: float) -> Server:
    return replace(server("n1", VmState.DELETING, LEAN), changed=NOW - since)


def ad(state: str = "Unclaimed", **more: Any) -> Slot:
    return slot("n1", state, flavor=LEAN, cloud="alpha", idle_for=5, **more)


def decided_for(servers: list[Server], slots: list[Slot], keep: dict[str, Any], **more: Any) -> Plan:
    """A GPU job waits for the quota of alpha; beta has room for anything without a GPU."""
    alpha = CloudView("alpha", (LEAN, GPU), tuple(servers), more.pop("room", NONE_LEFT))
    clouds = (alpha, CloudView("beta", (BETA,)))
    seen = World(NOW, clouds, tuple(slots), Demand((jobs(1, gpus=1),), **more))
    own = keep.pop("beta", 0)
    place = Place(Path("/nowhere"))
    both = {"alpha": LocalCloudSettings(place), "beta": LocalCloudSettings(place, nodes_min=own)}
    return plan(seen, PAST, replace(settings(**keep), clouds=both))


KEEP: dict[str, dict[str, Any]] = {
    "minimum of a cloud": {"beta": 2},
    "minimum": {"nodes_min": 2},
    "spare": {"nodes_spare": 2},
    "reserve": {"reserve_cores": 2},
}
GOING: dict[str, tuple[list[Server], list[Slot]]] = {
    "a deletion that is young": ([deleting(60)], []),
    "a deletion that is stuck": ([deleting(9000)], []),
    "a drained node": ([server("n1", flavor=LEAN)], [ad("Drained")]),
}


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("case", GOING)
def test_room_in_one_cloud_keeps_nothing_back_in_another(case: str, keep: str) -> None:
    servers, slots = GOING[case]
    decided = decided_for(servers, slots, dict(KEEP[keep]))
    assert made(decided) == {"cpu": 2}
    assert "make-room" not in held(decided)


@pytest.mark.parametrize("keep", [{"nodes_min": 2}, {"nodes_spare": 1}, {"reserve_cores": 1}])
@pytest.mark.parametrize(("since", "kept_back"), [(60, True), (1100, True), (1300, False), (9000, False)])
def test_a_stuck_deletion_is_no_room_to_come(since: float, kept_back: bool, keep: dict[str, Any]) -> None:
    """boot_timeout is 1200 s. One core is left, and eight are needed."""
    past = memory(remembered("n1", joined=NOW - 4000, heard=NOW - 5))
    seen = world([replace(server("n1", VmState.DELETING, LARGE), changed=NOW - since)], [], [jobs(1, cpus=8)])
    decided = plan(seen, past, settings(cores_max=9, boot_timeout=1200, **keep))
    assert made(decided) == ({} if kept_back else {"small": 1})
    assert ("make-room" in held(decided)) is kept_back


def test_an_idle_node_makes_room_though_a_deletion_is_stuck() -> None:
    stuck = replace(server("n2", VmState.DELETING, LEAN), changed=NOW - 9000)
    decided = decided_for([server("n1", flavor=LEAN), stuck], [ad()], {})
    assert ("drain", "n1", "make-room") in acts(decided)


@pytest.mark.parametrize("keep", [{"nodes_min": 9}, {"nodes_spare": 9}, {"reserve_cores": 9}])
def test_in_the_place_of_what_goes_nothing_else_is_made(keep: dict[str, Any]) -> None:
    """The quota of alpha has one core left, and the job needs eight: nothing of one core is made there meanwhile."""
    going = [replace(server(name, VmState.DELETING, GPU), changed=NOW - 9) for name in ("n1", "n2")]
    decided = decided_for(going, [], {"nodes_max": 20, **keep}, room=Room(instances=5, cores=1))
    assert set(made(decided)) == {"cpu"}


WITHHELD: dict[str, tuple[list[Server], list[Slot], dict[str, Any]]] = {
    "a schedd is silent": ([server("n1", flavor=LARGE)], [slot("n1", flavor=LARGE)], {"silent": {"s": "no"}}),
    "another startd has its Machine": (
        [server("n1", flavor=LARGE)],
        [slot("n1", flavor=LARGE), replace(slot("x", machine="n1.nodes"), node="", accepts_jobs=False)],
        {},
    ),
}


@pytest.mark.parametrize("case", WITHHELD)
def test_what_is_not_drained_now_makes_no_room(case: str) -> None:
    servers, slots, more = WITHHELD[case]
    seen = world(servers, slots, [jobs(1, gpus=1)], flavors=[SMALL, LARGE, replace(GPU, cloud="here")], **more)
    decided = decide(seen, cores_max=9, nodes_min=2)
    assert acts(decided) == [("create", "here/small", "nodes-min")]


def test_a_node_that_was_deleted_a_moment_ago_counts_as_room_to_come() -> None:
    """It counts for the limits until its last word is three minutes old: else the minimum would take its place again
    and again, and the job would never get its node."""
    past = memory(remembered("n1", flavor=LARGE, joined=NOW - 4000, heard=NOW - 100, listed=NOW - 60))
    decided = plan(world(shapes=[jobs(1, cpus=8)], flavors=[SMALL, LARGE]), past, settings(cores_max=9, nodes_min=2))
    assert (made(decided), "make-room" in held(decided)) == ({}, True)
