"""What boots have taught: which flavors and clouds fail in a row, and how long a boot takes. Pure.

Losing this memory costs a few failed boots, never a node or a job (law 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ehoslite.actions import Create, Delete, Outcome
from ehoslite.memory import Boots, Memory, Remembered
from ehoslite.model import Flavor

# Reasons of deletions that say that a boot failed.
FAILED_BOOTS = frozenset({"build-failed", "no-valid-host", "build-quota", "boot-timeout"})
# A creation refused so fails again until a person or the cloud changes something.
REFUSALS = frozenset({"bad-request", "misconfigured"})
# So many boots are remembered to judge the next one by.
TIMES = 10
# What failed so long ago says nothing any more.
FORGET_AFTER = 86400.0


def keys_of(flavor: Flavor) -> tuple[str, str]:
    """Under which names its boots are remembered: the flavor's own and its cloud's. A change of the image, the template
    or the settings makes new names, so a mended cloud begins anew."""
    return f"{flavor.cloud}/{flavor.name}/{flavor.recipe}", f"{flavor.cloud}//{flavor.recipe}"


def note_joined(
    memory: Memory, after: Mapping[str, Remembered], flavors: Iterable[Flavor], now: float
) -> dict[str, Boots]:
    """The boots with those that have just joined: a success ends a row of failures. What is remembered of the future
    (the clock has jumped back) was now."""
    known = {(flavor.cloud, flavor.name): flavor for flavor in flavors}
    learned = {key: replace(entry, failed_at=min(entry.failed_at, now)) for key, entry in memory.boots.items()}
    for node, seen in sorted(after.items()):
        flavor, before = known.get((seen.cloud, seen.flavor)), memory.nodes.get(node)
        if flavor is None or before is None or before.joined or not seen.joined or not seen.created_here:
            continue
        for key in keys_of(flavor):
            times = (*learned.get(key, Boots(key)).times, max(0.0, seen.joined - seen.first_seen))
            learned[key] = Boots(key, times=times[-TIMES:])
    return learned


def note_failures(memory: Memory, outcomes: Sequence[Outcome], flavors: Iterable[Flavor], now: float) -> Memory:
    """The memory with the boots and creations that have failed in this pass: a round for each flavor, however many."""
    known = {(flavor.cloud, flavor.name): flavor for flavor in flavors}
    failed: dict[str, list[str]] = {}
    for outcome in outcomes:
        flavor, why = _failure(outcome, known)
        if flavor is not None:
            for key in keys_of(flavor):
                failed.setdefault(key, []).append(why)
    fresh = {
        key: entry if now - entry.failed_at < FORGET_AFTER else Boots(key, times=entry.times)
        for key, entry in memory.boots.items()
    }
    boots = {key: entry for key, entry in fresh.items() if entry.failures or entry.times}
    for key, whys in failed.items():
        entry = boots.get(key, Boots(key))
        boots[key] = replace(
            entry, failures=entry.failures + len(whys), rounds=entry.rounds + 1, failed_at=now, why=whys[-1]
        )
    return replace(memory, boots=boots)


def _failure(outcome: Outcome, known: Mapping[tuple[str, str], Flavor]) -> tuple[Flavor | None, str]:
    """The flavor whose boot or creation has failed, and why; None where nothing has."""
    action = outcome.action
    if isinstance(action, Create) and outcome.fault in REFUSALS:
        return action.flavor, outcome.error
    if (
        isinstance(action, Delete)
        and not outcome.error
        and action.reason.code in FAILED_BOOTS
        and not action.node.joined
    ):
        text = f"{action.reason.text}; {outcome.detail}" if outcome.detail else action.reason.text
        return known.get((action.node.cloud, action.node.flavor)), text
    return None, ""
