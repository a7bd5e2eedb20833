"""What children ask HTCondor and tell it (asking.py): each function runs in a process that may be killed, imports the
bindings there, and gives back plain values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ehoslite.ads import HAD_ATTRIBUTES, SCHEDD_ATTRIBUTES, SLOT_ATTRIBUTES, UNREADABLE, outside_references

# Selects a collector's own ad among those of other collectors: what came over the network carries a number (measured,
# HTCondor 23.9.6; collectors that share COLLECTOR_HOST report to each other).
ITSELF = "UpdateSequenceNumber =?= undefined"

# Under this name query_slots gives a slot's START as it is written.
START = "Start as written"

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
    starts = {slot.pop(START, "") for slot in slots}
    own = collector.query(htcondor2.AdType.Collector, ITSELF, ["MonitorSelfTime", "MonitorSelfAge"])
    return {
        "slots": slots,
        "schedds": query_schedds(collector),
        "since": _started(own),
        "asks": what_starts_ask(starts),
    }


def what_starts_ask(starts: Iterable[str]) -> tuple[set[str], set[str]]:
    """The attributes that these START expressions refer to: of their own slot, and of the job. A name without a scope
    may be of either."""
    import classad2

    nothing, asked = classad2.ClassAd(), set()
    for start in starts:
        asked |= outside_references(nothing, classad2.ExprTree(start or "true"), start)
    return {name for scope, name in asked if scope != "target"}, {name for scope, name in asked if scope != "my"}


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

    ads = collector.query(htcondor2.AdType.Schedd, projection=SCHEDD_ATTRIBUTES)
    return {str(ad["Name"]): str(ad) for ad in ads}


def query_slots(collector: Any, constraint: str) -> list[dict[str, Any]]:
    """The slots that meet this constraint; those that cannot be read are only named."""
    ads, unreadable = query_ads(collector, constraint, SLOT_ATTRIBUTES)
    return [*map(_read_slot, ads), *({"Name": name, UNREADABLE: True} for name in unreadable)]


def query_ads(collector: Any, constraint: str, attributes: Sequence[str]) -> tuple[list[Any], list[str]]:
    """These attributes (all without any) of the slots that meet this constraint, and the names of those slots that
    cannot be read. The bindings give up the whole answer for one ad that they cannot read (10 MB of text, 300 lists in
    each other; measured, htcondor 25.14.1): then such ads are looked for."""
    import htcondor2

    try:
        return list(collector.query(htcondor2.AdType.Startd, constraint, attributes)), []
    except htcondor2.HTCondorException:
        named = collector.query(htcondor2.AdType.Startd, f"({constraint}) && size(Name) <= {LONGEST_NAME}", ["Name"])
        return _query_in_halves(collector, sorted({str(ad["Name"]) for ad in named}), attributes)


def _read_slot(ad: Any) -> dict[str, Any]:
    """Its values, and its START as it is written, where that is more than a value."""
    start = str(ad.lookup("Start")) if "Start" in ad else "true"
    return plain(ad, SLOT_ATTRIBUTES) | ({} if start in {"true", "false"} else {START: start})


def _query_in_halves(collector: Any, names: Sequence[str], attributes: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The slots of these names, and the names of those that cannot be read."""
    import classad2
    import htcondor2

    wanted = f"member(Name, {{{', '.join(classad2.quote(name) for name in names)}}})"
    try:
        return list(collector.query(htcondor2.AdType.Startd, wanted, attributes)), []
    except htcondor2.HTCondorException:
        if len(names) > 1:
            middle = len(names) // 2
            halves = [_query_in_halves(collector, half, attributes) for half in (names[:middle], names[middle:])]
            return [ad for ads, _ in halves for ad in ads], [name for _, bad in halves for name in bad]
        collector.query(htcondor2.AdType.Startd, wanted, ["Name"])  # raises, if it is the collector that fails
        return [], list(names)


def _among(nodes: Iterable[str]) -> str:
    """The constraint that selects the ads of these nodes; ids are quoted, so none can be more than a text."""
    import classad2

    return " || ".join(f"EhosNode =?= {classad2.quote(node)}" for node in nodes)


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
