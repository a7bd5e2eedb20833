"""What holds of every plan, over worlds that hypothesis makes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ehoslite.actions import Create, Delete, Drain, Forget, Sweep, Undrain
from ehoslite.memory import Memory, Remembered
from ehoslite.model import CondorState, Flavor, Room, Server, Shape, Slot, VmState, World
from ehoslite.plan import plan
from ehoslite.resources import Resources
from tests.unit.worlds import NOW, claim, remembered, server, settings, slot, world

FLAVORS = (
    Flavor("here", "small", Resources(1, 1000, 10_000), 0.1),
    Flavor("here", "large", Resources(8, 8000, 80_000), 0.8),
    Flavor("here", "gpu", Resources(4, 4000, 40_000, 2), 2.0),
)
STATES = ("Unclaimed", "Drained", "Claimed", "Owner", "Matched", "Preempting", "nonsense")
ACTIVITIES = ("Idle", "Busy", "Retiring")
NOT_RUNNING = {VmState.ERROR, VmState.STOPPED, VmState.DELETING}
AGES = st.sampled_from([0.0, 10.0, 170.0, 190.0, 400.0, 700.0, 1000.0, 3100.0, 1e6])


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    request = Resources(
        draw(st.sampled_from([0, 0.5, 1, 2, 8, 9])),
        draw(st.sampled_from([0, 100, 1000, 9000])),
        draw(st.sampled_from([0, 100, 10_000, 10**9])),
        draw(st.sampled_from([0, 0, 1, 3])),
    )
    return Shape(request, draw(st.integers(1, 40)))


@st.composite
def nodes(draw: st.DrawFn, name: str) -> tuple[list[Server], list[Slot], list[Remembered]]:
    flavor = draw(st.sampled_from(FLAVORS))
    listed = draw(st.sampled_from(list(VmState))) if draw(st.integers(0, 4)) else None
    slots: list[Slot] = []
    if draw(st.booleans()):
        common: dict[str, Any] = {"flavor": flavor, "heard_ago": draw(AGES), "idle_for": draw(AGES)}
        if draw(st.integers(0, 4)) == 0:
            common["drain_reason"] = "somebody"
        slots.append(slot(name, draw(st.sampled_from(STATES)), draw(st.sampled_from(ACTIVITIES)), **common))
        if draw(st.booleans()):
            slots.append(claim(name, **common))
    past = [
        remembered(name, age=draw(AGES), joined=draw(st.sampled_from([0.0, 1.0])), created_here=draw(st.booleans()))
    ]
    return [server(name, listed, flavor)] if listed else [], slots, past if draw(st.integers(0, 3)) else []


@st.composite
def cases(draw: st.DrawFn) -> tuple[World, Memory, dict[str, int]]:
    made = [draw(nodes(f"n{number}")) for number in range(draw(st.integers(0, 6)))]
    seen = world(
        [one for servers, _, _ in made for one in servers],
        [one for _, slots, _ in made for one in slots],
        draw(st.lists(shapes(), max_size=4, unique_by=lambda shape: shape.request)),
        flavors=FLAVORS,
        room=Room(draw(st.integers(-1, 8)), draw(st.integers(-1, 60)), draw(st.integers(-1, 60_000))),
        fault=draw(st.sampled_from(["", "", "", "down"])),
        silent=draw(st.sampled_from([{}, {}, {"schedd": "silent"}])),
        collector_since=NOW - draw(AGES),
    )
    past = Memory({one.node: one for _, _, ones in made for one in ones})
    most = draw(st.integers(0, 8))
    return (
        seen,
        past,
        {
            "nodes_max": most,
            "nodes_min": draw(st.integers(0, most)),
            "nodes_spare": draw(st.integers(0, most)),
        },
    )


@given(cases())
def test_never_beyond_the_limits(case: tuple[World, Memory, dict[str, int]]) -> None:
    seen, past, scaling = case
    decided = plan(seen, past, settings(**scaling))
    made = [action.flavor for action in decided.actions if isinstance(action, Create)]
    if made:
        existing = {one.node for one in seen.clouds[0].servers}
        assert len(existing) + len(made) <= scaling["nodes_max"]
        room = seen.clouds[0].room
        assert len(made) <= room.instances
        assert sum(flavor.resources.cpus for flavor in made) <= room.cores
        assert sum(flavor.resources.memory for flavor in made) <= room.memory


@given(cases())
def test_no_act_on_a_node_that_may_run_a_job(case: tuple[World, Memory, dict[str, int]]) -> None:
    seen, past, scaling = case
    for action in plan(seen, past, settings(**scaling)).actions:
        if isinstance(action, Drain):
            assert action.node.condor_state is CondorState.IDLE
            assert not action.node.claimed
        if isinstance(action, Delete):
            fresh = [one for one in action.node.slots if NOW - one.heard <= 3000]
            assert not any(one.claimed for one in fresh)
            alive = action.node.vm_state not in NOT_RUNNING
            if alive and action.node.condor_state is CondorState.DRAINED:
                assert action.drained
                assert action.node.drained_by_us


@given(cases())
def test_not_knowing_is_not_zero(case: tuple[World, Memory, dict[str, int]]) -> None:
    seen, past, scaling = case
    actions = plan(seen, past, settings(**scaling)).actions
    if seen.clouds[0].fault:
        assert not any(isinstance(action, Create | Drain | Delete | Forget) for action in actions)
    if seen.demand.silent:
        assert not any(isinstance(action, Drain) for action in actions)
    if NOW - seen.collector_since < 600:
        deletes = [action for action in actions if isinstance(action, Delete)]
        assert all(action.drained or action.node.vm_state in NOT_RUNNING for action in deletes)


@given(cases())
def test_one_act_a_node_and_a_reason_each(case: tuple[World, Memory, dict[str, int]]) -> None:
    seen, past, scaling = case
    decided = plan(seen, past, settings(**scaling))
    subjects = Counter(action.node.id for action in decided.actions if not isinstance(action, Create | Sweep))
    assert all(count == 1 for count in subjects.values())
    assert all(action.reason.code and action.reason.text for action in decided.actions)
    assert all(hold.reason.code and hold.reason.text for hold in decided.held)
    if scaling["nodes_max"] == 0:
        assert not any(isinstance(action, Create | Undrain) for action in decided.actions)


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(case: tuple[World, Memory, dict[str, int]], chance: Any) -> None:
    seen, past, scaling = case
    shuffled: dict[str, list[Any]] = {
        "servers": list(seen.clouds[0].servers),
        "slots": list(seen.slots),
        "shapes": list(seen.demand.shapes),
    }
    for part in shuffled.values():
        chance.shuffle(part)
    other = world(
        shuffled["servers"],
        shuffled["slots"],
        shuffled["shapes"],
        flavors=FLAVORS[::-1],
        room=seen.clouds[0].room,
        fault=seen.clouds[0].fault,
        silent=dict(seen.demand.silent),
        collector_since=seen.collector_since,
    )
    first, second = plan(seen, past, settings(**scaling)), plan(other, past, settings(**scaling))
    assert [(one.verb, one.subject, one.reason) for one in first.actions] == [
        (one.verb, one.subject, one.reason) for one in second.actions
    ]
    assert first.held == second.held


@given(st.lists(shapes(), min_size=1, max_size=5, unique_by=lambda shape: shape.request))
def test_every_job_that_fits_a_flavor_gets_room(wanted: list[Shape]) -> None:
    """With no limit in the way: what is left over fits no flavor at all."""
    decided = plan(world(shapes=wanted, flavors=FLAVORS), Memory(), settings(nodes_max=10_000))
    unfit = {str(shape) for shape in wanted if not any(flavor.resources.holds(shape.request) for flavor in FLAVORS)}
    assert {hold.subject for hold in decided.held} == unfit
