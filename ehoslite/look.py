"""What `ehoslite why` speaks of: what a pass would see and decide now. It looks as a pass looks and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ehoslite.actions import Plan
from ehoslite.clouds import open_clouds
from ehoslite.memory import Memory
from ehoslite.model import World
from ehoslite.nodes import remember
from ehoslite.observe import observe
from ehoslite.plan import plan
from ehoslite.pool import Pool
from ehoslite.record import Record
from ehoslite.settings import Settings


@dataclass(frozen=True)
class Look:
    """What a dry run has seen and decided; `caps` are those of demand.caps."""

    world: World
    memory: Memory
    plan: Plan
    caps: Mapping[str, int] = field(default_factory=dict)


def take_look(pool: Pool, settings: Settings, now: float, remaining: Callable[[], float]) -> Look:
    """Look and plan as a pass does. Raises PoolUnreachable."""
    memory = Record(settings.record, now, keep=False).memory()
    world = observe(pool, open_clouds(settings, remaining), memory, now)
    decided = plan(world, remember(memory, world, settings), settings)
    return Look(world, memory, decided, settings.demand.caps)
