"""Reads ads into slots and demand. An ad may hold anything: a value of the wrong type counts as not given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ehoslite.asking import Unanswered
from ehoslite.model import Demand, Shape, Slot, Unreadable
from ehoslite.resources import Resources

SLOT_ATTRIBUTES = [
    "Name",
    "Machine",
    "State",
    "Activity",
    "SlotType",
    "PartitionableSlot",
    "DynamicSlot",
    "Cpus",
    "Memory",
    "Disk",
    "GPUs",
    "TotalSlotCpus",
    "TotalSlotMemory",
    "TotalSlotDisk",
    "TotalSlotGPUs",
    "EhosNode",
    "EhosPool",
    "EhosCloud",
    "AuthenticatedIdentity",
    "Draining",
    "DrainReason",
    "DrainingRequestId",
    "Start",
    "Offline",
    "NumDynamicSlotsTime",
    "EnteredCurrentState",
    "EnteredCurrentActivity",
    "MyCurrentTime",
    "LastHeardFrom",
]

# In what questions.py gives of an ad that cannot be read: stands in the place of everything but the name of a slot, or
# names the owner of such jobs.
UNREADABLE = "Unreadable"

HAD_ATTRIBUTES = ["Machine", "HadIsActive", "LastHeardFrom"]

# A high-availability daemon reports every 5 minutes (HAD_UPDATE_INTERVAL) and when its state changes.
HAD_FRESH = 660.0

# In a schedd's ad: how many jobs of late-materialised clusters are not in its queue yet.
UNMATERIALIZED = "JobsUnmaterialized"

# What a child needs to speak with a schedd, and to ask it no more than is needed.
SCHEDD_ATTRIBUTES = ["Name", "Machine", "MyAddress", "AddressV1", "CondorVersion", "CondorPlatform", UNMATERIALIZED]

# What a request or Requirements refers to comes along unasked, transitively (measured, HTCondor 23.9.6): requests that
# are expressions can be evaluated, and those that are not do not split into groups by memory once used. RequestGPUs is
# not here: jobs whose Requirements do not refer to it run on startds without GPUs; those with GPUs ask for it.
GROUP_BY = [
    "JobStatus",
    "JobUniverse",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "Requirements",
    "MinHosts",
]


@dataclass(frozen=True, slots=True)
class StartAsks:
    """The attributes that the slots' START expressions refer to: of their own slot, and of jobs."""

    of_slots: tuple[str, ...] = ()
    of_jobs: tuple[str, ...] = ()

    @classmethod
    def of_all(cls, asks: Iterable[tuple[Iterable[str], Iterable[str]]]) -> StartAsks:
        """All that any of them asks, in one order."""
        every = list(asks)
        return cls(*(tuple(sorted({name for pair in every for name in pair[side]})) for side in (0, 1)))


def outside_references(ad: Any, expression: Any, text: str) -> set[tuple[str, str]]:
    """Scope and attribute, in lower case, of what an expression refers to outside of its ad; nothing where expressions
    name each other in a circle. externalRefs leaves MY out (measured, htcondor 25.14.1): it is looked for in the text.
    """
    try:
        references = [name.lower() for name in ad.externalRefs(expression) if name]
    except ValueError:
        return set()
    found = set()
    for reference in references:
        target, name = reference.startswith("target."), reference.removeprefix("target.").partition(".")[0]
        mine = not target and re.search(rf"\bmy\.{re.escape(name)}\b", text, re.IGNORECASE)
        found.add(("target" if target else "my" if mine else "", name))
    return found


def inside_references(ad: Any, expression: Any) -> set[str]:
    """The attributes of its own ad that an expression refers to, in lower case."""
    try:
        return {name.partition(".")[0].lower() for name in ad.internalRefs(expression) if name}
    except ValueError:
        return set()


def number(ad: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """A finite number of at least 0 under this name, else the default."""
    value = ad.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        return default
    return value


def text(ad: Mapping[str, Any], name: str) -> str:
    """A text of printable characters, cut at 200; other types count as not given."""
    value = ad.get(name)
    return "".join(letter for letter in value[:200] if letter.isprintable()) if isinstance(value, str) else ""


def newest_of_each(ads: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One ad a name, the one that a collector heard last: several collectors know the same slots."""
    found: dict[str, Mapping[str, Any]] = {}
    for ad in ads:
        known = found.get(text(ad, "Name"))
        if known is None or number(ad, "LastHeardFrom") > number(known, "LastHeardFrom"):
            found[text(ad, "Name")] = ad
    return list(found.values())


def why_passive(answers: Mapping[str, Any]) -> str:
    """Why this machine is not the manager that acts, from what each collector says of managers; empty if it is.

    Only this machine's own collector is asked who is active, so all times are of one clock, and a machine on which
    HTCondor is down is passive. A killed manager's ad stays active for a while, so of several claims the one heard
    last counts.
    """
    known = {address: answer for address, answer in answers.items() if not isinstance(answer, Unanswered)}
    own = next((answer for answer in known.values() if answer["here"] in answer["collector"]), None)
    if own is None:
        silent = [f"{address}: {answer}" for address, answer in answers.items() if isinstance(answer, Unanswered)]
        here = next((answer["here"] for answer in known.values()), "this machine")
        return f"no collector of {here} answers, so it is not the active manager{''.join(f'; {one}' for one in silent)}"
    claims = [
        (number(ad, "LastHeardFrom"), text(ad, "Machine"))
        for ad in own["had"]
        if _is_true(ad.get("HadIsActive")) and own["now"] - number(ad, "LastHeardFrom") <= HAD_FRESH
    ]
    active = max(claims, default=(0.0, ""))[1]
    if active != own["here"]:
        return f"{active or 'no machine'} is the active manager; this is {own['here']}"
    at_work = sorted({machine for answer in known.values() for machine in answer["at_work"]})
    if at_work:
        return f"{own['here']} is the active manager now; a pass of {', '.join(at_work)} may still be at work"
    return ""


def _is_true(value: Any) -> bool:
    """HAD says True as a text and as a boolean (measured, HTCondor 23.9.6)."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def read_slots(ads: Iterable[Mapping[str, Any]]) -> tuple[Slot, ...]:
    """The slots of these ads; one without a name cannot be spoken of and is left out."""
    return tuple(_slot(ad) for ad in ads if text(ad, "Name"))


def why_forged(ad: Mapping[str, Any]) -> str:
    """Why this ad is not believed, empty if it is: it bears one node's name and came with the token of another.

    The collector notes whose token an ad came with (AuthenticatedIdentity); tokens that are bound to a node are of
    node-NAME@DOMAIN. Of any other identity, one token for all nodes included, nothing can be said.
    """
    claimed, identity = text(ad, "EhosNode"), text(ad, "AuthenticatedIdentity")
    owner = identity.removeprefix("node-").rpartition("@")[0]
    if not claimed or not identity.startswith("node-") or owner == claimed:
        return ""
    return f"it says that it is of {claimed}, but came with the token of {identity}"


def _slot(ad: Mapping[str, Any]) -> Slot:
    forged = why_forged(ad)
    free = Resources(number(ad, "Cpus"), number(ad, "Memory"), number(ad, "Disk"), number(ad, "GPUs"))
    total = Resources(
        number(ad, "TotalSlotCpus", free.cpus),
        number(ad, "TotalSlotMemory", free.memory),
        number(ad, "TotalSlotDisk", free.disk),
        number(ad, "TotalSlotGPUs", free.gpus),
    )
    return Slot(
        name=text(ad, "Name"),
        machine=text(ad, "Machine"),
        state=text(ad, "State"),
        activity=text(ad, "Activity"),
        kind=_kind(ad),
        free=free,
        total=total,
        node="" if forged else text(ad, "EhosNode"),
        pool="" if forged else text(ad, "EhosPool"),
        cloud="" if forged else text(ad, "EhosCloud"),
        drain_reason=text(ad, "DrainReason"),
        drain_request=str(ad.get("DrainingRequestId") or ""),
        draining=ad.get("Draining") is True,
        accepts_jobs=ad.get("Start") is not False and ad.get("Offline") is not True and not forged,
        idle_since=_idle_since(ad),
        heard=number(ad, "LastHeardFrom"),
        forged=forged,
        unreadable=ad.get(UNREADABLE) is True,
    )


def _idle_since(ad: Mapping[str, Any]) -> float:
    """When the last job left, in the collector's time (the node's clock may be off); 0 if the ad does not tell.

    A partitionable slot's own state never shows its jobs; NumDynamicSlotsTime does (measured, HTCondor 23.9.6).
    """
    if ad.get("PartitionableSlot") is True and not number(ad, "NumDynamicSlotsTime"):
        return 0.0
    changed = max(number(ad, "NumDynamicSlotsTime"), number(ad, "EnteredCurrentState"))
    if ad.get("PartitionableSlot") is not True:
        changed = max(changed, number(ad, "EnteredCurrentActivity"))
    spoken, heard = number(ad, "MyCurrentTime"), number(ad, "LastHeardFrom")
    return max(0.0, heard - max(0.0, spoken - changed)) if spoken and heard and changed else 0.0


def _kind(ad: Mapping[str, Any]) -> str:
    if ad.get("PartitionableSlot") is True:
        return "Partitionable"
    return "Dynamic" if ad.get("DynamicSlot") is True else "Static"


def read_demand(answers: Mapping[str, Any]) -> Demand:
    """The answers of the schedds, by schedd, as demand: equal shapes are one, silent schedds are named."""
    counts: defaultdict[tuple[Resources, str, str], int] = defaultdict(int)
    unreadable: defaultdict[str, int] = defaultdict(int)
    for answer in answers.values():
        for group in [] if isinstance(answer, Unanswered) else answer:
            jobs = int(number(group, "JobCount")) * max(1, int(number(group, "MinHosts", 1)))
            missing = _missing(group)
            if not jobs:
                continue
            if owner := text(group, UNREADABLE):
                unreadable[f"something of {owner}'s that cannot be read, too large or nested too deep"] += jobs
            elif missing:
                unreadable[_as_written(group, missing)] += jobs
            else:
                counts[request_of(group), str(group.get("Requirements", "")), str(group.get("Ad", ""))] += jobs
    return Demand(
        tuple(Shape(request, count, requirements, ad) for (request, requirements, ad), count in sorted(counts.items())),
        tuple(Unreadable(count, what) for what, count in sorted(unreadable.items())),
        {name: str(answer) for name, answer in answers.items() if isinstance(answer, Unanswered)},
    )


def _missing(group: Mapping[str, Any]) -> list[str]:
    """The requests without a number. A job need not ask for GPUs, but if it does, it must be understood."""
    needed = ["RequestCpus", "RequestMemory", "RequestDisk"]
    if "RequestGPUs" in group or text(group.get("Text", {}), "RequestGPUs") not in {"", "undefined"}:
        needed.append("RequestGPUs")
    return [name for name in needed if number(group, name, -1) < 0]


def request_of(group: Mapping[str, Any]) -> Resources:
    """What one of these jobs asks for."""
    return Resources(*(number(group, f"Request{name}") for name in ("Cpus", "Memory", "Disk", "GPUs")))


def _as_written(group: Mapping[str, Any], missing: Iterable[str]) -> str:
    written = group.get("Text", {})
    return ", ".join(f"{name} = {text(written, name) or 'undefined'}" for name in missing)
