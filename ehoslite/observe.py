"""Asks the clouds, then the slots, then the queue, and returns one World. Never writes.

Capacity first, demand last: a job that starts in between then counts neither as waiting nor as room, which costs a
node too few for a minute; the other way round it would cost a node too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ehoslite.clouds import Cloud
from ehoslite.errors import EhosError
from ehoslite.model import CloudView, World
from ehoslite.pool import Pool


def observe(pool: Pool, clouds: Sequence[Cloud], now: float) -> World:
    """What there is now. A cloud or schedd that does not answer is named in the World; raises PoolUnreachable when
    the collector does not: then nothing is known."""
    views = look_at_clouds(clouds)
    slots, since, schedds = pool.slots()
    return World(now, views, slots, pool.demand(schedds), since)


def look_at_clouds(clouds: Sequence[Cloud]) -> tuple[CloudView, ...]:
    """What each cloud answers, asked side by side."""
    if len(clouds) == 1:
        return (_look(clouds[0]),)
    with ThreadPoolExecutor(max(1, len(clouds))) as side_by_side:
        return tuple(side_by_side.map(_look, clouds))


def _look(cloud: Cloud) -> CloudView:
    try:
        return CloudView(cloud.name, cloud.flavors(), cloud.servers(), cloud.room(), leftovers=cloud.leftovers())
    except EhosError as error:
        return CloudView(cloud.name, fault=str(error))
