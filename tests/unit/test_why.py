"""`ehoslite why job` and `why not`: what holds a job back is told, and what holds back others is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehoslite import why, why_node
from ehoslite.ads import read_demand
from ehoslite.asking import Unanswered
from ehoslite.booting import keys_of
from ehoslite.deadline import Deadline
from ehoslite.errors import EXIT_ACTION_FAILED, PoolUnreachable
from ehoslite.look import Look
from ehoslite.matching import Matched, Matching, Verdict
from ehoslite.memory import Boots, Memory
from ehoslite.model import CloudView, Flavor, Room, Shape, Slot, World
from ehoslite.observe import evaluate
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.pool import Pool
from ehoslite.resources import Resources
from ehoslite.samples import Misfit
from ehoslite.serving import Served, read_served
from ehoslite.settings import CondorSettings, RecordSettings, Settings, WindowSettings
from ehoslite.why import find_shape, flavor_lines, unserved_lines
from ehoslite.why_waits import waiting_lines
from tests.unit.worlds import LARGE, NOW, POOL, SMALL, alien, jobs, memory, remembered, server, settings, slot, world

NOTHING = "nothing that ehoslite knows of: there is room for it, and the negotiator will start it"
# A slot on which one job of a core fits, so that none waits for want of room.
ROOM = world([server("n1")], [slot("n1", idle_for=10)], [jobs(1)])
JOB = {"Owner": "alice", "AcctGroup": "group_physics.cms", "AutoClusterId": 7}
PRICED = replace(SMALL, price=2.0)


def look_at(seen: World, past: Memory | None = None, caps: Mapping[str, int] | None = None, **scaling: Any) -> Look:
    known = past or Memory()
    return Look(seen, known, plan(seen, known, settings(**scaling)), caps or {})


def told(seen: Look, shape: Shape | None = None, **changed: Any) -> list[str]:
    """What a job of alice's at schedd `one` is told."""
    return waiting_lines("one", {**JOB, **changed}, shape or seen.world.demand.shapes[0], seen)


def group(owner: str, jobs: int = 3, **more: Any) -> dict[str, Any]:
    requests = {"RequestCpus": 1, "RequestMemory": 100, "RequestDisk": 100, "Text": {}}
    return {**requests, "JobCount": jobs, "Owner": owner, **more}


def test_a_job_with_room_waits_for_nothing_that_we_know_of() -> None:
    assert told(look_at(ROOM)) == [NOTHING]


CAPS = {"bob": 0, "group_biology": 0, "alice": 1, "group_physics": 1}


@pytest.mark.parametrize(
    ("waiting", "name"),
    [
        (group("bob"), ""),
        (group("bob", AcctGroup="group_biology"), ""),
        (group("alice"), "alice"),
        (group("carol", AcctGroup="group_physics.cms"), "group_physics"),
    ],
)
def test_a_cap_is_told_to_those_whom_it_caps(waiting: dict[str, Any], name: str) -> None:
    demand = read_served({"one": [waiting]}, Served(CAPS))
    assert [part.code for part in demand.unserved] == ["capped"]
    seen = look_at(replace(ROOM, demand=replace(ROOM.demand, unserved=demand.unserved)), caps=CAPS)
    said = told(seen)
    assert said == [NOTHING] if not name else f" of {name}, of whom 1 jobs count" in said[0]


def test_what_the_negotiator_has_not_asked_for_is_told_of_such_a_job_alone() -> None:
    demand = read_served({"one": [group("bob", Negotiated=False)]}, Served({}, negotiated_only=True))
    seen = look_at(replace(ROOM, demand=replace(ROOM.demand, unserved=demand.unserved)))
    assert told(seen) == [NOTHING]
    assert "[not-negotiated]" in told(seen, AutoClusterId=None)[0]


@pytest.mark.parametrize(
    ("strange", "concerned"),
    [
        (group("bob", RequestMemory="much"), False),
        (group("alice", RequestMemory="much"), False),
        ({"JobCount": 2, "Unreadable": "bob"}, False),
        ({"JobCount": 2, "Unreadable": "alice"}, True),
    ],
)
def test_requests_of_others_that_come_to_no_number_hold_nobody_back(strange: dict[str, Any], concerned: bool) -> None:
    """Where one of an owner's jobs cannot be read, none of them counts."""
    unreadable = read_demand({"one": [strange]}).unreadable
    assert len(unreadable) == 1
    said = told(look_at(replace(ROOM, demand=replace(ROOM.demand, unreadable=unreadable))))
    assert ("[unreadable-request]" in said[0]) == concerned
    assert (said == [NOTHING]) != concerned


@pytest.mark.parametrize(("schedd", "concerned"), [("one", True), ("two", False)])
def test_a_silent_schedd_is_told_of_its_own_jobs(schedd: str, concerned: bool) -> None:
    silent = read_demand({schedd: Unanswered("frozen")}).silent
    said = told(look_at(replace(ROOM, demand=replace(ROOM.demand, silent=silent))))
    assert said == [
        "schedd one: frozen; its jobs are not known, so nothing is retired [schedd-silent]" if concerned else NOTHING
    ]


def test_a_silent_cloud_is_told_for_who_knows_what_fits_there() -> None:
    seen = replace(ROOM, clouds=(*ROOM.clouds, CloudView("there", fault="no answer")))
    assert told(look_at(seen)) == ["cloud there: no answer; its nodes are left alone [cloud-silent]"]


@pytest.mark.parametrize(
    ("flavor", "concerned"),
    [
        (LARGE, True),
        (replace(LARGE, resources=Resources(1, 50, 50)), False),
        (replace(LARGE, ilk=2), False),
        (replace(LARGE, ilk=3), True),
    ],
    ids=["fits", "too-small", "does-not-run", "may-run"],
)
def test_failed_boots_are_told_of_flavors_on_which_the_job_could_run(flavor: Flavor, concerned: bool) -> None:
    shape = replace(jobs(1), runs_on=frozenset({1}), tries=frozenset({3}))
    there = [slot("n1", idle_for=10, ilk=1)]
    seen = world([server("n1")], there, [shape], flavors=[replace(SMALL, ilk=1), flavor])
    said = told(look_at(seen, failed(flavor, 1)))
    assert ("[boots-fail]" in said[0]) == concerned
    assert (said == [NOTHING]) != concerned


def failed(flavor: Flavor, times: int) -> Memory:
    """So many boots of it have failed just now."""
    key = keys_of(flavor)[0]
    return Memory(boots={key: Boots(key, failures=times, rounds=1, failed_at=NOW - 1, why="no network")})


def test_that_amounts_alone_decide_is_told_where_they_do() -> None:
    seen = look_at(replace(ROOM, unmatched="the child died"))
    assert "[not-matched]" in told(seen)[0]
    assert told(seen, replace(jobs(1), runs_on=frozenset({1}))) == [NOTHING]


def test_what_holds_back_another_shape_is_not_told() -> None:
    seen = look_at(world(shapes=[jobs(1), jobs(1, cpus=99)]))
    assert "[no-flavor-fits]" in told(seen, jobs(1, cpus=99))[0]
    assert [line.rpartition(" ")[2] for line in told(seen, jobs(1))] == ["[demand]"]


BOUND: dict[str, tuple[World, Memory, dict[str, Any], str, str]] = {
    "quota": (
        world(shapes=[jobs(3)], room=Room(instances=0)),
        *(Memory(), {}),
        *("the quota of instances of here: 0 servers left", "quota"),
    ),
    "limit of ours in a cloud": (
        world(shapes=[jobs(3)], room=Room(instances=0, bound="limits.nodes")),
        *(Memory(), {}),
        *("limits.nodes of here: 0 servers left", "quota"),
    ),
    "budget an hour": (
        world(shapes=[jobs(3)], flavors=[PRICED]),
        *(Memory(), {"cost_per_hour": 1.5}),
        *("cost_per_hour is 1.5; all nodes cost 0 an hour, and one more here/small costs 2", "cost-per-hour"),
    ),
    "budget of the month": (
        world(shapes=[jobs(3)], flavors=[PRICED]),
        *(Memory(), {"cost_per_month": 1.5}),
        *("cost_per_month is 1.5; nodes have cost 0.00 in this month", "cost-per-month"),
    ),
    "breaker": (
        world(shapes=[jobs(3)], flavors=[SMALL]),
        *(failed(SMALL, 3), {}),
        *("boots have failed wherever one could be made", "boots-fail"),
    ),
    "most nodes": (
        world(shapes=[jobs(3)]),
        *(Memory(), {"nodes_max": 0}),
        *("nodes_max 0 is reached", "nodes-max"),
    ),
}


@pytest.mark.parametrize("case", BOUND)
def test_the_limit_that_holds_a_job_back_is_named(case: str) -> None:
    seen, past, scaling, text, code = BOUND[case]
    look = look_at(seen, past, **scaling)
    assert any(text in line and line.endswith(f"[{code}]") for line in told(look)), told(look)
    assert any(text in line and line.endswith(f"[{code}]") for line in unserved_lines(look))


NIGHT = WindowSettings("night", "0 0 * * *", "0 0 1 1 *", nodes_max=0)


@pytest.mark.parametrize(
    ("windows", "shape", "codes"),
    [
        ((NIGHT,), jobs(3), ["[nodes-max]", "[window]"]),
        ((NIGHT,), jobs(1, cpus=99), ["[no-flavor-fits]"]),
        ((replace(NIGHT, nodes_max=9),), jobs(3), ["[demand]"]),
    ],
)
def test_the_window_whose_limit_binds_is_named(
    windows: tuple[WindowSettings, ...], shape: Shape, codes: list[str]
) -> None:
    seen = look_at(world(shapes=[shape]), windows=windows)
    said, every = ([line.rpartition(" ")[2] for line in lines] for lines in (told(seen), unserved_lines(seen)[2:]))
    assert said == codes
    assert every == (codes if codes != ["[demand]"] else [])


def test_the_breaker_says_why_boots_failed_and_when_one_is_tried_again() -> None:
    said = told(look_at(world(shapes=[jobs(3)], flavors=[SMALL]), failed(SMALL, 3)))
    assert any(
        "3 boots or creations in a row have failed, the last: no network; one node tried in" in line for line in said
    )


@pytest.mark.parametrize(
    ("tries", "surely", "said"),
    [
        ({1}, False, "not known until a node of it has been seen: START"),
        (set(), False, "not known, though a node of it is there: START"),
        (set(), True, "no: START"),
    ],
)
def test_what_nobody_knows_of_a_flavor_is_not_denied(tries: set[int], surely: bool, said: str) -> None:
    misfit = Misfit("here/small", ("START",), surely)
    shape = replace(jobs(1), runs_on=frozenset(), tries=frozenset(tries), misfits=(misfit,))
    seen = world(shapes=[shape], flavors=[replace(SMALL, ilk=1)])
    assert list(flavor_lines(shape, seen)) == [f"here/small: {said}"]
    code = "[requirements-fail]" if surely else "[tried-out]" if tries else "[not-told]"
    assert [line.rpartition(" ")[2] for line in told(look_at(seen))] == [code]


BIG = jobs(1, memory=800)
TRIED = replace(jobs(2), runs_on=frozenset(), tries=frozenset({1}))
TWO_ILKS = replace(BIG, runs_on=frozenset({1, 2}))
DRAINED = world([server("n1")], [slot("n1", "Drained", "Idle")])
BOOTING = memory(remembered("n1", age=100))
# Jobs that wait, and what else there is; the parts of what is said of the first of them, and of the second.
FOR_WHOM: dict[str, tuple[World, Memory, dict[str, Any], list[str], list[str]]] = {
    "a node is taken back": (
        replace(DRAINED, demand=world(shapes=[jobs(1), jobs(1, cpus=99)]).demand),
        *(Memory(), {"nodes_max": 1}),
        ["next pass, which would undrain n1 (other jobs may come first): there is room on it for 1 idle job [demand]"],
        ["[no-flavor-fits]"],
    ),
    "a node is taken back for the minimum": (
        replace(DRAINED, demand=world(shapes=[BIG, jobs(1, cpus=99)]).demand, slots=(*DRAINED.slots, alien())),
        *(Memory(), {"nodes_min": 1}),
        [NOTHING],
        ["[no-flavor-fits]"],
    ),
    "room is made": (
        world([server("n1")], [slot("n1", idle_for=10)], [jobs(1, cpus=4), jobs(1, cpus=99)]),
        *(Memory(), {"nodes_max": 1}),
        ["the next pass, which would drain n1: its place is needed: 1 idle job of 4 cpus, ", "[nodes-max]"],
        ["[no-flavor-fits]"],
    ),
    "others are packed onto what boots": (
        world([server("n1")], shapes=[jobs(1), BIG]),
        *(BOOTING, {"nodes_max": 1}),
        ["the boot of node n1 (here/small), for 100 s so far; others may come first", "[waits-for-boot]"],
        ["[nodes-max]"],
    ),
    "nothing is packed onto what boots": (
        world([server("n1"), server("n2")], ROOM.slots, [jobs(1), jobs(1, cpus=99)]),
        *(memory(remembered("n2", age=100)), {"nodes_min": 9}),
        *([NOTHING], ["[no-flavor-fits]"]),
    ),
    "a larger node is made for others": (
        world(shapes=[jobs(1, cpus=8), jobs(1)]),
        *(Memory(), {}),
        ["the next pass, which would create here/large: no room for 1 idle job of 8 cpus, "],
        ["create here/large (other jobs may come first): no room for 1 idle job of 8 cpus, ", "of 1 cpus, "],
    ),
    "a node is tried out": (
        world([server("n1")], [slot("n1", idle_for=10, ilk=2)], [TRIED, TWO_ILKS], flavors=[replace(SMALL, ilk=1)]),
        *(Memory(), {}),
        ["which would create here/small: 2 idle jobs of 1 cpus, 100 MB memory, 0.0977 MB disk may run there; "],
        [NOTHING],
    ),
}


@pytest.mark.parametrize("case", FOR_WHOM)
def test_what_is_done_is_told_to_those_for_whom_it_is(case: str) -> None:
    seen, past, scaling, *expected = FOR_WHOM[case]
    look = look_at(seen, past, **scaling)
    for shape, parts in zip(seen.demand.shapes, expected, strict=True):
        said = told(look, shape)
        assert len(said) == len(parts), said
        assert [part for part, line in zip(parts, said, strict=True) if part not in line] == [], said


def test_nothing_is_done_for_a_job_that_does_not_count() -> None:
    counted = look_at(world([server("n1")], shapes=[jobs(3)]), BOOTING)
    assert len(told(counted)) == 3
    shape, judged = find_shape(Matchmaker(), counted, group("alice", Ad="small"))
    assert told(judged, shape) == ["the next pass: it was not yet among the idle jobs that this one counted"]


def test_jobs_for_which_a_node_boots_are_listed_as_being_served() -> None:
    seen = world([server("n1")], shapes=[jobs(1), jobs(1, cpus=99)])
    both = unserved_lines(look_at(seen, memory(remembered("n1", age=100))))
    apart = both.index("being served:")
    assert [line.rpartition(" ")[2] for line in both if line.endswith("]")] == ["[no-flavor-fits]", "[waits-for-boot]"]
    assert "[waits-for-boot]" in both[apart + 1]
    alone = unserved_lines(look_at(world([server("n1")], shapes=[jobs(1)]), memory(remembered("n1", age=100))))
    assert "every job has room, a node that boots" in alone[1]
    assert alone[3] == "being served:"
    assert "being served:" not in unserved_lines(look_at(ROOM))


# A job that does not count


class Matchmaker(Pool):
    """A pool in which a shape runs on the slots and flavors that its ad names; its collector answers the first so many
    questions."""

    def __init__(self, answers: int = 9) -> None:
        super().__init__(CondorSettings())
        self.answers = answers

    def match(self, matching: Matching) -> Matched:
        self.answers -= 1
        if self.answers < 0:
            raise PoolUnreachable("the child died")
        named = [shape.split() for shape in matching.shapes]
        slots = {name: sum((name in names) << bit for bit, names in enumerate(named)) for name in ("one", "two")}
        verdicts = tuple(
            tuple(Verdict(flavor.name in names, ("wants another",)) for names in named) for flavor in matching.flavors
        )
        return Matched(slots, verdicts, judged=len(named))


OTHERS = [group("bob", Ad="one"), group("carol", Ad="two")]
YES = ["here/small: yes, 1 side by side", "here/large: yes, 8 side by side"]


def told_of_flavors(pool: Pool, waiting: list[dict[str, Any]], job: dict[str, Any]) -> list[str]:
    """Where a job of alice's, who is capped, could run while these wait, too."""
    demand = read_served({"one": [*waiting, job]}, Served({"alice": 0}))
    slots = [replace(alien(free=Resources()), name=name, machine=name) for name in ("one", "two")]
    seen = evaluate(pool, replace(world(slots=slots), demand=demand), Memory())
    shape, judged = find_shape(pool, look_at(seen), job)
    assert shape is not None
    return list(flavor_lines(shape, judged.world))


@pytest.mark.parametrize("waiting", [[], OTHERS], ids=["nothing else waits", "two other shapes wait"])
@pytest.mark.parametrize(
    ("runs_on", "said"),
    [
        ("one two small large", YES),
        ("small", [YES[0], "here/large: no: wants another"]),
        ("", ["here/small: no: wants another", "here/large: no: wants another"]),
    ],
)
def test_a_job_that_does_not_count_is_told_its_own_flavors(
    waiting: list[dict[str, Any]], runs_on: str, said: list[str]
) -> None:
    assert told_of_flavors(Matchmaker(), waiting, group("alice", Ad=f"alice {runs_on}")) == said


@pytest.mark.parametrize(
    ("answers", "remark"), [(9, []), (1, ["Requirements are not evaluated, amounts alone decide"])]
)
def test_that_nobody_evaluated_its_requirements_is_told(answers: int, remark: list[str]) -> None:
    said = told_of_flavors(Matchmaker(answers), OTHERS, group("alice", Ad="alice small large"))
    assert [line.partition(":")[0] for line in said[:-2]] == remark
    assert said[-2:] == YES


# What is printed


class Unasked(Pool):
    """A pool with these schedds, none of which has any job."""

    def __init__(self, *_arguments: Any) -> None:
        super().__init__(CondorSettings())

    def slots(self) -> tuple[tuple[Slot, ...], float, dict[str, str]]:
        return (), 0.0, {"one": "[]", "two": "[]"}

    def find_job(self, schedds: Mapping[str, str], cluster: int, proc: int | None) -> dict[str, Any]:
        assert (cluster, proc) == (12, 3)
        return {"one": Unanswered("frozen")} if "one" in schedds else {}

    def why_passive(self, pool: str) -> str:
        assert pool == POOL
        return "cm2 is the active manager; this is cm1"


@pytest.fixture
def _pretend_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in why, why_node:
        monkeypatch.setattr(module, "Deadline", lambda seconds: nullcontext(Deadline(seconds)))
        monkeypatch.setattr(module, "Pool", Unasked)
    monkeypatch.setattr("ehoslite.look.open_clouds", lambda *_: ())
    monkeypatch.setattr("ehoslite.look.observe", lambda *_: ROOM)


def fresh(folder: Path) -> Settings:
    """Those of a pool whose state file is not there yet."""
    return replace(settings(), record=RecordSettings(Place(folder / "state.json")))


FROZEN = "schedd one: frozen; whether it has the job is not known\n"


@pytest.mark.usefixtures("_pretend_pool")
@pytest.mark.parametrize(
    ("schedd", "said"),
    [
        ("", f"{FROZEN}no schedd that answers has a job 12.3 in its queue\n"),
        ("one", f"{FROZEN}no schedd that answers has a job 12.3 in its queue (asked: one)\n"),
        ("two", "no schedd that answers has a job 12.3 in its queue (asked: two)\n"),
        ("typo", "no collector knows a schedd typo, so none was asked; it knows one, two\n"),
    ],
)
def test_a_job_that_no_schedd_has(capsys: pytest.CaptureFixture[str], tmp_path: Path, schedd: str, said: str) -> None:
    assert why.tell_job(fresh(tmp_path), NOW, "12.3", schedd) == EXIT_ACTION_FAILED
    assert capsys.readouterr().out == said


@pytest.mark.usefixtures("_pretend_pool")
@pytest.mark.parametrize(
    "tell",
    [
        lambda wanted: why.tell_job(wanted, NOW, "12.3", ""),
        lambda wanted: why.tell_unserved(wanted, NOW),
        lambda wanted: why_node.tell_node(wanted, NOW, "none"),
    ],
    ids=["job", "not", "node"],
)
@pytest.mark.parametrize("two", [True, False])
def test_a_manager_that_is_not_active_says_so_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tell: Callable[[Settings], int], two: bool
) -> None:
    """A pass there would do nothing, whatever the rest says."""
    tell(replace(fresh(tmp_path), condor=CondorSettings(high_availability=two)))
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(": cm2 is the active manager; this is cm1 [not-active]") == two
