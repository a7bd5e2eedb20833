"""Whose jobs count: caps, jobs that no negotiator has seen, late-materialised clusters."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehoslite.actions import Plan
from ehoslite.ads import read_demand
from ehoslite.asking import Unanswered
from ehoslite.model import Unserved, World
from ehoslite.resources import Resources
from ehoslite.schedds import jobs_ahead
from ehoslite.serving import Served, capping, read_served, serve
from tests.unit.worlds import LARGE, decide, held, made, world


def group(owner: str, jobs: int, account: str = "", **more: Any) -> dict[str, Any]:
    requests = {"RequestCpus": 1, "RequestMemory": 128, "RequestDisk": 1024, "Requirements": "true", "Text": {}}
    return {**requests, "JobCount": jobs, "Owner": owner, "AcctGroup": account, **more}


def running(owner: str, jobs: int, account: str = "") -> dict[str, Any]:
    return {"Owner": owner, "AcctGroup": account, "Running": jobs}


def served(*groups: dict[str, Any], caps: dict[str, int] | None = None, negotiated: bool = False) -> dict[str, int]:
    """How many jobs of each owner count."""
    kept, _ = serve(groups, Served(caps or {}, negotiated))
    counts: dict[str, int] = {}
    for one in kept:
        counts[one["Owner"]] = counts.get(one["Owner"], 0) + one["JobCount"]
    return {owner: count for owner, count in counts.items() if count}


def texts(decided: Plan, code: str) -> list[str]:
    return [hold.reason.text for hold in decided.held if hold.reason.code == code]


def test_nobody_is_capped_without_a_cap() -> None:
    assert served(group("alice", 5), group("bob", 3)) == {"alice": 5, "bob": 3}


def test_a_cap_counts_running_jobs_first() -> None:
    assert served(group("alice", 5), group("bob", 3), running("alice", 7), caps={"alice": 10}) == {"alice": 3, "bob": 3}
    assert served(group("alice", 5), running("alice", 70), caps={"alice": 10}) == {}


def test_a_cap_of_0_excludes() -> None:
    assert served(group("alice", 5), group("bob", 3), caps={"alice": 0}) == {"bob": 3}


def test_a_group_is_capped_with_its_subgroups() -> None:
    jobs = (
        group("alice", 5, "group_physics.cms"),
        group("bob", 3, "group_physics"),
        group("carol", 2, "group_physicsx"),
    )
    assert sum(served(*jobs, caps={"group_physics": 6}).values()) == 6 + 2
    assert served(*jobs, caps={"GROUP_Physics": 0}) == {"carol": 2}


@pytest.mark.parametrize(
    ("owner", "accounted", "names"),
    [
        ("alice", "group_physics.alice", ["alice", "group_physics"]),
        ("portal", "group_physics.cms.alice", ["alice", "group_physics", "portal"]),
        ("portal", "alice", ["alice", "portal"]),
        ("bob", "Group_Physics.bob", ["group_physics"]),
        ("bob", "alice.bob", ["alice"]),
        ("bob", "group_physicsx.bob", []),
        ("portal", "group_physics.john.doe", ["doe", "group_physics", "john.doe", "portal"]),
        ("john.doe", "john.doe", ["john.doe"]),
    ],
)
def test_jobs_fall_under_the_caps_of_those_to_whom_they_are_accounted(
    owner: str, accounted: str, names: list[str]
) -> None:
    """However they came by it: `+AccountingGroup` sets no AcctGroup."""
    caps = dict.fromkeys(("alice", "portal", "group_physics", "john.doe", "doe", "john"), 0)
    assert capping({"Owner": owner, "AccountingGroup": accounted}, caps) == names


def test_where_the_group_is_told_the_rest_is_the_user() -> None:
    job = {"Owner": "portal", "AcctGroup": "Group_physics.cms", "AccountingGroup": "group_physics.cms.john.doe"}
    assert capping(job, dict.fromkeys(("group_physics", "john.doe", "doe", "cms"), 0)) == ["group_physics", "john.doe"]


def test_each_cap_that_applies_binds() -> None:
    jobs = (group("alice", 5, "group_a"), group("bob", 5, "group_a"))
    assert served(*jobs, caps={"group_a": 8, "alice": 2}) == {"alice": 2, "bob": 5}
    assert served(*jobs, running("carol", 6, "group_a"), caps={"group_a": 8, "alice": 1}) == {"alice": 1, "bob": 1}


def test_what_is_capped_does_not_depend_on_the_order() -> None:
    jobs = [
        group("alice", 5, "g", Ad="b"),
        group("alice", 5, "g", Ad="a"),
        group("bob", 5, "g"),
        running("bob", 1, "g"),
    ]
    outcomes = [serve(order, Served({"g": 7})) for order in itertools.permutations(jobs)]
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_cap_of_one_user_is_dealt_out_to_all_that_waits() -> None:
    """The text of an ad decides nothing: 128 sorts before 2."""
    kept, _ = serve([group("alice", 10, Ad="128"), group("alice", 500, Ad="2")], Served({"alice": 10}))
    assert [one["JobCount"] for one in kept] == [5, 5]


@pytest.mark.parametrize(
    ("jobs", "cap", "expected"),
    [
        ((group("alice", 500), group("zoe", 3)), 10, {"alice": 7, "zoe": 3}),
        ((group("alice", 500), group("bob", 500), group("zoe", 3)), 100, {"alice": 49, "bob": 48, "zoe": 3}),
        ((*(group("alice", 5, Ad=str(one)) for one in range(99)), group("zoe", 500)), 20, None),
        ((group("alice", 500), group("zoe", 3)), 1, {"zoe": 1}),
        ((group("alice", 2), group("zoe", 3)), 10, {"alice": 2, "zoe": 3}),
    ],
)
def test_a_cap_of_a_group_is_dealt_out_to_its_owners(
    jobs: tuple[dict[str, Any], ...], cap: int, expected: dict[str, int] | None
) -> None:
    physics = [{**one, "AcctGroup": "group_physics"} for one in jobs]
    assert served(*physics, caps={"group_physics": cap}) == (expected or {"alice": 10, "zoe": 10})


def test_what_another_cap_forbids_is_dealt_out_once_more() -> None:
    jobs = (group("alice", 500, "g"), group("alice", 500, "h"), group("bob", 500, "g"))
    assert served(*jobs, caps={"g": 100, "h": 0, "alice": 10}) == {"alice": 10, "bob": 90}
    assert served(*jobs, caps={"g": 0, "alice": 10}) == {"alice": 10}


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.sampled_from(["", "g", "g.h", "i"]), st.integers(0, 3)),
        max_size=9,
    ),
    st.dictionaries(st.sampled_from(["a", "b", "g", "g.h", "i"]), st.integers(0, 12)),
)
def test_no_cap_is_exceeded_and_none_left_unused(some: list[tuple[str, int, str, int]], caps: dict[str, int]) -> None:
    jobs = [group(owner, count, account, Ad=str(ad)) for owner, count, account, ad in some]
    kept, unserved = serve(jobs, Served(caps))
    used = {name: sum(one["JobCount"] for one in kept if name in capping(one, caps)) for name in caps}
    assert all(used[name] <= caps[name] for name in caps)
    assert sum(one["JobCount"] for one in jobs) == sum(one["JobCount"] for one in kept) + sum(
        part.count for part in unserved
    )
    for one in kept:
        wanted = sum(each["JobCount"] for each in jobs if _same(each, one))
        counted = sum(each["JobCount"] for each in kept if _same(each, one))
        assert counted == wanted or any(used[name] == caps[name] for name in capping(one, caps))


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("Owner", "AcctGroup", "Ad"))


def test_jobs_that_fit_nowhere_leave_a_cap_to_those_that_do() -> None:
    jobs = [group("alice", 500, RequestCpus=128, Ad="128"), group("alice", 4, RequestCpus=2, Ad="2")]
    kept, unserved = serve(jobs, Served({"alice": 10}, rooms=(LARGE.resources,)))
    assert [(one["RequestCpus"], one["JobCount"]) for one in kept] == [(128, 6), (2, 4)]
    assert [(part.count, part.code) for part in unserved] == [(494, "capped")]
    assert served(*jobs, caps={"alice": 0}) == {}


def test_jobs_that_the_negotiator_has_not_seen() -> None:
    jobs = (group("alice", 5, Negotiated=True), group("bob", 3, Negotiated=False))
    assert served(*jobs, negotiated=True) == {"alice": 5}
    assert served(*jobs) == {"alice": 5, "bob": 3}


def test_what_is_not_served_is_said() -> None:
    answers = {"a": [group("alice", 5)], "b": [group("bob", 3, Negotiated=False)]}
    demand = read_served(answers, Served({"alice": 2}, negotiated_only=True))
    assert [shape.count for shape in demand.shapes] == [2]
    assert [(part.count, part.code) for part in demand.unserved] == [(3, "not-negotiated"), (3, "capped")]
    decided = decide(world(shapes=demand.shapes))
    assert "capped" not in held(decided)


def test_what_a_silent_schedd_may_run_counts_to_every_cap() -> None:
    """Not knowing is not zero."""
    answers = {"a": [running("alice", 100), group("bob", 3)], "b": [group("alice", 90)]}
    assert [shape.count for shape in read_served(answers, Served({"alice": 190})).shapes] == [93]
    demand = read_served({**answers, "a": Unanswered("frozen"), "c": [group("bob", 3)]}, Served({"alice": 190}))
    assert demand.silent == {"a": "frozen"}
    assert [shape.count for shape in demand.shapes] == [3], "bob is not capped"
    assert [(part.count, part.code) for part in demand.unserved] == [(90, "capped")]
    (text,) = texts(decide(replace(world(), demand=demand)), "capped")
    assert text.endswith("; a schedd that does not answer may run as many")


def test_a_plan_says_what_is_not_served() -> None:
    parts = (Unserved(3, "capped", "of alice"), Unserved(2, "not-negotiated", "unseen"))
    assert held(decide(unserving(*parts))) == {"capped", "not-negotiated"}


def unserving(*parts: Unserved) -> World:
    seen = world()
    return replace(seen, demand=replace(seen.demand, unserved=parts))


@pytest.mark.parametrize("scaling", [{"nodes_spare": 2}, {"reserve_cores": 2}])
def test_no_spare_node_and_no_reserve_is_made_for_those_who_start_no_node(scaling: dict[str, Any]) -> None:
    """They would take it, and each one after it; those who ask for more than a spare node has would not."""
    rest, larger = (Unserved(9, "capped", "of alice", (Resources(cpus, 1, 1),)) for cpus in (1, 2))
    for part in larger, Unserved(1, "not-negotiated", "unseen"):
        assert made(decide(unserving(part), **scaling)) == {"small": 2}
    decided = decide(unserving(larger, rest), **scaling)
    assert made(decided) == {}
    assert "none is made: 9 idle jobs of alice would take it" in texts(decided, "capped")
    assert len(texts(decide(unserving(rest)), "capped")) == 1, "none is wanted"


def test_what_capped_jobs_ask_for_is_told() -> None:
    jobs = [group("alice", 5, RequestCpus=2, Ad="a"), group("alice", 5, RequestCpus=2, Ad="b"), group("bob", 5)]
    _, (part,) = serve(jobs, Served({"alice": 0}))
    assert [request.cpus for request in part.requests] == [2]


def test_without_any_rule_demand_is_read_as_it_is() -> None:
    answers = {"a": [group("alice", 5)], "b": Unanswered("x")}
    assert read_served(answers, Served({})) == read_demand(answers)


@pytest.mark.parametrize("strange", [None, 7, True, [1]])
def test_strange_owners_fall_under_no_cap(strange: Any) -> None:
    assert capping({"Owner": strange, "AcctGroup": strange}, {"alice": 0, "None": 0}) == []


# Late-materialised clusters

FACTORY = {
    "JobMaterializeMaxIdle": 5,
    "JobMaterializeLimit": 1000,
    "JobMaterializeNextProcId": 105,
    "TotalSubmitProcs": 1000,
    "JobsPresent": 105,
    "JobsRunning": 100,
}


@pytest.mark.parametrize(
    ("changed", "ahead"),
    [
        ({}, 15),
        ({"JobsRunning": 7}, 7),
        ({"JobsRunning": 0}, 0),
        ({"JobMaterializeNextProcId": 996}, 4),
        ({"JobMaterializeNextProcId": 1000}, 0),
        ({"JobMaterializeLimit": 107}, 2),
        ({"JobMaterializeLimit": 50}, 0),
        ({"JobMaterializePaused": 1}, 0),
        ({"JobMaterializePaused": -1}, 0),
        ({"JobMaterializeMaxIdle": 0}, 0),
        ({"TotalSubmitProcs": "many"}, 0),
    ],
)
def test_how_many_jobs_of_a_factory_count_beyond_those_in_the_queue(changed: dict[str, Any], ahead: int) -> None:
    assert jobs_ahead({**FACTORY, **changed}, 3) == ahead
    assert jobs_ahead({**FACTORY, **changed}, 0) == 0
