"""The plan as tables: a world in, actions and hold-backs out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ehoslite.memory import Intent, Memory
from ehoslite.model import Flavor, Leftover, Room, Slot, VmState, World
from ehoslite.nodes import remember
from ehoslite.resources import Resources
from tests.unit.worlds import (
    LARGE,
    NOW,
    SMALL,
    acts,
    alien,
    claim,
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

GPU = Flavor("here", "gpu", Resources(4, 4000, 40_000, 2), price=9)


CREATION: dict[str, tuple[World, dict[str, Any], dict[str, int], set[str]]] = {
    "nothing to do": (world(), {}, {}, set()),
    "a node a job of its size": (world(shapes=[jobs(3)]), {}, {"small": 3}, set()),
    "the smallest flavor that holds the job": (world(shapes=[jobs(1, cpus=2)]), {}, {"large": 1}, set()),
    "memory decides as cpus do": (world(shapes=[jobs(1, memory=1001)]), {}, {"large": 1}, set()),
    "disk decides as cpus do": (world(shapes=[jobs(1, disk=10_001)]), {}, {"large": 1}, set()),
    "several jobs on one node": (world(shapes=[jobs(4, cpus=2)]), {}, {"large": 1}, set()),
    "leftover room of a new node is used": (world(shapes=[jobs(1, cpus=6), jobs(2)]), {}, {"large": 1}, set()),
    "larger nodes where nodes are few": (world(shapes=[jobs(16)]), {"nodes_max": 2}, {"large": 2}, set()),
    "no more than nodes_max": (world(shapes=[jobs(99)]), {"nodes_max": 2}, {"large": 2}, {"nodes-max"}),
    "no more than the quota of instances": (
        world(shapes=[jobs(3, cpus=8)], room=Room(instances=2)),
        {},
        {"large": 2},
        {"quota"},
    ),
    "no more than the quota of cores": (
        world(shapes=[jobs(3, cpus=8)], room=Room(cores=17)),
        {},
        {"large": 2},
        {"quota"},
    ),
    "no more than the quota of memory": (
        world(shapes=[jobs(3, cpus=8)], room=Room(memory=8001)),
        {},
        {"large": 1},
        {"quota"},
    ),
    "the quota counts memory that the system takes": (
        world(shapes=[jobs(2, cpus=8)], room=Room(memory=17_000), flavors=(replace(LARGE, quota_memory=9000),)),
        {},
        {"large": 1},
        {"quota"},
    ),
    "an overdrawn quota makes nothing": (world(shapes=[jobs(1)], room=Room(instances=-2)), {}, {}, {"quota"}),
    "a job that fits no flavor gets no node": (world(shapes=[jobs(1, cpus=9)]), {}, {}, {"no-flavor-fits"}),
    "GPUs need a flavor with GPUs": (world(shapes=[jobs(1, gpus=1)]), {}, {}, {"no-flavor-fits"}),
    "GPU jobs share a GPU node": (
        world(shapes=[jobs(2, gpus=1)], flavors=(SMALL, LARGE, GPU)),
        {},
        {"gpu": 1},
        set(),
    ),
    "jobs without GPUs stay off the dear node": (
        world(shapes=[jobs(1, cpus=4)], flavors=(SMALL, GPU, LARGE)),
        {},
        {"large": 1},
        set(),
    ),
    "the minimum": (world(), {"nodes_min": 2}, {"small": 2}, set()),
    "the minimum counts what the queue makes": (world(shapes=[jobs(3)]), {"nodes_min": 2}, {"small": 3}, set()),
    "the spare comes on top": (world(shapes=[jobs(3)]), {"nodes_spare": 1}, {"small": 4}, set()),
    "minimum and spare share nodes": (world(), {"nodes_min": 2, "nodes_spare": 1}, {"small": 2}, set()),
    "no cloud answers": (world(shapes=[jobs(1)], fault="down"), {}, {}, {"cloud-silent", "no-flavor"}),
    "a request of nothing": (world(shapes=[jobs(5, 0, 0, 0)]), {}, {"small": 1}, set()),
}


@pytest.mark.parametrize("case", CREATION)
def test_creation(case: str) -> None:
    seen, scaling, flavors, codes = CREATION[case]
    decided = decide(seen, **scaling)
    assert (made(decided), held(decided)) == (flavors, codes)


ROOM: dict[str, tuple[list[Slot], int]] = {
    "a free slot": ([slot("n1")], 0),
    "a foreign free slot": ([alien()], 0),
    "another pool's slot": ([slot("alien", pool="other")], 0),
    "a static slot": ([slot("n1", kind="Static")], 0),
    "what is left of a partitionable slot": ([slot("n1", free=Resources(1, 100, 100)), claim("n1")], 0),
    "a full partitionable slot": ([slot("n1", free=Resources(0, 0, 0)), claim("n1")], 1),
    "a claimed static slot": ([slot("n1", "Claimed", "Busy", kind="Static")], 1),
    "a draining slot": ([slot("n1", draining=True, drain_reason="somebody")], 1),
    "a drained slot of somebody's": ([slot("n1", "Drained", drain_reason="somebody")], 1),
    "a slot whose START is false": ([slot("n1", accepts_jobs=False)], 1),
    "a slot in Owner state": ([slot("n1", "Owner")], 1),
    "an idle dynamic slot that a schedd still claims": ([replace(claim("n1"), activity="Idle")], 1),
    "a silent node's slot": ([slot("n1", heard_ago=700)], 1),
}


@pytest.mark.parametrize("case", ROOM)
def test_what_counts_as_room(case: str) -> None:
    slots, creations = ROOM[case]
    seen = world([server("n1")] if slots[0].node == "n1" else [], slots, [jobs(1)])
    assert sum(made(decide(seen)).values()) == creations


def test_a_booting_node_is_room_and_that_is_said() -> None:
    seen = world([server("n1", VmState.BOOTING)], [], [jobs(1)])
    decided = decide(seen, memory(remembered("n1", age=60)))
    assert (acts(decided), held(decided)) == ([], {"waits-for-boot"})


@pytest.mark.parametrize(("listed_ago", "kept"), [(59, True), (61, False)])
def test_a_booting_node_that_a_listing_leaves_out_is_missed_before_it_is_replaced(
    listed_ago: float, kept: bool
) -> None:
    past = memory(remembered("n1", age=100, listed=NOW - listed_ago))
    seen = world([], [], [jobs(1)])
    now_remembered = remember(past, seen, settings())
    assert ("n1" in now_remembered.nodes) == kept
    assert made(decide(seen, now_remembered)) == ({} if kept else {"small": 1})


def test_a_listed_node_is_remembered_as_listed() -> None:
    assert remember(Memory(), world([server("n1")]), settings()).nodes["n1"].listed == NOW


def test_an_intent_counts_as_a_booting_node() -> None:
    past = Memory(intents={"n1": Intent("n1", "here", "small", NOW - 5)})
    assert acts(decide(world(shapes=[jobs(1)]), past)) == []
    full = decide(world(shapes=[jobs(9)]), past, nodes_max=1)
    assert (acts(full), held(full)) == ([], {"nodes-max", "waits-for-boot"})


def test_an_intent_takes_from_the_quota_until_the_cloud_counts_it() -> None:
    past = Memory(intents={"n1": Intent("n1", "here", "large", NOW - 5)})
    decided = decide(world(shapes=[jobs(2, cpus=8)], room=Room(instances=1)), past)
    assert made(decided) == {}


COUNTED = {
    "stopped": [server("n1", VmState.STOPPED)],
    "error": [server("n1", VmState.ERROR)],
    "deleting": [server("n1", VmState.DELETING)],
    "unknown": [server("n1", VmState.UNKNOWN)],
    "booting": [server("n1", VmState.BOOTING)],
}


@pytest.mark.parametrize("case", COUNTED)
def test_every_server_counts_to_nodes_max(case: str) -> None:
    decided = decide(world(COUNTED[case], [], [jobs(1, cpus=2)]), nodes_max=1)
    assert (made(decided), "nodes-max" in held(decided)) == ({}, True)


def test_the_nodes_of_a_silent_cloud_count_to_nodes_max() -> None:
    seen = world([], [slot("n2", "Claimed", "Busy")], [jobs(1)], fault="down")
    decided = decide(seen, memory(remembered("n1"), remembered("n2")), nodes_max=2)
    assert {node.id for node in decided.nodes} == {"n1", "n2"}
    assert acts(decided) == []


def idle(node: str, idle_for: float = 1000, **more: Any) -> tuple[Any, Any]:
    return server(node), slot(node, idle_for=idle_for, **more)


def of(*pairs: tuple[Any, Any]) -> tuple[list[Any], list[Any]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def test_retires_what_is_idle_too_long_the_longest_first() -> None:
    decided = decide(world(*of(idle("n1", 400), idle("n2", 900), idle("n3", 200))), nodes_min=1)
    assert acts(decided) == [("drain", "n2", "idle-timeout"), ("drain", "n1", "idle-timeout")]
    assert "idle-timeout" in held(decided)


@pytest.mark.parametrize(
    ("scaling", "drains"),
    [({"nodes_min": 2}, 1), ({"nodes_spare": 2}, 1), ({"nodes_min": 3}, 0), ({"nodes_spare": 1}, 2), ({}, 3)],
)
def test_keeps_minimum_and_spare(scaling: dict[str, Any], drains: int) -> None:
    decided = decide(world(*of(idle("n1"), idle("n2"), idle("n3"))), **scaling)
    assert len(acts(decided)) == drains
    assert ("kept" in held(decided)) == (drains < 3)


def test_a_node_that_jobs_are_packed_onto_is_not_retired() -> None:
    decided = decide(world(*of(idle("n1"), idle("n2")), [jobs(1)]))
    assert len(acts(decided)) == 1


def test_jobs_go_to_the_partly_used_node_so_that_the_empty_one_can_go() -> None:
    slots = [slot("n1", flavor=LARGE, free=Resources(7, 7000, 70_000)), claim("n1"), slot("n2", flavor=LARGE)]
    decided = decide(world([server("n1", flavor=LARGE), server("n2", flavor=LARGE)], slots, [jobs(3)]))
    assert acts(decided) == [("drain", "n2", "idle-timeout")]


@pytest.mark.parametrize(
    "slots",
    [
        [slot("n1"), claim("n1")],
        [slot("n1", "Claimed", "Idle", kind="Static")],
        [slot("n1", "Matched", kind="Static")],
        [slot("n1", "Preempting", kind="Static")],
        [slot("n1", kind="Static"), slot("n1", "Claimed", "Busy", kind="Static", name="slot2@n1")],
    ],
)
def test_a_busy_node_is_never_retired(slots: list[Slot]) -> None:
    assert acts(decide(world([server("n1")], slots))) == []


def test_nothing_is_retired_while_a_schedd_is_silent() -> None:
    decided = decide(world(*of(idle("n1")), silent={"schedd2": "no answer"}))
    assert (acts(decided), held(decided)) == ([], {"schedd-silent"})


@pytest.mark.parametrize(("age", "drains"), [(599, 0), (601, 1)])
def test_nothing_is_retired_while_a_young_collector_may_not_know_every_schedd(age: float, drains: int) -> None:
    """Its age counts up to when it last heard a slot."""
    servers, slots = of(idle("n1"))
    heard = max(one.heard for one in slots)
    decided = decide(world(servers, slots, collector_since=heard - age))
    assert (len(acts(decided)), held(decided)) == (drains, set() if drains else {"collector-young"})


def test_a_silent_schedd_does_not_stop_the_others_demand() -> None:
    assert made(decide(world(shapes=[jobs(1)], silent={"schedd2": "no answer"}))) == {"small": 1}


def test_nothing_of_a_silent_cloud_is_retired_or_deleted() -> None:
    seen = world([], [slot("n1"), slot("n2", "Drained")], fault="down")
    past = memory(remembered("n1", joined=1.0), remembered("n2", joined=1.0), remembered("n3"))
    assert acts(decide(seen, past)) == []


def test_idle_nodes_beyond_a_lowered_maximum_go_before_their_time() -> None:
    decided = decide(world(*of(idle("n1", 5), idle("n2", 1))), nodes_max=1, idle_timeout=9999)
    assert {code for _, _, code in acts(decided)} == {"nodes-max"}
    assert len(acts(decided)) == 1


def test_a_node_that_shares_its_machine_name_is_not_drained() -> None:
    twin = alien(machine="n1.nodes")
    decided = decide(world([server("n1")], [slot("n1"), twin]))
    assert (acts(decided), held(decided)) == ([], {"ambiguous-machine"})


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_drained_node_that_shares_its_machine_name_is_not_asked_for_anything(waiting: int) -> None:
    """Undrains, and the question before a delete, go by that name as drains do: they might hit the other."""
    twin = alien(machine="n1.nodes", state="Claimed")
    decided = decide(world([server("n1")], [slot("n1", "Drained"), twin], [jobs(waiting)] if waiting else []))
    assert [action.verb for action in decided.actions] == ["create"] * waiting, "no job is packed onto it"
    assert "ambiguous-machine" in held(decided)


def test_a_drained_node_that_is_left_as_it_is_is_not_on_its_way_out() -> None:
    twin = alien(machine="n1.nodes", state="Claimed")
    slots = [slot("n1", "Drained"), twin, slot("n2", idle_for=1)]
    decided = decide(world([server("n1"), server("n2")], slots), nodes_max=1)
    assert acts(decided) == [("drain", "n2", "nodes-max")]
    assert acts(decide(world([server("n1")], slots[:2]), nodes_min=1)) == [("create", "here/small", "nodes-min")]


def test_a_drained_node_is_deleted_and_must_be_seen_drained_once_more() -> None:
    decided = decide(world([server("n1")], [slot("n1", "Drained")]))
    assert acts(decided) == [("delete", "n1", "drained")]
    assert decided.actions[0].drained  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "slots",
    [
        [slot("n1", "Drained", "Retiring")],
        [slot("n1", "Drained", "Retiring"), claim("n1", draining=True)],
        [slot("n1", "Drained"), slot("n1", "Claimed", "Retiring", name="slot2@n1", draining=True)],
    ],
)
def test_a_draining_node_is_not_deleted(slots: list[Slot]) -> None:
    assert acts(decide(world([server("n1")], slots))) == []


def test_one_idle_slot_of_a_wholly_drained_startd_is_enough() -> None:
    slots = [slot("n1", "Drained", "Retiring", kind="Static"), slot("n1", "Drained", kind="Static", name="slot2@n1")]
    assert acts(decide(world([server("n1")], slots))) == [("delete", "n1", "drained")]


def test_somebody_else_s_drain_is_left_alone() -> None:
    decided = decide(world([server("n1")], [slot("n1", "Drained", drain_reason="maintenance")]))
    assert (acts(decided), held(decided)) == ([], {"drained-by-other"})


@pytest.mark.parametrize("scaling", [{"nodes_min": 1}, {"nodes_spare": 1}])
def test_a_drained_node_is_taken_back_for_minimum_and_spare(scaling: dict[str, Any]) -> None:
    assert [act[0] for act in acts(decide(world([server("n1")], [slot("n1", "Drained")]), **scaling))] == ["undrain"]


def test_a_drained_node_is_taken_back_before_one_is_made() -> None:
    decided = decide(world([server("n1")], [slot("n1", "Drained")], [jobs(2)]))
    assert acts(decided) == [("create", "here/small", "demand"), ("undrain", "n1", "demand")]


def test_the_plan_does_not_depend_on_the_order_of_its_input() -> None:
    shapes = [jobs(3), jobs(2, cpus=4), jobs(5, memory=900), jobs(1, cpus=8)]
    servers, slots = of(idle("n1"), idle("n2"), idle("n3"))
    forth = decide(world(servers, slots, shapes))
    back = decide(world(servers[::-1], slots[::-1], shapes[::-1], flavors=(LARGE, SMALL)))
    assert acts(forth) == acts(back)
    assert forth.held == back.held


def test_every_reason_is_a_code_and_a_sentence_with_the_numbers() -> None:
    decided = decide(world(shapes=[jobs(7), jobs(1, cpus=99)]))
    for reason in [action.reason for action in decided.actions] + [hold.reason for hold in decided.held]:
        assert reason.code == reason.code.lower()
        assert " " in reason.text
    assert "7 idle jobs" in decided.actions[0].reason.text
    assert "too few cpus" in decided.held[0].reason.text


def test_one_job_is_one_job() -> None:
    assert "1 idle job of" in decide(world(shapes=[jobs(1)])).actions[0].reason.text


def two_clouds(count: int, **here: Any) -> World:
    """Two clouds, the second dearer; `here` changes the first."""
    first = world(shapes=[jobs(count)], flavors=(replace(SMALL, price=1),))
    there = replace(first.clouds[0], name="there", flavors=(replace(SMALL, cloud="there", price=2),))
    return replace(first, clouds=(replace(first.clouds[0], **here), there))


@pytest.mark.parametrize(
    ("allocation", "here", "counts"),
    [
        ("fill-first", {}, {"here/small": 6}),
        ("fill-first", {"room": Room(instances=2)}, {"here/small": 2, "there/small": 4}),
        ("fill-first", {"fault": "down"}, {"there/small": 6}),
        ("fill-first", {"flavors": ()}, {"there/small": 6}),
        ("round-robin", {}, {"here/small": 3, "there/small": 3}),
        ("round-robin", {"room": Room(instances=1)}, {"here/small": 1, "there/small": 5}),
        ("cheapest", {}, {"here/small": 6}),
        ("cheapest", {"flavors": (replace(SMALL, price=3),)}, {"there/small": 6}),
        ("cheapest", {"room": Room(cores=2)}, {"here/small": 2, "there/small": 4}),
    ],
)
def test_which_cloud_gets_the_next_node(allocation: str, here: dict[str, Any], counts: dict[str, int]) -> None:
    decided = decide(two_clouds(6, **here), node_allocation=allocation)
    assert Counter(action.subject for action in decided.actions) == counts


def test_random_uses_both_clouds_and_repeats_itself_with_its_seed() -> None:
    first, again = (decide(two_clouds(40), node_allocation="random", random_seed=7) for _ in range(2))
    other = decide(two_clouds(40), node_allocation="random", random_seed=8)
    assert first.actions == again.actions
    assert len({action.subject for action in first.actions}) == 2
    assert first.actions != other.actions


def test_round_robin_counts_the_nodes_that_are_there() -> None:
    seen = two_clouds(2)
    seen = replace(seen, clouds=(replace(seen.clouds[0], servers=(server("n1", VmState.STOPPED),) * 1), seen.clouds[1]))
    assert next(a.subject for a in decide(seen, node_allocation="round-robin").actions) == "there/small"


def test_leftovers_of_nodes_that_are_no_more_are_swept() -> None:
    seen = world([server("n1")])
    mine, other = Leftover("here", "port", "p1", "n1"), Leftover("here", "port", "p2", "n2")
    made = (mine, other, Leftover("here", "port", "p3", "n3", in_use=True))
    seen = replace(seen, clouds=(replace(seen.clouds[0], leftovers=made),))
    assert acts(decide(seen, memory(remembered("n1", age=1)))) == [("sweep", "port p2", "leftover")]
    intended = Memory(intents={"n2": Intent("n2", "here", "small", NOW)})
    assert ("sweep", "port p2", "leftover") not in acts(decide(seen, intended))
