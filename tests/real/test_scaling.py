"""Growth and shrinking on a real pool: laws 3, 4 and 6, minimum, spare, limits, shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehoslite.errors import DrainOver
from ehoslite.model import CondorState, Node, VmState
from ehoslite.pool import Pool
from lab.jobs import wait_until
from lab.stand import Stand
from tests.conftest import MakeStand

GPU = {"name": "gpu", "cpus": 2, "memory": "2 GB", "disk": "8 GB", "gpus": 2, "price": 1.0}
TINY = {"name": "tiny", "cpus": 1, "memory": "256 MB", "disk": "1 GB"}


def job_is_done(stand: Stand, cluster: int) -> bool:
    return not stand.pool.queue(f"ClusterId == {cluster}")


def assert_every_job_ended_well(stand: Stand, count: int) -> None:
    """By the schedd's own history: each was started once and ended with exit code 0."""
    history = stand.pool.history(attributes=["ExitCode", "NumJobStarts", "JobStatus"])
    assert [(job["JobStatus"], job["ExitCode"], job["NumJobStarts"]) for job in history] == [(4, 0, 1)] * count


def test_an_empty_world_needs_nothing(make_stand: MakeStand) -> None:
    stand = make_stand()
    done = stand.reconcile()
    assert (done.code, done.verbs(), done.err) == (0, [], "")


def test_grows_from_zero_and_shrinks_to_zero(make_stand: MakeStand) -> None:
    stand = make_stand()
    cluster = stand.pool.submit(count=5, seconds=1)
    assert stand.reconcile().verbs() == ["create", "create"]
    assert len(stand.nodes()) == 2
    wait_until(lambda: job_is_done(stand, cluster), 40, "the jobs to end")
    wait_until(lambda: (stand.reconcile().code, stand.nodes()) == (0, {}), 40, "the nodes to be gone")
    assert_every_job_ended_well(stand, 5)
    assert stand.pool.machines(["Name"]) == [], "the ads of deleted nodes are invalidated"


def test_each_shape_gets_nodes_that_hold_it(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY, {"name": "wide", "cpus": 4, "memory": "1 GB", "disk": "4 GB", "price": 1}, GPU))
    stand.pool.submit(cpus=1, memory=200)
    stand.pool.submit(cpus=4, memory=512)
    stand.pool.submit(cpus=1, gpus=2)
    stand.pool.submit(cpus=1, memory=999_999)
    done = stand.reconcile()
    flavors = sorted(server.flavor for server in stand.cloud().servers())
    assert flavors == ["gpu", "wide"], "the tiny job fits beside the GPU job or onto the wide node"
    assert "no-flavor-fits" in done.held()
    wait_until(lambda: len(stand.pool.queue()) == 1, 40, "all jobs but the impossible one to end")
    assert_every_job_ended_well(stand, 3)


def test_jobs_are_packed_in_the_pieces_that_startds_cut(make_stand: MakeStand) -> None:
    """Ten times 100 MB are 1000 MB, but a startd cuts 128 MB for each as long as it can."""
    stand = make_stand(flavors=({"name": "wide", "cpus": 16, "memory": "1000 MB", "disk": "16 GB"},))
    stand.pool.submit(count=10, memory=100, seconds=600)
    assert stand.reconcile().verbs() == ["create", "create"]
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 10, 40, "all jobs to run")
    hosts = [str(job["RemoteHost"]).partition("@")[2] for job in stand.pool.queue(attributes=["RemoteHost"])]
    assert max(hosts.count(host) for host in hosts) <= 8


def test_a_second_pass_over_an_unchanged_world_does_nothing(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1, "nodes_spare": 1, "idle_timeout": 60})
    stand.pool.submit(count=3, seconds=600)
    assert stand.reconcile().verbs() == ["create"] * 4, "three small nodes for three jobs, and a spare"
    assert stand.reconcile().verbs() == [], "while the nodes boot"
    stand.wait_for_nodes(4)
    claimed = 'DynamicSlot =?= True && State == "Claimed"'
    wait_until(lambda: len(stand.pool.machines(["Name"], claimed)) == 3, 30, "the jobs to be seen running")
    assert stand.reconcile().verbs() == [], "while the jobs run"
    assert stand.reconcile().verbs() == []


def test_keeps_the_minimum_and_the_spare(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 2, "nodes_spare": 1, "idle_timeout": 1}, flavors=(TINY,))
    assert stand.reconcile().verbs() == ["create", "create"]
    stand.wait_for_nodes(2)
    stand.pool.submit(count=2, memory=200, seconds=600)
    claimed = 'DynamicSlot =?= True && State == "Claimed"'
    wait_until(lambda: len(stand.pool.machines(["Name"], claimed)) == 2, 30, "both nodes to be seen busy")
    assert stand.reconcile().verbs() == ["create"], "a spare beside two busy nodes"
    stand.wait_for_nodes(3)
    assert stand.reconcile().verbs() == []
    stand.pool.run_checked("condor_rm", "-all", user="alice")
    wait_until(lambda: stand.reconcile().code == 0 and len(stand.nodes()) == 2, 30, "the pool at its minimum")
    wait_until(lambda: "kept" in stand.reconcile().held(), 20, "idle nodes kept for the minimum")
    assert len(stand.nodes()) == 2


def test_never_more_than_nodes_max(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_max": 3}, flavors=(TINY,))
    stand.pool.submit(count=50, memory=200)
    done = stand.reconcile()
    assert done.verbs() == ["create"] * 3
    assert "nodes-max" in done.held()
    assert stand.reconcile().verbs() == []
    assert len(stand.nodes()) == 3


def test_a_quota_is_a_hold_back_and_not_a_crash(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), cloud={"quota": {"instances": 1}})
    stand.pool.submit(count=3, memory=200)
    done = stand.reconcile()
    assert (done.code, done.verbs()) == (0, ["create"])
    assert "quota" in done.held()


def test_idle_nodes_beyond_a_lowered_maximum_go_at_once(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 2, "idle_timeout": 3600}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(2)
    stand.configure(nodes_min=0, nodes_max=1)
    assert stand.reconcile_until("drain").data["actions"][0]["reason"]["code"] == "nodes-max"


def with_a_drained_node(make_stand: MakeStand) -> Stand:
    """A stand whose only node a pass has drained."""
    stand = make_stand(scaling={"nodes_min": 1, "idle_timeout": 1}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)
    stand.reconcile_until("drain")
    wait_until(lambda: stand.pool.machines(["State"])[0]["State"] == "Drained", 20, "the node to be drained")
    return stand


def test_a_draining_node_is_taken_back_before_one_is_made(make_stand: MakeStand) -> None:
    stand = with_a_drained_node(make_stand)
    cluster = stand.pool.submit(memory=200, seconds=1)
    assert stand.reconcile().verbs() == ["undrain"]
    wait_until(lambda: job_is_done(stand, cluster), 30, "the job to run on the node taken back")
    assert_every_job_ended_well(stand, 1)


def test_only_the_drain_that_was_seen_is_cancelled(make_stand: MakeStand) -> None:
    """An administrator's drain may have come between the look and the act."""
    stand = with_a_drained_node(make_stand)
    pool = Pool(stand.settings.condor)
    slots, _, _ = pool.slots()
    node = Node(slots[0].node, "here", "tiny", VmState.ACTIVE, CondorState.DRAINED, slots[0].total, slots=slots)
    assert slots[0].drain_request
    other = tuple(replace(slot, drain_request="another") for slot in slots)
    with pytest.raises(DrainOver):
        pool.undrain(replace(node, slots=other))
    assert stand.pool.machines(["State"])[0]["State"] == "Drained"
    pool.undrain(node)
    pool.undrain(node)  # a killed pass may have done it already, and the ads lag
    wait_until(lambda: stand.pool.machines(["State"])[0]["State"] == "Unclaimed", 20, "it to take jobs again")


def test_held_local_and_scheduler_jobs_are_no_demand(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.pool.submit(count=2, extra={"hold": "True"})
    stand.pool.submit(extra={"universe": "scheduler", "hold": "True"})
    stand.pool.submit(extra={"universe": "local", "hold": "True"})
    stand.pool.submit(extra={"universe": "scheduler", "requirements": "False"})
    done = stand.reconcile()
    assert (done.verbs(), done.data["demand"]) == ([], [])


def test_requests_that_are_expressions_are_evaluated(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY, GPU))
    stand.pool.submit(
        extra={"request_memory": "ifthenelse(MemoryUsage =!= undefined, MemoryUsage, 700)", "request_disk": ""}
    )
    for request in ("NoSuchAttribute * 2", "1/0", '"much"'):
        stand.pool.submit(extra={"request_memory": request})
    done = stand.reconcile()
    assert [row["memory_mb"] for row in done.data["demand"]] == [700]
    assert [server.flavor for server in stand.cloud().servers()] == ["gpu"]
    unreadable = [held["subject"] for held in done.data["held"] if held["reason"]["code"] == "unreadable-request"]
    assert unreadable == ['RequestMemory = "much"', "RequestMemory = 1 / 0", "RequestMemory = NoSuchAttribute * 2"]
