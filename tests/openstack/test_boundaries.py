"""Passes killed at what only OpenStack has: login, names, calls that are sent and not answered, ports and addresses.

`python -m faults boundaries --cloud openstack` kills before and after each; here those where most can be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.boundaries import openstack
from faults.boundaries.haste import hastened
from faults.boundaries.play import Play
from faults.boundaries.running import play_all
from faults.boundaries.tally import Boundary, Tally
from lab.openstack import OpenStackLab
from lab.release import Release

CHOSEN = (
    Boundary("creating", "nova: POST server is sent", "after"),
    Boundary("creating", "nova: POST server", "late"),
    Boundary("missing", "nova: GET one server", "after"),
    Boundary("addressing", "neutron: POST floating IP is sent", "after"),
)


@pytest.fixture
def play(release: Release, folder: Path, alpha: OpenStackLab) -> Iterator[Play]:
    """A stand on alpha with a long job at work, which must run at the end as at the beginning."""
    with hastened(), openstack.open_play(folder, release, alpha, Tally()) as play:
        yield play
        play.check_running_jobs()
        play.check_history()
        assert play.tally.wrongs == []


def test_killed_where_most_can_be_lost(play: Play) -> None:
    assert set(CHOSEN) <= set(openstack.boundaries())
    play_all(play, [(str(one), partial(openstack.SCENARIOS[one.scenario], play, one)) for one in CHOSEN])
    assert play.tally.killed == list(CHOSEN)
