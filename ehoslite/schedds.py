"""What children ask the schedds (asking.py): the idle jobs, grouped by what matters to the negotiator.

A schedd knows most groups already: its autoclusters. Counting jobs by autocluster and asking once what the autoclusters
are costs it a fifth of grouping jobs by all that they request (2 s instead of 11 s with a million jobs; measured,
HTCondor 23.9.6). It makes them for the negotiator, so jobs that no negotiator has asked for have none, and no job has
one in a pool without startds: those are grouped by their attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ehoslite.ads import GROUP_BY, UNREADABLE, inside_references
from ehoslite.questions import plain
from ehoslite.wouldbe import write_attributes

# Idle (1), and of a universe that a startd runs: vanilla with docker and container (5), java (10), parallel (11),
# vm (13); not scheduler (7), grid (9) and local (12). JobStatus and JobUniverse must be in the projection as well.
IDLE = "JobStatus == 1 && (JobUniverse == 5 || JobUniverse == 10 || JobUniverse == 11 || JobUniverse == 13)"

OWNED = ("JobStatus", "JobUniverse", "Owner")

# What the autocluster of a job need not tell of it: significant is what some startd or the job's Requirements name.
COUNTED_BY = ("JobStatus", "JobUniverse", "AutoClusterId", "RequestGPUs", "MinHosts")

# An autocluster that tells these tells all that GROUP_BY would; in a pool of static slots alone it may not.
TOLD = ("RequestCpus", "RequestMemory", "RequestDisk", "Requirements")

# So many jobs without an autocluster are read one by one; more are grouped by the schedd with all others.
FEW = 1000

REQUESTS = ("RequestCpus", "RequestMemory", "RequestDisk", "RequestGPUs")

# What stands in a group beside the jobs' own attributes.
OF_GROUP = {"id", "jobids", "jobcount", "autoclusterid", "jobstatus", "minhosts", "rank"}


def query_schedd(ad: str, asked: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The idle jobs of the schedd with this ad, a group a shape; `asked` are the attributes of jobs to which the slots'
    START refers. The bindings give up the whole answer for one job that they cannot read: then each owner's are asked
    for alone, and only those of such a job's owner are not known.
    """
    import classad2
    import htcondor2

    schedd = htcondor2.Schedd(classad2.ClassAd(ad))
    try:
        return [_read_group(group, asked) for group in idle_groups(schedd, asked)]
    except htcondor2.HTCondorException:
        owners = {str(group["Owner"]): int(group["JobCount"]) for group in _groups(schedd, IDLE, OWNED)}
        return [group for owner in sorted(owners) for group in _query_owner(schedd, owner, owners[owner], asked)]


def idle_groups(schedd: Any, asked: Sequence[str]) -> list[Any]:
    """The groups as ads with JobCount: by autocluster where that tells all, else by what GROUP_BY names."""
    counted = list(_groups(schedd, IDLE, [*COUNTED_BY, *asked]))
    unknown = sum(int(group["JobCount"]) for group in counted if not _autocluster(group))
    if unknown == sum(int(group["JobCount"]) for group in counted):
        return list(_groups(schedd, IDLE, [*GROUP_BY, *asked])) if counted else []
    joined = join_autoclusters(counted, _autoclusters(schedd))
    if joined is None or unknown > FEW:
        return list(_groups(schedd, IDLE, [*GROUP_BY, *asked]))
    return joined + (_read_one_by_one(schedd) if unknown else [])


def join_autoclusters(counted: Iterable[Any], clusters: Mapping[int, Any]) -> list[Any] | None:
    """The counted groups with what their autoclusters tell; those without one are left out. None where an autocluster
    has gone in between, or does not tell all."""
    joined = []
    for group in counted:
        if not _autocluster(group):
            continue
        cluster = clusters.get(_autocluster(group))
        if cluster is None or not all(name in cluster for name in TOLD):
            return None
        for name in cluster:
            if name.lower() not in OF_GROUP and name not in group:
                group[name] = cluster.lookup(name)
        joined.append(group)
    return joined


def _autoclusters(schedd: Any) -> dict[int, Any]:
    import htcondor2

    found = schedd.query("True", [], opts=htcondor2.QueryOpt.AutoCluster)
    return {_autocluster(ad): ad for ad in found if _autocluster(ad)}


def _autocluster(group: Any) -> int:
    """The number of its autocluster; 0 if it has none."""
    number = group.eval("AutoClusterId") if "AutoClusterId" in group else 0
    return number if type(number) is int and number > 0 else 0


def _read_one_by_one(schedd: Any) -> list[Any]:
    """The idle jobs without an autocluster, each a group of its own; a moment later they may be some more or less."""
    jobs = list(schedd.query(f"({IDLE}) && AutoClusterId =?= undefined", [], limit=2 * FEW))
    for job in jobs:
        job["JobCount"] = 1
    return jobs


def _query_owner(schedd: Any, owner: str, jobs: int, asked: Sequence[str]) -> list[dict[str, Any]]:
    import classad2
    import htcondor2

    theirs = f"({IDLE}) && Owner =?= {classad2.quote(owner)}"
    try:
        return [_read_group(group, asked) for group in _groups(schedd, theirs, [*GROUP_BY, *asked, "Owner"])]
    except htcondor2.HTCondorException:
        _groups(schedd, theirs, OWNED)  # raises, if it is the schedd that fails
        return [{"JobCount": jobs, UNREADABLE: owner}]


def _groups(schedd: Any, constraint: str, attributes: Sequence[str]) -> Any:
    """Jobs by what they have in common. The constraint sees these attributes only."""
    import htcondor2

    return schedd.query(constraint, list(attributes), opts=htcondor2.QueryOpt.GroupBy)


def _read_group(group: Any, asked: Sequence[str]) -> dict[str, Any]:
    return {
        **plain(group, (*GROUP_BY, "JobCount")),
        "Requirements": str(group.lookup("Requirements")) if "Requirements" in group else "undefined",
        "Text": _texts(group),
        "Ad": shape_ad(group, asked),
    }


def shape_ad(group: Any, asked: Sequence[str]) -> str:
    """What matching needs of these jobs: Requirements, what they and the slots' START refer to, and the requests as
    numbers. Jobs whose memory request has followed their use stay one shape this way."""
    import classad2

    kept = {name: str(value) for name in REQUESTS if (value := plain(group, (name,)).get(name)) is not None}
    ad = classad2.ClassAd({name: group.eval(name) for name in kept})
    for name in group:
        if name not in ad and name.lower() not in OF_GROUP:
            ad[name] = group.lookup(name)
    kept["Requirements"] = str(group.lookup("Requirements")) if "Requirements" in group else "undefined"
    kept["JobUniverse"] = str(group.lookup("JobUniverse")) if "JobUniverse" in group else "5"
    inside = inside_references(ad, ad.lookup("Requirements")) if "Requirements" in ad else set()
    names = {name.lower(): name for name in ad}
    for name in {*inside, *asked}:
        own = names.get(name.lower())
        if own is not None and own not in kept:
            kept[own] = str(ad.lookup(own))
    return write_attributes(kept)


def _texts(group: Any) -> dict[str, str]:
    """The requests as they were written, for the report on those that come to no number."""
    return {name: str(group.lookup(name)) for name in GROUP_BY if name.startswith("Request") and name in group}
