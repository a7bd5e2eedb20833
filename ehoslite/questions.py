"""What children ask HTCondor and tell it (asking.py): each function runs in a process that may be killed, imports the
bindings there, and gives back plain values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ehoslite.ads import GROUP_BY, HAD_ATTRIBUTES, SLOT_ATTRIBUTES, UNREADABLE

# Selects a collector's own ad among those of other collectors: what came over the network carries a number (measured,
# HTCondor 23.9.6; collectors that share COLLECTOR_HOST report to each other).
ITSELF = "UpdateSequenceNumber =?= undefined"

# Idle (1), and of a universe that a startd runs: vanilla with docker and container (5), java (10), parallel (11),
# vm (13); not scheduler (7), grid (9) and local (12). JobStatus and JobUniverse must be in the projection as well.
IDLE = "JobStatus == 1 && (JobUniverse == 5 || JobUniverse == 10 || JobUniverse == 11 || JobUniverse == 13)"

OWNED = ("JobStatus", "JobUniverse", "Owner")

HOSTS = ("RemoteHost", "RemoteHosts")

# Seconds between looks for the lease that was sent.
LEASE_PAUSES = (0.0, 0.1, 0.4, 1.5)

# No slot has a longer name; one that has is left out where some ad cannot be read.
LONGEST_NAME = 1000


@dataclass(frozen=True)
class Several:
    """COLLECTOR_HOST names several collectors: each is to be asked on its own."""

    addresses: tuple[str, ...]


def ask_collector(address: str, question: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """The answer of the collector at this address; without one, of the configured collector, or Several.

    The bindings would pick one of several at random, and one that has just started knows little (measured, htcondor
    25.14.1).
    """
    import htcondor2

    if address:
        return question(htcondor2.Collector(address), *arguments)
    addresses = tuple(htcondor2.param["COLLECTOR_HOST"].replace(",", " ").split())
    return Several(addresses) if len(addresses) > 1 else question(htcondor2.Collector(), *arguments)


def query_pool(collector: Any) -> dict[str, Any]:
    """The slots, the schedds (name -> ad) and since when the collector has been there."""
    import htcondor2

    slots = query_slots(collector, "True")
    own = collector.query(htcondor2.AdType.Collector, ITSELF, ["MonitorSelfTime", "MonitorSelfAge"])
    return {"slots": slots, "schedds": query_schedds(collector), "since": _started(own)}


def _started(own: Iterable[Any]) -> float:
    """When the collector started, by its own ad; a collector too young to have one started just now."""
    known = [plain(ad, ("MonitorSelfTime", "MonitorSelfAge")) for ad in own]
    starts = [ad["MonitorSelfTime"] - ad["MonitorSelfAge"] for ad in known if len(ad) == 2]
    return float(max(starts, default=float("inf")))


def query_nodes(collector: Any, nodes: Sequence[str]) -> list[dict[str, Any]]:
    """The slots of these nodes."""
    return query_slots(collector, _among(nodes))


def query_schedds(collector: Any) -> dict[str, str]:
    """The schedds that the collector knows (name -> ad)."""
    import htcondor2

    return {str(ad["Name"]): str(ad) for ad in collector.locateAll(htcondor2.DaemonType.Schedd)}


def query_slots(collector: Any, constraint: str) -> list[dict[str, Any]]:
    """The slots that meet this constraint. The bindings give up the whole answer for one ad that they cannot read (10
    MB of text, 300 lists in each other; measured, htcondor 25.14.1): then such ads are found, and only named.
    """
    import htcondor2

    try:
        return [
            plain(ad, SLOT_ATTRIBUTES) for ad in collector.query(htcondor2.AdType.Startd, constraint, SLOT_ATTRIBUTES)
        ]
    except htcondor2.HTCondorException:
        named = collector.query(htcondor2.AdType.Startd, f"({constraint}) && size(Name) <= {LONGEST_NAME}", ["Name"])
        return _query_in_halves(collector, sorted({str(ad["Name"]) for ad in named}))


def _query_in_halves(collector: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """The slots of these names; one that cannot be read is only named."""
    import classad2
    import htcondor2

    wanted = f"member(Name, {{{', '.join(classad2.quote(name) for name in names)}}})"
    try:
        return [plain(ad, SLOT_ATTRIBUTES) for ad in collector.query(htcondor2.AdType.Startd, wanted, SLOT_ATTRIBUTES)]
    except htcondor2.HTCondorException:
        if len(names) > 1:
            middle = len(names) // 2
            return [*_query_in_halves(collector, names[:middle]), *_query_in_halves(collector, names[middle:])]
        collector.query(htcondor2.AdType.Startd, wanted, ["Name"])  # raises, if it is the collector that fails
        return [{"Name": names[0], UNREADABLE: True}]


def _among(nodes: Iterable[str]) -> str:
    """The constraint that selects the ads of these nodes; ids are quoted, so none can be more than a text."""
    import classad2

    return " || ".join(f"EhosNode =?= {classad2.quote(node)}" for node in nodes)


def query_schedd(ad: str) -> list[dict[str, Any]]:
    """The idle jobs of the schedd with this ad, a group a shape. The bindings give up the whole answer for one job that
    they cannot read: then each owner's are asked for alone, and only those of such a job's owner are not known.
    """
    import classad2
    import htcondor2

    schedd = htcondor2.Schedd(classad2.ClassAd(ad))
    try:
        return [_read_group(group) for group in _groups(schedd, IDLE, GROUP_BY)]
    except htcondor2.HTCondorException:
        owners = {str(group["Owner"]): int(group["JobCount"]) for group in _groups(schedd, IDLE, OWNED)}
        return [group for owner in sorted(owners) for group in _query_owner(schedd, owner, owners[owner])]


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


def _query_owner(schedd: Any, owner: str, jobs: int) -> list[dict[str, Any]]:
    import classad2
    import htcondor2

    theirs = f"({IDLE}) && Owner =?= {classad2.quote(owner)}"
    try:
        return [_read_group(group) for group in _groups(schedd, theirs, [*GROUP_BY, "Owner"])]
    except htcondor2.HTCondorException:
        _groups(schedd, theirs, OWNED)  # raises, if it is the schedd that fails
        return [{"JobCount": jobs, UNREADABLE: owner}]


def _groups(schedd: Any, constraint: str, attributes: Sequence[str]) -> Any:
    """Jobs by what they have in common. The constraint sees these attributes only."""
    import htcondor2

    return schedd.query(constraint, list(attributes), opts=htcondor2.QueryOpt.GroupBy)


def _read_group(group: Any) -> dict[str, Any]:
    return {
        **plain(group, (*GROUP_BY, "JobCount")),
        "Requirements": str(group.lookup("Requirements")),
        "Text": _texts(group),
    }


def _texts(group: Any) -> dict[str, str]:
    """The requests as they were written, for the report on those that come to no number."""
    return {name: str(group.lookup(name)) for name in GROUP_BY if name.startswith("Request") and name in group}


def invalidate(collector: Any, nodes: Sequence[str]) -> None:
    """Remove every ad of these nodes."""
    import classad2
    import htcondor2

    wanted = _among(nodes)
    for ad in collector.query(htcondor2.AdType.Any, wanted, ["Name", "MyAddress", "MyType"]):
        kind = str(ad["MyType"])
        query = classad2.ClassAd({"MyType": "Query", "TargetType": kind, "Name": ad["Name"]})
        if "MyAddress" in ad:
            query["MyAddress"] = ad["MyAddress"]
        query["Requirements"] = classad2.ExprTree(f"TARGET.Name == {classad2.quote(str(ad['Name']))}")
        command = "INVALIDATE_MASTER_ADS" if kind == "DaemonMaster" else "INVALIDATE_STARTD_ADS"
        collector.advertise([query], command)


def renew_lease(collector: Any, pool: str, pass_lasts: float, lifetime: float) -> None:
    """Advertise that a pass of this pool has begun on this machine and is over after `pass_lasts` seconds.

    The ad is another for each machine, so that each can tell the other's passes from its own.
    """
    import classad2
    import htcondor2

    machine = this_machine()
    ad = {
        "MyType": "Generic",
        "Name": f"ehoslite-lease-{pool}@{machine}",
        "Machine": machine,
        "EhosLease": pool,
        "EhosPassLasts": int(pass_lasts),
        "ClassAdLifetime": int(max(lifetime, pass_lasts)),
    }
    collector.advertise([classad2.ClassAd(ad)], "UPDATE_AD_GENERIC")
    # The collector drops what it does not allow without a word (measured, HTCondor 23.9.6); a busy one may answer the
    # question before it takes the ad, which came by another connection.
    mine = f"Name =?= {classad2.quote(str(ad['Name']))} && time() - LastHeardFrom <= {int(pass_lasts)}"
    for pause in LEASE_PAUSES:
        time.sleep(pause)
        if collector.query(htcondor2.AdType.Generic, mine, ["Name"]):
            return
    raise PermissionError("the collector did not take it; does this identity have DAEMON there?")


def query_managers(collector: Any, pool: str) -> dict[str, Any]:
    """This machine, the collector's machine, the high-availability daemons that it knows, and the machines other than
    this one on which a pass of this pool may still be at work, by the collector's own clock."""
    import classad2
    import htcondor2

    machine = this_machine()
    own = collector.query(htcondor2.AdType.Collector, ITSELF, ["Machine"])
    others = (
        f"EhosLease =?= {classad2.quote(pool)} && Machine =!= {classad2.quote(machine)}"
        " && time() - LastHeardFrom <= EhosPassLasts"
    )
    return {
        "here": machine,
        "now": time.time(),
        "collector": [str(ad["Machine"]) for ad in own if "Machine" in ad],
        "had": [plain(ad, HAD_ATTRIBUTES) for ad in collector.query(htcondor2.AdType.HAD, projection=HAD_ATTRIBUTES)],
        "at_work": [str(ad["Machine"]) for ad in collector.query(htcondor2.AdType.Generic, others, ["Machine"])],
    }


def this_machine() -> str:
    """The name by which HTCondor knows this machine."""
    return read_parameter("FULL_HOSTNAME")


def read_parameter(name: str) -> str:
    """A value of HTCondor's configuration."""
    import htcondor2

    return str(htcondor2.param[name])


def plain(ad: Any, names: Iterable[str]) -> dict[str, Any]:
    """The attributes that come to numbers, texts or booleans; an expression is evaluated within its ad.

    Not by isinstance: classad2's Undefined and Error are ints to Python (2 and 1).
    """
    values = {name: ad.eval(name) for name in names if name in ad}
    return {name: value for name, value in values.items() if type(value) in (bool, int, float, str)}
