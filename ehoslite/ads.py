"""Reads ads into slots and demand. An ad may hold anything: a value of the wrong type counts as not given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ehoslite.asking import Unanswered
from ehoslite.model import Demand, Resources, Shape, Slot, Unreadable

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
    "Draining",
    "DrainReason",
    "Start",
    "Offline",
    "NumDynamicSlotsTime",
    "EnteredCurrentState",
    "EnteredCurrentActivity",
    "MyCurrentTime",
    "LastHeardFrom",
]

# What a request or Requirements refers to comes along unasked, transitively (measured, HTCondor 23.9.6): requests that
# are expressions can be evaluated, and those that are not do not split into groups by memory once used.
GROUP_BY = [
    "JobStatus",
    "JobUniverse",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "RequestGPUs",
    "Requirements",
    "MinHosts",
]


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


def read_slots(ads: Iterable[Mapping[str, Any]]) -> tuple[Slot, ...]:
    """The slots of these ads; one without a name cannot be spoken of and is left out."""
    return tuple(_slot(ad) for ad in ads if text(ad, "Name"))


def _slot(ad: Mapping[str, Any]) -> Slot:
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
        node=text(ad, "EhosNode"),
        pool=text(ad, "EhosPool"),
        cloud=text(ad, "EhosCloud"),
        drain_reason=text(ad, "DrainReason"),
        draining=ad.get("Draining") is True,
        accepts_jobs=ad.get("Start") is not False and ad.get("Offline") is not True,
        idle_since=_idle_since(ad),
        heard=number(ad, "LastHeardFrom"),
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
    counts: defaultdict[tuple[Resources, str], int] = defaultdict(int)
    unreadable: defaultdict[str, int] = defaultdict(int)
    for answer in answers.values():
        for group in [] if isinstance(answer, Unanswered) else answer:
            jobs = int(number(group, "JobCount")) * max(1, int(number(group, "MinHosts", 1)))
            missing = _missing(group)
            if not jobs:
                continue
            if missing:
                unreadable[_as_written(group, missing)] += jobs
            else:
                counts[_request(group), str(group.get("Requirements", ""))] += jobs
    return Demand(
        tuple(Shape(request, count, requirements) for (request, requirements), count in sorted(counts.items())),
        tuple(Unreadable(count, what) for what, count in sorted(unreadable.items())),
        {name: str(answer) for name, answer in answers.items() if isinstance(answer, Unanswered)},
    )


def _missing(group: Mapping[str, Any]) -> list[str]:
    """The requests without a number. A job need not ask for GPUs, but if it does, it must be understood."""
    needed = ["RequestCpus", "RequestMemory", "RequestDisk"]
    if "RequestGPUs" in group or text(group.get("Text", {}), "RequestGPUs") not in {"", "undefined"}:
        needed.append("RequestGPUs")
    return [name for name in needed if number(group, name, -1) < 0]


def _request(group: Mapping[str, Any]) -> Resources:
    return Resources(*(number(group, f"Request{name}") for name in ("Cpus", "Memory", "Disk", "GPUs")))


def _as_written(group: Mapping[str, Any], missing: Iterable[str]) -> str:
    written = group.get("Text", {})
    return ", ".join(f"{name} = {text(written, name) or 'undefined'}" for name in missing)
