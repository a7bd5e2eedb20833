"""What the real schedd says of its queue: by autocluster and without, owners, factories, and what is no demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ehoslite import schedds
from ehoslite.ads import GROUP_BY, read_demand
from ehoslite.demand_settings import DemandSettings
from ehoslite.model import Demand
from ehoslite.pool import Pool
from ehoslite.resources import Resources
from lab.jobs import wait_until
from lab.stand import Stand
from tests.conftest import MakeStand

TINY = {"name": "tiny", "cpus": 1, "memory": "512 MB", "disk": "1 GB"}
# No node of the lab holds so much: these jobs wait.
WAITING = 70_000


def pool_of(stand: Stand, **serving: Any) -> Pool:
    return Pool(stand.settings.condor, lambda: 600.0, DemandSettings(**serving))


def ask(stand: Stand, asked: Iterable[str] = (), **serving: Any) -> Demand:
    """The demand as a pass sees it, where nodes to come ask for these attributes."""
    pool = pool_of(stand, **serving)
    _, _, known = pool.slots()
    return pool.demand(known, asked)


def counts(demand: Demand) -> dict[Resources, int]:
    """Idle jobs by request."""
    found: Counter[Resources] = Counter()
    for shape in demand.shapes:
        found[shape.request] += shape.count
    return dict(found)


def memory_of(demand: Demand) -> dict[float, int]:
    """Idle jobs by the memory that they request."""
    return {request.memory: count for request, count in counts(demand).items()}


def in_child(stand: Stand, question: Callable[[Any], Any]) -> Any:
    """What a question to the schedd gives, asked in a process of its own as a pass asks it."""
    from ehoslite.asking import ask as ask_child

    pool = pool_of(stand)
    (ad,) = pool.slots()[2].values()

    def asked() -> Any:
        import classad2
        import htcondor2

        return question(htcondor2.Schedd(classad2.ClassAd(ad)))

    return ask_child(pool._in_child(asked), 60)  # noqa: SLF001


def ids_of(stand: Stand) -> Counter[bool]:
    """How many idle jobs have an autocluster, and how many have none."""
    jobs = stand.pool.queue("JobStatus == 1", ["AutoClusterId"])
    return Counter("AutoClusterId" in job for job in jobs)


def states(stand: Stand) -> Counter[int]:
    """How many jobs are in each JobStatus."""
    return Counter(job["JobStatus"] for job in stand.pool.queue(None, ["JobStatus"]))


def by_attributes(schedd: Any) -> list[dict[str, Any]]:
    """The groups by all that they request, as where the schedd knows no autocluster."""
    groups = schedds._groups(schedd, schedds.IDLE, GROUP_BY)  # noqa: SLF001
    return [schedds.read_group(group, schedds.Wish()) for group in groups]


def by_autoclusters(schedd: Any) -> list[dict[str, Any]] | None:
    """The groups by autocluster alone."""
    counted = schedds._count(schedd, schedds.IDLE, ())  # noqa: SLF001
    joined = schedds.join_autoclusters(counted, schedds._autoclusters(schedd))  # noqa: SLF001
    return None if joined is None else [schedds.read_group(group, schedds.Wish()) for group in joined]


def fill(stand: Stand) -> None:
    """Shapes that differ in each thing that must tell them apart."""
    different: list[dict[str, Any]] = [
        {"count": 3},
        {"count": 2, "cpus": 2},
        {"gpus": 1},
        {"gpus": 2},
        {"disk": 5000},
        {"extra": {"requirements": "TARGET.HasDocker"}},
        {"extra": {"requirements": "TARGET.Site == Wish", "my.Wish": '"north"'}},
        {"extra": {"requirements": "TARGET.Site == Wish", "my.Wish": '"south"'}},
        {"extra": {"request_cpus": "RequestMemory / 1000"}},
    ]
    for one in different:
        stand.pool.submit(**{"memory": WAITING, **one})


def test_groups_by_autocluster_are_the_groups_by_attributes(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1, "nodes_max": 1}, flavors=(TINY,))
    fill(stand)
    without = ask(stand)
    assert ids_of(stand) == {False: 12}
    assert sum(shape.count for shape in without.shapes) == 12
    assert len(without.shapes) == 9
    assert stand.reconcile().verbs() == ["create"]
    wait_until(lambda: ids_of(stand) == {True: 12}, 60, "the negotiator to have asked for every job")
    joined = in_child(stand, by_autoclusters)
    assert joined is not None
    assert read_demand({"": joined}) == without
    assert read_demand({"": in_child(stand, by_attributes)}) == without
    assert ask(stand) == without


def test_jobs_without_an_autocluster_are_counted_beside_those_that_have_one(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1, "nodes_max": 1}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.pool.submit(count=3, memory=WAITING)
    wait_until(lambda: ids_of(stand) == {True: 3}, 60, "the negotiator to have asked for the jobs")
    stand.pool.kill("negotiator")
    stand.pool.submit(count=2, memory=WAITING)
    stand.pool.submit(count=4, memory=WAITING + 1)
    assert ids_of(stand) == {True: 3, False: 6}
    assert memory_of(ask(stand)) == {WAITING: 5, WAITING + 1: 4}
    assert memory_of(ask(stand, negotiated_only=True)) == {WAITING: 3}
    (part,) = ask(stand, negotiated_only=True).unserved
    assert (part.count, part.code) == (6, "not-negotiated")


def test_jobs_that_no_startd_runs_have_autoclusters_and_are_not_counted(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1, "nodes_max": 1}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.pool.submit(count=3, memory=WAITING)
    for universe in ("scheduler", "local"):
        stand.pool.submit(extra={"universe": universe, "requirements": "False"})
    wait_until(lambda: ids_of(stand) == {True: 5}, 60, "an autocluster for every job")
    assert memory_of(ask(stand)) == {WAITING: 3}


def test_gpus_of_which_the_autocluster_tells_nothing_are_nobody_s_business(make_stand: MakeStand) -> None:
    """Neither the job's Requirements nor a startd without GPUs names them, so it runs there: not counting by them where
    no flavor has any counts right."""
    stand = make_stand(scaling={"nodes_min": 1, "nodes_max": 1}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    where = {"requirements": "(TARGET.GPUs ?: 0) >= 0"}
    stand.pool.submit(memory=WAITING, gpus=1, extra=where)
    stand.pool.submit(memory=200, gpus=1, seconds=600, extra=where)
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2 && RequestGPUs == 1")) == 1, 60, "the job to run")
    wait_until(lambda: ids_of(stand) == {True: 1}, 60, "an autocluster for the other")
    (shape,) = ask(stand).shapes
    assert (shape.request.memory, shape.request.gpus) == (WAITING, 0)
    (shape,) = ask(stand, ("RequestGPUs",)).shapes
    assert (shape.request.memory, shape.request.gpus) == (WAITING, 1)


def test_a_pool_without_slots_counts_what_no_negotiator_has_seen(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.pool.submit(count=3)
    assert sum(counts(ask(stand, negotiated_only=True)).values()) == 3


def test_a_schedd_s_ad_tells_that_it_has_no_factories(make_stand: MakeStand) -> None:
    """Without it each pass would count by what tells of them."""
    (ad,) = pool_of(make_stand()).slots()[2].values()
    assert "JobsUnmaterialized = 0" in ad


def test_users_and_accounting_groups_are_capped(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.pool.submit(count=5)
    stand.pool.submit(count=4, user="bob", extra={"accounting_group": "group_physics.cms"})
    assert sum(counts(ask(stand)).values()) == 9
    assert sum(counts(ask(stand, caps={"alice": 2})).values()) == 2 + 4
    assert sum(counts(ask(stand, caps={"group_physics": 1})).values()) == 5 + 1
    assert sum(counts(ask(stand, caps={"bob": 0, "alice": 0})).values()) == 0
    stand.pool.submit(count=3, extra={"my.AccountingGroup": '"group_biology.portal"'})
    for name in "group_biology", "portal":
        assert sum(counts(ask(stand, caps={name: 1})).values()) == 9 + 1, "however they came by it"


def test_running_jobs_count_to_the_cap(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_max": 1}, flavors=(TINY,))
    stand.pool.submit(count=3, seconds=600)
    stand.reconcile()
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 40, "a job to run")
    assert sum(counts(ask(stand, caps={"alice": 2})).values()) == 1
    assert sum(counts(ask(stand, caps={"alice": 1})).values()) == 0


def test_a_capped_user_starts_no_node(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.document["demand"] = {"caps": {"alice": 0}}
    stand.configure()
    stand.pool.submit(count=5)
    done = stand.reconcile()
    assert (done.verbs(), done.held()) == ([], {"capped"})


def test_a_factory_is_served_beyond_what_it_shows_once_it_runs(make_stand: MakeStand) -> None:
    many = {"name": "many", "cpus": 4, "memory": "2 GB", "disk": "4 GB"}
    stand = make_stand(scaling={"nodes_max": 1}, flavors=(many,))
    stand.pool.submit(count=100, seconds=600, extra={"max_idle": "2", "max_materialize": "7"})
    wait_until(lambda: len(stand.pool.queue("JobStatus == 1")) == 2, 30, "the factory's first jobs")
    assert sum(counts(ask(stand)).values()) == 2, "none beyond those in the queue, for none runs yet"
    stand.reconcile()
    wait_until(lambda: states(stand) == {1: 2, 2: 4}, 60, "a full node and two jobs in wait")
    assert sum(counts(ask(stand, factory_ahead=0)).values()) == 2
    wait_until(lambda: len(ask(stand).shapes) == 1, 10, "one shape")
    wait_until(lambda: sum(counts(ask(stand)).values()) != 2, 30, "the schedd's ad to tell of the factory")
    assert sum(counts(ask(stand)).values()) == 2 + 1, "max_materialize lets one more into the queue"

    def all_are_seen() -> bool:
        return sum(counts(ask(stand, negotiated_only=True)).values()) == 2 + 1

    wait_until(all_are_seen, 30, "the negotiator to have seen those in the queue; those ahead it need not see")


def test_what_no_startd_runs_is_no_demand(make_stand: MakeStand) -> None:
    """A DAG is a job of the scheduler universe; the jobs of its nodes count when it has submitted them."""
    stand = make_stand()
    stand.pool.submit(extra={"universe": "scheduler", "hold": "false", "deferral_time": ""}, seconds=600)
    stand.pool.submit(count=2, extra={"universe": "local"}, seconds=600)
    stand.pool.submit(count=3, memory=WAITING)
    assert memory_of(ask(stand)) == {WAITING: 3}
    assert replace(ask(stand), shapes=()) == Demand()
