"""Which idle nodes go, and in which order: as tables. A node with a job is never among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ehoslite.memory import Boots, Memory, Spent
from ehoslite.model import Flavor, Room, Server, Slot, VmState, World
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.windows import month_of
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

S = replace(SMALL, price=1.0, made_of="new")
L = replace(LARGE, price=8.0, made_of="new")
MONTH = month_of(NOW, "UTC")


def idle(
    node: str, flavor: Flavor = S, *, idle_for: float = 1000, age: float = 5000, made_of: str = "new"
) -> tuple[Server, Slot]:
    listed = replace(server(node, flavor=flavor), created=NOW - age, made_of=made_of)
    return listed, slot(node, flavor=flavor, idle_for=idle_for)


def busy(node: str, flavor: Flavor = S, made_of: str = "new") -> tuple[Server, Slot]:
    listed = replace(server(node, flavor=flavor), made_of=made_of)
    return listed, slot(node, "Claimed", "Busy", flavor=flavor, kind="Static")


def of(*nodes: tuple[Server, Slot], shapes: Sequence[Any] = (), **more: Any) -> World:
    return world([one for one, _ in nodes], [one for _, one in nodes], shapes, **{"flavors": [S, L], **more})


def drained(decided: Any) -> list[str]:
    return [subject for verb, subject, _ in acts(decided) if verb == "drain"]


ORDER = {
    "longest-idle": ["small-longest", "large", "old-image", "oldest"],
    "dearest": ["large", "small-longest", "old-image", "oldest"],
    "emptiest": ["large", "small-longest", "old-image", "oldest"],
    "oldest-image": ["old-image", "oldest", "small-longest", "large"],
}


@pytest.mark.parametrize("order", ORDER)
def test_which_node_is_retired_first(order: str) -> None:
    seen = of(
        idle("oldest", idle_for=600, age=9000),
        idle("old-image", idle_for=700, made_of="old"),
        idle("large", L, idle_for=800, age=4000),
        idle("small-longest", idle_for=900),
    )
    for kept in range(5):
        decided = decide(seen, retire_first=order, nodes_min=kept, drift_nodes=0)
        assert drained(decided) == ORDER[order][: 4 - kept]


def test_emptiest_is_the_one_with_the_most_free_room() -> None:
    little = slot("n1", flavor=L, free=Resources(2, 2000, 20_000))
    seen = world([server("n1", flavor=L), server("n2", flavor=S)], [slot("n2"), little], flavors=[S, L])
    assert drained(decide(seen, retire_first="emptiest", nodes_min=1)) == ["n1"]


LOWERED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "nodes": ({"nodes_max": 3}, ["i1"], "nodes-max"),
    "nodes, far below": ({"nodes_max": 0}, ["i1", "i2"], "nodes-max"),
    "cores": ({"cores_max": 3}, ["i1"], "cores-max"),
    "memory": ({"memory_max": 3500}, ["i1"], "memory-max"),
    "cost": ({"cost_per_hour": 3.2}, ["i1"], "cost-per-hour"),
    "month": ({"cost_per_month": 3.2}, ["i1"], "cost-per-month"),
    "nothing is beyond": ({"nodes_max": 4, "cores_max": 4, "memory_max": 4000, "cost_per_hour": 4}, [], ""),
}


@pytest.mark.parametrize("case", LOWERED)
def test_a_lowered_limit_takes_idle_nodes_before_their_time_and_never_a_busy_one(case: str) -> None:
    scaling, gone, code = LOWERED[case]
    seen = of(busy("b1"), busy("b2"), idle("i1", idle_for=20), idle("i2", idle_for=10))
    decided = decide(seen, **scaling)
    assert drained(decided) == gone
    assert {reason for _, _, reason in acts(decided)} == ({code} if code else set())


@pytest.mark.parametrize("scaling", [{"cost_per_hour": 1.0}, {"cores_max": 1}])
def test_beyond_a_limit_minimum_and_spare_give_way_and_take_nothing_back(scaling: dict[str, Any]) -> None:
    keep = {"nodes_min": 2, "nodes_spare": 2, **scaling}
    assert drained(decide(of(idle("i1"), idle("i2", idle_for=900)), **keep)) == ["i1"]
    gone = (idle("i1")[0], slot("i1", "Drained"))
    assert acts(decide(of(gone, idle("i2")), **keep)) == [("delete", "i1", "drained")]


@pytest.mark.parametrize("scaling", [{}, {"nodes_min": 3}, {"shapes": [jobs(3)]}], ids=["idle", "minimum", "jobs"])
def test_what_need_not_go_when_a_larger_one_goes_stays(scaling: dict[str, Any]) -> None:
    """The large one is idle for the shortest time; without it the rest is within the limit."""
    nodes = [*(idle(f"s{number}", idle_for=90 - number) for number in range(3)), idle("l", L, idle_for=5)]
    seen = of(*nodes, shapes=scaling.pop("shapes", []))
    assert acts(decide(seen, cores_max=3, **scaling)) == [("drain", "l", "cores-max")]
    assert drained(decide(seen, cores_max=2, **scaling)) == ["s0", "l"]


@pytest.mark.parametrize("kept", [{"nodes_min": 3}, {"nodes_spare": 3}, {"own": 3}, {"reserve_cores": 3}])
def test_what_goes_for_a_limit_is_no_part_of_the_minimum(kept: dict[str, int]) -> None:
    """All are idle past idle_timeout, the small ones for longest."""
    nodes = [*(idle(f"s{number}", idle_for=900 - number) for number in range(3)), idle("l", L, idle_for=800)]
    base = settings(cores_max=3, **{name: value for name, value in kept.items() if name != "own"})
    clouds = {"here": replace(base.clouds["here"], nodes_min=kept.get("own", 0))}
    assert acts(plan(of(*nodes), Memory(), replace(base, clouds=clouds))) == [("drain", "l", "idle-timeout")]


def test_a_node_without_part_in_the_limit_that_is_exceeded_is_taken_back() -> None:
    """It costs nothing; else an equal one would be made for the minimum while it is deleted."""
    free = replace(SMALL, name="free", price=0.0)
    gone = idle("i1", free)[0], slot("i1", "Drained", flavor=free)
    decided = decide(of(busy("b1"), busy("b2"), gone, flavors=[S, free]), nodes_min=3, cost_per_hour=1.0)
    assert acts(decided) == [("undrain", "i1", "nodes-min")]


def test_what_idle_nodes_are_kept_for_is_said() -> None:
    base = settings(nodes_min=1, nodes_spare=1, reserve_cores=1)
    past = replace(base, clouds={"here": replace(base.clouds["here"], nodes_min=2)})
    (text,) = [
        hold.reason.text
        for hold in plan(of(idle("i1"), idle("i2")), Memory(), past).held
        if (hold.subject, hold.reason.code) == ("retire", "kept")
    ]
    why = "nodes_min 1 or nodes_min 2 of here or nodes_spare 1 or the reserve"
    assert text == f"2 idle nodes are kept for {why}"


def test_what_goes_already_counts() -> None:
    """A pass later the drained node is still there: no second one goes for it."""
    gone = (idle("i1")[0], slot("i1", "Drained", "Retiring"))
    assert drained(decide(of(gone, idle("i2", idle_for=10), idle("i3", idle_for=10)), nodes_max=2)) == []


ROOM: dict[str, tuple[World, dict[str, Any], list[str]]] = {
    "the minimum is of the wrong size": (
        of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4)]),
        {"nodes_max": 1, "nodes_min": 1},
        ["i1"],
    ),
    "idle for a moment only": (of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4)]), {"nodes_max": 1}, ["i1"]),
    "the quota": (of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4)], room=Room(instances=0)), {}, ["i1"]),
    "as many as it takes": (
        of(idle("i1", idle_for=5), idle("i2", idle_for=4), idle("i3", idle_for=3), shapes=[jobs(1, cpus=4)]),
        {"cores_max": 9},
        ["i1", "i2"],
    ),
    "only what is in the way": (
        of(
            idle("i1", idle_for=5),
            idle("i2", L, idle_for=4),
            shapes=[jobs(1, cpus=8, memory=8000), jobs(1, gpus=1)],
            flavors=[S, L, replace(L, name="gpu", resources=L.resources + Resources(gpus=1))],
        ),
        {"cores_max": 10},
        [],
    ),
    "not enough anyway": (of(idle("i1", idle_for=5), busy("b1"), shapes=[jobs(1, cpus=4)]), {"cores_max": 8}, []),
    "no limit binds": (of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4)]), {}, []),
    "the job fits nowhere ever": (of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=99)]), {"nodes_max": 1}, []),
    "a cap on building passes by itself": (
        of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4)], room=Room(instances=0, bound="limits.building")),
        {},
        [],
    ),
    "a quota of cores, beside a cap on building that does not bind": (
        of(
            *(idle(f"i{number}", idle_for=9 - number) for number in range(1, 6)),
            shapes=[jobs(1, cpus=4)],
            room=Room(30, 4, 10**9, "limits.building"),
        ),
        {},
        ["i1", "i2", "i3", "i4"],
    ),
    "the idle node has jobs coming": (
        of(idle("i1", idle_for=5), shapes=[jobs(1, cpus=4), jobs(1)]),
        {"nodes_max": 1},
        [],
    ),
}


@pytest.mark.parametrize("case", ROOM)
def test_idle_nodes_make_room_for_jobs_that_fit_on_none_of_them(case: str) -> None:
    seen, scaling, gone = ROOM[case]
    assert drained(decide(seen, **scaling)) == gone


def test_what_made_room_is_not_taken_back_for_the_minimum() -> None:
    gone = (idle("i1")[0], slot("i1", "Drained"))
    decided = decide(of(gone, shapes=[jobs(1, cpus=4)]), nodes_max=1, nodes_min=1)
    assert acts(decided) == [("delete", "i1", "drained")]


OLD, OTHER_OLD = idle("n1", made_of="old"), idle("n2", idle_for=900, made_of="old")
LEAVING = idle("n0", made_of="old")[0], slot("n0", "Drained", "Retiring")
BOOTING = replace(server("n0", VmState.BOOTING), made_of="new", created=NOW - 60), slot("x", pool="other")
DRIFT: dict[str, tuple[list[tuple[Server, Slot]], dict[str, Any], list[str]]] = {
    "an idle one, kept for the minimum": ([OLD], {}, ["n1"]),
    "one at a time, the longest idle": ([OTHER_OLD, OLD], {}, ["n1"]),
    "two at a time": ([OLD, OTHER_OLD], {"drift_nodes": 2}, ["n1", "n2"]),
    "a share at a time": ([OLD, OTHER_OLD, idle("n3"), idle("n4")], {"drift_share": 0.5}, ["n1", "n2"]),
    "off": ([OLD], {"drift_nodes": 0}, []),
    "made of the same": ([idle("n1")], {}, []),
    "not known what it is made of": ([idle("n1", made_of="")], {}, []),
    "busy": ([busy("n1", made_of="old")], {}, []),
    "one is on its way out": ([LEAVING, OLD], {"nodes_min": 1}, []),
    "its successor boots": ([BOOTING, OLD], {}, []),
}


@pytest.mark.parametrize("case", DRIFT)
def test_nodes_that_are_made_of_something_else_are_replaced(case: str) -> None:
    nodes, scaling, gone = DRIFT[case]
    past = Memory({one.node: remembered(one.node, age=60) for one, _ in nodes if one.node == "n0"})
    decided = plan(of(*nodes), past, settings(**{"nodes_min": len(nodes), "nodes_max": len(nodes), **scaling}))
    assert drained(decided) == gone
    assert {code for verb, _, code in acts(decided) if verb == "drain"} <= {"drift"}


def test_a_node_that_jobs_are_coming_to_is_not_replaced() -> None:
    assert drained(decide(of(idle("n1", made_of="old"), shapes=[jobs(1)]), nodes_min=1)) == []


def test_a_flavor_that_is_offered_no_more_is_drift_and_one_of_a_silent_cloud_is_not() -> None:
    gone = idle("n1", L, idle_for=5, made_of="new")
    assert drained(decide(of(gone, flavors=[S]), nodes_min=1)) == ["n1"]
    assert drained(decide(of(gone, fault="down"), nodes_min=1)) == []


def test_a_drained_node_that_differs_is_let_go_and_made_anew() -> None:
    gone = (idle("n1", made_of="old")[0], slot("n1", "Drained"))
    decided = decide(of(gone), nodes_min=1)
    assert sorted(acts(decided)) == [("create", "here/small", "nodes-min"), ("delete", "n1", "drained")]
    same = (idle("n1")[0], slot("n1", "Drained"))
    assert acts(decide(of(same), nodes_min=1)) == [("undrain", "n1", "nodes-min")]


def failing(*keys: str, failures: int = 1) -> Memory:
    return Memory(boots={key: Boots(key, failures=failures, rounds=1, failed_at=1.0) for key in keys})


GONE = replace(S, name="gone")
UNLUCKY: dict[str, tuple[Flavor, Memory, bool]] = {
    "none has failed": (S, Memory(), False),
    "its own": (S, failing("here/small/"), True),
    "another one's": (S, failing("here/large/", "here//"), False),
    "many of its cloud": (S, failing("here/large/", "here//", failures=6), True),
    "all that may take its place": (GONE, failing("here/small/", "here/large/", "here//"), True),
    "one of those that may take its place": (GONE, failing("here/small/", "here//"), False),
}


@pytest.mark.parametrize("case", UNLUCKY)
def test_nothing_is_replaced_by_what_does_not_boot(case: str) -> None:
    flavor, past, stays = UNLUCKY[case]
    decided = plan(of(idle("n1", flavor, made_of="old")), past, settings(nodes_min=1, boot_failures=3))
    assert drained(decided) == ([] if stays else ["n1"])
    said = [hold.reason.text for hold in decided.held if (hold.subject, hold.reason.code) == ("drift", "boots-fail")]
    assert len(said) == stays
    assert all("stay until a boot of what would take their place has succeeded" in text for text in said)


NO_LIMIT, MISSING = "limits allow none in their place", "nodes are missing for nodes_min"
WITHOUT: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], str]] = {
    "a quota that is used up": ({"room": Room(instances=0)}, {}, ["n1"], ""),
    "a quota that is overdrawn": ({"room": Room(instances=-1)}, {}, [], NO_LIMIT),
    "a quota that is used up, two at a time": ({"room": Room(instances=0)}, {"drift_nodes": 2}, ["n1", "n2"], ""),
    "cores, for what is offered now": ({"flavors": [L], "room": Room(cores=0)}, {}, [], NO_LIMIT),
    "money, for what is offered now": ({"flavors": [L]}, {"cost_per_hour": 3}, [], NO_LIMIT),
    "nodes are missing already": ({"room": Room(instances=0)}, {"nodes_min": 3}, [], MISSING),
    "nodes of its cloud are missing already": ({"room": Room(instances=0)}, {"own": 3}, [], MISSING),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_nothing_is_replaced_where_its_successor_would_not_be_allowed(case: str) -> None:
    more, scaling, gone, said = WITHOUT[case]
    base = settings(**{"nodes_min": 2, **{name: value for name, value in scaling.items() if name != "own"}})
    clouds = {"here": replace(base.clouds["here"], nodes_min=scaling.get("own", 0))}
    decided = plan(of(OLD, OTHER_OLD, **more), Memory(), replace(base, clouds=clouds))
    assert drained(decided) == gone
    told = [hold.reason.text for hold in decided.held if hold.reason.code == "no-successor"]
    assert told == ([f"idle nodes that differ from what would be made today stay: {said}"] if said else [])


@pytest.mark.parametrize(("drift_nodes", "said"), [(1, "1 at a time"), (0, "they stay")])
def test_drift_is_said(drift_nodes: int, said: str) -> None:
    decided = decide(of(busy("n1", made_of="old"), busy("n2", made_of="old")), drift_nodes=drift_nodes)
    (text,) = [hold.reason.text for hold in decided.held if hold.reason.code == "drift"]
    assert "2 nodes differ" in text
    assert said in text


@pytest.mark.parametrize(
    ("trouble", "code"),
    [({"silent": {"schedd2": "no"}}, "schedd-silent"), ({"collector_since": NOW - 9}, "collector-young")],
)
@pytest.mark.parametrize(
    ("nodes", "scaling"),
    [([idle("i1", idle_for=5)], {"nodes_max": 0}), ([idle("i1", idle_for=5, made_of="old")], {"nodes_min": 1})],
    ids=["limit", "drift"],
)
def test_none_of_this_while_not_all_jobs_are_known(
    trouble: Any, code: str, nodes: Any, scaling: dict[str, Any]
) -> None:
    decided = decide(of(*nodes, **trouble), **scaling)
    assert acts(decided) == []
    assert code in held(decided)


def test_a_month_that_is_spent_retires_idle_nodes_and_keeps_busy_ones() -> None:
    past = Memory(spent={MONTH: Spent(MONTH, 99.5, NOW)})
    seen = of(idle("i1", idle_for=5), busy("b1"))
    assert drained(plan(seen, past, settings(cost_per_month=100))) == ["i1"]
    assert drained(plan(seen, past, settings(cost_per_month=101.5))) == []
    claimed = of(busy("b1"))
    assert acts(plan(claimed, past, settings(cost_per_month=1))) == []


def test_a_node_that_is_partly_used_is_no_idle_one() -> None:
    slots = [slot("n1", flavor=L, free=Resources(4, 4000, 40_000)), claim("n1", 4)]
    seen = world([replace(server("n1", flavor=L), made_of="old")], slots, flavors=[S, L])
    assert acts(decide(seen, nodes_max=0)) == []


def test_nothing_is_made_while_it_is_beyond() -> None:
    assert made(decide(of(busy("b1"), busy("b2"), shapes=[jobs(1)]), nodes_max=1)) == {}
