"""Not knowing is not zero (law 5): daemons that restart, die, hang or fall silent, and nodes that do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ehoslite.clouds.local import processes_of
from lab import read_file
from lab.jobs import wait_until
from lab.pool import LabPool
from lab.release import Release
from lab.stand import CHECKOUT, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

EXECUTE = CHECKOUT / "cloud-init" / "execute.yaml"
KEPT = {"nodes_min": 2, "idle_timeout": 3600}


def nodes_report_every(stand: Stand, seconds: int) -> None:
    """Have the next nodes report so often; the template says 60 s."""
    template = stand.directory / "execute.yaml"
    template.write_text(EXECUTE.read_text().replace("UPDATE_INTERVAL = 60", f"UPDATE_INTERVAL = {seconds}"))
    stand.document["clouds"]["here"]["template"] = str(template)
    stand.configure()


def restart_collector_unheard(stand: Stand) -> None:
    """A new collector of which no node has heard yet: their next report is far away."""
    stand.pool.restart_collector()
    assert stand.joined() == 0


def test_a_restarted_collector_costs_nothing(make_stand: MakeStand) -> None:
    """One node runs a job, one is idle, more wait; none of our nodes is in the new collector."""
    stand = make_stand(flavors=(TINY,), scaling=KEPT)
    nodes_report_every(stand, 3600)
    stand.reconcile()
    stand.wait_for_nodes(2)
    stand.pool.submit(memory=200, seconds=40)
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 30, "the job to run")
    assert stand.reconcile().verbs() == []
    before = stand.nodes()
    restart_collector_unheard(stand)
    stand.pool.submit(memory=200, seconds=1)
    # Everything that could make a pass act: idle nodes are due, the minimum is not to be seen, silence is not allowed.
    stand.document["condor"]["collector_warmup"] = "10m"
    stand.configure(idle_timeout=0, lost_timeout=1, boot_timeout=1)
    for _ in range(3):
        done = stand.reconcile()
        assert (done.code, done.verbs(), stand.nodes()) == (0, [], before)
    assert "waits-for-boot" in done.held(), "the idle job waits for a node that comes back"
    wait_until(lambda: not stand.pool.queue(), 60, "the jobs to end")
    assert_every_job_ended_well(stand, 2)


def test_a_restarted_collector_that_fills_again_is_believed_again(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling=KEPT)
    nodes_report_every(stand, 5)
    stand.reconcile()
    stand.wait_for_nodes(2)
    before = stand.nodes()
    stand.document["condor"]["collector_warmup"] = "10m"
    stand.configure()
    stand.pool.restart_collector()
    assert stand.reconcile().verbs() == []
    stand.wait_for_nodes(2, 60)
    stand.configure(idle_timeout=0, nodes_min=0)
    assert "collector-young" in stand.reconcile().held()
    stand.document["condor"]["collector_warmup"] = 0
    stand.configure()
    assert stand.reconcile().verbs() == ["drain", "drain"]
    assert stand.nodes() == before


def test_a_node_that_is_cut_off_before_a_pass_has_seen_it_keeps_its_job(make_stand: MakeStand) -> None:
    """It looks as if it had never joined; the schedd alone knows better."""
    stand = make_stand(flavors=(TINY,), scaling={"idle_timeout": 3600})
    nodes_report_every(stand, 3600)
    stand.pool.submit(memory=200, seconds=25)
    assert stand.reconcile().verbs() == ["create"]
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 30, "the job to run")
    before = stand.nodes()
    restart_collector_unheard(stand)
    wait_until(lambda: bool(stand.pool.run_checked("condor_status", "-schedd", "-af", "Name")), 60, "the schedd's ad")
    stand.configure(boot_timeout=1, nodes_max=1)
    done = stand.reconcile_until("delete")
    (action,) = done.data["actions"]
    assert (action["verb"], action["reason"]["code"], action["result"]) == ("delete", "boot-timeout", "not-done")
    assert "job 1.0 of schedd" in action["error"]
    assert (done.code, stand.nodes()) == (0, before)
    wait_until(lambda: not stand.pool.queue(), 60, "the job to end")
    assert_every_job_ended_well(stand, 1)


def test_without_a_negotiator_no_node_is_made_beyond_what_packing_says(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={**KEPT, "nodes_max": 9})
    stand.reconcile()
    stand.wait_for_nodes(2)
    stand.pool.kill("negotiator")
    stand.pool.submit(count=2, memory=200, seconds=1)
    for _ in range(3):
        assert stand.reconcile().verbs() == [], "there is room for them, whoever has to match them"
    stand.pool.submit(count=1, memory=200, seconds=1)
    made = stand.reconcile().verbs()
    assert made == ["create"], "one more is one too many for two nodes"
    stand.wait_for_nodes(3)
    assert stand.reconcile().verbs() == []
    assert len(stand.pool.queue("JobStatus == 1")) == 3
    stand.pool.revive()
    wait_until(lambda: not stand.pool.queue(), 60, "the jobs to end")
    assert_every_job_ended_well(stand, 3)


def test_one_schedd_hangs_and_one_is_gone(make_stand: MakeStand) -> None:
    """The third is served, nothing is retired, and the hanging one is given up after query_timeout, before the bindings
    do so themselves (20 s)."""
    stand = make_stand(schedds=3, flavors=(TINY,), scaling={"nodes_min": 1, "idle_timeout": 0})
    stand.reconcile()
    stand.wait_for_nodes(1)
    stand.document["condor"]["query_timeout"] = 10
    stand.configure(nodes_min=0)
    stand.pool.freeze("schedd2")
    stand.pool.stop_schedd("schedd3")
    stand.pool.submit(count=3, memory=200, seconds=20, schedd="schedd1@lab")
    done = stand.reconcile()
    assert set(done.data["silent"]) == {"schedd2@lab", "schedd3@lab"}
    assert (done.code, set(done.verbs())) == (0, {"create"})
    assert "no answer within 10.0 s" in done.data["silent"]["schedd2@lab"]
    stand.wait_for_nodes(2)
    wait_until(lambda: not stand.pool.queue(schedd="schedd1@lab"), 60, "the jobs of the first to end")
    done = stand.reconcile()
    assert (done.verbs(), done.held() >= {"schedd-silent"}) == ([], True)
    stand.pool.thaw("schedd2")
    stand.pool.revive()
    assert set(stand.reconcile_until("drain").data["silent"]) == set()


# Nodes


def processes(stand: Stand, node: str, program: str = "") -> list[int]:
    """The processes of a node, or those of one program."""
    (server,) = [server for server in stand.cloud().servers() if server.node == node]
    found = processes_of(stand.directory / "nodes" / server.id)
    return [pid for pid in found if program in read_file(pid, "comm").decode()]


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


# Ads live for 20 s instead of 15 minutes; the collector's own, by which its age is known, as well.
QUICK_POOL = """
CLASSAD_LIFETIME = 20
COLLECTOR_UPDATE_INTERVAL = 10
"""


@pytest.mark.parametrize("program", ["condor_startd", ""])
def test_a_silent_startd_is_kept_for_lost_timeout_then_replaced(
    make_stand: MakeStand, folder: Path, release: Release, program: str
) -> None:
    """The server runs; its startd, or everything on it, does not speak. It would come back within the time."""
    pool = LabPool(folder / "pool", release, extra=QUICK_POOL)
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 1, "idle_timeout": 3600}, pool=pool)
    nodes_report_every(stand, 5)
    stand.reconcile()
    stand.wait_for_nodes(1)
    assert stand.reconcile().verbs() == []
    (node,) = stand.nodes()
    frozen = processes(stand, node, program)
    signal_all(frozen, signal.SIGSTOP)
    wait_until(lambda: stand.joined() == 0, 60, "its ads to go")
    done = stand.reconcile()
    assert (done.verbs(), [one["condor_state"] for one in done.data["nodes"]]) == ([], ["lost"])
    signal_all(frozen, signal.SIGCONT)
    wait_until(lambda: stand.joined() == 1, 30, "it to be back")
    assert (stand.reconcile().verbs(), list(stand.nodes())) == ([], [node])
    signal_all(frozen, signal.SIGSTOP)
    stand.configure(lost_timeout=45)
    codes = reasons(stand.reconcile_until("delete", 60).data)
    assert ("delete", "lost") in codes
    wait_until(lambda: stand.reconcile().code == 0 and stand.joined() == 1, 30, "its replacement")
    assert node not in stand.nodes()


def reasons(data: dict[str, Any]) -> set[tuple[str, str]]:
    """What was done, and why."""
    return {(action["verb"], action["reason"]["code"]) for action in data["actions"]}


def reconcile_later(stand: Stand, seconds: float) -> dict[str, Any]:
    """What a pass does that begins so much later; gives its JSON."""
    command = [sys.executable, "-m", "tests.later", f"{seconds:g}", "--json", "-c", str(stand.config)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=True)
    return dict(json.loads(done.stdout))


def ads_of(stand: Stand, node: str) -> list[str]:
    """The names of all ads that bear this node's id, of whatever kind."""
    shown = stand.pool.run_checked("condor_status", "-any", "-constraint", f'EhosNode == "{node}"', "-af", "Name")
    return shown.split()


def test_a_server_that_is_gone_is_forgotten_with_its_ads(make_stand: MakeStand) -> None:
    """Somebody deletes it by hand, and its startd cannot say goodbye: its ads would linger for 15 minutes."""
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 1, "idle_timeout": 3600})
    stand.reconcile()
    stand.wait_for_nodes(1)
    assert stand.reconcile().verbs() == []
    (server,) = stand.cloud().servers()
    wait_until(lambda: len(ads_of(stand, server.node)) >= 2, 30, "the ads of its startd and of its master")
    stand.cloud().delete(server)
    assert len(ads_of(stand, server.node)) >= 2
    done = stand.reconcile()
    assert (done.verbs(), done.held() >= {"no-server"}) == ([], True), "it was heard a moment ago"
    data = reconcile_later(stand, 200)
    assert reasons(data) == {("forget", "server-gone"), ("create", "nodes-min")}
    assert ads_of(stand, server.node) == []
    wait_until(lambda: stand.joined() == 1, 30, "another node")
    assert {node["node"] for node in stand.reconcile().data["nodes"]} == set(stand.nodes())


def test_a_startd_whose_server_no_cloud_lists_is_left_alone_while_it_speaks(make_stand: MakeStand) -> None:
    """Its job ends well, it takes further jobs, and it is neither drained nor deleted, whatever else."""
    stand = make_stand(flavors=(TINY,), scaling={"nodes_max": 1, "idle_timeout": 0})
    stand.pool.submit(memory=200, seconds=8)
    stand.reconcile()
    wait_until(lambda: bool(stand.pool.machines(["State"], 'State == "Claimed"')), 30, "the claim to show in the ads")
    assert stand.reconcile().verbs() == []
    (server,) = stand.cloud().servers()
    tags = stand.directory / "nodes" / server.id / "server.json"
    tags.rename(tags.with_name("hidden"))
    stand.pool.submit(count=2, memory=200, seconds=1)
    done = stand.reconcile()
    assert (stand.nodes(), done.verbs()) == ({}, [])
    assert done.held() >= {"no-server", "nodes-max"}, "it counts: it is there"
    wait_until(lambda: not stand.pool.queue(), 60, "all jobs to end on it")
    assert_every_job_ended_well(stand, 3)
    done = stand.reconcile()
    assert (done.verbs(), [one["vm_state"] for one in done.data["nodes"]]) == ([], ["unknown"])
    tags.with_name("hidden").rename(tags)
    assert stand.reconcile_until("drain").verbs() == ["drain"]
