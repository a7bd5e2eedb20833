"""What children ask the schedds (asking.py): the idle jobs, grouped by what matters to the negotiator.

A schedd knows most groups already: its autoclusters. Counting jobs by autocluster and asking once what the autoclusters
are costs it a fifth of grouping jobs by all that they request (docs/design.md has the figures; HTCondor 23.9.6). It
makes them for the negotiator, so jobs that no negotiator has asked for have none, and no job has one in a pool without
startds: those, and no others, are grouped by their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ehoslite.ads import GROUP_BY, UNMATERIALIZED, UNREADABLE, inside_references, number
from ehoslite.questions import plain
from ehoslite.serving import NEGOTIATED, RUNNING
from ehoslite.wouldbe import write_attributes

# Of a universe that a startd runs: vanilla with docker and container (5), java (10), parallel (11), vm (13); not
# scheduler (7), grid (9) and local (12).
UNIVERSES = (5, 10, 11, 13)
FOR_STARTDS = f"({' || '.join(f'JobUniverse == {number}' for number in UNIVERSES)})"
IDLE = f"JobStatus == 1 && {FOR_STARTDS}"

# The idle jobs of any universe, for a schedd that groups by other things than JobStatus: it puts the constraint to the
# groups as well, and those have a JobCount.
IDLE_OR_GROUP = "JobStatus == 1 || JobStatus is undefined && JobCount isnt undefined"

# Running, or about to, or just run (TRANSFERRING_OUTPUT).
ACTIVE = f"member(JobStatus, {{2, 6, 7}}) && {FOR_STARTDS}"

# What the autocluster of a job need not tell of it: significant is what some startd or the job's Requirements name.
# Each attribute here or in a constraint takes half a second where there are a million jobs.
COUNTED_BY = ("JobUniverse", "AutoClusterId")

# The late-materialised clusters, each an ad of its own.
FACTORIES = f"JobMaterializeMaxIdle =!= undefined && ProcId =?= undefined && {FOR_STARTDS}"

# The universe of jobs that run on several hosts at a time (MinHosts).
PARALLEL = 11

# Whose the jobs are. The negotiator accounts by AccountingGroup, which has the user behind the group and which jobs may
# set themselves; AcctGroup, the group alone, comes with the submit command accounting_group.
OWNERS = ("Owner", "AcctGroup", "AccountingGroup")

# The max_idle of a late-materialised cluster, and what else its ad tells of it.
MAX_IDLE = "JobMaterializeMaxIdle"
FACTORY = (
    *(MAX_IDLE, "JobMaterializeLimit", "JobMaterializeNextProcId", "JobMaterializePaused"),
    *("TotalSubmitProcs", "JobsPresent", "JobsRunning"),
)

# An autocluster that tells these tells all that GROUP_BY would; in a pool of static slots alone it may not.
TOLD = ("RequestCpus", "RequestMemory", "RequestDisk", "Requirements")

REQUESTS = ("RequestCpus", "RequestMemory", "RequestDisk", "RequestGPUs")

# What stands in a group beside the jobs' own attributes.
OF_GROUP = {"id", "jobids", "jobcount", "autoclusterid", "jobstatus", "minhosts", "rank"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the jobs has to be known beside their shapes: the attributes `asked` by slots and nodes to come; their
    `owners`; whether the negotiator has asked for them; how far `ahead` factories are looked at (DemandSettings); and
    whether the pool has slots, without which there are no autoclusters."""

    asked: tuple[str, ...] = ()
    owners: bool = False
    negotiated: bool = False
    ahead: int = 0
    slots: bool = True

    @property
    def more(self) -> list[str]:
        """The further attributes by which jobs are grouped."""
        return [*self.asked, *(OWNERS if self.owners else ()), *([MAX_IDLE] if self.ahead else [])]


def query_schedd(ad: str, wish: Wish = Wish()) -> list[dict[str, Any]]:
    """The idle jobs of the schedd with this ad, a group a shape; of an owner of whose jobs one cannot be read only how
    many they are. For late-materialised clusters it is not asked if its ad, some minutes old, says that there are none:
    counting by what tells them would take it half as long again."""
    import classad2
    import htcondor2

    known = classad2.ClassAd(ad)
    schedd = htcondor2.Schedd(known)
    if not plain(known, (UNMATERIALIZED,)).get(UNMATERIALIZED, 1):
        wish = replace(wish, ahead=0)
    groups, unreadable = by_owners(schedd, IDLE, lambda jobs: idle_groups(schedd, wish, jobs))
    read = [read_group(group, wish) for group in groups]
    if wish.ahead and any(MAX_IDLE in group for group in groups):
        # The negotiator has asked for jobs of a cluster that runs some; those to come have no autocluster yet.
        read += [
            read_group(cluster, replace(wish, negotiated=False)) for cluster in factories_ahead(schedd, wish.ahead)
        ]
    read += [{"JobCount": jobs, UNREADABLE: owner} for owner, jobs in unreadable.items()]
    return read + (_running(schedd) if wish.owners else [])


def by_owners(schedd: Any, jobs: str, question: Callable[[str], list[Any]]) -> tuple[list[Any], dict[str, int]]:
    """The answer to a question on these jobs, and the owners of whose jobs one cannot be read, with how many they have.
    The bindings give up the whole answer for one such job (measured, htcondor 25.14.1)."""
    import classad2
    import htcondor2

    try:
        return question(jobs), {}
    except htcondor2.HTCondorException:
        counts = {str(group["Owner"]): int(group["JobCount"]) for group in _groups(schedd, jobs, ["Owner"])}

    def ask(owners: Sequence[str]) -> list[Any]:
        return question(f"{jobs} && identicalMember(Owner, {{{', '.join(map(classad2.quote, owners))}}})")

    found, unreadable = _ask_in_halves(sorted(counts), ask)
    _groups(schedd, jobs, ["Owner"])  # raises, if it is the schedd that fails
    return found, {owner: counts[owner] for owner in unreadable}


def _ask_in_halves(names: Sequence[Any], ask: Callable[[Sequence[Any]], list[Any]]) -> tuple[list[Any], list[Any]]:
    """The answers for these names, which cannot be read as a whole, and the names for which there is none."""
    import htcondor2

    found: list[Any] = []
    unreadable: list[Any] = []
    middle = len(names) // 2
    for half in filter(None, (names[:middle], names[middle:])):
        try:
            found += ask(half)
        except htcondor2.HTCondorException:
            more, those = _ask_in_halves(half, ask) if len(half) > 1 else ([], half)
            found += more
            unreadable += those
    return found, unreadable


def idle_groups(schedd: Any, wish: Wish, jobs: str = IDLE) -> list[Any]:
    """The groups of these jobs as ads with JobCount: by autocluster where they have one, else by GROUP_BY."""
    by_attributes = [*GROUP_BY, *wish.more, *(["AutoClusterId"] if wish.negotiated else [])]
    if not wish.slots:
        return _groups(schedd, jobs, by_attributes)
    counted = _count(schedd, jobs, wish.more)
    if any(group.eval("JobUniverse") == PARALLEL for group in counted):
        counted = _count(schedd, jobs, [*wish.more, "MinHosts"])
    known = {_autocluster(group) for group in counted} - {0}
    joined = join_autoclusters(counted, _autoclusters(schedd, known if jobs != IDLE else ())) if known else None
    if joined is not None:
        unknown = sum(int(group["JobCount"]) for group in counted if not _autocluster(group))
        new = _groups(schedd, f"AutoClusterId =?= undefined && {jobs}", by_attributes) if unknown else []
        # Those that have got an autocluster in between are in neither answer.
        if sum(int(group["JobCount"]) for group in new) >= unknown:
            return joined + new
    return _groups(schedd, jobs, by_attributes) if counted else []


def _count(schedd: Any, jobs: str, more: Iterable[str]) -> list[Any]:
    """The groups of these jobs by autocluster, universe and `more`, in as little time as a schedd can do it."""
    import htcondor2

    attributes = [*COUNTED_BY, *more]
    if jobs == IDLE:
        with suppress(htcondor2.HTCondorException):  # it may be a job of another universe that cannot be read
            groups = _query_groups(schedd, IDLE_OR_GROUP, attributes)
            return [group for group in groups if plain(group, COUNTED_BY).get("JobUniverse") in UNIVERSES]
    return _groups(schedd, jobs, attributes)


def factories_ahead(schedd: Any, ahead: int) -> list[Any]:
    """The jobs of late-materialised clusters that count beyond those in the queue, a group a cluster; none of a cluster
    that cannot be read."""
    import htcondor2

    def ask(numbers: Iterable[int] = (), names: Sequence[str] = ()) -> list[Any]:
        which = f" && member(ClusterId, {{{', '.join(map(str, numbers))}}})" if numbers else ""
        return list(schedd.query(FACTORIES + which, list(names), opts=htcondor2.QueryOpt.IncludeClusterAd))

    try:
        clusters = ask()
    except htcondor2.HTCondorException:
        clusters, _ = _ask_in_halves([int(one["ClusterId"]) for one in ask(names=["ClusterId"])], ask)
        ask(names=["ClusterId"])  # raises, if it is the schedd that fails
    for cluster in clusters:
        cluster["JobCount"] = jobs_ahead(plain(cluster, FACTORY), ahead)
    return [cluster for cluster in clusters if cluster["JobCount"]]


def jobs_ahead(cluster: Mapping[str, Any], ahead: int) -> int:
    """How many jobs of such a cluster count beyond those in the queue: at most `ahead` times its max_idle, as many as
    it runs, as it has left, and as max_materialize lets it have in the queue at a time."""
    every = number(cluster, "TotalSubmitProcs")
    limit = number(cluster, "JobMaterializeLimit", every)
    if cluster.get("JobMaterializePaused") not in (None, 0):  # below 0 for good: the schedd could not read its items
        return 0
    left = every - number(cluster, "JobMaterializeNextProcId")
    room = limit - number(cluster, "JobsPresent")
    return int(max(0, min(ahead * number(cluster, MAX_IDLE), number(cluster, "JobsRunning"), left, room)))


def _running(schedd: Any) -> list[dict[str, Any]]:
    """How many jobs of each owner and accounting group run."""
    groups, unreadable = by_owners(schedd, ACTIVE, lambda jobs: _groups(schedd, jobs, OWNERS))
    read = [{**plain(group, OWNERS), RUNNING: int(group["JobCount"])} for group in groups]
    return read + [{"Owner": owner, RUNNING: jobs} for owner, jobs in unreadable.items()]


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
            if name.lower() not in OF_GROUP and name not in group:  # MinHosts comes from the count, if it matters
                group[name] = cluster.lookup(name)
        joined.append(group)
    return joined


def _autoclusters(schedd: Any, numbers: Iterable[int] = ()) -> dict[int, Any]:
    """What the autoclusters are; of these alone, if any are named, which takes a schedd with thousands of them long."""
    import htcondor2

    which = f"member(AutoClusterId, {{{', '.join(map(str, sorted(numbers)))}}})" if numbers else "True"
    found = schedd.query(which, [], opts=htcondor2.QueryOpt.AutoCluster)
    return {_autocluster(ad): ad for ad in found if _autocluster(ad)}


def _autocluster(group: Any) -> int:
    """The number of its autocluster; 0 if it has none."""
    number = group.eval("AutoClusterId") if "AutoClusterId" in group else 0
    return number if type(number) is int and number > 0 else 0


def _groups(schedd: Any, constraint: str, attributes: Iterable[str]) -> list[Any]:
    """Jobs by what they have in common, by what the constraint names as well: it is put to the groups, too, and sees
    nothing but that by which they were made."""
    import classad2

    named = sorted(classad2.ClassAd().externalRefs(classad2.ExprTree(constraint)))
    return _query_groups(schedd, constraint, [*attributes, *named])


def _query_groups(schedd: Any, constraint: str, attributes: Iterable[str]) -> list[Any]:
    import htcondor2

    once = {name.lower(): name for name in attributes}  # each costs, in a second spelling as well
    return list(schedd.query(constraint, list(once.values()), opts=htcondor2.QueryOpt.GroupBy))


def read_group(group: Any, wish: Wish) -> dict[str, Any]:
    """What a pass needs of a group: requests as numbers and as they were written, Requirements, and the shape's ad."""
    return {
        **plain(group, (*GROUP_BY, "RequestGPUs", "JobCount", *(OWNERS if wish.owners else ()))),
        "Requirements": str(group.lookup("Requirements")) if "Requirements" in group else "undefined",
        "Text": _texts(group),
        "Ad": shape_ad(group, wish.asked),
        **({NEGOTIATED: bool(_autocluster(group))} if wish.negotiated else {}),
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
    return {name: str(group.lookup(name)) for name in REQUESTS if name in group}
