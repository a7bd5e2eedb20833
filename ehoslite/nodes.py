"""Joins servers, startds and memory into nodes. States are derived here from what is seen; nothing assigns them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ehoslite.booting import keys_of, note_joined
from ehoslite.memory import Intent, KnownFlavor, Memory, Remembered
from ehoslite.model import CondorState, Flavor, Node, Server, Slot, VmState, World
from ehoslite.resources import Resources
from ehoslite.samples import Sample
from ehoslite.settings import Settings
from ehoslite.spending import Bill, note_spent

# Every drain of ours carries this reason, so that a drain by an administrator is told from ours and left alone.
DRAIN_REASON = "ehoslite: retired"

# Our template lets a startd report every 60 s; three missed reports and an ad is no sign of life any more.
FRESH = 180.0

# A foreign configuration reports every 300 s (HTCondor's default); two missed reports and a startd counts as silent.
SILENT = 660.0

# What a lost reply hides may still be on its way through the cloud's API: it is waited for so many times as long as
# what a killed pass may have asked for.
UNCLEAR = 5

# Silence is only counted while passes look. A longer break between two of them is an outage of ours, or a clock that
# jumped; a shorter one is within the margin of lost_timeout over the job lease.
BREAK = 600.0


def slots_by_node(world: World, pool: str) -> dict[str, tuple[Slot, ...]]:
    """The slots of our nodes by node id; joined by what the node advertises, never by host name."""
    found: defaultdict[str, list[Slot]] = defaultdict(list)
    for slot in world.slots:
        if slot.node and slot.pool == pool:
            found[slot.node].append(slot)
    return {node: tuple(sorted(slots, key=lambda slot: slot.name)) for node, slots in found.items()}


def servers_by_node(world: World) -> dict[str, tuple[Server, ...]]:
    """Our servers by node id, of the clouds that answered; oldest first."""
    found: defaultdict[str, list[Server]] = defaultdict(list)
    for cloud in world.clouds:
        if not cloud.fault:
            for server in cloud.servers:
                found[server.node].append(server)
    return {node: tuple(sorted(servers, key=lambda server: server.created)) for node, servers in found.items()}


def last_heard(slots: Iterable[Slot]) -> float:
    """When the collector last heard any of these slots; 0 if there are none."""
    return max((slot.heard for slot in slots), default=0.0)


def idle_since(slots: Sequence[Slot]) -> float:
    """Since when none of these slots has had a job, by their own ads; 0 if an ad does not tell."""
    return max(slot.idle_since for slot in slots) if slots and all(slot.idle_since for slot in slots) else 0.0


def is_drained(slots: Sequence[Slot]) -> bool:
    """Whether no slot has a claim, and none takes one until the drain is cancelled.

    A startd takes a slot from Drained/Retiring to Drained/Idle when all its slots are Drained (ResMgr.cpp,
    drainingIsComplete); of static slots the others' ads follow up to a minute later, so one Idle is enough.
    """
    return all(slot.state == "Drained" for slot in slots) and any(slot.activity == "Idle" for slot in slots)


def is_drained_by_us(slots: Sequence[Slot]) -> bool:
    """Whether the drain of this startd, done or under way, is one of ours."""
    return bool(slots) and all(slot.drain_reason.startswith(DRAIN_REASON) for slot in slots)


def condor_state(slots: Sequence[Slot], joined: float, now: float, watched: float = 0.0) -> CondorState:
    """What the ads say of a node; `joined` is when it was first seen, 0 if never; `watched` as it is remembered."""
    if not slots:
        return CondorState.LOST if joined else CondorState.ABSENT
    if now - max(last_heard(slots), watched) > SILENT:
        return CondorState.LOST
    if is_drained(slots):
        return CondorState.DRAINED
    if any(slot.draining or slot.state == "Drained" for slot in slots):
        return CondorState.DRAINING
    if any(slot.claimed or slot.kind == "Dynamic" for slot in slots):
        return CondorState.BUSY
    return CondorState.IDLE


def vm_state(servers: Sequence[Server]) -> VmState:
    """The state of a node's server; of several (which should not be) the oldest speaks."""
    return servers[0].vm_state if servers else VmState.UNKNOWN


def remember(memory: Memory, world: World, settings: Settings) -> Memory:
    """The memory with what this pass has seen: nodes noted, intents settled, what is gone forgotten. Pure."""
    slots, servers = slots_by_node(world, settings.pool), servers_by_node(world)
    answered = {cloud.name for cloud in world.clouds if not cloud.fault}
    configured = {cloud.name for cloud in world.clouds}
    nodes: dict[str, Remembered] = {}
    for node in sorted({*servers, *memory.nodes, *slots}):
        seen = _remember_node(node, memory, servers.get(node, ()), slots.get(node, ()), world)
        unlisted = node not in servers and (seen.cloud in answered or seen.cloud not in configured)
        if not unlisted or world.now - seen.heard <= FRESH or _may_have_been_left_out(seen, world.now, settings):
            nodes[node] = seen
    flavors = [flavor for cloud in world.clouds for flavor in cloud.flavors]
    boots = note_joined(memory, nodes, flavors, world.now)
    intents = _open_intents(memory.intents, nodes, answered, world.now, settings)
    known = _known_flavors(memory, [*nodes.values(), *intents.values()], flavors)
    spent = note_spent(memory.spent, _bills(nodes, servers, known, answered), world.now, settings.scaling.time_zone)
    return Memory(nodes, intents, boots, _learned(memory, flavors, world), known, spent)


def _learned(memory: Memory, flavors: Iterable[Flavor], world: World) -> dict[str, Sample]:
    """What nodes advertise, of the flavors that there are, and of those of clouds that do not answer now."""
    silent = {cloud.name for cloud in world.clouds if cloud.fault}
    keys = {keys_of(flavor)[0] for flavor in flavors}
    every = {**memory.samples, **{sample.key: sample for sample in world.samples}}
    kept = {key: every[key] for key in sorted(every) if key in keys or key.partition("/")[0] in silent}
    return {key: replace(sample, at=min(sample.at, world.now)) for key, sample in kept.items()}


def _known_flavors(
    memory: Memory, wanted: Iterable[Remembered | Intent], flavors: Iterable[Flavor]
) -> dict[str, KnownFlavor]:
    """What flavors come to: those offered now, and those of nodes whose cloud is silent or offers them no more."""
    now = {one.key: one for one in map(KnownFlavor.of, flavors)}
    used = {f"{one.cloud}/{one.flavor}" for one in wanted}
    return {key: one for key, one in memory.flavors.items() if key in used} | now


def _bills(
    nodes: Mapping[str, Remembered],
    servers: Mapping[str, Sequence[Server]],
    known: Mapping[str, KnownFlavor],
    answered: Collection[str],
) -> Iterator[Bill]:
    """What costs money now: the servers that are listed, and the nodes of silent clouds."""
    for node, seen in nodes.items():
        for server in servers.get(node, ()):
            if price := known.get(f"{server.cloud}/{server.flavor}"):
                yield Bill(price.price, server.created or seen.first_seen)
        price = known.get(f"{seen.cloud}/{seen.flavor}")
        if price and node not in servers and seen.cloud not in answered:
            yield Bill(price.price, seen.first_seen)


def _may_have_been_left_out(seen: Remembered, now: float, settings: Settings) -> bool:
    """A cloud may answer in part without saying so: a node that boots, and so gives no sign of life of its own, is
    missed for a while before it is forgotten and replaced."""
    return not seen.joined and 0 <= now - seen.listed <= settings.scaling.intent_timeout


def _remember_node(
    node: str, memory: Memory, servers: Sequence[Server], slots: Sequence[Slot], world: World
) -> Remembered:
    cloud = servers[0].cloud if servers else slots[0].cloud if slots else ""
    flavor = servers[0].flavor if servers else ""
    born = Remembered(node, cloud, flavor, world.now)
    if intent := memory.intents.get(node):  # its startd may speak before its cloud lists it, and be silent then
        cloud, flavor = cloud or intent.cloud, flavor or intent.flavor
        born = Remembered(node, cloud, flavor, world.now, created_here=True, server=intent.server, recipe=intent.recipe)
    past = memory.nodes.get(node) or born
    past = _watch(past, slots, world.now)
    if servers:
        past = replace(past, listed=world.now, server=servers[0].id)
    if not slots:
        return past
    state = condor_state(slots, past.joined, world.now, past.watched)
    return replace(
        past,
        joined=past.joined or world.now,
        heard=max(past.heard, last_heard(slots)),
        idle_since=(past.idle_since or world.now) if state is CondorState.IDLE else 0.0,
    )


def _watch(past: Remembered, slots: Sequence[Slot], now: float) -> Remembered:
    """The memory of a node with the start of its silence, which no jump of the clock makes longer: a startd that has
    spoken since the last pass is alive, whatever the time; and what is remembered of the future was now."""
    spoken = 0 < past.heard < last_heard(slots)
    unwatched = past.listed > 0 and not 0 <= now - past.listed <= BREAK
    times = {name: min(getattr(past, name), now) for name in ("first_seen", "joined", "heard", "listed")}
    return replace(past, **times, watched=now if spoken or unwatched else min(past.watched, now))


def _open_intents(
    intents: Mapping[str, Intent], nodes: Mapping[str, Remembered], answered: set[str], now: float, settings: Settings
) -> dict[str, Intent]:
    """An intent is settled by the listing of its node, or by its absence from a whole listing long enough after."""
    patience = settings.scaling.intent_timeout
    return {
        node: replace(intent, at=min(intent.at, now))
        for node, intent in intents.items()
        if node not in nodes
        and not (intent.cloud in answered and now - intent.at >= patience * (UNCLEAR if intent.unclear else 1))
    }


def join(world: World, memory: Memory, pool: str) -> tuple[Node, ...]:
    """Every node of ours: listed, remembered of a silent cloud, seen only as ads, or only intended yet."""
    slots, servers = slots_by_node(world, pool), servers_by_node(world)
    offered = {one.key: one for cloud in world.clouds for one in map(KnownFlavor.of, cloud.flavors)}
    sizes = {key: one.resources for key, one in {**memory.flavors, **offered}.items()}
    nodes = [
        _node(node, memory, servers.get(node, ()), slots.get(node, ()), sizes, world)
        for node in sorted({*servers, *slots, *memory.nodes})
    ]
    intended = [
        Node(
            intent.node,
            intent.cloud,
            intent.flavor,
            VmState.BOOTING,
            CondorState.ABSENT,
            sizes.get(f"{intent.cloud}/{intent.flavor}", Resources()),
            created=intent.at,
            created_here=True,
        )
        for intent in memory.intents.values()
        if intent.node not in servers and intent.node not in slots
    ]
    return (*nodes, *sorted(intended, key=lambda node: node.id))


def _node(
    node: str,
    memory: Memory,
    servers: tuple[Server, ...],
    slots: tuple[Slot, ...],
    sizes: Mapping[str, Resources],
    world: World,
) -> Node:
    past = memory.nodes.get(node) or Remembered(node, slots[0].cloud if slots else "", "", world.now)
    flavor = servers[0].flavor if servers else past.flavor
    cloud = servers[0].cloud if servers else past.cloud
    return Node(
        node,
        cloud,
        flavor,
        vm_state(servers),
        condor_state(slots, past.joined, world.now, past.watched),
        sizes.get(f"{cloud}/{flavor}", Resources()),
        servers,
        slots,
        past.first_seen,
        past.joined,
        max(past.heard, last_heard(slots)),
        past.watched,
        idle_since(slots) or past.idle_since,
        past.created_here,
        is_drained_by_us(slots),
    )


def whole_of(node: Node) -> Resources:
    """What its startd offers in all: by its ads, without any by its flavor."""
    totals = [slot.total for slot in node.slots if slot.kind != "Dynamic"]
    return sum(totals, Resources()) if totals else node.resources


def startds(world: World) -> dict[str, set[str]]:
    """Which node's startds, or whose else (an empty name), call themselves the same: node ids by Machine."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for slot in world.slots:
        found[slot.machine].add(slot.node)
    return found
