"""What nodes have cost in a month: added up from pass to pass, in a few numbers, and what a budget makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ehoslite import status
from ehoslite.actions import Pass
from ehoslite.memory import KnownFlavor, Memory, Spent
from ehoslite.model import World
from ehoslite.nodes import remember
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.record import Record
from ehoslite.report import as_data, passive
from ehoslite.settings import RecordSettings, WindowSettings
from ehoslite.spending import MONTHS, Bill, note_spent
from tests.unit.worlds import SMALL, held, jobs, made, server, settings, slot, world

HOUR = 3600.0
PRICED = replace(SMALL, price=2.0)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOON = at("2026-11-10T12:00")


def amounts(spent: dict[str, Spent]) -> dict[str, float]:
    return {month: round(one.amount, 6) for month, one in spent.items()}


def noted(past: dict[str, Spent], now: float, *bills: Bill) -> dict[str, Spent]:
    return note_spent(past, bills, now, "UTC")


def test_servers_cost_by_the_time_between_passes() -> None:
    spent = noted({}, NOON)
    old, young = Bill(2.0, NOON - 9 * HOUR), Bill(3.0, NOON + HOUR / 2)
    spent = noted(spent, NOON + HOUR, old, young)
    assert amounts(spent) == {"2026-11": 2 + 1.5}
    assert amounts(noted(spent, NOON + 2 * HOUR, old)) == {"2026-11": 3.5 + 2}
    assert amounts(noted(spent, NOON + HOUR, old, young)) == amounts(spent)


def test_passes_of_minutes_add_up_to_what_one_of_hours_does() -> None:
    bill, often = Bill(1.7, NOON - HOUR), noted({}, NOON)
    for minute in range(1, 181):
        often = noted(often, NOON + 60 * minute, bill)
    assert amounts(often) == amounts(noted(noted({}, NOON), NOON + 3 * HOUR, bill)) == {"2026-11": 5.1}


def test_without_a_memory_servers_count_from_their_creation_in_this_month() -> None:
    began = at("2026-11-01T00:00")
    spent = noted({}, began + 10 * HOUR, Bill(2.0, began - 99 * HOUR), Bill(3.0, began + 8 * HOUR))
    assert amounts(spent) == {"2026-11": 20 + 6}


def test_each_month_gets_its_part() -> None:
    late = at("2026-11-30T22:00")
    spent = noted(noted({}, late), late + 5 * HOUR, Bill(2.0, late - HOUR))
    assert amounts(spent) == {"2026-11": 4, "2026-12": 6}
    assert amounts(noted(spent, late + 6 * HOUR, Bill(2.0, late - HOUR))) == {"2026-11": 4, "2026-12": 8}


def test_a_clock_that_goes_back_adds_nothing_and_forgets_no_month() -> None:
    spent = noted(noted({}, NOON), NOON + HOUR, Bill(2.0, 0.0))
    ahead = noted(spent, at("2027-03-01T00:00"), Bill(0.0, 0.0))
    back = noted(ahead, NOON + HOUR, Bill(2.0, 0.0))
    assert amounts(back) == {"2026-11": 2}
    assert amounts(noted(back, NOON + 2 * HOUR, Bill(2.0, 0.0))) == {"2026-11": 4}


def test_so_many_months_are_kept() -> None:
    spent: dict[str, Spent] = {}
    for number in range(40):
        spent = noted(spent, NOON + number * 31 * 24 * HOUR, Bill(1.0, 0.0))
    assert len(spent) == MONTHS


def seen_at(now: float, *, servers: int = 1, fault: str = "") -> World:
    listed = [replace(server(f"n{number}", flavor=PRICED), created=NOON - HOUR) for number in range(servers)]
    slots = [replace(slot(f"n{number}"), heard=now - 5, idle_since=now - 9) for number in range(servers)]
    return world(listed, slots, flavors=[PRICED], now=now, fault=fault)


def test_a_pass_adds_what_its_servers_cost_those_of_a_silent_cloud_included() -> None:
    past = remember(Memory(spent={"2026-11": Spent("2026-11", 5.0, NOON)}), seen_at(NOON, servers=3), settings())
    past = remember(past, seen_at(NOON + HOUR, servers=3), settings())
    assert amounts(dict(past.spent)) == {"2026-11": 5 + 6}
    assert past.flavors == {"here/small": KnownFlavor("here/small", 1, 1000, 2.0, 1, 1000, 10_000)}
    silent = remember(past, world(now=NOON + 2 * HOUR, fault="down"), settings())
    assert amounts(dict(silent.spent)) == {"2026-11": 5 + 12}
    assert silent.flavors == past.flavors


def test_flavors_that_nothing_needs_are_forgotten() -> None:
    past = Memory(flavors={"here/gone": KnownFlavor("here/gone", 1, 1, 1)})
    assert set(remember(past, seen_at(NOON), settings()).flavors) == {"here/small"}


@pytest.mark.parametrize(("spent", "nodes"), [(0.0, 3), (4.0, 3), (4.1, 2), (9.0, 0), (11.0, 0)])
def test_what_was_spent_gates_what_is_made_and_is_told(spent: float, nodes: int) -> None:
    """10 in a month; a node costs 2 an hour and is granted an hour."""
    past = Memory(spent={"2026-11": Spent("2026-11", spent, NOON)})
    decided = plan(world(shapes=[jobs(3)], flavors=[PRICED], now=NOON), past, settings(cost_per_month=10))
    assert made(decided).get("small", 0) == nodes
    assert held(decided) == (set() if nodes == 3 else {"cost-per-month"})
    if nodes < 3:
        assert f"nodes have cost {spent:.2f} in this month" in decided.held[0].reason.text
        assert "cost_per_month is 10" in decided.held[0].reason.text


def test_a_new_month_has_a_new_budget() -> None:
    past = Memory(spent={"2026-11": Spent("2026-11", 99.0, NOON)})
    later = world(shapes=[jobs(1)], flavors=[PRICED], now=at("2026-12-01T00:01"))
    assert made(plan(later, past, settings(cost_per_month=10))) == {"small": 1}


def test_the_money_is_kept_in_the_state_file(tmp_path: Path) -> None:
    kept: Any = RecordSettings(Place(tmp_path / "state.json"))
    memory = Memory(
        spent={"2026-11": Spent("2026-11", 12.5, NOON)}, flavors={"here/small": KnownFlavor("here/small", 1, 1000, 2.0)}
    )
    Record(kept, NOON).save(memory)
    assert Record(kept, NOON).memory() == memory


def status_of(seen: World, past: Memory, record: Path, capsys: pytest.CaptureFixture[str], **scaling: Any) -> Any:
    """What `ehoslite status` prints, as JSON and as text."""
    kept = Record(RecordSettings(Place(record)), seen.now)
    kept.save(past)
    said = []
    for as_json in (True, False):
        status.show(seen, kept, settings(**scaling), passes=0, as_json=as_json)
        said.append(capsys.readouterr().out)
    return json.loads(said[0]), said[1]


def test_status_tells_what_nodes_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    past = remember(Memory(spent={"2026-11": Spent("2026-11", 5.0, NOON)}), seen_at(NOON, servers=3), settings())
    always = WindowSettings("always", "* * * * *", "0 0 29 2 *", cost_per_hour=40.0)
    later = seen_at(NOON + HOUR, servers=3)
    data, text = status_of(later, past, tmp_path / "a", capsys, windows=(always,), cost_per_month=100.0)
    assert data["cost"] == {
        "per_hour": 6.0, "cost_per_hour": 40.0, "month": "2026-11", "spent": 11.0, "cost_per_month": 100.0
    }  # fmt: skip
    assert data["windows"] == ["always"]
    assert "\ncost: 6 an hour (at most 40), 11 in 2026-11 so far (at most 100)\nopen windows: always\n" in text


def test_status_says_nothing_of_money_where_nobody_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, text = status_of(world([server("n1")], [slot("n1")]), Memory(), tmp_path / "a", capsys)
    assert (data["cost"]["per_hour"], data["cost"]["cost_per_hour"], data["windows"]) == (0, None, [])
    assert "cost" not in text
    assert "window" not in text


def test_a_plan_tells_the_cost_before_it_acts() -> None:
    past = remember(Memory(), seen_at(NOON, servers=2), settings())
    decided = plan(replace(seen_at(NOON, servers=2), demand=world(shapes=[jobs(9)]).demand), past, settings())
    assert made(decided)
    assert decided.cost is not None
    assert (decided.cost.hour, decided.cost.month) == (4.0, "2026-11")
    done = Pass(seen_at(NOON), decided, ())
    assert as_data(done, settings(), dry_run=True)["cost"]["per_hour"] == 4.0
    assert as_data(passive(NOON, "another is"), settings(), dry_run=False)["cost"] is None
