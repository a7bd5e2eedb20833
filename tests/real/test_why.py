"""`ehoslite why` on a real pool: what an administrator pastes into a ticket."""

from __future__ import annotations

from lab.jobs import wait_until
from lab.stand import Finished, Stand
from tests.conftest import MakeStand

SMALL = {"name": "small", "cpus": 1, "memory": "1 GB", "disk": "4 GB"}
LARGE = {"name": "large", "cpus": 4, "memory": "4 GB", "disk": "16 GB"}


def why(stand: Stand, *words: str) -> Finished:
    """The command's exit code and output."""
    running = stand.start_pass("why", *words, module="ehoslite.cli")
    out, err = running.communicate(timeout=240)
    return Finished(running.returncode, out, err)


def test_why_a_job_waits(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(SMALL, LARGE), scaling={"idle_timeout": 600})
    cluster = stand.pool.submit(memory=2000, extra={"requirements": "TARGET.HasDocker is true && TARGET.Memory > 500"})
    before = why(stand, "job", f"{cluster}.0")
    assert (before.code, before.err) == (0, "")
    assert f"job {cluster}.0 of alice at schedd1@lab: idle for" in before.out
    assert "here/small: too small: it has 1 cpus" in before.out
    assert "too few memory" in before.out
    assert "here/large: not known until a node of it has been seen: TARGET.HasDocker is true" in before.out
    assert "there are none" in before.out
    assert "the next pass, which would create here/large" in before.out
    assert stand.nodes() == {}, "nothing is done"
    assert stand.reconcile().verbs() == ["create"]
    booting = why(stand, "job", str(cluster))
    stand.wait_for_nodes(1)
    assert "the boot of node ehos-lab-" in booting.out or "1 of them" in booting.out
    assert stand.reconcile().verbs() == [], "its ad has told that the job does not run there"
    after = why(stand, "job", str(cluster))
    assert "here/large: no: TARGET.HasDocker is true" in after.out
    assert "1 of them: no: TARGET.HasDocker is true (slot1@ehos-lab-" in after.out
    assert "[requirements-fail]" in after.out


def test_why_not(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(SMALL,), scaling={"nodes_max": 1})
    assert "every job has room" in why(stand, "not").out
    stand.pool.submit(memory=99_999)
    stand.pool.submit(extra={"requirements": 'TARGET.EhosFlavor == "huge"'})
    stand.pool.submit(count=3)
    said = why(stand, "not")
    assert (said.code, said.err) == (0, "")
    assert "idle jobs: 5 in 3 shapes; the next pass would create 1 nodes" in said.out
    assert "no flavor is large enough" in said.out
    assert 'here/small: TARGET.EhosFlavor == "huge"' in said.out
    assert "[nodes-max]" in said.out


def test_why_of_jobs_that_do_not_wait(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(SMALL,))
    held = stand.pool.submit(extra={"hold": "true"})
    beside = stand.pool.submit(extra={"universe": "scheduler"}, seconds=600)
    running = stand.pool.submit(seconds=600)
    stand.reconcile()
    wait_until(lambda: bool(stand.pool.queue(f"ClusterId == {running} && JobStatus == 2")), 40, "the job to run")
    assert "held for" in why(stand, "job", str(held)).out
    assert "submitted on hold" in why(stand, "job", str(held)).out
    assert "needs no node" in why(stand, "job", str(beside)).out
    assert "running for" in why(stand, "job", str(running)).out
    assert "slot1_1@ehos-lab-" in why(stand, "job", str(running)).out


def test_why_of_no_job(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(SMALL,), schedds=2)
    assert why(stand, "job", "12.3").code == 1
    assert "no schedd that answers has a job 12.3" in why(stand, "job", "12.3").out
    wrong = why(stand, "job", "12.x")
    assert (wrong.code, wrong.out) == (2, "")
    assert "write CLUSTER.PROC" in wrong.err
    first, second = (stand.pool.submit(schedd=name) for name in stand.pool.schedd_names)
    assert first == second
    both = why(stand, "job", str(first)).out
    assert all(f"at {name}: idle" in both for name in stand.pool.schedd_names)
    one = why(stand, "job", str(first), "--schedd", "schedd2@lab").out
    assert "schedd1@lab" not in one
    assert "at schedd2@lab: idle" in one


def test_why_of_a_node(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(SMALL,), scaling={"idle_timeout": 600})
    cluster = stand.pool.submit(seconds=600)
    stand.reconcile()
    wait_until(lambda: bool(stand.pool.queue(f"ClusterId == {cluster} && JobStatus == 2")), 40, "the job to run")
    (node,) = stand.nodes()
    wait_until(lambda: "startd: busy" in why(stand, "node", node).out, 30, "its ads to say so")
    said = why(stand, "node", node[-4:])
    assert (said.code, said.err) == (0, "")
    assert f"job {cluster}.0 of schedd1@lab runs on it" in said.out
    assert "create [demand]" in said.out
    none = why(stand, "node", "ehos-lab-none")
    assert (none.code, "there is no node ehos-lab-none" in none.out) == (1, True)
