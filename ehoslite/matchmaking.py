"""What the child asks the collector that matches shapes with slots and flavors: plain values in, plain values out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ehoslite.matching import Matched, Matching, Verdict, Wanted
from ehoslite.model import Flavor
from ehoslite.questions import query_ads
from ehoslite.samples import Sample
from ehoslite.verdicts import Job, judge_offer, match_slots, parse_ad
from ehoslite.wouldbe import (
    LONGEST_ASKED,
    LONGEST_SAMPLE,
    build_offer,
    keep_static,
    read_attributes,
    shorten,
    write_attributes,
)


def match(collector: Any, matching: Matching) -> Matched:
    """Ask this collector for what the shapes want to know of the slots, and judge."""
    until = time.monotonic() + matching.patience
    learned = learn(collector, matching)
    jobs = {number: Job(read_attributes(shape)) for number, shape in enumerate(matching.shapes)}
    asked = {name for job in jobs.values() for name in job.asks}
    slots = match_slots(jobs, _ask_slots(collector, jobs, matching.asked), matching.asked) if jobs else {}
    samples = {**matching.samples, **{sample.key: sample for sample in learned}}
    verdicts = judge_flavors(list(jobs.values()), matching.flavors, samples, matching.now, until)
    kept = tuple(short for sample in learned if (short := _shorten(sample, asked)))
    return Matched(slots, verdicts, kept, min((len(one) for one in verdicts), default=len(jobs)))


def explain(collector: Any, shape: str) -> list[tuple[tuple[str, ...], list[str]]]:
    """For one shape the slots of the pool by what it fails of there, their free amounts included: clauses (none where
    it runs) and names. Dynamic slots are their parents' matter."""
    job, found = Job(read_attributes(shape)), defaultdict(list)
    slots, unreadable = query_ads(collector, "DynamicSlot =!= True", [])
    for slot in slots:
        found[judge_offer(job.ad, slot, None).clauses].append(str(slot.get("Name", "?")))
    if unreadable:
        found["its ad cannot be read",] += unreadable
    return sorted((clauses, sorted(names)) for clauses, names in found.items())


def _ask_slots(collector: Any, jobs: Mapping[int, Job], asked: Sequence[str]) -> list[Any]:
    """The slots that jobs may be packed onto, with what their START and the jobs ask. Those that cannot be read are
    left out: of them nothing is known, and amounts decide."""
    wanted = sorted({name for job in jobs.values() for name in job.asks} | {name.lower() for name in asked})
    return query_ads(collector, "DynamicSlot =!= True", ["Name", "Start", *wanted])[0]


def learn(collector: Any, matching: Matching) -> tuple[Sample, ...]:
    """What the wanted slots advertise, without what passes; of any length."""
    import classad2

    if not matching.wanted:
        return ()
    names = ", ".join(classad2.quote(wanted.slot) for wanted in matching.wanted)
    ads = {str(ad["Name"]): ad for ad in query_ads(collector, f"member(Name, {{{names}}})", [])[0]}
    return tuple(_sample(wanted, ads[wanted.slot], matching.now) for wanted in matching.wanted if wanted.slot in ads)


def _sample(wanted: Wanted, ad: Any, now: float) -> Sample:
    partitionable = ad.get("PartitionableSlot") is True
    kept = keep_static(((name, str(ad.lookup(name))) for name in ad), wanted.node, partitionable)
    size = {}
    if partitionable and ad.get("TotalSlots") == 1 + int(ad.get("NumDynamicSlots") or 0):
        names = ("cpus", "memory", "disk", "gpus")
        size = {name: float(ad.get(f"TotalSlot{name}") or 0) for name in names}
    return Sample(wanted.key, now, write_attributes(kept), wanted.exact, made_of=wanted.made_of, **size)


def _shorten(sample: Sample, asked: Collection[str]) -> Sample | None:
    """What is remembered of it, for passes that find no such node; None of an ad with too many attributes to tell."""
    if len(sample.ad) <= LONGEST_SAMPLE:
        return sample
    ad = write_attributes(shorten(read_attributes(sample.ad), asked))
    return replace(sample, ad=ad) if len(ad) <= LONGEST_SAMPLE + LONGEST_ASKED else None


def judge_flavors(
    jobs: Sequence[Job], flavors: Sequence[Flavor], samples: Mapping[str, Sample], now: float, until: float
) -> tuple[tuple[Verdict, ...], ...]:
    """The verdicts on each flavor, in the order of the shapes; those that time did not suffice for are left out."""
    offers = [build_offer(flavor, samples, assume(), now) for flavor in flavors]
    ads = [parse_ad(offer.ad) for offer in offers]
    asked = {name for job in jobs for name in job.asks}
    certain = [offer.certain_for(asked) for offer in offers]
    verdicts: list[list[Verdict]] = [[] for _ in flavors]
    for job in jobs:
        if time.monotonic() > until:
            break
        for place, (ad, known) in enumerate(zip(ads, certain, strict=True)):
            verdicts[place].append(judge_offer(job.ad, ad, known))
    return tuple(tuple(one) for one in verdicts)


def assume() -> dict[str, str]:
    """What the first node of a cloud is taken for until it has been seen: as this machine, of this version."""
    import classad2
    import htcondor2

    arch = str(htcondor2.param.get("ARCH", "X86_64"))
    return {
        "Arch": classad2.quote(arch),
        "OpSys": '"LINUX"',
        "HasFileTransfer": "true",
        "CondorVersion": classad2.quote(htcondor2.version()),
    }
