"""Draws histories, plays them, counts what happened in them, and shrinks the one that breaks a law."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from faults.model.breaking import EFFECTS
from faults.model.histories import USUAL, History, Reach, Step, at_play
from faults.model.laws import LAWS
from faults.model.motifs import MOTIFS, Motif
from faults.model.settling import settle
from faults.model.things import LawBroken

# What happens between passes, by how often.
OFTEN = {
    "pass": 30,
    "submit": 8,
    "wait": 8,
    "cut": 1,
    "heal": 2,
    "restart": 1,
    "restart_collector": 1,
    "stop_collector": 1,
    "silence": 2,
    "lag": 1,
    "skew": 1,
    "trouble": 4,
    "mend": 4,
    "lay_hands_on": 2,
    "change_image": 1,
    "drain_by_hand": 1,
    "make_foreign": 1,
    "damage": 2,
    "keep_copy": 1,
}
# What happens during them.
DURING = (
    "land",
    "land",
    "hurry",
    "cut",
    "restart",
    "restart_collector",
    "second_pass",
    "lay_hands_on",
    "change_image",
    "drain_by_hand",
)
# Effects in the main thread of a pass: there the deadline's alarm is raised.
IN_MAIN_THREAD = tuple(name for name in EFFECTS if name.startswith(("state.", "pool.s")))
WRITES = ("state.open", "state.fsync", "state.rename")


@dataclass
class Tally:
    """What a run came to."""

    histories: int = 0
    passes: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[History, LawBroken]] = field(default_factory=list)


def draw(chance: random.Random, reach: Reach = USUAL, motif: Motif | None = None) -> History:
    """A history by chance; with a motif, of that alone."""
    steps: list[Step] = []
    for _ in range(chance.randint(1, 6)):
        if motif is not None or chance.random() < 0.5:
            steps += (motif or chance.choice(MOTIFS))(chance)
        else:
            steps += draw_freely(chance)
    return History(chance.getrandbits(32), chance.randrange(360), tuple(steps), reach)


def draw_freely(chance: random.Random) -> Iterator[Step]:
    """Steps that have nothing to do with each other."""
    kinds, weights = list(OFTEN), list(OFTEN.values())
    for _ in range(chance.randint(2, 20)):
        if chance.random() < 0.2:
            yield draw_break(chance)
        else:
            yield Step(chance.choices(kinds, weights)[0], chance.randrange(12), chance.randrange(12))


def draw_break(chance: random.Random) -> Step:
    """Something that happens at an effect."""
    after, a, b = bool(chance.getrandbits(1)), chance.randrange(12), chance.randrange(12)
    what = chance.random()
    if what < 0.5:
        return Step("kill", a, b, chance.choice(EFFECTS), after)
    if what < 0.6:
        return Step("full", a, b, chance.choice(WRITES), after=False)
    if what < 0.65:
        return Step("alarm", a, b, chance.choice(IN_MAIN_THREAD), after)
    return Step(chance.choice(DURING), a, b, chance.choice(EFFECTS), after)


def play(history: History, tally: Tally) -> LawBroken | None:
    """Play it to its end; gives the law that it broke."""
    with at_play(history) as world:
        try:
            for step in history.steps:
                world.do(step)
            settle(world)
            broken = None
        except LawBroken as error:
            broken = error
        tally.histories += 1
        tally.passes += world.passes
        tally.seconds += world.world.now - 1_700_000_000
        tally.counts += world.world.counts
        tally.kills += world.effects.kills
        tally.effects += world.effects.made
    return broken


def run(
    passes: int,
    seed: int,
    reach: Reach = USUAL,
    give_up: int = 1,
    laws: Collection[str] = tuple(LAWS),
    motif: Motif | None = None,
) -> Tally:
    """Histories until so many passes are made, or so many histories have broken one of these laws."""
    tally, chance = Tally(), random.Random(seed)  # noqa: S311 - replayable
    while tally.passes < passes and len(tally.broken) < give_up:
        history = draw(chance, reach, motif)
        if (broken := play(history, tally)) is not None and broken.law in laws:
            tally.broken.append((history, broken))
    return tally


def kill_everywhere(tally: Tally, seed: int, reach: Reach = USUAL, tries: int = 200) -> list[str]:
    """Histories with a kill before and after each effect at which the run has made none; gives those at which it could
    make none in so many tries."""
    chance = random.Random(seed)  # noqa: S311 - replayable
    missing = [(name, after) for name in EFFECTS for after in (False, True) if place(name, after) not in tally.kills]
    for name, after in missing:
        for _ in range(tries):
            history = draw(chance, reach)
            history = replace(history, steps=(Step("kill", 0, 0, name, after), *history.steps))
            if (broken := play(history, tally)) is not None:
                tally.broken.append((history, broken))
            if place(name, after) in tally.kills:
                break
    return [place(name, after) for name, after in missing if place(name, after) not in tally.kills]


def place(effect: str, after: bool) -> str:
    """How a kill there is counted."""
    return f"{effect} {'after' if after else 'before'}"


def shrink(history: History, law: str, seconds: float = 60.0) -> History:
    """A shorter history that breaks the same law; so many seconds are spent on it."""
    until = time.monotonic() + seconds

    def still(other: History) -> bool:
        broken = play(other, Tally())
        return broken is not None and broken.law == law

    size = max(1, len(history.steps) // 2)
    while time.monotonic() < until:
        for start in range(0, len(history.steps), size):
            shorter = replace(history, steps=history.steps[:start] + history.steps[start + size :])
            if len(shorter.steps) < len(history.steps) and still(shorter):
                history = shorter
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    return simplify(history, still)


def simplify(history: History, still: Callable[[History], bool]) -> History:
    """The same with zeros where they do."""
    for number, step in enumerate(history.steps):
        for other in (replace(step, a=0), replace(step, b=0)):
            tried = replace(history, steps=(*history.steps[:number], other, *history.steps[number + 1 :]))
            if other != step and still(tried):
                history = tried
    return replace(history, shape=0) if still(replace(history, shape=0)) else history


# Under which name a broken law stands in the figures; every other law is one of "other laws broken".
FIGURES = {
    "killed": "jobs killed",
    "orphan": "servers orphaned",
    "doubled": "servers doubled",
    "limits": "limits exceeded",
}


def lines(tally: Tally) -> Iterator[str]:
    """What a run came to, a name and a number a line."""
    yield f"histories: {tally.histories}"
    yield f"passes: {tally.passes}"
    yield f"days of virtual time: {tally.seconds / 86400:.0f}"
    yield f"effect boundaries: {2 * len(EFFECTS)}"
    yield f"effect boundaries killed at: {len(tally.kills)}"
    yield f"kills: {tally.kills.total()}"
    yield f"drain decisions: {tally.counts['drains'] + tally.counts['drains raced by a job']}"
    for name, count in sorted(tally.kills.items()):
        yield f"killed {name}: {count}"
    for name, count in sorted(tally.counts.items()):
        yield f"{name}: {count}"
    broken = Counter(FIGURES.get(error.law, "other laws broken") for _, error in tally.broken)
    for name in (*FIGURES.values(), "other laws broken"):
        yield f"{name}: {broken[name]}"
