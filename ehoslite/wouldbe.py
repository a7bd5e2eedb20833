"""The slot ad that a node of a flavor would send: as learned from nodes of that flavor, else as built from the flavor.

An offer tells which of its attributes are certain. Nobody knows what a flavor's first node will advertise beyond its
size and what the template promises: what is missing there is not known, rather than undefined. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ehoslite.booting import keys_of
from ehoslite.model import Flavor
from ehoslite.resources import Resources
from ehoslite.samples import Sample

# The name that stands for that of a node to come, in what it advertises.
NOBODY = "ehos-pool-00000000"

# What is another on each node, and so not certain of any.
NAMED = {"Machine": f'"{NOBODY}"', "Name": f'"slot1@{NOBODY}"', "EhosNode": f'"{NOBODY}"'}

# What changes while a node runs, or is another on each node: it says nothing of the next node of its flavor.
PASSING = re.compile(
    r"(Activation|Address|Assigned|Authenticat|Child|Claim|Clock|COLLECTOR_|Condor(LoadAvg|ScratchDir)|ConsoleIdle"
    r"|Current|DaemonCore|Daemon(Last|Start|Shutdown)|Drain|DSlot|Entered|Excess|Expected|Hardware|Hibernation|Job"
    r"|Keyboard|Last|LoadAvg|Monitor|MyAddress|MyCurrentTime|MyType|NewDSlot|NextFetch|Num(DynamicSlots|Pids)|Offline"
    r"|Private|Public|Recent|Remote|Retirement|StartdIpAddr|StarterAbility|SubnetMask|TargetType|TimeToLive"
    r"|Total(Backfill|Claim|CondorLoad|InUse|Job|LoadAvg|Time|VirtualMemory)|Unhibernate|Update|Utsname(Node|Version)"
    r"|VirtualMemory|Wake|EhosLeaseOver$|State$|Activity$|Slot(ID|TypeID)$)",
    re.IGNORECASE,
)

# A desktop's START may ask for these; nobody uses a node that has just booted.
IDLE_MACHINE = {
    "LoadAvg": "0.0",
    "CondorLoadAvg": "0.0",
    "TotalLoadAvg": "0.0",
    "TotalCondorLoadAvg": "0.0",
    "KeyboardIdle": "86400",
    "ConsoleIdle": "86400",
}

# As HTCondor's startd writes it for a partitionable slot (measured, 23.9.6), with its term for GPUs always there.
WITHIN_LIMITS = (
    "MY.Cpus > 0 && TARGET.RequestCpus <= MY.Cpus && MY.Memory > 0 && TARGET.RequestMemory <= MY.Memory"
    " && MY.Disk > 0 && TARGET.RequestDisk <= MY.Disk"
    " && (TARGET.RequestGPUs is undefined || (MY.GPUs ?: 0) >= TARGET.RequestGPUs)"
)

BREAK = re.compile(r"\s*[\r\n]\s*")

AMOUNTS = ("Cpus", "Memory", "Disk", "GPUs")

# No ad of a startd comes near it; the state file must not grow with one that does.
LONGEST_SAMPLE = 20_000
# A sample so old says no more for certain what is missing.
SURE_FOR = 86400.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A would-be slot: its attributes as expressions, and which are `certain`; None: all are, and no others come."""

    flavor: str
    ad: Mapping[str, str]
    certain: frozenset[str] | None = None


def build_offer(flavor: Flavor, samples: Mapping[str, Sample], assumed: Mapping[str, str], now: float) -> Offer:
    """What a new node of this flavor would send. Best known from a node of the flavor; else from another that is made
    of the same image and template; else it is like `assumed` (the manager's own machine)."""
    name, (own, _) = f"{flavor.cloud}/{flavor.name}", keys_of(flavor)
    sure = dict(flavor.promises) | of_flavor(flavor) | amounts(flavor.resources)
    certain = frozenset(one.lower() for one in (*sure, *AMOUNTS))
    if own in samples:
        learned = NAMED | read_attributes(samples[own].ad) | of_flavor(flavor)
        exact = samples[own].exact and now - samples[own].at <= SURE_FOR
        return Offer(name, learned, None if exact else certain)
    sibling = next((samples[key] for key in sorted(samples) if is_sibling(key, flavor)), None)
    seen = read_attributes(sibling.ad) if sibling else assumed
    ad = NAMED | {"Start": "true", "Requirements": "START && WithinResourceLimits"}
    ad |= {name: text for name, text in seen.items() if not is_size(name)} | {"WithinResourceLimits": WITHIN_LIMITS}
    return Offer(name, ad | sure, certain)


def is_sibling(key: str, flavor: Flavor) -> bool:
    """Whether a sample is of the same cloud, image and template."""
    cloud, _, recipe = key.split("/") if key.count("/") == 2 else ("", "", "")
    return (cloud, recipe) == (flavor.cloud, flavor.recipe)


def is_size(name: str) -> bool:
    """Whether an attribute tells how large a machine is, or of its GPUs: another flavor has another."""
    return bool(
        re.fullmatch(r"(Total|TotalSlot|Detected)?(Cpus|Memory|Disk|GPUs)|(CUDA|GPU|AvailableGPUs).*", name, re.I)
    )


def amounts(size: Resources) -> dict[str, str]:
    """How large the slot is, under all names that HTCondor has for it."""
    whole = dict(zip(AMOUNTS, (size.cpus, size.memory, size.disk, size.gpus), strict=True))
    if not size.gpus:
        del whole["GPUs"]
    return {
        f"{prefix}{name}": f"{value:.15g}" for prefix in ("", "Total", "TotalSlot") for name, value in whole.items()
    }


def of_flavor(flavor: Flavor) -> dict[str, str]:
    """What every node of ours says of itself (cloud-init/execute.yaml), and what is true of any that just booted."""
    return {
        "MyType": '"Machine"',
        "TargetType": '"Job"',
        "EhosCloud": f'"{flavor.cloud}"',
        "EhosFlavor": f'"{flavor.name}"',
        "EhosLeaseOver": "false",
        "State": '"Unclaimed"',
        "Activity": '"Idle"',
        **IDLE_MACHINE,
    }


def keep_static(attributes: Iterable[tuple[str, str]], node: str, partitionable: bool) -> dict[str, str]:
    """What of a slot's ad the next node of its flavor will send too: without what passes, with all of its room free."""
    other = f"{node.rpartition('-')[0]}-00000000"  # no node has this name, and it looks like one
    kept = {name: text.replace(node, other) if node else text for name, text in attributes if not PASSING.match(name)}
    known = {name.lower(): text for name, text in kept.items()}
    if partitionable:
        kept |= {name: known[f"totalslot{name.lower()}"] for name in AMOUNTS if f"totalslot{name.lower()}" in known}
    return kept


def write_attributes(attributes: Mapping[str, str]) -> str:
    """A ClassAd of these attributes as text, a line each, in one order. Lists come over several lines; a line break in
    a text is written as \\n by HTCondor."""
    return "\n".join(f"{name} = {BREAK.sub(' ', attributes[name])}" for name in sorted(attributes))


def read_attributes(ad: str) -> dict[str, str]:
    """The attributes of such a text; lines that are none are left out."""
    parts = (line.partition(" = ") for line in ad.splitlines())
    return {name: text for name, _, text in parts if name.isidentifier() and text}
