"""What goes wrong, on a real pool: kills, lost memory, silence, races, broken boots. Laws 1, 2, 3, 5, 7 and 8."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ehoslite.clouds.local import Trial
from lab.jobs import wait_until
from lab.stand import CHECKOUT, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well, job_is_done


@pytest.mark.parametrize("damage", ["deleted", "corrupted", "truncated"])
def test_the_state_file_is_memory_and_not_truth(make_stand: MakeStand, damage: str) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"idle_timeout": 60})
    stand.pool.submit(count=2, memory=200, seconds=600)
    stand.reconcile()
    stand.wait_for_nodes(2)
    if damage == "deleted":
        stand.state.unlink()
    else:
        stand.state.write_bytes(b"{]" if damage == "corrupted" else stand.state.read_bytes()[:-7])
    before = stand.nodes()
    done = stand.reconcile()
    assert (done.code, done.verbs(), stand.nodes()) == (0, [], before)
    assert ("is not used" in done.err) == (damage != "deleted")
    assert len(list(stand.state.parent.glob("*.unusable-*"))) == (damage != "deleted")
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 2, 30, "the jobs to run on")


def test_a_silent_collector_stops_everything(make_stand: MakeStand) -> None:
    stand = make_stand(
        scaling={"nodes_min": 1, "idle_timeout": 0, "boot_timeout": 1}, flavors=(TINY,), condor={"query_timeout": 15}
    )
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)
    before = stand.nodes()
    stand.pool.kill("collector")
    done = stand.reconcile()
    assert (done.code, stand.nodes()) == (75, before)
    assert "collector" in done.err
    stand.pool.revive()


def test_a_collector_that_hangs_costs_a_bounded_time(make_stand: MakeStand) -> None:
    stand = make_stand(condor={"query_timeout": 1})
    stand.pool.freeze("collector")
    started = time.monotonic()
    done = stand.reconcile()
    spent = time.monotonic() - started
    stand.pool.thaw("collector")
    assert done.code == 75
    assert "no answer within 1.0 s" in done.err
    assert spent < 50, "the bindings alone would block for 60 s"


def test_a_silent_schedd_is_said_and_nothing_is_retired(make_stand: MakeStand) -> None:
    stand = make_stand(
        schedds=2, scaling={"nodes_min": 1, "idle_timeout": 0}, flavors=(TINY,), condor={"query_timeout": 15}
    )
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)
    stand.pool.freeze("schedd2")
    assert stand.reconcile().verbs() == [], "the idle node may be wanted by the jobs that are not known"
    stand.pool.submit(count=2, memory=200, seconds=600, schedd="schedd1@lab")
    done = stand.reconcile()
    assert "schedd-silent" in done.held()
    assert set(done.data["silent"]) == {"schedd2@lab"}
    verbs = done.verbs()

    def second_node_made() -> bool:
        verbs.extend(stand.reconcile().verbs())
        return len(stand.nodes()) == 2

    wait_until(second_node_made, 30, "the demand of the other schedd to be served")
    assert "drain" not in verbs
    stand.pool.thaw("schedd2")


def test_two_passes_at_once(make_stand: MakeStand) -> None:
    stand = make_stand()
    stand.pool.freeze("collector")
    first = stand.start_pass()
    lock = stand.state.with_name("state.json.lock")
    wait_until(lambda: lock.exists() and lock.read_text() == str(first.pid), 20, "the first pass to hold the lock")
    second = stand.reconcile()
    stand.pool.thaw("collector")
    assert second.code == 75
    assert f"another pass is at work (process {first.pid}" in second.err
    assert first.wait(60) == 0, first.communicate()


def run_stopped_before(stand: Stand, effect: str, meanwhile: Callable[[], None]) -> str:
    """A pass that stops right before this effect while something happens, then goes on; gives what it prints."""
    stopped = subprocess.Popen(
        [sys.executable, "-m", "tests.stopping", effect, "--json", "-c", str(stand.config)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: is_stopped(stopped.pid), 20, f"the pass to stop before {effect}")
    meanwhile()
    os.kill(stopped.pid, signal.SIGCONT)
    out, _ = stopped.communicate(timeout=240)
    assert stopped.returncode == 0
    return out


def test_a_job_that_arrives_between_plan_and_drain_survives(make_stand: MakeStand) -> None:
    """The plan is made while the node is idle; the job starts before the drain is asked for."""
    stand = make_stand(scaling={"nodes_min": 1, "idle_timeout": 0}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)

    def start_job() -> None:
        stand.pool.submit(memory=200, seconds=5)
        wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 20, "the job to run")

    assert '"result": "not-done"' in run_stopped_before(stand, "ehoslite.pool:Pool.drain", start_job)
    wait_until(lambda: not stand.pool.queue(), 30, "the job to end")
    assert_every_job_ended_well(stand, 1)


@pytest.mark.parametrize(("jobs", "before"), [(0, "slots_of"), (1, "slots_of"), (1, "drain")])
def test_a_node_whose_drain_was_forgotten_is_not_deleted(make_stand: MakeStand, jobs: int, before: str) -> None:
    """A restarted startd forgets its drain and takes jobs: the delete looks once more, and asks the startd itself."""
    stand = make_stand(scaling={"nodes_min": 1, "idle_timeout": 0}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)
    stand.reconcile_until("drain")
    wait_until(lambda: stand.pool.machines(["State"])[0]["State"] == "Drained", 20, "the node to be drained")
    (node,) = stand.nodes()

    def forget() -> None:
        stand.pool.run_checked("condor_drain", "-cancel", stand.pool.machines(["Machine"])[0]["Machine"])
        wait_until(lambda: stand.pool.machines(["State"])[0]["State"] != "Drained", 20, "the drain to be forgotten")
        if jobs:
            stand.pool.submit(memory=200, seconds=5)
            wait_until(lambda: len(stand.pool.machines(["Name"], 'State == "Claimed"')) == 1, 20, "the job to be seen")

    assert '"result": "not-done"' in run_stopped_before(stand, f"ehoslite.pool:Pool.{before}", forget)
    assert list(stand.nodes()) == [node]
    wait_until(lambda: not stand.pool.queue(), 30, "the job to end")
    assert_every_job_ended_well(stand, jobs)


def is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_busy_node_that_was_drained_finishes_its_job(make_stand: MakeStand) -> None:
    """The execute template's retirement time: a drain by whomever lets the job end."""
    stand = make_stand(flavors=(TINY,))
    cluster = stand.pool.submit(memory=200, seconds=4)
    stand.reconcile()
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 30, "the job to run")
    machine = stand.pool.machines(["Machine"])[0]["Machine"]
    stand.pool.run_checked("condor_drain", "-graceful", "-reason", "an administrator looks at it", machine)
    wait_until(lambda: job_is_done(stand, cluster), 30, "the job to end")
    assert_every_job_ended_well(stand, 1)
    wait_until(lambda: stand.pool.machines(["State"])[0]["State"] == "Drained", 20, "the node to be drained")
    done = stand.reconcile()
    assert "drained-by-other" in done.held()
    assert "delete" not in done.verbs(), "somebody else's drain is not ours to conclude"


def test_a_failed_build_is_removed_and_replaced(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,))
    stand.cloud().try_out(Trial(fail_build=1))
    stand.pool.submit(memory=200, seconds=600)
    stand.reconcile()
    assert list(stand.nodes().values()) == ["error"]
    done = stand.reconcile_until("delete")
    assert {action["reason"]["code"] for action in done.data["actions"]} >= {"no-valid-host"}
    wait_until(lambda: stand.reconcile().code == 0 and "active" in stand.nodes().values(), 20, "its replacement")
    assert list(stand.nodes().values()) == ["active"]


def test_a_boot_that_never_joins_is_replaced(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"boot_timeout": 3}, flavors=(TINY,))
    stand.cloud().try_out(Trial(never_join=1))
    stand.pool.submit(memory=200, seconds=600)
    stand.reconcile()
    (first,) = stand.nodes()
    stand.configure(boot_timeout=3)
    done = stand.reconcile_until("delete")
    (deleted,) = [action for action in done.data["actions"] if action["verb"] == "delete"]
    assert deleted["reason"]["code"] == "boot-timeout"
    assert deleted["detail"].endswith("guest: up, without HTCondor")
    assert "guest: up, without HTCondor" in done.err
    stand.configure(boot_timeout=60)
    wait_until(lambda: stand.reconcile().code == 0 and stand.joined() == 1, 30, "its replacement to join")
    assert first not in stand.nodes()


def test_an_image_on_which_no_boot_succeeds_is_not_booted_without_end(make_stand: MakeStand) -> None:
    """Nothing more is made until the wait is over; what the cloud's servers are made of changes, and it begins anew."""
    stand = make_stand(scaling={"boot_timeout": 1, "boot_backoff": 3600}, flavors=(TINY,))
    stand.cloud().try_out(Trial(never_join=99))
    stand.pool.submit(count=9, memory=200, seconds=600)
    first = stand.reconcile()
    assert first.verbs() == ["create"] * 4
    replaced = stand.reconcile_until("delete")
    wait_until(lambda: stand.reconcile().code == 0 and not stand.nodes(), 20, "the failed ones to be gone")
    done = stand.reconcile("-v")
    assert (done.verbs(), done.held() >= {"boots-fail"}, done.err.count("have failed")) == ([], True, 0)
    assert len(first.verbs()) + replaced.verbs().count("create") <= 8
    stand.cloud().try_out(Trial())
    stand.document["clouds"]["here"]["boot_delay"] = 0.1
    stand.configure(boot_timeout=60)
    assert stand.reconcile().verbs() == ["create"] * 4


def test_a_node_killed_from_outside_is_noticed_and_its_ads_go(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    (server,) = stand.cloud().servers()
    os.kill(int((stand.directory / "nodes" / server.id / "pid").read_text()), signal.SIGKILL)
    wait_until(lambda: stand.nodes() == {server.node: "stopped"}, 10, "the server to be seen stopped")
    done = stand.reconcile_until("delete")
    assert [action["reason"]["code"] for action in done.data["actions"] if action["verb"] == "delete"] == ["stopped"]
    wait_until(lambda: stand.reconcile().code == 0 and server.node not in stand.nodes(), 10, "it to be gone")
    names = {ad["EhosNode"] for ad in stand.pool.machines(["EhosNode"])}
    assert server.node not in names


def test_an_unreachable_cloud_is_said_and_its_nodes_are_left_alone(make_stand: MakeStand) -> None:
    stand = make_stand(scaling={"nodes_min": 1, "idle_timeout": 0}, flavors=(TINY,))
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.configure(nodes_min=0)
    stand.cloud().try_out(Trial(unreachable=True))
    stand.pool.submit(cpus=4, memory=200)
    done = stand.reconcile()
    assert (done.code, done.verbs()) == (1, [])
    assert set(done.data["silent"]) == {"here"}
    assert "cloud-silent" in done.err
    stand.cloud().try_out(Trial())
    assert len(stand.nodes()) == 1


def test_a_dry_run_changes_nothing_anywhere(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,))
    stand.pool.submit(count=2, memory=200, seconds=600)
    stand.state.parent.mkdir()
    stand.state.write_text("{]")
    before = sorted((path, path.stat().st_mtime_ns) for path in stand.directory.rglob("*") if "pool" not in path.parts)
    done = stand.reconcile("--dry-run")
    after = sorted((path, path.stat().st_mtime_ns) for path in stand.directory.rglob("*") if "pool" not in path.parts)
    assert done.verbs() == ["create", "create"]
    assert {action["result"] for action in done.data["actions"]} == {"planned"}
    assert before == after


def test_a_pass_that_cannot_be_recorded_creates_nothing(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,))
    stand.pool.submit(memory=200)
    stand.reconcile("--dry-run")
    stand.state.parent.mkdir()
    stand.state.with_name(".state.json.new").mkdir()
    done = stand.reconcile()
    assert done.code == 75
    assert "cannot be written" in done.err
    assert stand.nodes() == {}
