"""Ads that are missing are not nodes that are missing: what has only just gone, or what a young collector cannot know,
is expected back and not made a second time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ehoslite.memory import Memory
from ehoslite.model import World
from tests.unit.worlds import NOW, acts, decide, held, jobs, made, memory, remembered, server, slot, world


def missing(heard_ago: float, restarted_ago: float, **more: Any) -> tuple[World, Memory]:
    """A node of which there is no ad: heard so long ago, by a collector that was restarted so long ago."""
    seen = world([server("n1")], collector_since=NOW - restarted_ago, **more)
    return seen, memory(remembered("n1", age=9000, joined=1.0, heard=NOW - heard_ago))


@pytest.mark.parametrize(
    ("heard_ago", "restarted_ago", "doubles"),
    [
        (170, 10_000, 0),  # its ads have only just gone
        (190, 10_000, 1),
        (500, 490, 0),  # the collector knew it until it was restarted
        (500, 601, 1),  # since then it has had the time to report
        (1100, 590, 0),  # it had begun to be silent then
        (1300, 590, 1),  # it had been silent for long then
    ],
)
def test_a_node_that_comes_back_is_not_made_a_second_time(heard_ago: float, restarted_ago: float, doubles: int) -> None:
    for scaling in ({"nodes_min": 1}, {"nodes_spare": 1}):
        seen, memory = missing(heard_ago, restarted_ago)
        assert len(acts(decide(seen, memory, **scaling))) == doubles, scaling
    decided = decide(*missing(heard_ago, restarted_ago, shapes=[jobs(1)]))
    assert made(decided) == ({"small": doubles} if doubles else {})
    assert ("waits-for-boot" in held(decided)) is (not doubles)


def test_a_collector_too_young_for_an_ad_of_its_own_is_young() -> None:
    seen, memory = missing(100, 0)
    assert acts(decide(replace(seen, collector_since=float("inf")), memory, nodes_min=1)) == []


def test_more_jobs_than_the_nodes_that_come_back_can_hold_get_nodes() -> None:
    assert made(decide(*missing(100, 90, shapes=[jobs(3)]))) == {"small": 2}


def test_a_node_without_a_server_does_not_come_back() -> None:
    seen, memory = missing(100, 90)
    gone = replace(seen, clouds=tuple(replace(cloud, servers=()) for cloud in seen.clouds))
    assert made(decide(gone, memory, nodes_min=1)) == {"small": 1}


def test_a_silent_cloud_s_nodes_may_come_back() -> None:
    seen, memory = missing(100, 90)
    silent = replace(seen, clouds=tuple(replace(cloud, servers=(), fault="no answer") for cloud in seen.clouds))
    assert "nodes-min" not in held(decide(silent, memory, nodes_min=1))


def test_forged_ads_are_said_and_are_neither_a_node_nor_room() -> None:
    """Without the check the ad would say that the node is drained and may be deleted."""
    forged = replace(slot("n1", "Drained"), node="", pool="", accepts_jobs=False, forged="it came from elsewhere")
    seen = world([server("n1")], [forged], shapes=[jobs(1)])
    decided = decide(seen, memory(remembered("n1", age=9000, joined=1.0, heard=NOW - 100)))
    assert (acts(decided), held(decided)) == ([], {"forged-ad", "waits-for-boot"})
    (said,) = [one for one in decided.held if one.reason.code == "forged-ad"]
    assert (said.subject, said.reason.text) == (
        "slot1@n1",
        "the ad of slot1@n1 is not believed: it came from elsewhere",
    )
