"""Jobs race the drains of real passes, and lose nothing by it (law 1); and a race sees it when a job is killed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.race import Race
from faults.raced import raced_stand
from lab.release import Release


def race(folder: Path, release: Release, decisions: int, mutation: str = "") -> tuple[Race, list[str]]:
    said: list[str] = []
    with raced_stand(folder, release) as stand:
        one = Race(stand, random.Random(7), mutation)  # noqa: S311 - replayable
        one.run(decisions, said.append)
    return one, said


def test_no_job_is_hurt_however_it_meets_a_drain(release: Release, folder: Path) -> None:
    one, said = race(folder, release, 40)
    counts = one.counts
    assert (counts.jobs_killed, counts.jobs_lost, counts.servers_orphaned, said) == (0, 0, 0, [])
    assert counts.jobs_run == counts.jobs_submitted > 0
    assert counts.drain_decisions >= 40
    assert counts.drains_done > 0
    assert counts.deletes > 0
    assert not counts.failures


@pytest.mark.parametrize("mutation", ["unchecked-drain", "blind-delete"])
def test_a_race_sees_the_jobs_that_a_broken_product_kills(release: Release, folder: Path, mutation: str) -> None:
    one, said = race(folder, release, 500, mutation)
    assert one.counts.jobs_killed > 0
    assert any(line.startswith("job ") for line in said)
    assert not one.counts.won
