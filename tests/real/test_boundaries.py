"""Passes on the real HTCondor and the local cloud, killed at each of their effects. Laws 1, 2, 3, 7 and 8.

`python -m faults boundaries` kills before and after each; here each effect of a scenario is met once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.boundaries import local
from faults.boundaries.breakages import BREAKAGES
from faults.boundaries.effects import STATE
from faults.boundaries.haste import hastened
from faults.boundaries.mutations import MUTATIONS
from faults.boundaries.play import Play
from faults.boundaries.running import break_once, play_all, steps_of
from faults.boundaries.tally import Boundary, Tally
from lab.release import Release

# By what a pass has to do when it is killed: each group has a stand of its own.
GROUPS = {
    "still": {"looking", "sweeping", "forgetting"},
    "growing": {"creating", "creating with the key", "replacing"},
    "shrinking": {"draining", "deleting", "undraining"},
}
FOREMOST = {("creating", "state file: rename"), ("creating", "local: create"), ("deleting", "local: delete")}
# Those that need no further kill: a full run has all.
BREAKAGES_HERE = (
    "a job that starts between plan and drain",
    "a job that starts between plan and delete",
    "a torn state file",
    "a state file of an older format",
    "a clock one day ahead",
    "a clock one hour behind",
)


def once(scenarios: Collection[str]) -> Iterator[Boundary]:
    """Of these scenarios each effect once, before and after alternately, and the foremost before, after and late. The
    writes of the state file are killed while nothing else is to be done, but for its renaming."""
    met: dict[tuple[str, str], int] = {}
    spared = {effect.name for effect in STATE} - {"state file: rename"}
    for boundary in local.boundaries():
        effect, still = (boundary.scenario, boundary.effect), boundary.scenario == "looking"
        if boundary.scenario not in scenarios or (boundary.effect in spared and not still):
            continue
        turn = met.setdefault(effect, len(met))
        whole = boundary.when == "late" or effect in FOREMOST
        if boundary.nth == 1 and (whole or boundary.when == ("before", "after")[turn % 2]):
            yield boundary


@pytest.fixture
def play(release: Release, folder: Path) -> Iterator[Play]:
    """A stand with a long job at work, which must run at the end as at the beginning."""
    with hastened(), local.open_play(folder, release, Tally()) as play:
        yield play
        play.check_running_jobs()
        play.check_history()
        assert play.tally.wrongs == []
        assert play.tally.jobs > 0


@pytest.mark.parametrize("group", GROUPS)
def test_killed_at_each_effect(play: Play, group: str) -> None:
    """Nothing is lost, doubled or beyond the limits, no job notices, and all is calm within three passes that act."""
    chosen = list(once(GROUPS[group]))
    steps = [(str(one), partial(local.SCENARIOS[one.scenario], play, one)) for one in chosen]
    play_all(play, steps)
    assert play.tally.killed == chosen


def test_broken_in_other_ways(play: Play) -> None:
    steps = [(name, partial(break_once, play, name, BREAKAGES[name])) for name in BREAKAGES_HERE]
    play_all(play, steps)
    assert play.tally.breakages == list(BREAKAGES_HERE)


def test_every_effect_is_met_somewhere() -> None:
    groups = [scenario for group in GROUPS.values() for scenario in group]
    assert set(groups) == set(local.SCENARIOS)
    assert {one.effect for one in once(groups)} == {one.effect for one in local.boundaries()}


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
        play.patience = 5
        play_all(play, steps_of("local", play), only=step)
        play.check_history()
    assert tally.count(wrong) > 0, tally.wrongs
