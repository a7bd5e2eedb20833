"""Windows: when they are open, what holds then, and what is no window."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ehoslite.memory import Memory
from ehoslite.model import Slot
from ehoslite.options import Seconds
from ehoslite.plan import plan
from ehoslite.settings import ScalingSettings, WindowSettings
from ehoslite.windows import in_force, is_time_zone, month_began, month_of, why_invalid
from tests.unit.configurations import GOOD, faults_of, load_text
from tests.unit.worlds import acts, held, jobs, made, server, settings, slot, world

NIGHT = WindowSettings("night", "0 20 * * *", "0 6 * * *", nodes_max=50, nodes_min=2)
WEEKEND = WindowSettings("weekend", "0 18 * * fri", "0 6 * * mon", nodes_max=80)
BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """Epoch seconds of a wall clock's time there; `fold` 1 is the second of two."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def scaling(*windows: WindowSettings, **more: Any) -> ScalingSettings:
    return ScalingSettings(**{"nodes_max": 10, "time_zone": BERLIN, "windows": windows, **more})


# 2026-11-20 is a Friday.
@pytest.mark.parametrize(
    ("when", "most"),
    [
        ("2026-11-18T19:59:59", 10),
        ("2026-11-18T20:00:00", 50),
        ("2026-11-18T23:59:00", 50),
        ("2026-11-19T05:59:59", 50),
        ("2026-11-19T06:00:00", 10),
        ("2026-11-20T17:59:00", 10),
        ("2026-11-20T18:00:00", 80),
        ("2026-11-20T21:00:00", 80),  # both are open: the last in the file counts
        ("2026-11-22T12:00:00", 80),
        ("2026-11-23T05:59:00", 80),
        ("2026-11-23T06:00:00", 10),
    ],
)
def test_when_windows_are_open(when: str, most: int) -> None:
    assert in_force(scaling(NIGHT, WEEKEND), at(when))[0].nodes_max == most


def test_a_window_that_ends_and_begins_in_the_same_minute_goes_on() -> None:
    window = WindowSettings("days", "0 8 * * *", "0 8 * * mon", nodes_max=3)
    assert in_force(scaling(window), at("2026-11-23T08:00"))[1] == ("days",)


def test_of_several_open_windows_each_option_is_the_last_one_s() -> None:
    limits, names = in_force(scaling(NIGHT, WEEKEND), at("2026-11-20T21:00"))
    assert (limits.nodes_max, limits.nodes_min, names) == (80, 2, ("night", "weekend"))
    limits, names = in_force(scaling(WEEKEND, NIGHT), at("2026-11-20T21:00"))
    assert (limits.nodes_max, limits.nodes_min, names) == (50, 2, ("weekend", "night"))


OVERRIDES: dict[str, Any] = {
    "nodes_min": 1,
    "nodes_max": 2,
    "nodes_spare": 1,
    "reserve_cores": 3,
    "reserve_share": 0.5,
    "cores_max": 4,
    "memory_max": 5,
    "cost_per_hour": 0.0,
    "idle_timeout": Seconds(60),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_every_option_of_a_window_holds_in_it(name: str) -> None:
    window = WindowSettings("always", "* * * * *", "0 0 1 1 *", **{name: OVERRIDES[name]})
    assert getattr(in_force(scaling(window), at("2026-11-20T21:00"))[0], name) == OVERRIDES[name]


def test_the_maximum_of_a_window_is_above_the_minimum_of_the_rest() -> None:
    few = WindowSettings("few", "0 20 * * *", "0 6 * * *", nodes_max=1)
    limits, _ = in_force(scaling(few, nodes_min=5, nodes_spare=4), at("2026-11-18T21:00"))
    assert (limits.nodes_min, limits.nodes_spare, limits.nodes_max) == (1, 1, 1)


def test_a_window_is_read_by_the_clock_of_its_time_zone() -> None:
    moment = at("2026-07-01T20:30", BERLIN)  # 18:30 UTC in summer
    assert in_force(scaling(NIGHT), moment)[1] == ("night",)
    assert in_force(scaling(NIGHT, time_zone="UTC"), moment)[1] == ()


def test_the_wall_clock_counts_when_summer_begins_and_ends() -> None:
    early = WindowSettings("early", "30 2 * * *", "30 3 * * *", nodes_max=1)
    opened = [
        in_force(scaling(early), at(when))[1] for when in ("2026-03-29T01:59", "2026-03-29T03:00", "2026-03-29T03:30")
    ]
    assert opened == [(), ("early",), ()]  # there is no 02:30 in this night
    twice = [at("2026-10-25T02:40"), at("2026-10-25T02:10", fold=1), at("2026-10-25T02:40", fold=1)]
    assert twice[2] - twice[0] == 3600
    assert [in_force(scaling(early), moment)[1] for moment in twice] == [("early",), (), ("early",)]


def test_the_plan_keeps_the_limits_that_hold_now_and_says_so() -> None:
    night = WindowSettings("night", "0 20 * * *", "0 6 * * *", nodes_max=5)
    given = settings(nodes_max=2, windows=(night,), time_zone="UTC")
    for when, nodes in (("2026-11-18T12:00", 2), ("2026-11-18T22:00", 5)):
        decided = plan(world(shapes=[jobs(9, cpus=8)], now=at(when, "UTC")), Memory(), given)
        assert made(decided) == {"large": nodes}
        assert ("window" in held(decided)) == (nodes == 5)
    said = next(hold.reason.text for hold in decided.held if hold.reason.code == "window")
    assert "night" in said
    assert "UTC" in said


def test_the_end_of_a_window_takes_idle_nodes_only() -> None:
    night = WindowSettings("night", "0 20 * * *", "0 6 * * *", nodes_max=9)
    given = settings(nodes_max=1, windows=(night,), time_zone="UTC", idle_timeout=99_999)
    now = at("2026-11-19T06:00", "UTC")
    slots = [
        slot("n1", "Claimed", "Busy", kind="Static", heard_ago=0),
        slot("n2", heard_ago=0),
        slot("n3", "Claimed", "Busy", kind="Static"),
    ]
    seen = world([server("n1"), server("n2"), server("n3")], [replace_heard(one, now) for one in slots], now=now)
    assert acts(plan(seen, Memory(), given)) == [("drain", "n2", "nodes-max")]


def replace_heard(one: Slot, now: float) -> Slot:
    return replace(one, heard=now - 10, idle_since=now - 20)


@pytest.mark.parametrize(
    "expression",
    [
        "0 20 * * 1-5",
        "*/15 8-18 1,15 jan-mar MON",
        "0 0 29 2 *",
        "0 0 * * 5#2",
        "0 0 L * *",
        " 0  20 * * * ",
        "1-10 11-1 * * *",
    ],
)
def test_good_expressions(expression: str) -> None:
    assert why_invalid(expression) == ""


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("0 20 * *", "five fields"),
        ("0 0 20 * * *", "five fields"),
        ("@daily", "five fields"),
        ("H 20 * * *", "five fields"),
        ("R 20 * * *", "five fields"),
        ("every night", "five fields"),
        ("", "five fields"),
        ("61 20 * * *", "out of range"),
        ("0 20 * 13 *", "out of range"),
        ("0 0 30 2 *", "no day that there is"),
        ("1-5/0 * * * *", "not acceptable"),
        ("0 8 * * 6-6", "itself, 6-6: write the value alone"),
        ("0 8,10-010/2 * * *", "itself, 10-010: write the value alone"),
        ("0 8 * * Sat-6", "itself, Sat-6: write the value alone"),
        ("0 8 * 1-jan *", "itself, 1-jan: write the value alone"),
    ],
)
def test_bad_expressions_are_told(expression: str, what: str) -> None:
    assert what in why_invalid(expression)


@pytest.mark.parametrize(
    ("name", "known"), [("UTC", True), (BERLIN, True), ("Mars/Olympus", False), ("Europe", False), ("../etc", False)]
)
def test_time_zones(name: str, known: bool) -> None:
    assert is_time_zone(name) == known


def test_a_month_begins_where_the_time_zone_is() -> None:
    moment = at("2026-12-01T00:30", BERLIN)
    assert (month_of(moment, BERLIN), month_of(moment, "UTC")) == ("2026-12", "2026-11")
    assert month_began(moment, BERLIN) == at("2026-12-01T00:00", BERLIN)


PRICED = GOOD.replace("directory: nodes", "directory: nodes\n    flavors: [{name: small, price: 1}]")


NO_WINDOWS = {
    "seconds or years": ('start: "0 20 * *", end: "0 6 * * *"', "start", "five fields"),
    "no such hour": ('start: "0 20 * * *", end: "0 99 * * *"', "end", "out of range"),
    "no end": ('start: "0 20 * * *", end: "0 20  * * *"', "end", "never end"),
    "minimum": ('start: "0 20 * * *", end: "0 6 * * *", nodes_min: 11', "nodes_min", "nodes_max 10"),
    "spare": ('start: "0 20 * * *", end: "0 6 * * *", nodes_max: 3, nodes_spare: 4', "nodes_spare", "nodes_max 3"),
    "twice": ('start: "1 * * * *", end: "2 * * * *"}, {name: n, start: "* * * * *", end: "2 * * * *"', "name", "two"),
}


def test_what_is_no_time_zone_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (said,) = faults_of(tmp_path / "ehos.yaml", f"{GOOD}scaling:\n  time_zone: Mars/Olympus\n")
    assert "scaling.time_zone: Mars/Olympus is no time zone" in said


@pytest.mark.parametrize("case", NO_WINDOWS)
def test_what_is_no_window_is_a_fault_of_the_configuration(tmp_path: Path, case: str) -> None:
    options, name, what = NO_WINDOWS[case]
    said = faults_of(tmp_path / "ehos.yaml", f"{GOOD}scaling:\n  windows: [{{name: n, {options}}}]\n")
    assert any(f": scaling.windows[0].{name}: " in line and what in line for line in said), said


def test_a_good_window_is_read(tmp_path: Path) -> None:
    text = 'windows: [{name: night, start: "0 20 * * *", end: "0 6 * * *", nodes_max: 50, idle_timeout: 10m}]'
    (window,) = load_text(tmp_path / "ehos.yaml", f"{GOOD}scaling:\n  {text}\n").scaling.windows
    assert (window.nodes_max, window.nodes_min) == (50, None)
    assert window.idle_timeout == Seconds(600)
    assert load_text(tmp_path / "ehos.yaml", f"{GOOD}scaling:\n  windows:\n").scaling.windows == ()


@pytest.mark.parametrize("name", ["cost_per_hour", "cost_per_month"])
def test_a_budget_without_any_price_would_never_bind(tmp_path: Path, name: str) -> None:
    (said,) = faults_of(tmp_path / "ehos.yaml", f"{GOOD}scaling:\n  {name}: 5\n")
    assert f"scaling.{name}: needs the price" in said
    assert getattr(load_text(tmp_path / "ehos.yaml", f"{PRICED}scaling:\n  {name}: 5\n").scaling, name) == 5


@pytest.mark.parametrize(
    "budget",
    [
        "cost_per_hour: 5",
        "cost_per_month: 5",
        'windows: [{name: n, start: "* * * * *", end: "1 * * * *", cost_per_hour: 5}]',
    ],
)
def test_a_flavor_whose_price_was_forgotten_is_a_fault_beside_a_budget(tmp_path: Path, budget: str) -> None:
    two = PRICED.replace("price: 1}", "price: 1}, {name: gpu16, gpus: 4}")
    (said,) = faults_of(tmp_path / "ehos.yaml", f"{two}scaling:\n  {budget}\n")
    assert ": clouds.here.flavors[1].price: is missing for gpu16, so scaling." in said
    assert "0 if it costs nothing" in said
    free = two.replace("gpus: 4}", "gpus: 4, price: 0}")
    assert load_text(tmp_path / "ehos.yaml", f"{free}scaling:\n  {budget}\n").clouds["here"].flavors[1].price == 0
    assert load_text(tmp_path / "ehos.yaml", two).clouds["here"].flavors[1].price == 0


def test_a_bare_name_has_no_price_and_flavors_that_are_not_given_have_none_either(tmp_path: Path) -> None:
    far = "  far: {type: openstack, image: i, flavors: [m1.small, {name: m1.big, price: 2}]}\n"
    said = faults_of(
        tmp_path / "ehos.yaml", f"{GOOD.replace('record:', far + 'record:')}scaling:\n  cost_per_hour: 5\n"
    )
    assert [line.partition(": clouds.")[2].partition(",")[0] for line in said] == [
        "here.flavors[0].price: is missing for small",
        "far.flavors[0].price: is missing for m1.small",
    ]


def test_a_window_s_budget_without_any_price_would_never_bind_either(tmp_path: Path) -> None:
    times = 'start: "0 20 * * *", end: "0 6 * * *"'
    windows = f"{{name: a, {times}, nodes_max: 3}}, {{name: b, {times}, cost_per_hour: 0}}"
    text = f"scaling:\n  cost_per_month: 9\n  windows: [{windows}]\n"
    month, hour = faults_of(tmp_path / "ehos.yaml", GOOD + text)
    assert ": scaling.cost_per_month: needs the price" in month
    assert ": scaling.windows[1].cost_per_hour: needs the price" in hour
    assert "give clouds.NAME.flavors[].price" in hour
    assert load_text(tmp_path / "ehos.yaml", PRICED + text).scaling.windows[1].cost_per_hour == 0


def test_the_minima_of_the_clouds_are_below_the_maximum(tmp_path: Path) -> None:
    (said,) = faults_of(tmp_path / "ehos.yaml", GOOD.replace("directory: nodes", "directory: nodes\n    nodes_min: 11"))
    assert "scaling.nodes_max: 10 is less than the nodes_min of all clouds" in said
