"""The dead-man lease, on a real pool: nodes that nobody looks after go off when they are idle, and only then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ehoslite.clouds.local import processes_of
from lab import read_file, read_parents
from lab.jobs import wait_until
from lab.pool import daemon_account
from lab.stand import CHECKOUT, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

# A node asks once a second, believes an ad of up to 4 s, and gives up 12 s after the last one.
LEASE = 16
PAIR = {"name": "pair", "cpus": 2, "memory": "512 MB", "disk": "2 GB"}
EXECUTE = CHECKOUT / "cloud-init" / "execute.yaml"


def folder_of(stand: Stand, node: str) -> Path:
    (folder,) = [stand.directory / "nodes" / server.id for server in stand.cloud().servers() if server.node == node]
    return folder


def was_powered_off(stand: Stand, node: str) -> bool:
    """Whether the node ended its own life, and not only its HTCondor."""
    return (folder_of(stand, node) / "off").exists()


def find_pid(stand: Stand, node: str, program: str) -> int | None:
    """The process of this program in the node."""
    for pid in processes_of(folder_of(stand, node)):
        if pid in read_parents() and Path(read_file(pid, "cmdline").split(b"\0")[0].decode()).name == program:
            return pid
    return None


def pid_of(stand: Stand, node: str, program: str) -> int:
    pid = find_pid(stand, node, program)
    assert pid, f"{node} has no {program}"
    return pid


def write_template(folder: Path, *, static: bool = False) -> Path:
    """Our template, with a startd that reports (and so judges itself) more often, and perhaps a static slot a core."""
    text = EXECUTE.read_text().replace("UPDATE_INTERVAL = 60", "UPDATE_INTERVAL = 2")
    if static:
        text = re.sub(
            r" *NUM_SLOTS.*\n *NUM_SLOTS_TYPE_1.*\n *SLOT_TYPE_1 .*\n *SLOT_TYPE_1_PARTITIONABLE.*\n", "", text
        )
    path = folder / "quick.yaml"
    path.write_text(text)
    return path


def start_nodes(make_stand: MakeStand, folder: Path, count: int = 1, *, static: bool = False, **options: Any) -> Stand:
    """A stand with so many idle nodes, and no pass any more that would renew their lease."""
    cloud = {"template": str(write_template(folder, static=static))}
    scaling = {"nodes_min": count, "idle_timeout": 3600, "lease": LEASE}
    stand = make_stand(**{"flavors": (TINY,), "scaling": scaling, "cloud": cloud, **options})
    assert stand.reconcile().verbs() == ["create"] * count
    stand.wait_for_nodes(count)
    return stand


def leases(stand: Stand) -> list[dict[str, Any]]:
    return stand.pool.read_ads("condor_status", "-generic", attributes=["EhosLease", "EhosPassLasts"], user="reader")


def test_an_idle_node_goes_off_when_passes_stop_and_the_next_pass_deletes_it(
    make_stand: MakeStand, folder: Path
) -> None:
    stand = start_nodes(make_stand, folder)
    (node,) = stand.nodes()
    assert leases(stand) == [{"EhosLease": "lab", "EhosPassLasts": 135}]
    wait_until(lambda: stand.nodes() == {node: "stopped"}, 2 * LEASE, "the node to go off")
    assert was_powered_off(stand, node)
    assert processes_of(folder_of(stand, node)) == []
    assert stand.pool.machines(["Name"]) == []
    stand.configure(nodes_min=0)
    done = stand.reconcile()
    assert [(action["verb"], action["reason"]["code"]) for action in done.data["actions"]] == [("delete", "stopped")]
    assert stand.nodes() == {}


def test_a_node_goes_off_when_the_whole_manager_is_dead(make_stand: MakeStand, folder: Path) -> None:
    stand = start_nodes(make_stand, folder)
    stand.pool.kill("collector")
    wait_until(lambda: list(stand.nodes().values()) == ["stopped"], 2 * LEASE, "the node to go off")
    stand.pool.revive()


def claimed_nodes(stand: Stand) -> set[str]:
    return {ad["EhosNode"] for ad in stand.pool.machines(["EhosNode"], 'State == "Claimed"')}


@pytest.mark.parametrize("static", [False, True], ids=["partitionable", "static"])
def test_a_busy_node_goes_off_when_its_job_has_ended(make_stand: MakeStand, folder: Path, static: bool) -> None:
    """The job runs on one of two cores, so that the rest of its node is idle."""
    stand = start_nodes(make_stand, folder, 2, static=static, flavors=(PAIR,))
    stand.pool.submit(memory=200, seconds=2.5 * LEASE)
    wait_until(lambda: len(claimed_nodes(stand)) == 1, 30, "the job to run")
    (claimed,) = claimed_nodes(stand)
    (idle,) = set(stand.nodes()) - {claimed}
    wait_until(lambda: stand.nodes()[idle] == "stopped", 2 * LEASE, "the idle node to go off")
    assert stand.nodes()[claimed] == "active"
    assert len(stand.pool.queue("JobStatus == 2")) == 1, "the lease of the busy node was over as well"
    wait_until(lambda: stand.nodes()[claimed] == "stopped", 4 * LEASE, "the other node to go off after its job")
    assert_every_job_ended_well(stand, 1)
    assert was_powered_off(stand, claimed)


def test_a_lease_that_is_renewed_keeps_the_nodes(make_stand: MakeStand, folder: Path) -> None:
    stand = start_nodes(make_stand, folder)
    until = time.monotonic() + 3 * LEASE
    while time.monotonic() < until:
        assert stand.reconcile().verbs() == []
    assert list(stand.nodes().values()) == ["active"]
    assert stand.joined() == 1


def test_a_collector_that_is_away_for_a_while_costs_no_node(make_stand: MakeStand, folder: Path) -> None:
    stand = start_nodes(make_stand, folder, scaling={"nodes_min": 1, "idle_timeout": 3600, "lease": 120})
    (node,) = stand.nodes()
    asked = len(questions_of(stand, node))
    stand.pool.kill("collector")
    wait_until(lambda: len(questions_of(stand, node)) > asked + 2, 30, "the node to ask in vain")
    stand.pool.revive()
    wait_until(lambda: stand.reconcile().code == 0 and stand.joined() == 1, 60, "the node to be back")
    assert list(stand.nodes().values()) == ["active"]


def questions_of(stand: Stand, node: str) -> list[str]:
    """The startd's own questions to the script, by its log; the master's script asks the collector as often."""
    log = (folder_of(stand, node) / "root/log/StartLog").read_text(errors="replace")
    return [line for line in log.splitlines() if "EHOSLEASE started" in line]


def administer(stand: Stand, program: str, *arguments: str) -> None:
    """One of the tools that insist on being run by the account of the daemons; a new master is known a bit later."""
    config = {"CONDOR_CONFIG": str(stand.pool.manager / "condor_config")}
    environment = {**stand.pool.release.environment(), **config}
    command = [str(stand.pool.release.program(program)), *arguments]

    def is_done() -> bool:
        done = subprocess.run(command, env=environment, cwd="/", check=False, timeout=60, **daemon_account())
        return done.returncode == 0

    wait_until(is_done, 30, " ".join(command))


def test_restarts_of_the_node_s_daemons_power_nothing_off(make_stand: MakeStand, folder: Path) -> None:
    """A crashed startd, a restarted master, a stopped service: none of them is a lease that is over."""
    stand = start_nodes(make_stand, folder, scaling={"nodes_min": 1, "idle_timeout": 3600, "lease": 600})
    (node,) = stand.nodes()
    startd = pid_of(stand, node, "condor_startd")
    os.kill(startd, signal.SIGKILL)
    wait_until(lambda: find_pid(stand, node, "condor_startd") not in {None, startd}, 60, "a new startd")
    startd = pid_of(stand, node, "condor_startd")
    wait_until(lambda: stand.joined() == 1, 30, "the new startd to join")
    machine = stand.pool.machines(["Machine"])[0]["Machine"]
    administer(stand, "condor_restart", "-daemon", "master", machine)
    wait_until(lambda: find_pid(stand, node, "condor_startd") not in {None, startd}, 60, "the startd of a new master")
    assert list(stand.nodes().values()) == ["active"]
    administer(stand, "condor_off", "-daemon", "startd", machine)
    wait_until(lambda: find_pid(stand, node, "condor_startd") is None, 60, "the startd to be off")
    assert list(stand.nodes().values()) == ["active"], "an administrator may switch it on again"
    os.kill(pid_of(stand, node, "condor_master"), signal.SIGTERM)
    wait_until(lambda: stand.nodes() == {node: "stopped"}, 30, "the master to end")
    assert not was_powered_off(stand, node)


def test_no_lease_no_question(make_stand: MakeStand, folder: Path) -> None:
    stand = start_nodes(make_stand, folder, scaling={"nodes_min": 1, "idle_timeout": 3600, "lease": 0})
    (node,) = stand.nodes()
    assert leases(stand) == []
    assert "EhosLeaseOver" not in stand.pool.machines()[0]
    assert not any(b"ehoslite-lease" in read_file(pid, "cmdline") for pid in processes_of(folder_of(stand, node)))


def test_a_dry_run_renews_nothing(make_stand: MakeStand) -> None:
    stand = make_stand()
    assert stand.reconcile("--dry-run").code == 0
    assert leases(stand) == []


def test_a_lease_that_cannot_be_renewed_is_said_and_the_pass_goes_on(make_stand: MakeStand, folder: Path) -> None:
    """The reader has no right to advertise."""
    stand = make_stand(condor={"config": str(folder / "pool" / "clients" / "reader" / "condor_config")})
    stand.pool.submit(cpus=99)
    done = stand.reconcile()
    assert done.code == 0
    assert "no-flavor-fits" in done.held()
    assert "the lease of the nodes could not be renewed" in done.err
    assert leases(stand) == []
