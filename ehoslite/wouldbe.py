"""The slot ad that a node of a flavor would send: as learned from nodes of that flavor, else as built from the flavor.

An offer tells which of its attributes are certain. Nobody knows what a flavor's first node will advertise beyond its
size and what the template promises: what is missing there is not known, rather than undefined. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ehoslite.booting import keys_of
from ehoslite.model import Flavor
from ehoslite.resources import Resources
from ehoslite.samples import Sample

# The name that stands for that of a node to come, in what it advertises.
NOBODY = "ehos-pool-00000000"

# What is another on each node, and so not certain of any.
NAMED = {"Machine": f'"{NOBODY}"', "Name": f'"slot1@{NOBODY}"', "EhosNode": f'"{NOBODY}"'}

# HTCondor's names, each whole: a site's own attribute may well begin as one of them does.
# Of claims, jobs and drains: a node that has just booted has none of these.
OF_CLAIMS = re.compile(
    r"AssignedGPUs|Child(AccountingGroup|Activity|Cpus|CurrentRank|DSlotId|Disk|EnteredCurrentState|GPUs|Memory|Name"
    r"|Remote(Owner|User)|RetirementTimeRemaining|State)|Claim(EndTime|Id|Ids|IdList)|ClientMachine|DiskUsage|DSlotId"
    r"|Drain(ing|ingRequestId|Reason)|EhosLeaseOver|ExecutableSize|ImageSize|Job(CurrentStartDate|Id|Start|Universe)"
    r"|LastDrain(Reason|StartTime|StopTime)|LastPeriodicCheckpoint|Num(DynamicSlots|DynamicSlotsTime|Pids)"
    r"|Offline(GPUs)?|PublicClaimIds?|Remote(Autoregroup|Group(Quota|ResourcesInUse)?|Host|NegotiatingGroup|Owner|Pool)"
    r"|Remote(ScheddName|User(Prio|ResourcesInUse)?)|Slot(Type)?ID",
    re.IGNORECASE,
)

# What every node has, and each at every time another: of a node to come it is not known.
PASSING = re.compile(
    r"Activity|(My)?Address(V1)?|Authenticat(edIdentity|ionMethod)|Clock(Day|Min)|COLLECTOR_HOST_STRING"
    r"|CondorScratchDir|(Console|Keyboard)Idle|CurrentRank|Daemon(LastReconfigTime|Shutdown|StartTime)"
    r"|EnteredCurrent(Activity|State)|ExpectedMachine(Graceful|Quick)Draining(Badput|Completion)|HardwareAddress"
    r"|Last(Benchmark|FetchWork(Completed|Spawned)|HeardFrom|Update)|(Total)?(Condor)?LoadAvg|MonitorSelf\w+"
    r"|MyCurrentTime|RetirementTimeRemaining|StartdIpAddr|State|SubnetMask|TimeToLive"
    r"|Total(Claim|Job)(Run|Suspend)Time|TotalTime(Backfill|Claimed|Drained|Matched|Owner|Preempting|Unclaimed)\w+"
    r"|Updates?(SequenceNumber|(History|Lost|Sequenced|Total)(_\w+)?)|UtsnameNodename"
    r"|(Recent)?((Activation|Claim)Requests|DaemonCoreDutyCycle|Job((Rank|UserPrio)?Preemptions|Starts)|NewDSlotNotMatch)"
    r"|(Recent)?Job(Busy|Duration)(Time)?(Avg|Count|Max|Min|Std)",
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
    "JobStarts": "0",
}

# As HTCondor's startd writes it for a partitionable slot (measured, 23.9.6), with its term for GPUs always there.
WITHIN_LIMITS = (
    "MY.Cpus > 0 && TARGET.RequestCpus <= MY.Cpus && MY.Memory > 0 && TARGET.RequestMemory <= MY.Memory"
    " && MY.Disk > 0 && TARGET.RequestDisk <= MY.Disk"
    " && (TARGET.RequestGPUs is undefined || (MY.GPUs ?: 0) >= TARGET.RequestGPUs)"
)

BREAK = re.compile(r"\s*[\r\n]\s*")

AMOUNTS = ("Cpus", "Memory", "Disk", "GPUs")

# Few ads of startds come near it. Of a longer one the longest attributes are not kept, and of those that jobs ask for
# no more than the second: the state file must not grow with them.
LONGEST_SAMPLE, LONGEST_ASKED = 20_000, 200_000
# What stands for an attribute that is there and not kept: nothing but that can be said of it.
LEFT_OUT = "error"
WORD = re.compile(r"[A-Za-z_]\w*")
TEXT = re.compile(r'"(?:\\.|[^"\\])*"')
# A sample so old says no more for certain what is missing.
SURE_FOR = 86400.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A would-be slot: its attributes as expressions, and which are `certain`; None: all are, and no others come, but
    for what was `left_out`."""

    flavor: str
    ad: Mapping[str, str]
    certain: frozenset[str] | None = None
    left_out: frozenset[str] = frozenset()

    def certain_for(self, asked: Collection[str]) -> frozenset[str] | None:
        """The same where attributes of these names are asked for (in lower case), without what was left out and what
        passes."""
        names = {name.lower() for name in self.ad}
        unknown = self.left_out | (passing(asked) - names)
        if not unknown:
            return self.certain
        every = {*asked, *names}.union(*(words(text) for text in self.ad.values()))
        return (frozenset(every) if self.certain is None else self.certain) - unknown


def build_offer(flavor: Flavor, samples: Mapping[str, Sample], assumed: Mapping[str, str], now: float) -> Offer:
    """What a new node of this flavor would send. Best known from a node of the flavor; else from another that is made
    of the same image and template; else it is like `assumed` (the manager's own machine)."""
    name, (own, _) = f"{flavor.cloud}/{flavor.name}", keys_of(flavor)
    sure = dict(flavor.promises) | of_flavor(flavor) | amounts(flavor.resources)
    certain = frozenset(one.lower() for one in (*sure, *AMOUNTS))
    if own in samples:
        learned = NAMED | read_attributes(samples[own].ad) | of_flavor(flavor)
        if not samples[own].tells_of(flavor.made_of):
            return of_another_making(name, flavor, learned)
        fresh = now - samples[own].at <= SURE_FOR
        return Offer(name, learned, None if fresh else certain, left_out(learned))
    sibling = next((samples[key] for key in sorted(samples) if is_sibling(key, flavor)), None)
    seen = read_attributes(sibling.ad) if sibling else assumed
    ad = NAMED | {"Start": "true", "Requirements": "START && WithinResourceLimits"}
    ad |= {name: text for name, text in seen.items() if not is_size(name)} | {"WithinResourceLimits": WITHIN_LIMITS}
    return Offer(name, ad | sure, certain)


def of_another_making(name: str, flavor: Flavor, learned: Mapping[str, str]) -> Offer:
    """What a new node would send where a node of another image, template or option has been seen. What today's template
    promises is certain; how large its startd finds itself, and whether it sees its GPUs, another image may change."""
    sure = dict(flavor.promises) | of_flavor(flavor)
    ad = {**learned, **sure}
    return Offer(name, ad, frozenset(one.lower() for one in sure), left_out(ad))


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
    seen = {name: text.replace(node, other) if node else text for name, text in attributes}
    kept = {name: text for name, text in seen.items() if not (PASSING.fullmatch(name) or OF_CLAIMS.fullmatch(name))}
    return kept | all_free({name.lower(): (name, text) for name, text in seen.items()}) if partitionable else kept


def all_free(seen: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What a partitionable slot (names and expressions by names in lower case) has to offer while no job is there: of
    each resource all, and of those that have ids (GPUs) a list of all."""
    free = {}
    machine = seen.get("machineresources", ("", ""))[1]
    for name in dict.fromkeys(one.lower() for one in (*AMOUNTS, *WORD.findall(machine))):
        own, available = seen.get(name, ("", ""))[0], seen.get(f"available{name}", ("", ""))[0]
        whole = seen.get(f"totalslot{name}") or seen.get(f"total{name}")
        if whole:
            free[own or whole[0].removeprefix("TotalSlot").removeprefix("Total")] = whole[1]
        if available:
            free[available] = all_ids(available.removeprefix("Available"), seen)
    return free


def all_ids(resource: str, seen: Mapping[str, tuple[str, str]]) -> str:
    """The list of the attributes that describe what there is of this resource, as a startd without jobs writes it:
    AssignedGPUs has the ids of all, whoever uses them now, and of some that are out of order (HTCondor's
    MachAttributes::publish_slot_dynamic)."""
    assigned, offline = (
        re.split(r"[\s,]+", seen.get(f"{kind}{resource.lower()}", ("", ""))[1].strip('"'))
        for kind in ("assigned", "offline")
    )
    if not any(assigned):
        return LEFT_OUT
    names = (re.sub(r"\W+", "_", f"{resource}_{one}") for one in assigned if one and one not in offline)
    return f"{{ {', '.join(names)} }}"


def shorten(attributes: Mapping[str, str], asked: Collection[str]) -> dict[str, str]:
    """The attributes, without the longest of those that are asked for (in lower case), and of the others, where they
    are too long together. Of what goes it is kept that it is there: that it is missing must not look certain."""
    needed, kept = asked_through(attributes, asked), dict(attributes)
    for is_needed, longest in ((False, LONGEST_SAMPLE), (True, LONGEST_ASKED)):
        part = {name: text for name, text in attributes.items() if (name.lower() in needed) == is_needed}
        length = len(write_attributes(part))
        for name in sorted(part, key=lambda name: (-len(attributes[name]), name)):
            if length <= longest:
                break
            length -= len(attributes[name]) - len(LEFT_OUT)
            kept[name] = LEFT_OUT
    return kept


def asked_through(attributes: Mapping[str, str], asked: Collection[str]) -> set[str]:
    """What is asked for, by jobs and by the slot itself (its Requirements), and what that is made of; in lower case."""
    texts, found = {name.lower(): text for name, text in attributes.items()}, {*asked, "requirements"}
    while more := set().union(*(words(texts[name]) for name in found if name in texts)) - found:
        found |= more
    return found


def left_out(ad: Mapping[str, str]) -> frozenset[str]:
    """The attributes of an ad that were not kept or that pass, and those that are made of them; in lower case."""
    uses = {name.lower(): words(text) for name, text in ad.items()}
    found = {name.lower() for name, text in ad.items() if text == LEFT_OUT}
    found |= passing(set().union(*uses.values())) - uses.keys()
    while more := {name for name, used in uses.items() if used & found} - found:
        found |= more
    return frozenset(found)


def passing(names: Iterable[str]) -> set[str]:
    """Those of the names that are of what passes."""
    return {name for name in names if PASSING.fullmatch(name)}


def words(text: str) -> set[str]:
    """The names in an expression, in lower case."""
    return {word.lower() for word in WORD.findall(TEXT.sub("", text))}


def write_attributes(attributes: Mapping[str, str]) -> str:
    """A ClassAd of these attributes as text, a line each, in one order. Lists come over several lines; a line break in
    a text is written as \\n by HTCondor."""
    return "\n".join(f"{name} = {BREAK.sub(' ', attributes[name])}" for name in sorted(attributes))


def read_attributes(ad: str) -> dict[str, str]:
    """The attributes of such a text; lines that are none are left out."""
    parts = (line.partition(" = ") for line in ad.splitlines())
    return {name: text for name, _, text in parts if name.isidentifier() and text}
