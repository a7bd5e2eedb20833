"""Groups of jobs by autocluster, and when that is not to be relied upon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

htcondor2 = pytest.importorskip("htcondor2")
classad2 = pytest.importorskip("classad2")

from ehoslite.ads import GROUP_BY  # noqa: E402
from ehoslite.jobs import find_job  # noqa: E402
from ehoslite.schedds import MAX_IDLE, Wish, idle_groups, query_schedd, shape_ad  # noqa: E402

REQUESTS = {"RequestCpus": 1, "RequestMemory": 100, "RequestDisk": 10, "Requirements": True}


def ad(**values: Any) -> Any:
    return classad2.ClassAd(values)


class FakeSchedd:
    """Answers by kind of query; `asked` says which were put, and `sent` of jobs how many attributes went with each."""

    def __init__(
        self, counted: list[Any], clusters: list[Any], whole: list[Any], jobs: list[Any] | None = None
    ) -> None:
        self.counted, self.clusters, self.whole, self.jobs = counted, clusters, whole, jobs or []
        self.asked: list[str] = []
        self.sent: list[int] = []

    def query(self, constraint: str, projection: list[str], opts: Any = None, limit: int = -1) -> list[Any]:  # noqa: ARG002
        if opts is None:
            found = [one for one in self.jobs if classad2.ExprTree(constraint).eval(one) is True]
            parts = [part_of(one, projection or one) for one in found]
            self.sent += map(len, parts)
            return parts
        if opts == htcondor2.QueryOpt.AutoCluster:
            self.asked.append("autoclusters")
            return self.clusters
        grouped = set(GROUP_BY) <= set(projection)
        if "AutoClusterId =?= undefined" in constraint:
            assert "AutoClusterId" in projection, "the constraint is put to the groups as well"
            self.asked.append("new")
            return self.jobs
        hosts = " by hosts" if "MinHosts" in projection else ""
        self.asked.append("whole" if grouped else f"counted{hosts}")
        return self.whole if grouped else self.counted


def counted(jobs: int, number: int | None, **more: Any) -> Any:
    own = {"AutoClusterId": number} if number else {}
    return ad(**{"JobCount": jobs, "JobUniverse": 5, **own, **more})


def summary(groups: list[Any]) -> list[tuple[int, int]]:
    return [(group["JobCount"], group["RequestMemory"]) for group in groups]


PARALLEL = {"JobUniverse": 11}
WHOLE = [ad(JobCount=99, **REQUESTS)]
ONE, TWO = ad(AutoClusterId=1, **REQUESTS), ad(AutoClusterId=2, **{**REQUESTS, "RequestMemory": 200})


def test_counts_and_autoclusters_are_joined() -> None:
    schedd = FakeSchedd([counted(3, 1), counted(4, 2)], [TWO, ONE], WHOLE)
    assert summary(idle_groups(schedd, Wish())) == [(3, 100), (4, 200)]
    assert schedd.asked == ["counted", "autoclusters"]


def test_an_empty_queue_is_asked_once() -> None:
    schedd = FakeSchedd([], [], WHOLE)
    assert idle_groups(schedd, Wish()) == []
    assert schedd.asked == ["counted"]


def test_a_pool_without_slots_has_no_autoclusters_and_is_asked_once() -> None:
    schedd = FakeSchedd([counted(3, None)], [], WHOLE)
    assert summary(idle_groups(schedd, Wish(slots=False))) == [(99, 100)]
    assert schedd.asked == ["whole"]


@pytest.mark.parametrize("clusters", [[], [ONE], [ONE, ad(AutoClusterId=2, RequestMemory=200)]])
def test_autoclusters_that_do_not_tell_all_lead_to_the_whole(clusters: list[Any]) -> None:
    schedd = FakeSchedd([counted(3, 1), counted(4, 2)], clusters, WHOLE)
    assert summary(idle_groups(schedd, Wish())) == [(99, 100)]


def test_jobs_that_no_negotiator_has_seen() -> None:
    none = FakeSchedd([counted(3, None)], [], WHOLE)
    assert summary(idle_groups(none, Wish())) == [(99, 100)]
    assert none.asked == ["counted", "whole"]


def test_only_jobs_without_an_autocluster_are_grouped_by_what_they_request() -> None:
    """Grouping all would take a schedd with a million jobs longer than it is waited for."""
    many = FakeSchedd([counted(900_000, 1), counted(5000, None)], [ONE], WHOLE, [ad(JobCount=5000, **REQUESTS)])
    assert summary(idle_groups(many, Wish())) == [(900_000, 100), (5000, 100)]
    assert many.asked == ["counted", "autoclusters", "new"]


def test_jobs_that_get_an_autocluster_between_two_questions_are_not_lost() -> None:
    """They are counted as having none, and not among those without one any more."""
    schedd = FakeSchedd([counted(3, 1), counted(8, None)], [ONE], WHOLE, [ad(JobCount=7, **REQUESTS)])
    assert summary(idle_groups(schedd, Wish())) == [(99, 100)]


def test_what_is_asked_for_is_counted_by() -> None:
    queue = Queue([*(job("bob", RequestGPUs=2) for _ in range(3)), job("bob"), job("bob", **NEW, RequestGPUs=4)])
    assert [group["JobCount"] for group in asked_of(queue, Wish())] == [4, 1]
    groups = asked_of(queue, Wish(GPUS))
    assert [(group["JobCount"], group.get("RequestGPUs")) for group in groups] == [(3, 2), (1, None), (1, 4)]


@pytest.mark.parametrize("name", ["ClusterId", "clusterid", "JobStatus", "JobCount"])
def test_jobs_count_whatever_is_asked_for(name: str) -> None:
    """A START may name what the constraint names, or ClusterId, which a late-materialised cluster has, too."""
    queue = Queue([*(job("bob") for _ in range(3)), job("bob", JobStatus=2)])
    assert sum(group["JobCount"] for group in asked_of(queue, Wish((name,)))) == 3


def test_no_attribute_is_paid_for_twice() -> None:
    queue = Queue([job("bob"), job("bob", **NEW)])
    asked_of(queue, Wish(("owner", "jobuniverse"), owners=True))
    assert all(len(names) == len({name.lower() for name in names}) for names in queue.projections)


@pytest.mark.parametrize("missing", ["JobUniverse", "JobStatus"])
def test_a_job_without_a_universe_or_status_is_none_and_hides_no_other(missing: str) -> None:
    without = job("zoe")
    del without[missing]
    queue = Queue([job("bob"), without])
    assert [group["JobCount"] for group in asked_of(queue, Wish())] == [1]


def test_a_job_of_another_universe_that_cannot_be_read_costs_one_question() -> None:
    good, bad = job("bob"), job("zoe", JobUniverse=12, RequestGPUs=UNREAD)
    fine, other = Queue([good]), Queue([good, bad])
    for queue in (fine, other):
        assert [(group["JobCount"], "Unreadable" in group) for group in asked_of(queue, Wish(GPUS))] == [(1, False)]
    assert other.asked == fine.asked + 1


@pytest.mark.parametrize(("universe", "count"), [(5, 4), (10, 4), (11, 4), (13, 4), (1, 3), (7, 3), (9, 3), (12, 3)])
def test_only_idle_jobs_that_a_startd_runs_are_counted(universe: int, count: int) -> None:
    other = [job("bob", JobUniverse=universe), *(job("bob", JobStatus=status) for status in range(2, 8))]
    queue = Queue([*(job("bob") for _ in range(3)), *other])
    assert told(asked_of(queue, Wish(owners=True)), "JobCount") == {"bob": count}
    assert sum(group["JobCount"] for group in asked_of(queue, Wish())) == count


def test_hosts_are_counted_by_where_jobs_have_several() -> None:
    schedd = FakeSchedd([counted(3, 1, MinHosts=2, **PARALLEL)], [ONE], WHOLE)
    assert [group["MinHosts"] for group in idle_groups(schedd, Wish())] == [2]
    assert schedd.asked == ["counted", "counted by hosts", "autoclusters"]


def test_the_ad_of_a_shape_holds_what_matters() -> None:
    job = ad(RequestCpus=1, RequestDisk=10, Color="red", Owner="alice", Other=5, JobUniverse=5, Id=1)
    job["RequestMemory"] = classad2.ExprTree("Other * 20")
    job["Requirements"] = classad2.ExprTree("TARGET.Paint == MY.Color && TARGET.Memory >= RequestMemory")
    assert shape_ad(job, ()).splitlines() == [
        'Color = "red"',
        "JobUniverse = 5",
        "RequestCpus = 1",
        "RequestDisk = 10",
        "RequestMemory = 100",
        "Requirements = TARGET.Paint == MY.Color && TARGET.Memory >= RequestMemory",
    ]
    assert 'Owner = "alice"' in shape_ad(job, ("owner", "missing")).splitlines()


@pytest.mark.parametrize(
    ("statuses", "proc", "found", "short"),
    [
        ([2, 2, 1, 1], None, 2, 4),
        ([2, 5, 2], None, 0, 3),
        ([2, 2, 1, 1], 1, 1, 0),
        ([2, 2, 1, 1], 7, None, 0),
        ([], None, None, 0),
    ],
)
def test_of_a_cluster_an_idle_job_is_found(
    statuses: list[int], proc: int | None, found: int | None, short: int
) -> None:
    """Of the others not more is asked than it takes to choose it."""
    jobs = [
        ad(ClusterId=7, ProcId=number, JobStatus=status, AutoClusterId=3, **REQUESTS)
        for number, status in enumerate(statuses)
    ]
    schedd = FakeSchedd([], [], [], [*reversed(jobs), ad(ClusterId=8, ProcId=0, JobStatus=1, **REQUESTS)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htcondor2, "Schedd", lambda _ad: schedd)
        job = find_job("[]", 7, proc, Wish())
    assert sorted(schedd.sent) == [2] * short + [4 + len(REQUESTS)] * (found is not None)
    told = job and (job["ProcId"], job["JobStatus"], job["JobCount"], job["AutoClusterId"])
    assert told == (None if found is None else (found, statuses[found], 1, 3))


@pytest.mark.parametrize(
    ("more", "asked", "gpus"),
    [
        ({}, (), None),
        ({}, ("requestgpus",), 2),
        ({"AutoClusterAttrs": "Rank requestGPUs,Other"}, (), 2),
        ({"Requirements": classad2.ExprTree("TARGET.GPUs >= RequestGPUs")}, (), 2),
        ({"Requirements": classad2.ExprTree("(TARGET.GPUs ?: 0) >= 0")}, (), None),
    ],
    ids=["nobody", "a flavor", "a startd", "its Requirements", "Requirements that ask for any"],
)
def test_of_a_job_gpus_are_told_where_somebody_minds(more: dict[str, Any], asked: tuple[str, ...], gpus: Any) -> None:
    """As in the groups, else `why` would speak of another shape than the pass serves."""
    jobs = [ad(**{"ClusterId": 7, "ProcId": 0, "JobStatus": 1, **REQUESTS, "RequestGPUs": 2, **more})]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htcondor2, "Schedd", lambda _ad: FakeSchedd([], [], [], jobs))
        found = find_job("[]", 7, None, Wish(asked))
    assert found is not None
    assert (found.get("RequestGPUs"), "RequestGPUs" in found["Ad"]) == (gpus, gpus is not None)


# A queue in which one job cannot be read

UNREAD = "something that the bindings cannot read"


class Queue:
    """A schedd with these jobs and late-materialised clusters. As the real one it puts a constraint to the groups as
    well, and its answer cannot be read at all when UNREAD is in it; after `lives` queries it is dead."""

    def __init__(self, jobs: Sequence[Any], clusters: Sequence[Any] = (), lives: int = 1000) -> None:
        self.jobs, self.clusters, self.lives, self.asked = jobs, clusters, lives, 0
        self.projections: list[Sequence[str]] = []

    def query(self, constraint: str, projection: Sequence[str], opts: Any) -> list[Any]:
        wanted = classad2.ExprTree(constraint)
        if opts == htcondor2.QueryOpt.AutoCluster:
            numbers = {job["AutoClusterId"]: job for job in self.jobs if "AutoClusterId" in job}
            found = [part_of(job, (*REQUESTS, "AutoClusterId")) for job in numbers.values()]
        elif opts == htcondor2.QueryOpt.GroupBy:
            self.projections.append(projection)
            groups = Counter(str(part_of(job, projection)) for job in self.jobs if wanted.eval(job) is True)
            found = [ad(**classad2.ClassAd(group), JobCount=count) for group, count in groups.items()]
        else:
            chosen = [one for one in self.clusters if wanted.eval(one) is True]
            return self._send([part_of(one, projection) if projection else one for one in chosen])
        return self._send([one for one in found if wanted.eval(one) is True])

    def _send(self, ads: list[Any]) -> list[Any]:
        self.asked += 1
        if self.asked > self.lives or any(UNREAD in one.values() for one in ads):
            raise htcondor2.HTCondorException("cannot be read")
        return [ad(**one) for one in ads]


def part_of(whole: Any, names: Iterable[str]) -> Any:
    return ad(**{name: whole[name] for name in names if name in whole})


def job(owner: str, **more: Any) -> Any:
    own = {"ClusterId": 1, "JobStatus": 1, "JobUniverse": 5, "Owner": owner, "AutoClusterId": 1}
    return ad(**{**own, **REQUESTS, **more})


def asked_of(queue: Queue, wish: Wish) -> list[dict[str, Any]]:
    """What a pass gets of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htcondor2, "Schedd", lambda _ad: queue)
        return query_schedd("[]", wish)


GPUS = ("RequestGPUs",)
NEW = {"AutoClusterId": classad2.Value.Undefined}
EVERYTHING = Wish(GPUS, owners=True, negotiated=True, ahead=3)
OTHERS = [
    *(job(owner) for owner in ("bob", "carol", "dave") for _ in range(3)),
    *(job("bob", JobStatus=2) for _ in range(4)),
    job("carol", RequestMemory=200, **NEW),
]


def told(groups: list[dict[str, Any]], name: str) -> dict[str, int]:
    """What they say of each owner under this name."""
    found: Counter[str] = Counter()
    for group in groups:
        if name in group and group.get("Negotiated", True):
            found[str(group.get("Owner", group.get("Unreadable")))] += group[name]
    return dict(found)


UNREADABLE_JOBS = {
    "its requests": {"AutoClusterId": 2, "Requirements": UNREAD},
    "its requests, and it is new": {**NEW, "RequestCpus": UNREAD},
    "what is counted by": {"RequestGPUs": UNREAD},
    "its accounting group": {"AcctGroup": UNREAD},
}


@pytest.mark.parametrize("case", UNREADABLE_JOBS)
@pytest.mark.parametrize("owner", ["alice", "zoe"])
@pytest.mark.parametrize("slots", [True, False])
def test_a_job_that_cannot_be_read_takes_nothing_from_others(case: str, owner: str, slots: bool) -> None:
    wish = replace(EVERYTHING, slots=slots, negotiated=slots)
    without = asked_of(Queue(OTHERS), wish)
    groups = asked_of(Queue([*OTHERS, job(owner), job(owner, **UNREADABLE_JOBS[case])]), wish)
    assert [group for group in groups if "Unreadable" in group] == [{"JobCount": 2, "Unreadable": owner}]
    assert told(groups, "JobCount") == {"bob": 3, "carol": 3 if slots else 4, "dave": 3, owner: 2}
    assert told(groups, "Running") == told(without, "Running") == {"bob": 4}
    assert sum(group.get("Negotiated") is False for group in groups) == slots


def test_running_jobs_that_cannot_be_read_count_to_their_owner() -> None:
    groups = asked_of(Queue([*OTHERS, job("alice", JobStatus=2, AcctGroup=UNREAD)]), EVERYTHING)
    assert told(groups, "Running") == {"alice": 1, "bob": 4}
    assert told(groups, "JobCount") == {"bob": 3, "carol": 3, "dave": 3}


def test_one_unreadable_job_among_many_owners_costs_few_questions() -> None:
    queue = Queue([*(job(f"user{number:03d}") for number in range(200)), job("zoe", RequestGPUs=UNREAD)])
    assert sum(told(asked_of(queue, Wish(GPUS, owners=True)), "JobCount").values()) == 201
    assert queue.asked < 40


@pytest.mark.parametrize("wish", [EVERYTHING, Wish(GPUS), Wish(GPUS, ahead=3)], ids=["everything", "jobs", "factories"])
def test_a_schedd_that_falls_silent_makes_no_job_unreadable(wish: Wish) -> None:
    """Whenever it does: not knowing is not zero."""
    bad = ad(JobUniverse=5, ClusterId=1, Text=UNREAD, **{MAX_IDLE: 5})
    jobs = [*OTHERS, job("bob", **{MAX_IDLE: 5}), job("alice", RequestGPUs=UNREAD)]
    whole = Queue(jobs, [bad])
    asked_of(whole, wish)
    assert whole.asked > 5
    for lives in range(whole.asked):
        with pytest.raises(htcondor2.HTCondorException):
            asked_of(Queue(jobs, [bad], lives), wish)


# Late-materialised clusters

FACTORY = {
    "JobUniverse": 5,
    "Owner": "bob",
    MAX_IDLE: 5,
    "TotalSubmitProcs": 100,
    "JobMaterializeNextProcId": 20,
    "JobsPresent": 20,
    "JobsRunning": 15,
    **REQUESTS,
}


def ahead_of(*factories: Any) -> int:
    """How many jobs count beyond those in the queue."""
    shown = job("bob", **{MAX_IDLE: 5})
    return sum(int(group["JobCount"]) for group in asked_of(Queue([shown], factories), Wish(ahead=3))) - 1


@pytest.mark.parametrize(
    ("universe", "ahead"), [(5, 15), (10, 15), (11, 15), (13, 15), (1, 0), (7, 0), (9, 0), (12, 0), (None, 0)]
)
def test_only_factories_of_jobs_that_a_startd_runs_are_demand(universe: int | None, ahead: int) -> None:
    given = {"JobUniverse": classad2.Value.Undefined if universe is None else universe}
    assert ahead_of(ad(**{**FACTORY, **given, "ClusterId": 1})) == ahead


@pytest.mark.parametrize(("told", "ahead"), [("", 15), ("JobsUnmaterialized = 80", 15), ("JobsUnmaterialized = 0", 0)])
def test_a_schedd_without_factories_is_not_asked_for_them(told: str, ahead: int) -> None:
    """By its own ad; one of an older HTCondor does not say."""
    queue = Queue([job("bob", **{MAX_IDLE: 5})], [ad(**{**FACTORY, "ClusterId": 1})])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htcondor2, "Schedd", lambda _ad: queue)
        groups = query_schedd(f"[{told}]", Wish(ahead=3))
    assert sum(group["JobCount"] for group in groups) == 1 + ahead
    assert any(MAX_IDLE in names for names in queue.projections) == bool(ahead)


def test_the_jobs_that_a_factory_has_ahead_are_counted_before_the_negotiator_has_seen_them() -> None:
    shown = job("bob", **{MAX_IDLE: 5})
    wish = Wish(ahead=3, negotiated=True)
    groups = asked_of(Queue([shown], [ad(**{**FACTORY, "ClusterId": 1})]), wish)
    assert [(group["JobCount"], group.get("Negotiated")) for group in groups] == [(1, True), (15, None)]


def test_a_factory_that_cannot_be_read_takes_nothing_from_others() -> None:
    bad = ad(**{**FACTORY, "ClusterId": 3, "Text": UNREAD})
    assert ahead_of(*(ad(**{**FACTORY, "ClusterId": number}) for number in (1, 2, 4, 5)), bad) == 4 * 15
    assert ahead_of(bad) == 0


def test_factories_count_where_a_job_cannot_be_read() -> None:
    jobs = [job("bob", **{MAX_IDLE: 5}), job("alice", RequestGPUs=UNREAD)]
    groups = asked_of(Queue(jobs, [ad(**{**FACTORY, "ClusterId": 1})]), Wish(GPUS, ahead=3, owners=True))
    assert told(groups, "JobCount") == {"bob": 1 + 15, "alice": 1}
