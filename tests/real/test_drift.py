"""Nodes that differ from what would be made today are replaced gently, on a real pool."""

from __future__ import annotations

from pathlib import Path

from lab.jobs import wait_until
from lab.stand import CHECKOUT
from tests.conftest import MakeStand

SMALL = {"name": "small", "cpus": 1, "memory": "512 MB", "disk": "1 GB"}
TEMPLATE = CHECKOUT / "cloud-init" / "execute.yaml"


def test_a_changed_template_replaces_idle_nodes_one_by_one_and_no_running_job(
    make_stand: MakeStand, folder: Path
) -> None:
    template = folder / "node.yaml"
    template.write_text(TEMPLATE.read_text())
    scaling = {"nodes_min": 3, "idle_timeout": 600, "drift_nodes": 1}
    stand = make_stand(flavors=(SMALL,), cloud={"template": str(template)}, scaling=scaling)
    stand.reconcile()
    stand.wait_for_nodes(3)
    old = set(stand.nodes())
    stand.pool.submit(seconds=3600)
    wait_until(lambda: stand.pool.machines(["EhosNode"], "DynamicSlot =?= True") != [], 30, "the job to run")
    (busy,) = {ad["EhosNode"] for ad in stand.pool.machines(["EhosNode"], "DynamicSlot =?= True")}
    assert stand.reconcile().verbs() == [], "nothing differs yet"

    template.write_text(TEMPLATE.read_text() + "# a newer one\n")
    away: list[int] = []

    def only_the_busy_one_is_left() -> bool:
        done = stand.reconcile()
        assert {one["reason"]["code"] for one in done.data["actions"]} <= {"drift", "drained", "nodes-min"}
        away.append(len(old - set(stand.nodes())))
        return old & set(stand.nodes()) == {busy} and stand.joined() == 3

    wait_until(only_the_busy_one_is_left, 60, "the idle nodes to be replaced")
    assert {0, 1, 2} == set(away), "one after the other"
    assert "drift" in stand.reconcile().held()
    (job,) = stand.pool.queue(attributes=["JobStatus", "NumShadowStarts"])
    assert (job["JobStatus"], job["NumShadowStarts"]) == (2, 1)
    stand.pool.run_checked("condor_rm", "-all", user="alice")

    def all_are_new() -> bool:
        stand.reconcile()
        return not old & set(stand.nodes()) and stand.joined() == 3

    wait_until(all_are_new, 60, "the last one to be replaced")
    assert "drift" not in stand.reconcile().held()
