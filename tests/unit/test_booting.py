"""What failed boots and slow ones teach the next passes: waits, one node at a time, shorter patience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ehoslite.actions import Create, Delete, Outcome, Plan, Reason
from ehoslite.booting import FORGET_AFTER, TIMES, keys_of, note_failures, note_joined
from ehoslite.memory import Boots, Memory
from ehoslite.model import Flavor, Node, World
from ehoslite.nodes import join, remember
from ehoslite.plan import plan
from ehoslite.resources import Resources
from tests.unit.worlds import (
    LARGE,
    NOW,
    POOL,
    SMALL,
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

OWN, WHOLE = keys_of(SMALL)
ELSEWHERE = Flavor("here", "other", Resources(1, 1000, 10_000), price=1)


def failing(failures: int, rounds: int = 1, ago: float = 0, key: str = OWN, **more: object) -> Memory:
    entry = Boots(key, failures, rounds, NOW - ago, "the disk is on fire")
    return Memory(boots={key: replace(entry, **more)})  # type: ignore[arg-type]


def deletion(code: str = "boot-timeout", joined: float = 0.0, error: str = "") -> Outcome:
    node = join(world([server("n1")]), Memory(), POOL)[0]
    return Outcome(Delete(replace(node, joined=joined), Reason(code, "it has not joined")), "n1", error, detail="fire")


def creation(fault: str, flavor: Flavor = SMALL) -> Outcome:
    return Outcome(Create(flavor, Reason("demand", "")), "n1", "refused", certain=True, fault=fault)


def learn(*outcomes: Outcome, past: Memory | None = None, now: float = NOW) -> Memory:
    return note_failures(past or Memory(), outcomes, (SMALL, LARGE), now)


# --- what counts as a failure


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (deletion("boot-timeout"), True),
        (deletion("build-failed"), True),
        (deletion("lost"), False),
        (deletion("build-failed", joined=NOW - 50), False),
        (deletion("boot-timeout", error="the cloud refuses"), False),
        (creation("bad-request"), True),
        (deletion("no-valid-host"), True),
        (deletion("build-quota"), True),
        (creation("misconfigured"), True),
        (creation("quota"), False),
        (creation("unclear"), False),
    ],
)
def test_what_counts_as_a_failure(outcome: Outcome, counts: bool) -> None:
    assert set(learn(outcome).boots) == ({OWN, WHOLE} if counts else set())


def test_a_failure_is_remembered_with_its_reason_and_the_end_of_the_console() -> None:
    assert learn(deletion()).boots[OWN] == Boots(OWN, 1, 1, NOW, "it has not joined; fire")


def test_many_failures_in_one_pass_are_one_round() -> None:
    past = learn(deletion(), deletion(), creation("bad-request"))
    assert (past.boots[OWN].failures, past.boots[OWN].rounds) == (3, 1)
    later = learn(deletion(), past=past, now=NOW + 60)
    assert (later.boots[OWN].failures, later.boots[OWN].rounds, later.boots[OWN].failed_at) == (4, 2, NOW + 60)


@pytest.mark.parametrize(
    ("ago", "times", "kept"), [(1, (), True), (FORGET_AFTER, (), False), (FORGET_AFTER, (9.0,), True)]
)
def test_old_failures_are_forgotten_and_boot_times_are_not(ago: float, times: tuple[float, ...], kept: bool) -> None:
    boots = learn(past=failing(3, ago=ago, times=times)).boots
    assert (OWN in boots) is kept
    assert not kept or boots[OWN].times == times
    assert not kept or bool(boots[OWN].failures) is (ago < FORGET_AFTER)


def test_a_new_recipe_begins_anew() -> None:
    assert not set(keys_of(replace(SMALL, recipe="new"))) & {OWN, WHOLE}


# --- what ends a row, and how long boots take


def joined(past: Memory) -> Memory:
    return remember(past, world([server("n1")], [slot("n1")]), settings())


def test_a_node_that_joins_ends_the_row_of_its_flavor_and_of_its_cloud() -> None:
    past = Memory(
        {"n1": remembered("n1", age=90)}, boots={key: Boots(key, 5, 3, NOW - 9, "fire") for key in (OWN, WHOLE)}
    )
    assert joined(past).boots == {key: Boots(key, times=(90.0,)) for key in (OWN, WHOLE)}


@pytest.mark.parametrize(
    "seen", [remembered("n1", joined=NOW - 60), remembered("n1", created_here=False)], ids=["before", "elsewhere"]
)
def test_who_joined_before_or_was_made_elsewhere_teaches_nothing(seen: object) -> None:
    assert joined(Memory({"n1": seen})).boots == {}  # type: ignore[dict-item]


def test_the_last_boot_times_are_kept() -> None:
    past = Memory({"n1": remembered("n1", age=90)}, boots={OWN: Boots(OWN, times=tuple(range(1, TIMES + 1)))})
    assert joined(past).boots[OWN].times == (*range(2, TIMES + 1), 90.0)


def test_a_node_of_an_unknown_flavor_teaches_nothing() -> None:
    past = {"n1": remembered("n1", age=9)}
    assert note_joined(Memory(past), {"n1": replace(past["n1"], joined=NOW)}, (), NOW) == {}


def test_a_failure_of_the_future_was_now() -> None:
    """The clock has jumped back by a year: the wait is as long as any other."""
    later = remember(failing(1, ago=-31_536_000), world(), settings())
    assert later.boots[OWN].failed_at == NOW


def boots_for(age: float, times: Sequence[float]) -> Plan:
    past = Memory({"n1": remembered("n1", age=age)}, boots={OWN: Boots(OWN, times=tuple(times))})
    return plan(world([server("n1")]), past, settings(nodes_min=1, boot_timeout=900))


@pytest.mark.parametrize(
    ("age", "times", "replaced"),
    [
        (899, (), False),
        (901, (), True),
        (301, (50, 60), False),
        (301, (50, 60, 70), True),
        (299, (50, 60, 70), False),
        (599, (50, 60, 200), False),
        (601, (50, 60, 200), True),
        (899, (500, 500, 500), False),
        (901, (500, 500, 500), True),
    ],
)
def test_the_boot_timeout_follows_the_boots_observed(age: float, times: Sequence[float], replaced: bool) -> None:
    """Three times the longest of at least three, not below five minutes, not above boot_timeout."""
    assert ("boot-timeout" in {action.reason.code for action in boots_for(age, times).actions}) is replaced


# --- waits and trials


@pytest.mark.parametrize(
    ("failures", "rounds", "ago", "count"),
    [
        (1, 1, 119, 0),
        (1, 1, 121, 5),
        (2, 2, 239, 0),
        (2, 2, 241, 5),
        (3, 1, 121, 1),
        (9, 40, 3599, 0),
        (9, 40, 3601, 1),
    ],
)
def test_failed_boots_are_waited_out_twice_as_long_each_time(
    failures: int, rounds: int, ago: float, count: int
) -> None:
    """Two minutes, four, ... up to an hour; from the third failure on, one node at a time."""
    decided = decide(world(shapes=[jobs(5)], flavors=[SMALL]), failing(failures, rounds, ago))
    assert made(decided) == ({"small": count} if count else {})
    assert "boots-fail" in held(decided)


def test_while_one_is_tried_no_other_is_made() -> None:
    past = replace(failing(3, ago=999), nodes={"n1": remembered("n1", age=60)})
    assert made(decide(world([server("n1")], shapes=[jobs(5)], flavors=[SMALL]), past)) == {}


def test_another_flavor_takes_over_where_one_fails() -> None:
    decided = decide(world(shapes=[jobs(2)], flavors=[SMALL, ELSEWHERE]), failing(1))
    assert made(decided) == {"other": 2}


@pytest.mark.parametrize(("failures", "ago", "count"), [(5, 1, 2), (6, 1, 0), (6, 999, 1)])
def test_a_cloud_that_fails_with_every_flavor_is_on_trial_as_a_whole(failures: int, ago: float, count: int) -> None:
    decided = decide(world(shapes=[jobs(2)], flavors=[SMALL, ELSEWHERE]), failing(failures, ago=ago, key=WHOLE))
    assert sum(made(decided).values()) == count


def test_the_hold_back_says_what_failed_and_when_the_next_is_tried() -> None:
    decided = decide(world(flavors=[SMALL]), failing(4, ago=20))
    (hold,) = decided.held
    assert hold.reason.text == (
        "here/small: 4 boots or creations in a row have failed, the last: the disk is on fire; "
        "one node tried in 100 s at the earliest"
    )


def test_no_wait_where_none_is_wanted() -> None:
    assert made(decide(world(shapes=[jobs(2)], flavors=[SMALL]), failing(1), boot_backoff=0)) == {"small": 2}


def test_minimum_and_spare_wait_too() -> None:
    decided = decide(world(flavors=[SMALL]), failing(1), nodes_min=2, nodes_spare=1)
    assert (made(decided), "boots-fail" in held(decided)) == ({}, True)


def test_a_broken_image_costs_few_servers_in_a_day() -> None:
    """Passes a minute apart, every boot fails after five minutes: else 10 nodes would be made anew each time."""
    memory, birth, created = Memory(), dict[str, float](), 0
    scene = settings(nodes_max=10, boot_timeout=300)
    for minute in range(24 * 60):
        now = NOW + 60 * minute
        old = [node for node, at in birth.items() if now - at > 300]
        outcomes = [
            Outcome(Delete(fake(node), Reason("boot-timeout", "never joined")), node, detail="fire") for node in old
        ]
        for node in old:
            del birth[node]
        past = {node: remembered(node, age=now - at, listed=now) for node, at in birth.items()}
        past = {node: replace(seen, first_seen=birth[node]) for node, seen in past.items()}
        memory = note_failures(Memory(past, boots=memory.boots), outcomes, (SMALL,), now)
        seen = broken_world(now, birth)
        for _ in [action for action in plan(seen, memory, scene).actions if isinstance(action, Create)]:
            created += 1
            birth[f"n{created}"] = now
    assert 20 <= created <= 60


def fake(node: str) -> Node:
    return join(world([server(node)]), Memory(), POOL)[0]


def broken_world(now: float, birth: dict[str, float]) -> World:
    servers = [replace(server(node), created=at) for node, at in birth.items()]
    return world(servers, shapes=[jobs(50)], flavors=[SMALL], now=now)
