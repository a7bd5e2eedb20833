"""Short sequences in which faults meet: where chance alone would seldom bring them together, these do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from faults.model.breaking import EFFECTS
from faults.model.histories import Step

Motif = Callable[[random.Random], Sequence[Step]]

# Waits by their number in events.WAITS: 20 s, a minute, three minutes.
SHORT, MINUTE, MINUTES = 0, 1, 3
PASS = Step("pass")
LATE, DOWN, FULL, NEVER_JOINS = 5, 0, 2, 7
DRAINED_AT = ("pool.slots", "pool.demand", "pool.drain")
WRITES = ("state.open", "state.fsync", "state.rename")
CREATES = ("cloud.create", "cloud.port", "pool.token", "state.rename", "state.folder")


def _any(chance: random.Random) -> int:
    return chance.randrange(12)


def job_before_the_drain(chance: random.Random) -> Sequence[Step]:
    """A job that forbids retirement lands on an idle node after it was looked at."""
    land = Step("land", 6, _any(chance), chance.choice(DRAINED_AT), after=chance.random() < 0.3)
    return [Step("submit", 2, 0), PASS, Step("wait", MINUTES), PASS, Step("wait", 4), land, PASS, PASS]


def drain_forgotten(chance: random.Random) -> Sequence[Step]:
    """A drained node restarts and takes a job between the plan and the last look before the delete."""
    on = "pool.slots_of"
    between = [Step("restart", 0, 0, on), Step("submit", 2, 3, on), Step("hurry", on=on)]
    looks = [PASS, Step("wait", chance.choice((MINUTE, MINUTES)))] * 8
    return [*between, Step("submit", 2, 0), PASS, Step("wait", 4), *looks]


def back_at_the_last_moment(chance: random.Random) -> Sequence[Step]:
    """A node whose lease has run out is heard of again between the plan and the last look, and gets a job."""
    on = "pool.slots_of"
    gone = [Step("submit", 2, 3), PASS, Step("wait", 4), PASS, Step("cut", 0, 0)]
    back = [Step("heal", on=on), Step("submit", 2, 3, on), Step("hurry", on=on)]
    return [*gone, *back, *[PASS, Step("wait", chance.choice((MINUTES, 4)))] * 10]


def cut_off_unseen(chance: random.Random) -> Sequence[Step]:
    """Nodes join, get jobs and are cut off between two passes, and the collector forgets them."""
    looks = [PASS, Step("wait", MINUTES)] * chance.randint(6, 9)
    return [
        Step("submit", 2, 7),
        PASS,
        Step("wait", 4),
        Step("cut", 0, 0),
        Step("restart_collector"),
        *looks,
        Step("heal"),
    ]


def silent_for_a_while(chance: random.Random) -> Sequence[Step]:
    """The network to the nodes is cut for less than the lease, or more."""
    looks = [PASS, Step("wait", chance.choice((MINUTES, 4)))] * chance.randint(2, 7)
    busy = [Step("submit", chance.randrange(4), 7), PASS, Step("wait", MINUTES), PASS]
    return [*busy, Step("cut", _any(chance), chance.choice((0, 1))), *looks, Step("heal"), PASS]


def late_creation(chance: random.Random) -> Sequence[Step]:
    """A creation whose reply is lost is listed late; the pass is killed, or its disk is full, or neither."""
    b = _any(chance)
    kill = [Step("kill", 0, 0, chance.choice(CREATES), after=bool(chance.getrandbits(1)))]
    full = [Step("full", 1, 0, chance.choice(WRITES)) for _ in range(2)]
    jobs = [Step("submit", 3, 7), Step("submit", 3, 6)][: chance.randrange(3)] or [Step("submit", 2, 0)]
    rest = [PASS, Step("wait", SHORT), PASS, Step("wait", chance.choice((SHORT, MINUTE))), PASS]
    late = [Step("trouble", LATE, b), Step("trouble", LATE, b + 1)]
    return [*late, *jobs, *chance.choice((kill, kill, full, [])), PASS, *rest]


def boot_that_never_joins(chance: random.Random) -> Sequence[Step]:
    """Nodes boot and never join, until their time is over and their console is read."""
    b = _any(chance)
    broken = [Step("trouble", NEVER_JOINS, b), Step("trouble", NEVER_JOINS, b + 1)]
    looks = [PASS, Step("wait", chance.choice((MINUTE, MINUTES)))] * 10
    return [*broken, Step("submit", 3, _any(chance)), PASS, *looks]


def silence_of_a_cloud(chance: random.Random) -> Sequence[Step]:
    """A cloud is full or silent while its nodes boot, and jobs wait."""
    jobs = [Step("submit", 3, 7), Step("submit", 3, 6), PASS, *[Step("wait", MINUTE), PASS] * chance.randrange(3)]
    down = Step("trouble", chance.choice((DOWN, FULL)), _any(chance))
    after = [PASS, Step("wait", MINUTE), PASS, Step("wait", MINUTE), PASS]
    return [*jobs, down, *after, Step("mend", down.a, down.b), PASS]


def drained_by_somebody(chance: random.Random) -> Sequence[Step]:
    """An administrator drains a node that jobs want."""
    node = _any(chance)
    before = [Step("submit", 2, 1), PASS, Step("wait", 4), PASS]
    rest = [Step("wait", MINUTE), PASS, Step("submit", 2, 7), PASS, Step("wait", MINUTES), PASS]
    return [*before, Step("drain_by_hand", node, 1), *rest, Step("drain_by_hand", node, 0)]


def schedd_not_known_yet(chance: random.Random) -> Sequence[Step]:
    """The collector restarts, or a schedd hangs, while nodes fall idle and jobs wait."""
    jobs, which = [Step("submit", 2, 0), PASS, Step("wait", MINUTES), PASS], _any(chance)
    blind = chance.choice((Step("restart_collector"), Step("silence", which, 0)))
    rest = [Step("submit", 2, which), PASS, Step("wait", MINUTE), PASS, Step("wait", MINUTES), PASS]
    return [*jobs, Step("wait", MINUTES), blind, *rest, Step("silence", which, 1)]


def clock_ahead(chance: random.Random) -> Sequence[Step]:
    """The clock jumps while jobs run, and later back."""
    jobs = [Step("submit", chance.randrange(4), 7), PASS, Step("wait", MINUTES), PASS]
    looks = [PASS, Step("wait", MINUTE)] * chance.randint(1, 3)
    return [*jobs, Step("skew", _any(chance)), *looks, Step("skew"), PASS]


def killed_twice(chance: random.Random) -> Sequence[Step]:
    """Kills at two effects, one pass after the other, while there is work."""
    kills = [Step("kill", 0, 0, chance.choice(EFFECTS), after=bool(chance.getrandbits(1))) for _ in range(2)]
    return [Step("submit", _any(chance), _any(chance)), *kills, PASS, PASS, Step("wait", MINUTE), PASS]


def frozen_by_hand(chance: random.Random) -> Sequence[Step]:
    """Somebody suspends, stops or rescues a server, or several, with a job on it, and perhaps resumes it."""
    busy = [Step("submit", 2, 7), PASS, Step("wait", MINUTES), PASS]
    hands = [Step("lay_hands_on", _any(chance), chance.randrange(1, 6)) for _ in range(2)]
    rest = [PASS, Step("wait", MINUTES), PASS, Step("lay_hands_on", _any(chance), 4), PASS]
    return [*busy, *hands, *rest]


def damaged_in_between(chance: random.Random) -> Sequence[Step]:
    """The state file is lost or damaged while there are nodes."""
    jobs = [Step("submit", chance.randrange(4), 7), PASS, Step("wait", MINUTES), PASS]
    return [*jobs, Step("damage", _any(chance), _any(chance)), PASS, Step("wait", MINUTE), PASS]


def another_image(chance: random.Random) -> Sequence[Step]:
    """The image changes while nodes are busy, idle, booting or going, and jobs go on coming."""
    jobs = [Step("submit", chance.randrange(4), 7), *[PASS, Step("wait", MINUTES)] * chance.randrange(3)]
    change = Step("change_image", 0, _any(chance), chance.choice(("", *EFFECTS)))
    looks = [PASS, Step("wait", chance.choice((MINUTE, MINUTES)))] * 4
    return [*jobs, change, *looks, Step("submit", 2, 3), *looks]


def strangers_beside_us(chance: random.Random) -> Sequence[Step]:
    """Others use the same project, for longer than a job lease."""
    looks = [PASS, Step("wait", 4)] * 9
    return [Step("make_foreign", 0, 0), Step("submit", 2, _any(chance)), PASS, Step("wait", MINUTES), *looks]


def listed_in_part(chance: random.Random) -> Sequence[Step]:
    """A cloud lists half of its servers for some minutes, while more jobs come; only where troubles reach so far."""
    jobs = [Step("submit", chance.randrange(4), 7), PASS]
    looks = [Step("wait", chance.choice((SHORT, MINUTE, MINUTES))), PASS] * 3
    return [*jobs, Step("trouble", 1, 0), *looks, Step("submit", 3, 6), *looks, Step("mend", 0, 0), PASS]


MOTIFS: tuple[Motif, ...] = (
    listed_in_part,
    frozen_by_hand,
    damaged_in_between,
    another_image,
    strangers_beside_us,
    job_before_the_drain,
    drain_forgotten,
    back_at_the_last_moment,
    cut_off_unseen,
    silent_for_a_while,
    late_creation,
    boot_that_never_joins,
    silence_of_a_cloud,
    drained_by_somebody,
    schedd_not_known_yet,
    clock_ahead,
    killed_twice,
)
