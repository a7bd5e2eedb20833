"""The network between the pool and its nodes is cut: packets are dropped, connections stay open. Laws 1 and 5."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cable import POOL, Cable, why_not
from lab.jobs import wait_until
from lab.pool import LabPool
from lab.release import Release
from lab.stand import CHECKOUT, Stand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

EXECUTE = CHECKOUT / "cloud-init" / "execute.yaml"

# What takes minutes, cut to seconds: nodes report every 5 s, ads live for 20 s (the collector's own too, by which its
# age is known), a dead connection is noticed within 8 s.
QUICK_POOL = """
CLASSAD_LIFETIME = 20
COLLECTOR_UPDATE_INTERVAL = 10
TCP_KEEPALIVE_INTERVAL = 5
"""


KEPT = {"nodes_max": 2, "idle_timeout": 3600}


@pytest.fixture
def cable() -> Iterator[Cable]:
    """Where a cable can be laid; the test then runs at the pool's end of it."""
    if reason := why_not():
        pytest.skip(reason)
    with Cable() as laid:
        yield laid


@pytest.fixture
def stand(cable: Cable, folder: Path, release: Release) -> Iterator[Stand]:
    """A pool at one end of the cable, whose nodes live at the other."""
    pool = LabPool(folder / "pool", release, extra=QUICK_POOL, interface=POOL)
    far = {"release": str(cable.release_for_nodes(release, folder / "far")), "user": ""}
    with Stand(folder, release, pool=pool, flavors=(TINY,), cloud=far, scaling=KEPT) as stand:
        template = folder / "execute.yaml"
        template.write_text(EXECUTE.read_text().replace("UPDATE_INTERVAL = 60", "UPDATE_INTERVAL = 5"))
        stand.document["clouds"]["here"].update(far, template=str(template))
        stand.configure(lost_timeout=3000)
        yield stand


def start_job(stand: Stand, seconds: float, lease: int) -> str:
    """A job runs on the one node, whose id this gives."""
    stand.pool.submit(memory=200, seconds=seconds, extra={"job_lease_duration": str(lease)})
    stand.reconcile()
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 30, "the job to run")
    assert stand.reconcile().verbs() == []  # from now on the passes know that it has joined
    (node,) = stand.nodes()
    return node


def silent_for(stand: Stand, seconds: float) -> bool:
    """Whether the collector has not heard the node for so long, or knows it no more."""
    heard = [ad["LastHeardFrom"] for ad in stand.pool.machines(["LastHeardFrom"])]
    return time.time() - max(heard, default=0) > seconds


@pytest.mark.parametrize("seconds", [6, 40])
def test_a_cut_within_the_lease_costs_nothing(stand: Stand, cable: Cable, seconds: float) -> None:
    """The job ends while nobody can hear of it, or goes on long after."""
    node = start_job(stand, seconds, lease=600)
    cable.cut()
    wait_until(lambda: silent_for(stand, 12), 30, "the node's silence")
    assert stand.reconcile().verbs() == []
    wait_until(lambda: not stand.pool.machines(["Name"]), 60, "the node's ads to go")
    done = stand.reconcile()
    assert (done.code, done.verbs(), list(stand.nodes())) == (0, [], [node])
    cable.mend()
    wait_until(lambda: not stand.pool.queue(), 60, "the job to end")
    assert_every_job_ended_well(stand, 1)
    wait_until(lambda: stand.joined() == 1, 30, "the node to be back")
    assert (stand.reconcile().verbs(), list(stand.nodes())) == ([], [node])


def test_a_cut_beyond_the_lease_costs_the_node_and_the_job_starts_anew(stand: Stand, cable: Cable) -> None:
    node = start_job(stand, 8, lease=20)
    stand.configure(lost_timeout=40)
    cable.notice_soon()
    cable.cut()
    wait_until(lambda: len(stand.pool.queue("JobStatus == 1")) == 1, 60, "the schedd to give the job up")
    deleted = stand.reconcile_until("delete", 60)
    codes = [(one["node"], one["reason"]["code"]) for one in deleted.data["actions"] if one["verb"] == "delete"]
    assert codes == [(node, "lost")]
    assert node not in stand.nodes()
    cable.mend()
    wait_until(lambda: stand.reconcile().code == 0 and not stand.pool.queue(), 90, "the job to end elsewhere")
    (job,) = stand.pool.history(attributes=["NumJobStarts", "ExitCode"])
    assert (job["NumJobStarts"], job["ExitCode"]) == (2, 0)
    assert node not in stand.nodes()
