"""Asks the clouds, then the slots, then the queue, and returns one World. Never writes.

Capacity first, demand last: a job that starts in between then counts neither as waiting nor as room, which costs a
node too few for a minute; the other way round it would cost a node too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ehoslite.clouds import Cloud
from ehoslite.errors import CloudUnreachable, EhosError
from ehoslite.matching import what_nodes_ask, what_to_match, with_learned_sizes, with_matches
from ehoslite.memory import Memory
from ehoslite.model import CloudView, Server, Slot, World
from ehoslite.pool import Pool
from ehoslite.resources import Resources

# How many servers that a listing leaves out are asked for; each costs a call.
ASKED_AFTER = 20


def observe(pool: Pool, clouds: Sequence[Cloud], memory: Memory, now: float) -> World:
    """What there is now. A cloud or schedd that does not answer, or answers in part, is named in the World; raises
    PoolUnreachable when the collector does not: then nothing is known."""
    views = look_at_clouds(clouds, memory)
    slots, since, schedds = pool.slots()
    demand = pool.demand(schedds, what_nodes_ask(views, memory), sizes_of_room(views, slots, memory))
    return evaluate(pool, World(now, views, slots, demand, since), memory)


def sizes_of_room(views: tuple[CloudView, ...], slots: Iterable[Slot], memory: Memory) -> list[Resources]:
    """How large slots are and new nodes would be, whatever runs there now; of those that differ in disk alone, as
    thousands may, the largest."""
    sizes = [one.resources for view in with_learned_sizes(views, memory.samples) for one in view.flavors]
    sizes += [slot.total for slot in slots if slot.kind != "Dynamic"]
    largest: dict[tuple[float, float, float], Resources] = {}
    for size in sorted(sizes):
        largest[size.cpus, size.memory, size.gpus] = size
    return list(largest.values())


def evaluate(pool: Pool, world: World, memory: Memory) -> World:
    """The World with the verdicts on which shapes run where. Where HTCondor gives none, amounts alone decide, and the
    World says so."""
    matching = what_to_match(world, memory)
    if matching is None:
        return replace(world, clouds=with_learned_sizes(world.clouds, memory.samples))
    try:
        return with_matches(world, matching, pool.match(matching))
    except EhosError as error:
        clouds = with_learned_sizes(world.clouds, memory.samples)
        return replace(world, clouds=clouds, unmatched=str(error))


def look_at_clouds(clouds: Sequence[Cloud], memory: Memory) -> tuple[CloudView, ...]:
    """What each cloud answers, asked side by side."""
    if len(clouds) == 1:
        return (_look(clouds[0], memory),)
    with ThreadPoolExecutor(max(1, len(clouds))) as side_by_side:
        return tuple(side_by_side.map(lambda cloud: _look(cloud, memory), clouds))


def _look(cloud: Cloud, memory: Memory) -> CloudView:
    try:
        servers = cloud.servers()
        _check_whole(cloud, servers, memory)
        return CloudView(cloud.name, cloud.flavors(), servers, cloud.room(), leftovers=cloud.leftovers())
    except EhosError as error:
        return CloudView(cloud.name, fault=str(error))


def _check_whole(cloud: Cloud, servers: Sequence[Server], memory: Memory) -> None:
    """A cloud may leave servers out and not say so (Nova does, of a cell that is down): those that earlier passes saw
    or made are asked for by their ids. Some are enough: where all of them are gone, the listing is believed."""
    listed = {server.id for server in servers}
    seen = {one.server for one in memory.nodes.values() if one.cloud == cloud.name}
    made = {one.server for one in memory.intents.values() if one.cloud == cloud.name}
    for server in sorted((seen | made) - listed - {""})[:ASKED_AFTER]:
        if cloud.exists(server):
            text = f"it lists {len(servers)} servers of ours without {server}, which exists: its listing is not whole"
            raise CloudUnreachable(text, "partial")
