"""What nodes have cost in each calendar month, added up from pass to pass: a number a month, however many nodes. Pure.

It is what passes saw: nodes that came and went while none ran are missing. After a loss of the state file only the
servers that are still there count, from their creation. A clock that jumps ahead counts as time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ehoslite.memory import Memory, Spent
from ehoslite.windows import month_began, month_of

# The months that are kept, this one included.
MONTHS = 13
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Bill:
    """A server that costs so much an hour, and did since it was created."""

    price: float
    created: float


def note_spent(spent: Mapping[str, Spent], bills: Iterable[Bill], now: float, time_zone: str) -> dict[str, Spent]:
    """The months with what these servers have cost since the last pass; without one, since this month began."""
    month, began = month_of(now, time_zone), month_began(now, time_zone)
    past = {key: replace(one, until=min(one.until, now)) for key, one in spent.items() if key <= month}
    last = max((one.until for one in past.values()), default=began)
    due = list(bills)
    if last < began and (before := max(past, default="")):  # the last pass was in an earlier month: that gets its part
        past[before] = replace(past[before], amount=past[before].amount + cost_between(due, last, began), until=began)
    amount = past[month].amount if month in past else 0.0
    past[month] = Spent(month, amount + cost_between(due, max(last, began), now), now)
    return {key: past[key] for key in sorted(past)[-MONTHS:]}


def cost_between(bills: Iterable[Bill], since: float, until: float) -> float:
    """What these servers have cost in this time."""
    return sum(one.price * max(0.0, until - max(since, one.created)) / HOUR for one in bills)


def spent_this_month(memory: Memory, now: float, time_zone: str) -> float:
    """What nodes have cost in this calendar month so far."""
    entry = memory.spent.get(month_of(now, time_zone))
    return entry.amount if entry else 0.0
