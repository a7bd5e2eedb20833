"""Two central managers with the timer: only the active one acts, and the other takes over from an empty state file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.jobs import wait_until
from lab.release import Release
from lab.two_managers import TAKEOVER_SECONDS, TwoManagersStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

SCALING = {"nodes_max": 3, "idle_timeout": 600, "intent_timeout": 2}


@pytest.fixture
def stand(release: Release, folder: Path) -> Iterator[TwoManagersStand]:
    """Two managers, of which one is active."""
    with TwoManagersStand(folder, release, flavors=(TINY,), scaling=SCALING) as stand:
        yield stand


def test_only_the_active_one_acts(stand: TwoManagersStand) -> None:
    active, passive = stand.on(stand.active), stand.on(stand.passive)
    stand.pool.submit(count=2, memory=200, seconds=600)
    for options in ((), ("--dry-run",)):
        done = passive.reconcile(*options)
        assert (done.code, done.verbs(), done.held()) == (0, [], {"not-active"})
        (held,) = done.data["held"]
        text = f"{stand.active}.lab.test is the active manager; this is {stand.passive}.lab.test"
        assert held["reason"]["text"] == text
    assert stand.nodes() == {}
    assert active.reconcile_until("create").verbs() == ["create", "create"]
    stand.wait_for_nodes(2)
    assert passive.reconcile().held() == {"not-active"}
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 2, 30, "the jobs to run")
    assert active.reconcile().verbs() == []
    assert len(stand.nodes()) == 2


def take_over(stand: TwoManagersStand) -> TwoManagersStand:
    """Pass after pass on the passive one until it acts; gives that seat."""
    seat = stand.on(stand.passive)
    assert not seat.state.exists()

    def acts() -> bool:
        done = seat.reconcile()
        return done.code == 0 and "not-active" not in done.held()

    wait_until(acts, TAKEOVER_SECONDS, "the other manager to act")
    return seat


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_other_takes_over_and_the_old_one_comes_back_passive(stand: TwoManagersStand, how: str) -> None:
    stand.pool.submit(count=2, memory=200, seconds=90)
    assert stand.on(stand.active).reconcile_until("create").verbs() == ["create", "create"]
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 2, 40, "the jobs to run")
    before = stand.nodes()
    getattr(stand.pool, "kill_manager" if how == "killed" else "freeze_manager")(stand.active)
    seat = take_over(stand)
    assert stand.nodes() == before, "nodes with jobs on them, known from tags and ads alone"
    if how == "frozen":
        stand.pool.kill_manager(stand.active)
    stand.pool.submit(count=9, memory=200, seconds=1)
    wait_until(lambda: seat.reconcile().code == 0 and len(stand.nodes()) == 3, 30, "a node for the further jobs")
    assert before.keys() < stand.nodes().keys()
    stand.pool.start_manager(stand.active)
    wait_until(lambda: stand.pool.hads(stand.passive).get(stand.active) is False, TAKEOVER_SECONDS, "it to be back")
    wait_until(stand.pool.is_ready, 60, "its collector to know the schedd")
    assert stand.on(stand.active).reconcile().held() == {"not-active"}
    wait_until(lambda: not stand.pool.queue(), 200, "the jobs to end")
    assert_every_job_ended_well(stand, 11)
    seat.configure(idle_timeout=1)
    wait_until(lambda: seat.reconcile().code == 0 and not stand.nodes(), 60, "the nodes to be retired")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", ["local: name the folder", "state file: rename"])
def test_a_manager_that_dies_while_it_creates_nodes_leaves_none_doubled(
    stand: TwoManagersStand, effect: str, when: str
) -> None:
    stand.pool.submit(count=5, memory=200, seconds=600)

    def killed() -> bool:
        """Whether the pass came so far: one that does not know the jobs yet makes no node."""
        began = stand.on(stand.active).start_pass(effect, when, "1", "--", module="faults.boundaries.killing")
        began.communicate(timeout=240)
        return began.returncode == -signal.SIGKILL

    wait_until(killed, 30, "a pass to be killed there")
    stand.pool.kill_manager(stand.active)
    assert len(stand.nodes()) <= SCALING["nodes_max"]
    seat = take_over(stand)
    wait_until(lambda: seat.reconcile().code == 0 and stand.joined() == 3, 60, "the nodes to join")
    assert seat.reconcile().verbs() == []
    assert len(stand.nodes()) == 3


def test_a_pass_that_is_still_at_work_is_waited_for(stand: TwoManagersStand) -> None:
    """The other one is active before the dead one's last pass is over for certain, and does not act yet."""
    stand.on(stand.active).reconcile()
    stand.pool.kill_manager(stand.active)
    stand.pool.wait_until_active(stand.passive)
    done = stand.on(stand.passive).reconcile()
    (held,) = done.data["held"]
    assert (done.code, done.verbs(), held["reason"]["code"]) == (0, [], "not-active")
    assert f"a pass of {stand.active}.lab.test may still be at work" in held["reason"]["text"]
