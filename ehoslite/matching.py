"""Which shapes run where: what is to be asked of HTCondor, and the World with its answer. Pure.

Slots and flavors on which the same shapes run are of one ilk, a number. Packing and choosing compare ilks alone, so a
plan costs what shapes and flavors cost, whatever the number of jobs and nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ehoslite.booting import keys_of
from ehoslite.memory import Memory
from ehoslite.model import CloudView, Flavor, Server, Shape, Slot, World
from ehoslite.resources import Resources
from ehoslite.samples import Misfit, Sample, made_alike

# Names in an expression that stand for an attribute of the other ad: those of functions and behind MY are none.
REFERENCE = re.compile(r"(?<![\w.])(?:TARGET\.)?([A-Za-z_]\w*)(?!\w)(?!\s*[(.])", re.IGNORECASE)
TEXT = re.compile(r'"(?:\\.|[^"\\])*"')
WORDS = frozenset(("true", "false", "undefined", "error", "is", "isnt", "True", "False", "TRUE", "FALSE", "UNDEFINED"))

# While nothing waits, what nodes advertise is looked at so often, that a queue which begins finds it known.
LEARN_EVERY = 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a shape runs on what is offered; if not, the clauses that fail, and whether that is certain."""

    runs: bool
    clauses: tuple[str, ...] = ()
    surely: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """An ad to learn from: of this slot of this node, for the flavor whose boots have this key; `made_of` as in
    Server."""

    key: str
    slot: str
    node: str
    exact: bool
    made_of: str = ""


@dataclass(frozen=True, slots=True)
class Matching:
    """What is to be matched: shapes as ClassAds, flavors with what is known of their nodes, and which nodes could teach
    more. `asked` are the attributes that the slots' START refer to; `patience` is in seconds. `told` are the keys of
    the flavors that are not tried out: a node like the next one is there to ask."""

    shapes: tuple[str, ...]
    flavors: tuple[Flavor, ...]
    samples: Mapping[str, Sample]
    wanted: tuple[Wanted, ...] = ()
    asked: tuple[str, ...] = ()
    patience: float = 5.0
    now: float = 0.0
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Matched:
    """What came of it. `slots`: for each slot's name a number whose bit n says whether shape n runs there; `flavors`:
    for each flavor (as asked) a verdict on each shape. Shapes from `judged` on were not reached in time."""

    slots: Mapping[str, int] = field(default_factory=dict)
    flavors: tuple[tuple[Verdict, ...], ...] = ()
    samples: tuple[Sample, ...] = ()
    judged: int = 0


def what_to_match(world: World, memory: Memory) -> Matching | None:
    """What has to be asked; None when nothing waits and nothing is to be learned."""
    shapes = tuple(shape.ad for shape in world.demand.shapes if shape.ad)
    wanted = what_to_learn(world, memory)
    known = (memory.samples.get(one.key) for one in wanted)
    if not shapes and all(sample is not None and world.now - sample.at < LEARN_EVERY for sample in known):
        return None
    return Matching(shapes, offered(world), memory.samples, wanted, now=world.now, told=what_is_told(world, memory))


def what_nodes_ask(clouds: Iterable[CloudView], memory: Memory) -> set[str]:
    """The attributes of jobs to which the START of nodes to come refers, by their templates and by what is known of
    them, and RequestGPUs if any has GPUs. A name of the node's own may be among them; no job has it."""
    flavors = [flavor for cloud in clouds for flavor in cloud.flavors]
    starts = [text for flavor in flavors for name, text in flavor.promises if name == "Start"]
    lines = [line for sample in memory.samples.values() for line in sample.ad.splitlines()]
    starts += [line.removeprefix("Start = ") for line in lines if line.startswith("Start = ")]
    texts = (TEXT.sub("", start) for start in set(starts))
    gpus = any(flavor.resources.gpus for flavor in flavors) or any(one.gpus for one in memory.samples.values())
    names = {name for text in texts for name in REFERENCE.findall(text)} - WORDS
    return names | {"RequestGPUs"} if gpus else names


def offered(world: World) -> tuple[Flavor, ...]:
    """The flavors of the clouds that answered."""
    return tuple(flavor for cloud in world.clouds if not cloud.fault for flavor in cloud.flavors)


def what_to_learn(world: World, memory: Memory) -> tuple[Wanted, ...]:
    """For each flavor the slot of one node that can teach what its next one will advertise: the newest one, and if
    there is any, one that is certainly made of today's recipe."""
    slots: dict[str, Slot] = {}
    for slot in world.slots:
        takes_jobs = slot.accepts_jobs and not slot.draining and slot.state != "Drained"  # else START is gone, or false
        if slot.node and slot.kind != "Dynamic" and takes_jobs and not slot.unreadable:
            slots.setdefault(slot.node, slot)
    flavors = {(flavor.cloud, flavor.name): flavor for flavor in offered(world)}
    best: dict[str, tuple[bool, float, Wanted]] = {}
    for server in (server for cloud in world.clouds for server in cloud.servers):
        flavor = flavors.get((server.cloud, server.flavor))
        if flavor is None or server.node not in slots:
            continue
        key, exact = keys_of(flavor)[0], is_of_today(server, flavor, memory)
        if not exact and key in memory.samples and memory.samples[key].tells_of(flavor.made_of):
            continue
        found = (exact, server.created, Wanted(key, slots[server.node].name, server.node, exact, server.made_of))
        if key not in best or found[:2] > best[key][:2]:
            best[key] = found
    return tuple(best[key][2] for key in sorted(best))


def what_is_told(world: World, memory: Memory) -> frozenset[str]:
    """The keys of the flavors of which a node like the next one is in the pool and stays. What its ad does not tell (it
    takes no jobs yet, say) no further one would: trials would follow each other for as long as the job waits."""
    leaving = {slot.node for slot in world.slots if slot.draining or slot.state == "Drained"}
    there = {slot.node for slot in world.slots} - leaving
    flavors = {(flavor.cloud, flavor.name): flavor for flavor in offered(world)}
    servers = (server for cloud in world.clouds for server in cloud.servers if server.node in there)
    found = ((flavors.get((server.cloud, server.flavor)), server) for server in servers)
    return frozenset(keys_of(one)[0] for one, server in found if one and is_of_today(server, one, memory))


def is_of_today(server: Server, flavor: Flavor, memory: Memory) -> bool:
    """Whether a server is certainly what the next one of its flavor will be, as far as the cloud tells its image."""
    seen = memory.nodes.get(server.node) or memory.intents.get(server.node)
    return seen is not None and seen.recipe == flavor.recipe and made_alike(server.made_of, flavor.made_of)


def with_matches(world: World, asked: Matching, matched: Matched) -> World:
    """The World with the verdicts: an ilk on each slot and flavor, and on each shape the ilks that it runs on."""
    numbers = {mask: number for number, mask in enumerate(sorted(set(matched.slots.values())), 1)}
    slots = tuple(replace(slot, ilk=numbers.get(matched.slots.get(slot.name, -1), 0)) for slot in world.slots)
    first = len(numbers) + 1
    ilks = {(flavor.cloud, flavor.name): first + place for place, flavor in enumerate(asked.flavors)}
    samples = {**asked.samples, **{sample.key: sample for sample in matched.samples}}
    clouds = tuple(
        replace(cloud, flavors=tuple(replace(one, ilk=ilks.get((one.cloud, one.name), 0)) for one in cloud.flavors))
        for cloud in with_learned_sizes(world.clouds, samples)
    )
    shapes, place = [], 0
    for shape in world.demand.shapes:
        if shape.ad and place < matched.judged:
            shapes.append(_with_verdicts(shape, place, asked, matched, numbers, first))
        else:
            shapes.append(shape)
        place += bool(shape.ad)
    unreached = len(asked.shapes) - matched.judged
    why = f"there was no time for {unreached} of {len(asked.shapes)} shapes" if unreached > 0 else ""
    demand = replace(world.demand, shapes=tuple(shapes))
    return replace(world, clouds=clouds, slots=slots, demand=demand, samples=matched.samples, unmatched=why)


def with_learned_sizes(clouds: tuple[CloudView, ...], samples: Mapping[str, Sample]) -> tuple[CloudView, ...]:
    """The clouds with their flavors as large as startds on them have shown to be."""
    return tuple(
        replace(cloud, flavors=tuple(with_learned_size(flavor, samples) for flavor in cloud.flavors))
        for cloud in clouds
    )


def with_learned_size(flavor: Flavor, samples: Mapping[str, Sample]) -> Flavor:
    """The flavor with what a startd on it really offers; quotas count what they counted before."""
    sample = samples.get(keys_of(flavor)[0])
    if sample is None or not sample.tells_of(flavor.made_of) or sample.cpus <= 0:
        return flavor
    size = Resources(sample.cpus, sample.memory, sample.disk, sample.gpus)
    return replace(flavor, resources=size, quota_memory=flavor.counted_memory, quota_cpus=flavor.counted_cpus)


def _with_verdicts(
    shape: Shape, place: int, asked: Matching, matched: Matched, numbers: Mapping[int, int], first: int
) -> Shape:
    """The shape with what is known of it: `place` is its number among those asked for."""
    runs = {number for mask, number in numbers.items() if mask >> place & 1}
    tries, misfits = set(), []
    for ilk, (flavor, verdicts) in enumerate(zip(asked.flavors, matched.flavors, strict=True), first):
        verdict = verdicts[place]
        if verdict.runs:
            runs.add(ilk)
            continue
        if not verdict.surely and keys_of(flavor)[0] not in asked.told:
            tries.add(ilk)
        misfits.append(Misfit(f"{flavor.cloud}/{flavor.name}", verdict.clauses, verdict.surely))
    return replace(shape, runs_on=frozenset(runs), tries=frozenset(tries), misfits=tuple(misfits))
