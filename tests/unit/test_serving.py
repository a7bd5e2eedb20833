"""Whose jobs count: caps, jobs that no negotiator has seen, late-materialised clusters."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ehoslite.ads import read_demand
from ehoslite.asking import Unanswered
from ehoslite.model import Unserved
from ehoslite.schedds import jobs_ahead
from ehoslite.serving import Served, capping, read_served, serve
from tests.unit.worlds import decide, held, world


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


def test_jobs_that_the_negotiator_has_not_seen() -> None:
    jobs = (group("alice", 5, Negotiated=True), group("bob", 3, Negotiated=False))
    assert served(*jobs, negotiated=True) == {"alice": 5}
    assert served(*jobs) == {"alice": 5, "bob": 3}


def test_what_is_not_served_is_said() -> None:
    answers = {"a": [group("alice", 5)], "b": [group("bob", 3, Negotiated=False)], "c": Unanswered("frozen")}
    demand = read_served(answers, Served({"alice": 2}, negotiated_only=True))
    assert [shape.count for shape in demand.shapes] == [2]
    assert demand.silent == {"c": "frozen"}
    assert [(part.count, part.code) for part in demand.unserved] == [(3, "not-negotiated"), (3, "capped")]
    decided = decide(world(shapes=demand.shapes))
    assert "capped" not in held(decided)


def test_a_plan_says_what_is_not_served() -> None:
    from dataclasses import replace

    seen = world()
    parts = (Unserved(3, "capped", "of alice"), Unserved(2, "not-negotiated", "unseen"))
    assert held(decide(replace(seen, demand=replace(seen.demand, unserved=parts)))) == {"capped", "not-negotiated"}


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
        ({"JobMaterializeMaxIdle": 0}, 0),
        ({"TotalSubmitProcs": "many"}, 0),
    ],
)
def test_how_many_jobs_of_a_factory_count_beyond_those_in_the_queue(changed: dict[str, Any], ahead: int) -> None:
    assert jobs_ahead({**FACTORY, **changed}, 3) == ahead
    assert jobs_ahead({**FACTORY, **changed}, 0) == 0
