"""What a pass costs beside bare queries, with 100,000 or a million jobs in 20 shapes on a real schedd."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ehoslite.act import Hands, rehearse
from ehoslite.ads import GROUP_BY, SLOT_ATTRIBUTES
from ehoslite.asking import Unanswered, ask
from ehoslite.clouds import open_clouds
from ehoslite.pool import Pool
from ehoslite.record import Record
from ehoslite.schedds import COUNTED_BY, IDLE, IDLE_OR_GROUP
from lab import read_file
from lab.jobs import wait_until
from lab.pool import LabPool, temporary_directory
from lab.release import find_or_build
from lab.stand import Stand
from reconcile import reconcile

# A schedd with a million jobs has work of its own now and then: a median of few runs may have it in it.
SHAPES, AT_ONCE, RUNS = 20, 5000, 5
LARGE_QUEUE = """
MAX_JOBS_PER_SUBMISSION = 1000000
MAX_JOBS_PER_OWNER = 1000000
MAX_JOBS_SUBMITTED = 1000000
SCHEDD_INTERVAL = 300
NEGOTIATOR_INTERVAL = 60
"""
NEW = "AutoClusterId =?= undefined && JobStatus == 1"
TINY = {"name": "tiny", "cpus": 1, "memory": "512 MB", "disk": "1 GB"}


def rows(jobs: int) -> Iterator[tuple[str, str]]:
    """Seconds, of the wall if not said, medians of a few runs; each kind of query in a child of its own."""
    release = find_or_build()
    with temporary_directory() as folder:
        pool = LabPool(folder / "pool", release, extra=LARGE_QUEUE)
        with Stand(folder, release, pool=pool, flavors=(TINY,), scaling={"nodes_max": 1, "nodes_min": 1}) as stand:
            fill(stand, jobs)
            yield from measure(stand, f"queue of {jobs:,} jobs, no startd, no autocluster:")
            stand.reconcile()
            stand.wait_for_nodes(1)
            wait_until(lambda: all_have_autoclusters(stand), 600, "an autocluster for every job")
            yield from measure(stand, f"queue of {jobs:,} jobs, one node, autoclusters:")


def fill(stand: Stand, jobs: int) -> None:
    """Jobs that no node of the lab holds."""
    for number in range(SHAPES):
        for _ in range(jobs // SHAPES // AT_ONCE):
            stand.pool.submit(count=AT_ONCE, memory=70_000 + number, cpus=1 + number % 4)


def all_have_autoclusters(stand: Stand) -> bool:
    """Whether the negotiator has asked for every job; while it makes autoclusters for a million, a schedd is silent."""
    pool = Pool(stand.settings.condor)
    (ad,) = pool.slots()[2].values()
    try:
        return not in_child(pool, count_new, ad)
    except Unanswered:
        return False


def count_new(ad: str) -> int:
    """How many jobs without an autocluster a query for one finds."""
    import classad2
    import htcondor2

    return len(htcondor2.Schedd(classad2.ClassAd(ad)).query(NEW, ["ClusterId"], limit=1))


def measure(stand: Stand, head: str) -> Iterator[tuple[str, str]]:
    """The bare queries and a pass over the same queue."""
    settings = stand.settings
    pool = Pool(settings.condor)
    (ad,) = pool.slots()[2].values()
    group_by = timed(lambda: in_child(pool, bare, ad, GROUP_BY))
    counted = timed(lambda: in_child(pool, bare, ad, COUNTED_BY, IDLE_OR_GROUP))
    slots = timed(lambda: in_child(pool, bare_slots))
    schedd = stand.pool.pid_of("schedd1")
    demand = timed(lambda: pool.demand({"schedd": ad}))
    itself, workers = kept_busy(schedd, lambda: pool.demand({"schedd": ad}))
    clouds = {cloud.name: cloud for cloud in open_clouds(settings, lambda: 600.0)}
    hands = Hands(settings, Pool(settings.condor), clouds, random.Random(1), lambda: 600.0)  # noqa: S311
    record = Record(settings.record, time.time(), keep=False)
    whole = timed(lambda: reconcile(hands, record, time.time(), rehearse))
    yield f"{head} bare GroupBy, and of slots", f"{group_by:.2f} s and {slots:.2f} s"
    yield f"{head} bare GroupBy of what we count by", f"{counted:.2f} s"
    yield f"{head} our demand", f"{demand:.2f} s"
    yield f"{head} CPU for it, of the schedd and of its query workers", f"{itself:.2f} s and {workers:.2f} s"
    yield f"{head} a whole dry pass", f"{whole:.2f} s; ratio to the bare {whole / (group_by + slots):.2f}"


def in_child(pool: Pool, question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer to a question, as a pass asks it."""
    return ask(pool._in_child(question, *arguments), 600)  # noqa: SLF001


def bare(ad: str, attributes: Sequence[str], jobs: str = IDLE) -> int:
    """Jobs grouped by these attributes, and no more."""
    import classad2
    import htcondor2

    schedd = htcondor2.Schedd(classad2.ClassAd(ad))
    return len(list(schedd.query(jobs, list(attributes), opts=htcondor2.QueryOpt.GroupBy)))


def bare_slots() -> int:
    """The slots, and no more."""
    import htcondor2

    return len(htcondor2.Collector().query(htcondor2.AdType.Startd, "True", SLOT_ATTRIBUTES))


def kept_busy(schedd: int, do: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of the schedd itself and of the workers that it forks for queries, medians of a few runs."""
    runs = []
    for _ in range(RUNS):
        began = cpu_seconds(schedd)
        do()
        wait_until(lambda: not children(schedd), 60, "the end of the schedd's query workers")
        runs.append([after - before for before, after in zip(began, cpu_seconds(schedd), strict=True)])
    itself, workers = (sorted(seconds)[len(runs) // 2] for seconds in zip(*runs, strict=True))
    return itself, workers


def cpu_seconds(pid: int) -> tuple[float, float]:
    """What a process and its children that have ended have taken of the CPU so far."""
    user, system, of_children, system_of_children = map(int, read_file(pid, "stat").rpartition(b")")[2].split()[11:15])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + system) / ticks, (of_children + system_of_children) / ticks


def children(pid: int) -> list[bytes]:
    """The children of a process, those among them whose end it has not yet noticed."""
    return read_file(pid, f"task/{pid}/children").split()


def timed(do: Callable[[], Any]) -> float:
    """The median of the seconds of a few runs."""
    times = []
    for _ in range(RUNS):
        began = time.monotonic()
        do()
        times.append(time.monotonic() - began)
    return sorted(times)[len(times) // 2]
