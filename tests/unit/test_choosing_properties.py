"""What holds of every choice of flavors, over worlds that hypothesis makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ehoslite.actions import Create
from ehoslite.allowance import Allowance, amounts_of, limits_of
from ehoslite.carving import rounded_up
from ehoslite.choosing import EFFORT, Basket, cheapest_basket
from ehoslite.memory import Memory, Spent
from ehoslite.model import BUILDING, CloudView, Flavor, Room, Shape, VmState, World
from ehoslite.plan import plan
from ehoslite.policies import runs_on as fits
from ehoslite.resources import Resources
from ehoslite.ways import HASTE
from ehoslite.windows import month_of
from tests.unit.pretending import Pretence
from tests.unit.worlds import NOW, decide, server, settings, slot, world

MONTH = month_of(NOW, "UTC")
ALLOCATIONS = ("fill-first", "round-robin", "random", "cheapest")


@st.composite
def flavors(draw: st.DrawFn, name: str, cloud: str = "here") -> Flavor:
    size = Resources(
        draw(st.integers(1, 16)),
        draw(st.integers(1, 16)) * 1000,
        draw(st.sampled_from([10_000, 100_000])),
        draw(st.sampled_from([0, 0, 0, 1, 2])),
    )
    return Flavor(cloud, name, size, draw(st.sampled_from([0.0, 0.1, 0.3, 1.0, 1.7, 2.0, 4.0, 9.0])))


def offers(most: int, least: int = 1, cloud: str = "here") -> st.SearchStrategy[list[Flavor]]:
    return st.integers(least, most).flatmap(
        lambda count: st.tuples(*(flavors(f"f{number}", cloud) for number in range(count))).map(list)
    )


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    request = Resources(
        draw(st.sampled_from([0, 0.5, 1, 2, 3, 8, 20])),
        draw(st.sampled_from([0, 100, 1000, 1500, 9000])),
        draw(st.sampled_from([0, 100, 50_000])),
        draw(st.sampled_from([0, 0, 0, 1])),
    )
    return Shape(request, draw(st.integers(1, 40)))


FOUR = Flavor("here", "f1", Resources(4, 9000), 1.0)
queues = st.lists(shapes(), min_size=1, max_size=4, unique_by=lambda shape: shape.request)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Limits of all kinds, each there or not."""
    most = draw(st.integers(0, 12))
    chosen: dict[str, Any] = {"nodes_max": most, "nodes_min": draw(st.integers(0, most))}
    kinds = {
        "nodes_spare": st.integers(0, most),
        "cores_max": st.integers(0, 60),
        "memory_max": st.integers(0, 60_000),
        "cost_per_hour": st.sampled_from([0.0, 0.3, 1.0, 2.5, 10.0]),
        "cost_per_month": st.sampled_from([0.0, 1.0, 10.0, 50.0]),
        "reserve_cores": st.integers(0, 6),
        "reserve_share": st.sampled_from([0.0, 0.2, 2.0]),
    }
    for name, values in kinds.items():
        if draw(st.booleans()):
            chosen[name] = draw(values)
    return chosen


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Memory, dict[str, Any]]:
    """Two clouds with nodes of all states, a queue, limits, and money spent."""
    here, there = draw(offers(4)), draw(offers(3, cloud="there"))
    placed = draw(st.lists(st.tuples(st.sampled_from(here + there), st.sampled_from(list(VmState))), max_size=4))
    servers = [server(f"n{number}", state, flavor) for number, (flavor, state) in enumerate(placed)]
    slots = [slot(f"n{number}", flavor=flavor, cloud=flavor.cloud) for number, (flavor, _) in enumerate(placed)]
    seen = world([one for one in servers if one.cloud == "here"], slots, draw(queues), flavors=here)
    rooms = [Room(draw(st.integers(-1, 9)), draw(st.integers(-1, 60)), draw(st.integers(-1, 60_000))) for _ in "12"]
    if draw(st.booleans()):
        rooms[0] = replace(rooms[0], bound=BUILDING, lasting=rooms[0].instances + draw(st.integers(0, 9)))
    other = CloudView("there", tuple(there), tuple(one for one in servers if one.cloud == "there"), rooms[1])
    seen = replace(seen, clouds=(replace(seen.clouds[0], room=rooms[0]), other))
    past = Memory(spent={MONTH: Spent(MONTH, draw(st.sampled_from([0.0, 0.5, 9.0])), NOW)})
    return seen, past, {**draw(limits()), "node_allocation": draw(st.sampled_from(ALLOCATIONS))}


def created(decided: Any) -> list[Flavor]:
    return [action.flavor for action in decided.actions if isinstance(action, Create)]


@given(worlds())
def test_never_beyond_any_limit(case: tuple[World, Memory, dict[str, Any]]) -> None:
    seen, past, scaling = case
    made = created(plan(seen, past, settings(**scaling)))
    if not made:
        return
    offered = {(one.cloud, one.name): one for cloud in seen.clouds for one in cloud.flavors}
    every = [offered[one.cloud, one.flavor] for cloud in seen.clouds for one in cloud.servers] + made
    assert len(every) <= scaling["nodes_max"]
    assert sum(one.resources.cpus for one in every) <= scaling.get("cores_max", 1e9) or not paid(made, "cpus")
    assert sum(one.resources.memory for one in every) <= scaling.get("memory_max", 1e9)
    cost = sum(one.price for one in every)
    if paid(made, "price"):
        assert cost <= scaling.get("cost_per_hour", 1e9) + 1e-6
        assert past.spent[MONTH].amount + cost <= scaling.get("cost_per_month", 1e9) + 1e-6
    for cloud in seen.clouds:
        new = [one for one in made if one.cloud == cloud.name]
        assert len(new) <= max(0, cloud.room.instances)
        assert sum(one.resources.cpus for one in new) <= max(0, cloud.room.cores)
        assert sum(one.resources.memory for one in new) <= max(0, cloud.room.memory)


def paid(made: Sequence[Flavor], what: str) -> bool:
    """Whether any of them takes of that limit: what takes nothing is not kept from being made by it."""
    return any(one.price if what == "price" else getattr(one.resources, what) for one in made)


def basket_of(
    wanted: Sequence[Shape], offered: Sequence[Flavor], allocation: str = "fill-first", **scaling: Any
) -> Basket:
    """The nodes that are chosen for these jobs in one cloud without a quota."""
    bounds = limits_of(settings(**{"nodes_max": 10**6, **scaling}).scaling, 0.0)
    cloud = CloudView("here", tuple(offered))

    def empty() -> Basket:
        return Basket(
            Allowance(bounds, amounts_of(Flavor("", "", Resources())).times(0), {"here": Room()}), allocation, ""
        )

    waiting = [(shape, shape.count) for shape in wanted if any(fits(shape, one) for one in offered)]
    return cheapest_basket(empty, waiting, (cloud,))


@given(queues, offers(6), limits())
def test_never_a_node_for_a_shape_that_cannot_run_on_it(
    wanted: list[Shape], offered: list[Flavor], scaling: dict[str, Any]
) -> None:
    for one in basket_of(wanted, offered, **scaling).bought:
        assert one.flavor.resources.holds(one.shape.request)
        assert one.nodes > 0


@given(queues, offers(6))
def test_what_is_bought_holds_all_jobs(wanted: list[Shape], offered: list[Flavor]) -> None:
    """What is free on the nodes in the end, and what the jobs ask for, is what the nodes have; what startds round up is
    neither."""
    basket = basket_of(wanted, offered)
    assert not basket.left
    served = [shape for shape in wanted if any(fits(shape, one) for one in offered)]
    for name in ("cpus", "memory", "disk", "gpus"):
        free = sum(getattr(room, name) * nodes for (_, room), nodes in basket.rooms.items())
        whole = sum(getattr(one.flavor.resources, name) * one.nodes for one in basket.bought)
        asked = sum(getattr(shape.request, name) * shape.count for shape in served)
        most = sum(getattr(rounded_up(shape.request), name) * shape.count for shape in served)
        assert free + asked <= whole <= free + most
        assert all(getattr(room, name) >= 0 for _, room in basket.rooms)


@example([Shape(Resources(1, 100), 1), Shape(Resources(3, 100), 1)], [Flavor("here", "f0", Resources(2, 9000)), FOUR])
@given(queues, offers(6))
def test_the_order_of_the_queue_does_not_matter(wanted: list[Shape], offered: list[Flavor]) -> None:
    there, back = basket_of(wanted, offered), basket_of(wanted[::-1], offered)
    assert (there.bought, there.rooms) == (back.bought, back.rooms)


@given(queues, offers(6), st.sampled_from(ALLOCATIONS))
def test_with_one_cloud_there_is_nothing_to_allocate(
    wanted: list[Shape], offered: list[Flavor], allocation: str
) -> None:
    """Nodes are not bought one by one there: thousands of them, for every subset of the flavors, would take minutes."""
    there, here = basket_of(wanted, offered, allocation), basket_of(wanted, offered)
    assert (there.bought, there.rooms) == (here.bought, here.rooms)


def cost_of(wanted: Sequence[Shape], offered: Sequence[Flavor]) -> float:
    """What the plan for these jobs costs an hour, in clouds without a quota of which the cheapest is taken."""
    seen = world(shapes=wanted)
    views = [CloudView(name, tuple(one for one in offered if one.cloud == name)) for name in ("here", "there")]
    clouds = tuple(view for view in views if view.flavors)
    decided = decide(replace(seen, clouds=clouds), nodes_max=10**6, node_allocation="cheapest")
    return round(sum(one.price for one in created(decided)), 6)


@given(queues, offers(6, least=2), offers(3, cloud="there", least=0), st.data())
def test_a_further_flavor_never_raises_the_cost(
    wanted: list[Shape], here: list[Flavor], there: list[Flavor], data: st.DataObject
) -> None:
    """As long as all subsets of the flavors are compared, and for the jobs that could run before it came."""
    offered = here + there
    assume(2 ** len(offered) * len(wanted) <= EFFORT)
    place = data.draw(st.integers(0, len(offered) - 1))
    before = [*offered[:place], *offered[place + 1 :]]
    served = [shape for shape in wanted if any(fits(shape, one) for one in before)]
    assert cost_of(served, offered) <= cost_of(served, before)


@given(shapes(), offers(9, least=2), offers(3, cloud="there", least=0), st.data())
def test_for_one_shape_no_further_flavor_raises_the_cost_however_many(
    wanted: Shape, here: list[Flavor], there: list[Flavor], data: st.DataObject
) -> None:
    offered = here + there
    place = data.draw(st.integers(0, len(offered) - 1))
    before = [*offered[:place], *offered[place + 1 :]]
    if any(fits(wanted, one) for one in before):
        assert cost_of([wanted], offered) <= cost_of([wanted], before)


@given(shapes(), offers(6), st.integers(1, 9))
def test_what_builds_makes_no_plan_much_dearer(wanted: Shape, offered: list[Flavor], building: int) -> None:
    """A tenth, and what is left over may need a node of its own."""
    fitting = [one for one in offered if fits(wanted, one)]
    assume(fitting)
    decided = decide(world(shapes=[wanted], flavors=offered, room=Room(building, bound=BUILDING)), nodes_max=10**6)
    made = created(decided)
    assert len(made) <= building
    assert made
    whole = cost_of([wanted], offered)
    assert sum(one.price for one in made) <= (1 + HASTE) * whole + max(one.price for one in fitting) + 1e-6


@example(
    [Shape(Resources(0, 0, 0, 1), 2), Shape(Resources(8, 0, 0, 1), 2)],
    [Flavor("here", "f0", Resources(8, 1000, 10_000, 2), 0.1), Flavor("here", "f1", Resources(16, 1000, 10_000), 0.0)],
)
@given(queues, offers(9))
def test_the_plan_is_never_dearer_than_one_flavor_for_all(wanted: list[Shape], offered: list[Flavor]) -> None:
    cost = cost_of(wanted, offered)
    for one in offered:
        if all(fits(shape, one) for shape in wanted):
            assert cost <= cost_of(wanted, [one])


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_shapes_flavors_and_nodes_does_not_matter(
    case: tuple[World, Memory, dict[str, Any]], chance: Any
) -> None:
    seen, past, scaling = case

    def shuffled(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(chance.sample(list(values), len(values)))

    clouds = tuple(replace(one, flavors=shuffled(one.flavors), servers=shuffled(one.servers)) for one in seen.clouds)
    demand = replace(seen.demand, shapes=shuffled(seen.demand.shapes))
    other = replace(seen, clouds=clouds, slots=shuffled(seen.slots), demand=demand)
    first, second = plan(seen, past, settings(**scaling)), plan(other, past, settings(**scaling))
    assert [(one.verb, one.subject, one.reason) for one in first.actions] == [
        (one.verb, one.subject, one.reason) for one in second.actions
    ]
    assert first.held == second.held


SMALL_ONE, LARGE_ONE = (
    Flavor("here", "f0", Resources(1, 1000, 10_000), 1.0),
    Flavor("here", "f1", Resources(8, 8000, 80_000), 4.0),
)


ONE, EIGHT = Shape(Resources(1, 100, 100), 2), Shape(Resources(8, 100, 100), 1)
WIDE, THIN = Flavor("here", "f0", Resources(13, 1000, 10_000)), Flavor("here", "f1", Resources(3, 11_000, 10_000))


@example([ONE], [EIGHT], [SMALL_ONE, LARGE_ONE], {"nodes_max": 2, "nodes_min": 2}, 0)
@example([ONE], [EIGHT], [SMALL_ONE, LARGE_ONE], {"nodes_max": 9, "nodes_spare": 2, "nodes_min": 0, "cores_max": 9}, 0)
@example(
    [EIGHT, Shape(Resources(0, 9000), 3)], [], [WIDE, THIN], {"nodes_max": 9, "cores_max": 15, "reserve_cores": 2}, 0
)
@given(queues, queues, offers(3), limits(), st.integers(0, 2**16))
def test_every_shape_that_can_be_served_is_served_in_finite_passes(
    wanted: list[Shape], later: list[Shape], offered: list[Flavor], scaling: dict[str, Any], seed: int
) -> None:
    """Whatever else is kept: the minimum, the spare, nodes of the wrong size that served other jobs before."""
    scaling.pop("cost_per_month", None)  # a month's budget ends, and then nothing is served until the next
    scaling["nodes_max"] = max(1, scaling["nodes_max"])
    pretence = Pretence(offered, [], settings(**scaling), seed)
    bounds = limits_of(settings(**scaling).scaling, 0.0)
    possible = [one for one in offered if bounds.holds(amounts_of(one)) >= 1]
    served = {shape.request for shape in (*wanted, *later) if any(fits(shape, one) for one in possible)}

    def is_done() -> bool:
        return not any(shape.request in served for shape in pretence.waiting())

    for batch in wanted, later:
        pretence.submit(batch)
        pretence.run(600, is_done)
        assert is_done()
    assert not pretence.killed
