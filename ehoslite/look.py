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
    """What a dry run has seen and decided; `caps` are those of demand.caps, and `passive` says why no pass acts on this
    machine now, of two managers (empty if one does)."""

    world: World
    memory: Memory
    plan: Plan
    caps: Mapping[str, int] = field(default_factory=dict)
    passive: str = ""


def take_look(pool: Pool, settings: Settings, now: float, remaining: Callable[[], float]) -> Look:
    """Look and plan as a pass does; also where a pass would not, as the other of two managers is the active one.
    Raises PoolUnreachable."""
    passive = pool.why_passive(settings.pool) if settings.condor.high_availability else ""
    memory = Record(settings.record, now, keep=False).memory()
    world = observe(pool, open_clouds(settings, remaining), memory, now)
    decided = plan(world, remember(memory, world, settings), settings)
    return Look(world, memory, decided, settings.demand.caps, passive)


def passive_lines(look: Look) -> list[str]:
    """What is said first where no pass acts."""
    text = "a pass on this machine does nothing now; what follows is what it would do if this were the active manager"
    return [f"{text}: {look.passive} [not-active]", ""] if look.passive else []
