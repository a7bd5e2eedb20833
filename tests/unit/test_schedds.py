"""Groups of jobs by autocluster, and when that is not to be relied upon."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("htcondor2")
classad2 = pytest.importorskip("classad2")

from ehoslite.ads import GROUP_BY  # noqa: E402
from ehoslite.schedds import FEW, Wish, find_job, idle_groups, shape_ad  # noqa: E402

REQUESTS = {"RequestCpus": 1, "RequestMemory": 100, "RequestDisk": 10, "Requirements": True}


def ad(**values: Any) -> Any:
    return classad2.ClassAd(values)


class FakeSchedd:
    """Answers by kind of query; `asked` says which were put."""

    def __init__(
        self, counted: list[Any], clusters: list[Any], whole: list[Any], jobs: list[Any] | None = None
    ) -> None:
        self.counted, self.clusters, self.whole, self.jobs = counted, clusters, whole, jobs or []
        self.asked: list[str] = []

    def query(self, _constraint: str, projection: list[str], opts: Any = None, limit: int = -1) -> list[Any]:  # noqa: ARG002
        import htcondor2

        if opts is None:
            self.asked.append("jobs")
            return self.jobs
        if opts == htcondor2.QueryOpt.AutoCluster:
            self.asked.append("autoclusters")
            return self.clusters
        grouped = set(GROUP_BY) <= set(projection)
        hosts = " by hosts" if "MinHosts" in projection else ""
        self.asked.append("whole" if grouped else f"counted{hosts}")
        return self.whole if grouped else self.counted


def counted(jobs: int, number: int | None, **more: Any) -> Any:
    own = {"AutoClusterId": number} if number else {}
    return ad(**{"JobCount": jobs, "JobStatus": 1, "JobUniverse": 5, **own, **more})


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
    assert summary(idle_groups(FakeSchedd([counted(3, None)], [], WHOLE), Wish())) == [(99, 100)]
    few = FakeSchedd([counted(3, 1), counted(2, None)], [ONE], WHOLE, [ad(**REQUESTS), ad(**REQUESTS)])
    assert summary(idle_groups(few, Wish())) == [(3, 100), (1, 100), (1, 100)]
    most = FakeSchedd([counted(3, 1), counted(FEW, None)], [ONE], WHOLE, [ad(**REQUESTS) for _ in range(FEW)])
    assert len(idle_groups(most, Wish())) == 1 + FEW
    many = FakeSchedd([counted(3, 1), counted(FEW + 1, None)], [ONE], WHOLE)
    assert summary(idle_groups(many, Wish())) == [(99, 100)]


def test_jobs_that_get_an_autocluster_between_two_questions_are_not_lost() -> None:
    """They are counted as having none, and not among those without one any more."""
    schedd = FakeSchedd([counted(3, 1), counted(8, None)], [ONE], WHOLE, [ad(**REQUESTS)])
    assert summary(idle_groups(schedd, Wish())) == [(99, 100)]


def test_what_an_autocluster_need_not_tell_is_counted_by() -> None:
    schedd = FakeSchedd([counted(3, 1, RequestGPUs=1), counted(4, 1)], [ONE], WHOLE)
    first, second = idle_groups(schedd, Wish())
    assert (first["RequestGPUs"], "RequestGPUs" in second) == (1, False)
    assert schedd.asked == ["counted", "autoclusters"]


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


def test_of_a_cluster_an_idle_job_is_found() -> None:
    jobs = [ad(ClusterId=7, ProcId=n, JobStatus=2 if n < 2 else 1, JobUniverse=5, **REQUESTS) for n in range(4)]

    class Schedds(FakeSchedd):
        def __init__(self, _ad: Any) -> None:
            super().__init__([], [], [], jobs)

    import htcondor2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htcondor2, "Schedd", Schedds)
        found = find_job("[]", 7, None, Wish())
        jobs = []
        assert find_job("[]", 7, None, Wish()) is None
    assert found is not None
    assert (found["ProcId"], found["JobStatus"], found["JobCount"]) == (2, 1, 1)
