"""Which flavors, and how many nodes of each, as tables; and which limits are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehoslite import policies
from ehoslite.actions import Create
from ehoslite.allowance import Allowance, Amounts, limits_of
from ehoslite.memory import Boots, KnownFlavor, Memory
from ehoslite.model import CloudView, Flavor, Room, Shape, VmState, World
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.settings import FlavorSettings, LocalCloudSettings
from ehoslite.ways import choose_flavors
from tests.unit.worlds import (
    LARGE,
    NOW,
    SMALL,
    acts,
    claim,
    decide,
    held,
    jobs,
    made,
    remembered,
    server,
    settings,
    slot,
    world,
)

S = replace(SMALL, price=1.0)  # 1 core
L = replace(LARGE, price=8.0)  # 8 cores
M = Flavor("here", "medium", Resources(4, 4000, 40_000), price=3.0)  # 4 cores, cheaper by the core
XL = Flavor("here", "huge", Resources(16, 16_000, 160_000), price=10.0)  # the cheapest by the core
GPU = Flavor("here", "gpu", Resources(8, 8000, 80_000, 2), price=20.0)

Case = tuple[list[Shape], list[Flavor], dict[str, Any], dict[str, int]]
CHEAPEST: dict[str, Case] = {
    "equal by the core: the smallest": ([jobs(16)], [S, L], {}, {"small": 16}),
    "cheaper by the core, and full": ([jobs(8)], [S, M], {}, {"medium": 2}),
    "cheaper by the core, but mostly empty": ([jobs(2)], [S, M], {}, {"small": 2}),
    "as many as are full, and the rest small": ([jobs(9)], [S, M], {}, {"medium": 2, "small": 1}),
    "the rest is cheaper on one more of the same": ([jobs(11)], [replace(S, price=1.5), M], {}, {"medium": 3}),
    "the largest where it is full": ([jobs(33)], [S, M, XL], {}, {"huge": 2, "small": 1}),
    "no prices: the smallest that fits": ([jobs(9)], [SMALL, LARGE], {}, {"small": 9}),
    "dear, but the only one": ([jobs(1, gpus=1)], [S, M, GPU], {}, {"gpu": 1}),
    "small jobs ride on the dear node that must be": ([jobs(1, gpus=1), jobs(7)], [S, M, GPU], {}, {"gpu": 1}),
    "two shapes on one node rather than a node each": ([jobs(1, cpus=3), jobs(1)], [S, M], {}, {"medium": 1}),
    "one larger node for all is cheaper than what serves each alone": (
        [jobs(1, cpus=9), jobs(1, cpus=4), jobs(3)],
        [S, replace(M, price=4), XL],
        {},
        {"huge": 1},
    ),
    "two of a kind rather than one of each": (
        [jobs(1, cpus=4), jobs(1, memory=4000)],
        [M, replace(L, price=5.0)],
        {},
        {"large": 1},
    ),
}
LIMITED: dict[str, Case] = {
    "few nodes: larger ones": ([jobs(16)], [S, L], {"nodes_max": 2}, {"large": 2}),
    "few nodes: as many small ones as may be is not enough": (
        [jobs(9)],
        [S, L],
        {"nodes_max": 8},
        {"large": 1, "small": 1},
    ),
    "two nodes for nine jobs": ([jobs(9)], [S, M, L], {"nodes_max": 2}, {"large": 1, "small": 1}),
    "cores_max": ([jobs(9)], [S, L], {"cores_max": 5}, {"small": 5}),
    "cores_max that nothing fits": ([jobs(1, cpus=8)], [S, L], {"cores_max": 7}, {}),
    "memory_max": ([jobs(9)], [S], {"memory_max": 4500}, {"small": 4}),
    "cost_per_hour": ([jobs(9)], [S], {"cost_per_hour": 4.5}, {"small": 4}),
    "cost_per_hour in cents": ([jobs(9)], [replace(S, price=0.1)], {"cost_per_hour": 0.3}, {"small": 3}),
    "cost_per_hour is spent where it serves the most": (
        [jobs(90)],
        [S, M],
        {"cost_per_hour": 7},
        {"medium": 2, "small": 1},
    ),
    "cost_per_hour 0 still makes what costs nothing": ([jobs(2)], [SMALL], {"cost_per_hour": 0}, {"small": 2}),
    "the minimum obeys the budget": ([], [S], {"nodes_min": 5, "cost_per_hour": 2}, {"small": 2}),
    "the spare obeys the budget": ([], [S], {"nodes_spare": 5, "cost_per_hour": 2}, {"small": 2}),
}


@pytest.mark.parametrize("case", [*CHEAPEST, *LIMITED])
def test_what_is_chosen(case: str) -> None:
    shapes, flavors, scaling, expected = {**CHEAPEST, **LIMITED}[case]
    assert made(decide(world(shapes=shapes, flavors=flavors), **scaling)) == expected


@pytest.mark.parametrize("bound", ["", "limits.building"])
def test_few_creations_allowed_means_larger_nodes(bound: str) -> None:
    """Nova builds 30 at a time; the quota of instances may be small while that of cores is not."""
    room = Room(instances=30, bound=bound)
    assert made(decide(world(shapes=[jobs(100)], flavors=[S, L], room=room))) == {"large": 12, "small": 4}


CHEAP = Flavor("here", "cheap", Resources(4, 16_000, 10**8), 0.2)
DEAR = Flavor("here", "dear", Resources(16, 64_000, 10**8), 10.0)
WIDE = replace(DEAR, name="wide", price=0.86)  # a job costs 7.5 % more than on a cheap one
GPUS = replace(DEAR, name="gpus", resources=replace(DEAR.resources, gpus=4))
FREE = [replace(one, price=0.0) for one in (CHEAP, GPUS)]
AT_A_TIME = Room(30, 10**9, 10**9, "limits.building")
HURRIED: dict[str, tuple[list[Shape], list[Flavor], Room, dict[str, Any], dict[str, int]]] = {
    "as many as are built at a time": ([jobs(120)], [CHEAP, DEAR], AT_A_TIME, {}, {"cheap": 30}),
    "one job more waits for its turn": ([jobs(121)], [CHEAP, DEAR], AT_A_TIME, {}, {"cheap": 30}),
    "so do many": ([jobs(2000)], [CHEAP, DEAR], AT_A_TIME, {}, {"cheap": 30}),
    "and more than could ever be made": ([jobs(9000)], [CHEAP, GPUS], AT_A_TIME, {}, {"cheap": 30}),
    "a little dearer, and all are served": ([jobs(160)], [CHEAP, WIDE, DEAR], AT_A_TIME, {}, {"wide": 10}),
    "a little dearer, and more are served": ([jobs(999)], [CHEAP, WIDE, DEAR], AT_A_TIME, {}, {"wide": 30}),
    "several shapes": ([jobs(121), jobs(1, cpus=2)], [CHEAP, DEAR], AT_A_TIME, {}, {"cheap": 30}),
    "the others would not allow it either": (
        [jobs(121)],
        [CHEAP, DEAR],
        replace(AT_A_TIME, lasting=30),
        {},
        {"dear": 7, "cheap": 3},
    ),
    "nothing while all are being built": ([jobs(9)], [CHEAP, DEAR], replace(AT_A_TIME, instances=0), {}, {}),
    "few nodes: larger ones, but none with GPUs": (
        [jobs(400)],
        [CHEAP, replace(DEAR, resources=Resources(8, 32_000, 10**8)), GPUS],
        Room(),
        {"nodes_max": 10},
        {"dear": 10},
    ),
    "few nodes, and GPUs on all that are larger": ([jobs(41)], [CHEAP, GPUS], Room(), {"nodes_max": 10}, {"cheap": 10}),
    "no prices": ([jobs(41)], FREE, Room(), {"nodes_max": 10}, {"cheap": 10}),
    "no prices, built at a time": ([jobs(400)], FREE, AT_A_TIME, {}, {"cheap": 30}),
    "GPUs where nothing else is": ([jobs(41)], [GPUS], Room(), {"nodes_max": 2}, {"gpus": 2}),
    "GPUs where they are cheapest": ([jobs(999)], [replace(GPUS, price=0.1), CHEAP], AT_A_TIME, {}, {"gpus": 30}),
    "GPUs for jobs that ask for them": ([jobs(41, gpus=1)], [CHEAP, GPUS], Room(), {"nodes_max": 10}, {"gpus": 10}),
}


@pytest.mark.parametrize("case", HURRIED)
def test_what_is_chosen_while_servers_build_or_gpus_would_idle(case: str) -> None:
    shapes, flavors, room, scaling, expected = HURRIED[case]
    seen = world(shapes=shapes, flavors=flavors, room=room)
    for allocation in ("fill-first", "round-robin", "cheapest"):
        assert made(decide(seen, node_allocation=allocation, **{"nodes_max": 1000, **scaling})) == expected


@pytest.mark.parametrize(
    ("scaling", "code", "figures"),
    [
        ({"cores_max": 2}, "cores-max", ("cores_max is 2", "have 2 cores")),
        ({"memory_max": 2500}, "memory-max", ("memory_max is 2500", "have 2000 MB")),
        ({"cost_per_hour": 2.5}, "cost-per-hour", ("cost_per_hour is 2.5", "cost 2 an hour", "costs 1")),
        ({"cost_per_month": 2.5}, "cost-per-month", ("cost_per_month is 2.5", "cost 0.00 in this month")),
    ],
)
def test_a_limit_that_binds_is_said_with_its_figures(
    scaling: dict[str, Any], code: str, figures: tuple[str, ...]
) -> None:
    decided = decide(world(shapes=[jobs(9)], flavors=[S, L]), **scaling)
    (said,) = decided.held
    assert made(decided) == {"small": 2}
    assert said.reason.code == code
    assert "7 idle jobs" in said.reason.text
    assert all(figure in said.reason.text for figure in figures), said.reason.text


def test_a_full_quota_is_not_called_a_budget() -> None:
    decided = decide(world(shapes=[jobs(9)], flavors=[S], room=Room(instances=1)), cost_per_hour=1)
    assert held(decided) == {"quota"}


THERE = replace(LARGE, cloud="there", quota_cpus=9, quota_memory=8192)
NO_ROOM: dict[str, tuple[Room, Room, str]] = {
    "instances": (
        Room(0),
        Room(-1),
        "the quota of instances of here: 0 servers left; the quota of instances of there: -1",
    ),
    "a limit of ours on servers": (
        Room(0, bound="limits.nodes"),
        Room(0),
        "limits.nodes of here: 0 servers left; the ",
    ),
    "cores, where fewer servers than instances are left": (
        Room(20, 0, 10**6, "limits.nodes"),
        Room(cores=2, cores_bound="limits.cores"),
        "the quota of cores of here: 0 left, here/small has 1; limits.cores of there: 2 left, there/large has 9",
    ),
    "memory": (
        Room(memory=999, memory_bound="limits.memory"),
        Room(memory=8191),
        "limits.memory of here: 999 MB left, here/small has 1000; "
        "the quota of memory of there: 8191 MB left, there/large has 8192",
    ),
    "a cloud whose boots fail is not full": (
        Room(cores=0.0),
        Room(),
        "the quota of cores of here: 0 left, here/small has 1",
    ),
    "two limits": (
        Room(0, 0),
        Room(0),
        "of here: 0 servers left; the quota of cores of here: 0 left, here/small has 1",
    ),
}


@pytest.mark.parametrize("case", NO_ROOM)
def test_the_limits_of_clouds_that_bind_are_said_with_their_figures_and_no_others(case: str) -> None:
    here, there, expected = NO_ROOM[case]
    seen = world(shapes=[jobs(1)], flavors=[SMALL, GPU], room=here)
    seen = replace(seen, clouds=(*seen.clouds, CloudView("there", (THERE,), (), there)))
    boots = {"there/large/": Boots("there/large/", failures=3, rounds=1, failed_at=NOW)} if there == Room() else {}
    (said,) = (one.reason for one in plan(seen, Memory(boots=boots), settings()).held if one.reason.code == "quota")
    assert expected in said.text
    assert said.text.endswith(expected) or there != Room(), "the other cloud binds nothing"


def test_a_limit_is_told_of_the_flavor_that_could_be_made_not_of_one_whose_boots_fail() -> None:
    boots = {"here/small/": Boots("here/small/", failures=3, rounds=1, failed_at=NOW)}
    decided = decide(world(shapes=[jobs(1)], room=Room(cores=2)), Memory(boots=boots))
    (said,) = (one.reason.text for one in decided.held if one.reason.code == "quota")
    assert said.endswith(": the quota of cores of here: 2 left, here/large has 8")


COUNTED = {
    "booting": VmState.BOOTING,
    "error": VmState.ERROR,
    "stopped": VmState.STOPPED,
    "deleting": VmState.DELETING,
    "unknown": VmState.UNKNOWN,
}


@pytest.mark.parametrize(
    "scaling", [{"cores_max": 8}, {"memory_max": 8000}, {"cost_per_hour": 8}, {"cost_per_month": 8}]
)
@pytest.mark.parametrize("state", COUNTED.values(), ids=COUNTED)
def test_every_server_counts_to_every_limit(state: VmState, scaling: dict[str, Any]) -> None:
    seen = world([server("n1", state, L)], [], [jobs(1, gpus=1)], flavors=[S, L, GPU])
    assert made(decide(seen, **scaling)) == {}
    assert made(decide(world(shapes=seen.demand.shapes, flavors=[S, L, replace(GPU, price=8)]), **scaling)) == {
        "gpu": 1
    }


@pytest.mark.parametrize("scaling", [{"cores_max": 8}, {"memory_max": 8000}, {"cost_per_hour": 8}])
def test_nodes_of_a_silent_cloud_count_with_what_its_flavors_were(scaling: dict[str, Any]) -> None:
    """So that a cloud that does not answer makes no room in the budget of the others."""
    seen = two_clouds([jobs(3)])
    past = Memory(
        {"n1": remembered("n1", flavor=replace(L, cloud="there"), joined=1.0, listed=1.0)},
        flavors={"there/large": KnownFlavor("there/large", 8, 8000, 8.0)},
    )
    assert made(plan(seen, past, settings(**scaling))) == {}
    assert made(plan(seen, Memory(), settings(**scaling))) == {"small": 3}


def test_a_flavor_that_is_offered_no_more_counts_at_the_highest_price_of_its_cloud() -> None:
    seen = world(
        [server("n1", flavor=L)], [slot("n1", "Claimed", "Busy", flavor=L, kind="Static")], [jobs(1)], flavors=[S]
    )
    base = settings(cost_per_hour=4)
    cloud = LocalCloudSettings(Place(Path("/nowhere")), flavors=(FlavorSettings("small", price=3.5),))
    dear = replace(base, clouds={"here": cloud})
    assert made(plan(seen, Memory(), dear)) == {}
    assert made(plan(seen, Memory(), base)) == {"small": 1}


def two_clouds(shapes: list[Shape]) -> World:
    """One that answers and one that does not."""
    first = world(shapes=shapes, flavors=[S])
    return replace(first, clouds=(*first.clouds, replace(first.clouds[0], name="there", flavors=(), fault="down")))


def test_what_may_be_made_ends_with_the_trial_of_a_flavor_whose_boots_fail() -> None:
    boots = {"here/small/": Boots("here/small/", failures=3, rounds=1, failed_at=1.0)}
    seen = world(shapes=[jobs(3)], flavors=[S])
    assert made(plan(seen, Memory(boots=boots), settings())) == {"small": 1}


def test_every_creation_is_an_action_of_its_own() -> None:
    """What came of each is told by its action."""
    decided = decide(world(shapes=[jobs(4)]))
    assert len({id(action) for action in decided.actions}) == len(decided.actions) == 4


def test_spent_room_of_all_shapes_is_filled_before_a_node_is_made() -> None:
    slots = [slot("n1", flavor=L, free=Resources(5, 5000, 50_000)), claim("n1", 3)]
    decided = decide(world([server("n1", flavor=L)], slots, [jobs(1, cpus=4), jobs(2)], flavors=[S, L]))
    assert acts(decided) == [("create", "here/small", "demand")]


def test_what_is_left_on_a_new_node_is_for_jobs_that_run_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amounts are not all: the answer of one rule counts, for the node and for what is left on it."""
    monkeypatch.setattr(
        policies, "runs_on", lambda shape, flavor: (shape.request.cpus == 6) == (flavor.name == "large")
    )
    assert made(decide(world(shapes=[jobs(1, cpus=6), jobs(2)], flavors=[S, L]))) == {"large": 1, "small": 2}


def test_two_flavors_are_chosen_where_both_together_are_allowed() -> None:
    for nodes, way in ((3, [(M, 2), (S, 1)]), (2, [(L, 1), (S, 1)]), (1, [(L, 1)])):
        bounds = limits_of(settings(nodes_max=nodes).scaling, 0.0)
        allowance = Allowance(bounds, Amounts(), {"here": Room()})
        assert choose_flavors(Resources(1, 100, 100), 9, [S, M, L], allowance) == way


def with_cloud_minimum(**minima: int) -> Any:
    base = settings()
    cloud = base.clouds["here"]
    return replace(base, clouds={name: replace(cloud, nodes_min=count) for name, count in minima.items()})


def both_clouds(*servers: Any, slots: Any = ()) -> World:
    first = world(list(servers), slots, flavors=[S])
    there = replace(first.clouds[0], name="there", flavors=(replace(S, cloud="there"),), servers=())
    return replace(first, clouds=(*first.clouds, there))


def test_each_cloud_has_a_minimum_of_its_own() -> None:
    decided = plan(both_clouds(), Memory(), with_cloud_minimum(here=1, there=2))
    assert acts(decided) == [("create", "here/small", "nodes-min")] + [("create", "there/small", "nodes-min")] * 2
    full = replace(with_cloud_minimum(here=1, there=2), scaling=settings(nodes_min=4).scaling)
    assert len(acts(plan(both_clouds(), Memory(), full))) == 4


def test_the_minimum_of_a_cloud_keeps_its_nodes() -> None:
    seen = both_clouds(server("n1"), server("n2"), slots=[slot("n1"), slot("n2")])
    assert len(acts(plan(seen, Memory(), with_cloud_minimum(here=1, there=0)))) == 1
    assert len(acts(plan(seen, Memory(), with_cloud_minimum(here=0, there=0)))) == 2


RESERVE: dict[str, tuple[list[Shape], dict[str, Any], int]] = {
    "none": ([jobs(10)], {}, 10),
    "so many cores": ([jobs(10)], {"reserve_cores": 3}, 13),
    "a share of the load": ([jobs(10)], {"reserve_share": 0.2}, 12),
    "a share is rounded up": ([jobs(11)], {"reserve_share": 0.2}, 14),
    "the larger of both": ([jobs(10)], {"reserve_share": 0.2, "reserve_cores": 1}, 12),
    "no load, no share": ([], {"reserve_share": 0.2}, 0),
    "limits bind it too": ([jobs(10)], {"reserve_cores": 5, "nodes_max": 12}, 12),
}


@pytest.mark.parametrize("case", RESERVE)
def test_the_reserve_follows_the_load(case: str) -> None:
    shapes, scaling, nodes = RESERVE[case]
    assert made(decide(world(shapes=shapes, flavors=[S]), **scaling)).get("small", 0) == nodes


def test_free_cores_of_busy_nodes_are_reserve() -> None:
    slots = [slot("n1", flavor=L, free=Resources(4, 4000, 40_000)), claim("n1", 4)]
    seen = world([server("n1", flavor=L)], slots, flavors=[S, L])
    assert made(decide(seen, reserve_share=1.0)) == {}
    assert made(decide(seen, reserve_share=1.5)) == {"small": 2}
    assert "reserve" in {
        action.reason.code for action in decide(seen, reserve_share=1.5).actions if isinstance(action, Create)
    }


NO_MEMORY, NO_DISK = Resources(7, 0, 80_000), Resources(7, 7000, 0)


@pytest.mark.parametrize(
    ("free", "whole", "cores"),
    [
        (Resources(7, 7000, 70_000), LARGE.resources, 7),
        (NO_MEMORY, LARGE.resources, 0),
        (NO_DISK, LARGE.resources, 0),
        (Resources(7, 3000, 80_000), LARGE.resources, 3),
        (Resources(4, 3904, 80_000), LARGE.resources, 4),
        (Resources(3, 8000, 80_000), LARGE.resources, 3),
        (Resources(-1, 8000, 80_000), LARGE.resources, 0),
        (Resources(2, 500, 100), Resources(2, 0, 0), 2),
        (Resources(2, 500, 100), Resources(), 2),
    ],
)
def test_a_free_core_is_of_use_with_its_share_of_memory_and_disk(
    free: Resources, whole: Resources, cores: float
) -> None:
    assert free.cores_of_use(whole) == cores


@pytest.mark.parametrize("free", [NO_MEMORY, NO_DISK])
def test_cores_that_no_job_can_use_are_no_reserve(free: Resources) -> None:
    seen = world([server("n1", flavor=L)], [slot("n1", flavor=L, free=free), claim("n1", 1)], flavors=[S])
    assert made(decide(seen, reserve_cores=4)) == {"small": 4}
    odd = replace(seen.slots[0], total=Resources(8))
    assert made(decide(replace(seen, slots=(odd, seen.slots[1])), reserve_cores=4)) == {}


def test_cores_that_no_job_can_use_on_a_new_node_are_no_reserve() -> None:
    decided = decide(world(shapes=[jobs(1, memory=8000)], flavors=[L]), reserve_cores=4)
    assert made(decided) == {"large": 2}


def test_the_reserve_keeps_idle_nodes() -> None:
    seen = world([server("n1"), server("n2"), server("n3")], [slot("n1"), slot("n2"), slot("n3")])
    decided = decide(seen, reserve_cores=2)
    assert len(acts(decided)) == 1
    assert "reserve" in next(hold.reason.text for hold in decided.held if hold.reason.code == "kept")


def test_draining_nodes_are_taken_back_for_the_reserve() -> None:
    assert acts(decide(world([server("n1")], [slot("n1", "Drained")]), reserve_cores=1)) == [
        ("undrain", "n1", "reserve")
    ]
