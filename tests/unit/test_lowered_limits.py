"""A limit that is lowered is met whatever waits: nodes beyond it get no job any more, and none of them comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ehoslite.actions import Plan
from ehoslite.memory import Memory, Spent
from ehoslite.model import Server, Slot, VmState, World
from ehoslite.plan import plan
from ehoslite.windows import month_of
from tests.unit.worlds import LARGE, NOW, SMALL, acts, claim, held, jobs, remembered, server, settings, slot, world

L = replace(LARGE, price=1.0)
MONTH = month_of(NOW, "UTC")
SPENT = Memory(spent={MONTH: Spent(MONTH, 500.0, NOW)})
NAMES = [f"n{number}" for number in range(6)]

LOWERED: dict[str, tuple[dict[str, Any], int]] = {
    "nodes": ({"nodes_max": 2}, 2),
    "nodes, to none": ({"nodes_max": 0}, 0),
    "cores": ({"cores_max": 23}, 2),
    "memory": ({"memory_max": 8000}, 1),
    "cost": ({"cost_per_hour": 4.5}, 4),
    "a month that is spent": ({"cost_per_month": 100.0}, 0),
    "nothing is beyond": ({"nodes_max": 6}, 6),
}


def six(state: str = "Unclaimed", **more: Any) -> World:
    ads = [slot(name, state, flavor=L, idle_for=5) for name in NAMES]
    return world([server(name, flavor=L) for name in NAMES], ads, [jobs(200)], flavors=[L], **more)


def decide(seen: World, **scaling: Any) -> Plan:
    return plan(seen, SPENT, settings(**scaling))


def of(verb: str, decided: Plan) -> int:
    return sum(action.verb == verb for action in decided.actions)


@pytest.mark.parametrize("case", LOWERED)
def test_idle_nodes_beyond_a_limit_are_drained_in_front_of_waiting_jobs(case: str) -> None:
    scaling, kept = LOWERED[case]
    decided = decide(six(), **scaling)
    assert (of("drain", decided), len(decided.actions)) == (6 - kept, 6 - kept)


@pytest.mark.parametrize("case", LOWERED)
def test_of_drained_nodes_so_many_are_taken_back_as_a_limit_has_place_for(case: str) -> None:
    scaling, kept = LOWERED[case]
    decided = decide(six("Drained"), **scaling)
    assert (of("undrain", decided), of("delete", decided), of("create", decided)) == (kept, 6 - kept, 0)


def test_the_last_hour_of_a_month_s_budget_is_for_what_is_there_and_brings_nothing_back() -> None:
    """A node that was made for jobs shortly before would go before it got the first of them."""
    scaling = {"cost_per_month": 503.0}
    assert acts(decide(six(), **scaling)) == []
    assert "cost-per-month" in held(decide(six(), **scaling)), "and nothing is made"
    back = decide(six("Drained"), **scaling)
    assert (of("undrain", back), of("delete", back), of("create", back)) == (3, 3, 0)
    unneeded = replace(six(), demand=replace(six().demand, shapes=()))
    assert of("drain", decide(unneeded, **scaling)) == 3, "no job waits for them"


@pytest.mark.parametrize("case", LOWERED)
def test_pass_after_pass_a_lowered_limit_is_met_and_then_nothing_is_done(case: str) -> None:
    scaling, kept = LOWERED[case]
    seen, verbs = six(), []
    for _ in range(6):
        for verb, node, _ in acts(decide(seen, **scaling)):
            verbs.append(verb)
            seen = after(seen, verb, node)
    assert len(seen.clouds[0].servers) == kept
    assert verbs == ["drain"] * (6 - kept) + ["delete"] * (6 - kept)


def after(seen: World, verb: str, node: str) -> World:
    """The World a pass later: what was drained is, and what was deleted is no more."""
    servers: Sequence[Server] = seen.clouds[0].servers
    slots: Sequence[Slot] = [one for one in seen.slots if one.node != node]
    if verb == "delete":
        servers = [one for one in servers if one.node != node]
    elif verb == "drain":
        slots = [*slots, slot(node, "Drained", flavor=L)]
    cloud = replace(seen.clouds[0], servers=tuple(servers))
    return replace(seen, clouds=(cloud,), slots=tuple(slots))


def test_what_is_drained_goes_before_what_is_idle_and_what_goes_already_before_both() -> None:
    listed = [server(name, VmState.DELETING if name == "n4" else VmState.ACTIVE, L) for name in NAMES[:5]]
    listed[4] = replace(listed[4], changed=NOW - 9)
    slots = [slot(name, "Drained" if name in {"n1", "n2"} else "Unclaimed", flavor=L) for name in NAMES[:4]]
    seen = world(listed, slots, [jobs(200)], flavors=[L])
    assert acts(decide(seen, nodes_max=3)) == [("delete", "n1", "drained"), ("undrain", "n2", "demand")]


def test_a_busy_node_beyond_a_limit_goes_on_and_takes_further_jobs() -> None:
    slots = [slot("n0", flavor=L, free=L.resources - SMALL.resources), claim("n0", flavor=L)]
    decided = decide(world([server("n0", flavor=L)], slots, [jobs(3)], flavors=[L]), nodes_max=0)
    assert (acts(decided), held(decided)) == ([], set())


@pytest.mark.parametrize("trouble", [{"silent": {"schedd2": "no"}}, {"collector_since": NOW - 9}])
def test_idle_nodes_that_may_not_be_drained_now_are_room_for_jobs(trouble: dict[str, Any]) -> None:
    decided = decide(replace(six(**trouble), demand=replace(six(**trouble).demand, shapes=(jobs(48),))), nodes_max=0)
    assert acts(decided) == []
    assert "nodes-max" not in held(decided)


def test_what_is_beyond_a_limit_is_no_load_to_keep_a_reserve_for() -> None:
    past = Memory({"n0": remembered("n0", flavor=L, joined=1.0, heard=NOW - 5)})
    seen = world([server("n0", flavor=L)], [slot("n0", flavor=L, idle_for=5)], flavors=[L])
    decided = plan(seen, past, settings(nodes_max=0, reserve_share=1.0))
    assert (acts(decided), held(decided)) == ([("drain", "n0", "nodes-max")], set())
