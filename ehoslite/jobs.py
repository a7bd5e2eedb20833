"""What children ask the schedds (asking.py) about particular jobs: one of which a person wants to know why it waits,
and those that hold a claim on a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ehoslite.ads import inside_references
from ehoslite.questions import plain
from ehoslite.schedds import Wish, read_group

# What a person wants to hear of one job.
TELLING = (
    *("ClusterId", "ProcId", "JobStatus", "JobUniverse", "QDate", "EnteredCurrentStatus", "HoldReason", "RemoteHost"),
    *("LastRejMatchReason", "LastRejMatchTime", "AutoClusterId"),
)

# Where a job holds a claim; of a parallel one the second has them all.
HOSTS = ("RemoteHost", "RemoteHosts")


def find_job(ad: str, cluster: int, proc: int | None, wish: Wish) -> dict[str, Any] | None:
    """What the schedd with this ad knows of a job, as of a group of one, with what states it is in; of a whole cluster
    its first job, an idle one if there is any. None if there is no such job. As in a group it asks for GPUs only where
    somebody minds."""
    import classad2
    import htcondor2

    schedd = htcondor2.Schedd(classad2.ClassAd(ad))
    which = _choose(schedd, cluster) if proc is None else proc
    jobs = [] if which is None else list(schedd.query(f"ClusterId == {cluster} && ProcId == {which}", []))
    if not jobs:
        return None
    jobs[0]["JobCount"] = 1
    if not _minds(jobs[0], "RequestGPUs", wish.asked):
        jobs[0].pop("RequestGPUs", None)
    return {**plain(jobs[0], TELLING), **read_group(jobs[0], wish)}


def _choose(schedd: Any, cluster: int) -> int | None:
    """The process of a cluster that is told of; None if it has none. Its jobs may be a million, so that little is asked
    of each."""
    jobs = schedd.query(f"ClusterId == {cluster}", ["ProcId", "JobStatus"])
    ranked = ((job.eval("JobStatus") != 1, int(job.eval("ProcId"))) for job in jobs)
    return min(ranked, default=(False, None))[1]


def _minds(job: Any, name: str, asked: Iterable[str]) -> bool:
    """Whether an attribute of a job decides where it runs: if a startd, a node to come or its Requirements name it."""
    significant = str(job.get("AutoClusterAttrs", "")).replace(",", " ").split()
    own = inside_references(job, job.lookup("Requirements")) if "Requirements" in job else set()
    return name.lower() in {*own, *(each.lower() for each in (*asked, *significant))}


def query_jobs_on(ad: str, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """The jobs of the schedd with this ad that hold a claim on these nodes: (the slot's name, the job's id). A slot's
    name ends with its node's; of a parallel job RemoteHosts has them all."""
    import classad2
    import htcondor2

    names = classad2.quote("|".join(nodes))
    here = f"regexp({names}, RemoteHost) || regexp({names}, RemoteHosts)"
    jobs = htcondor2.Schedd(classad2.ClassAd(ad)).query(here, [*HOSTS, "ClusterId", "ProcId"])
    return [
        (str(job.eval(name)), f"{job['ClusterId']}.{job['ProcId']}") for job in jobs for name in HOSTS if name in job
    ]
