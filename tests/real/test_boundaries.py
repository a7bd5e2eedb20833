"""Passes on the real HTCondor and the local cloud, killed at their effects. Laws 1, 2, 3, 7 and 8.

`python -m faults boundaries` kills before and after each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.boundaries import local
from faults.boundaries.breakages import BREAKAGES
from faults.boundaries.haste import hastened
from faults.boundaries.mutations import MUTATIONS
from faults.boundaries.play import Play
from faults.boundaries.running import break_once, play_all, steps_of
from faults.boundaries.tally import Boundary, Tally
from lab.release import Release

# Where most can be lost. The whole takes a quarter of an hour.
CHOSEN = (
    Boundary("looking", "state file: fsync of its folder", "before"),
    Boundary("creating", "state file: rename", "before"),
    Boundary("creating", "state file: rename", "after"),
    Boundary("creating", "local: create", "before"),
    Boundary("creating", "local: name the folder", "after"),
    Boundary("creating", "local: create", "late"),
    Boundary("replacing", "condor: query the jobs on nodes", "after"),
    Boundary("draining", "condor_drain is started", "after"),
    Boundary("deleting", "local: delete", "before"),
    Boundary("deleting", "local: set the folder aside", "after"),
    Boundary("deleting", "condor: invalidate one ad", "before"),
    Boundary("undraining", "condor_drain -cancel is started", "after"),
    Boundary("sweeping", "local: sweep", "after"),
)
# Those that need no further kill: a full run has all.
BREAKAGES_HERE = (
    "a job that starts between plan and drain",
    "a job that starts between plan and delete",
    "a torn state file",
    "a state file of an older format",
    "a clock one day ahead",
    "a clock one hour behind",
)


@pytest.fixture
def play(release: Release, folder: Path) -> Iterator[Play]:
    """A stand with a long job at work, which must run at the end as at the beginning."""
    with hastened(), local.open_play(folder, release, Tally()) as play:
        yield play
        play.check_running_jobs()
        play.check_history()
        assert play.tally.wrongs == []
        assert play.tally.jobs > 0


def test_killed_where_most_can_be_lost(play: Play) -> None:
    """Nothing is lost, doubled or beyond the limits, no job notices, and all is calm within three passes that act."""
    assert set(CHOSEN) <= set(local.boundaries())
    play_all(play, [(str(one), partial(local.SCENARIOS[one.scenario], play, one)) for one in CHOSEN])
    assert play.tally.killed == list(CHOSEN)


def test_broken_in_other_ways(play: Play) -> None:
    steps = [(name, partial(break_once, play, name, BREAKAGES[name])) for name in BREAKAGES_HERE]
    play_all(play, steps)
    assert play.tally.breakages == list(BREAKAGES_HERE)


@pytest.mark.parametrize(
    ("mutation", "step", "wrong"),
    [
        ("no intents first", "creating: late local: create", "limits exceeded"),
        ("delete before drain", "a job that starts between plan and drain", "jobs killed"),
        ("tag left out", "creating: before state file: rename (number 2)", "servers orphaned"),
    ],
)
def test_a_broken_product_is_seen(release: Release, folder: Path, mutation: str, step: str, wrong: str) -> None:
    """The proof of the harness."""
    tally = Tally()
    with hastened(), local.open_play(folder, release, tally, mutation) as play, MUTATIONS[mutation]():
        play.patience = 12
        play_all(play, steps_of("local", play), only=step)
        play.check_history()
    assert tally.count(wrong) > 0, tally.wrongs
