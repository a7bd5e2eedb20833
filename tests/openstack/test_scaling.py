"""One HTCondor pool on two real OpenStack clouds."""

from __future__ import annotations

import signal
from collections import Counter

from ehoslite.clouds.openstack import NODE_TAG
from ehoslite.record import Record
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack_stand import OpenStackStand
from lab.stand import Finished
from tests.openstack.conftest import MakeOpenStack
from tests.openstack.direct import all_servers
from tests.real.test_faults import is_stopped

ONE_FLAVOR = {"alpha": {"flavors": ["m1.medium"]}, "beta": {"flavors": ["m1.medium"]}}


def servers_in(stand: OpenStackStand) -> Counter[str]:
    """How many nodes each cloud lists."""
    return Counter(
        node["cloud"] for node in stand.reconcile("--dry-run").data["nodes"] if node["vm_state"] != "unknown"
    )


def assert_every_job_ended_well(stand: OpenStackStand, count: int) -> None:
    history = stand.pool.history(attributes=["ExitCode", "NumJobStarts", "JobStatus"])
    assert [(job["JobStatus"], job["ExitCode"], job["NumJobStarts"]) for job in history] == [(4, 0, 1)] * count


def test_forty_jobs_run_on_nodes_of_both_clouds(
    make_openstack: MakeOpenStack, alpha: OpenStackLab, beta: OpenStackLab
) -> None:
    """The first cloud is full after three nodes; the second takes over in the same pass."""
    alpha.set_quota(instances=3)
    stand = make_openstack(
        alpha, beta, options=ONE_FLAVOR, scaling={"nodes_max": 6, "idle_timeout": 3, "boot_timeout": 90}
    )
    stand.pool.submit(count=40, seconds=4)  # long enough for the slower cloud's nodes to get some
    done = stand.reconcile()
    assert done.code == 0, done.err
    assert Counter(action["subject"] for action in done.data["actions"]) == {"alpha/m1.medium": 3, "beta/m1.medium": 3}
    hosts: set[str] = set()

    def all_done() -> bool:
        hosts.update(ad["EhosCloud"] for ad in stand.pool.machines(["EhosCloud"], 'State == "Claimed"'))
        stand.reconcile()
        return not stand.pool.queue()

    wait_until(all_done, 120, "the jobs to end")
    assert hosts == {"alpha", "beta"}
    wait_until(lambda: stand.reconcile().code == 0 and not stand.nodes(), 60, "every node to be gone")
    assert_every_job_ended_well(stand, 40)
    assert stand.pool.machines(["Name"]) == []


def test_a_second_pass_over_an_unchanged_world_does_nothing(make_openstack: MakeOpenStack, alpha: OpenStackLab) -> None:
    stand = make_openstack(alpha, scaling={"nodes_min": 2, "boot_timeout": 90, "idle_timeout": 600})
    assert stand.reconcile().verbs() == ["create", "create"]
    assert stand.reconcile().verbs() == []
    stand.wait_for_nodes(2, 60)
    assert stand.reconcile().verbs() == []
    posts = [call for call in alpha.calls("nova", "POST", "/servers$") if call.status == 202]
    assert len(posts) >= 2


def test_a_quota_that_others_use_up_between_look_and_creation(
    make_openstack: MakeOpenStack, alpha: OpenStackLab, beta: OpenStackLab
) -> None:
    """The refusal is understood as quota, and the other cloud takes over in the same pass."""
    stand = make_openstack(alpha, beta, options=ONE_FLAVOR, scaling={"nodes_min": 1, "boot_timeout": 90})
    running = stand.start_pass("ehoslite.clouds.openstack:OpenStack.create", "--json", module="tests.stopping")
    wait_until(lambda: is_stopped(running.pid), 60, "the pass to stop before its creation")
    alpha.set_quota(instances=0)
    while running.poll() is None:
        if is_stopped(running.pid):
            running.send_signal(signal.SIGCONT)
    out, err = running.communicate(timeout=60)
    done = Finished(running.returncode, out, err)
    assert done.code == 0, done.err
    made = [(one["subject"], one["result"], one["fault"]) for one in done.data["actions"]]
    assert made == [("alpha/m1.medium", "not-done", "quota"), ("beta/m1.medium", "done", "")]
    assert servers_in(stand) == {"beta": 1}


def test_nodes_of_an_older_image_are_replaced_while_they_are_idle(
    make_openstack: MakeOpenStack, alpha: OpenStackLab
) -> None:
    """The newest image of a prefix is another one: here because the prefix says so."""
    options = {"alpha": {"flavors": ["m1.small"], "image": "worker-2026-01", "image_newest": True}}
    stand = make_openstack(alpha, options=options, scaling={"nodes_min": 1, "boot_timeout": 90, "idle_timeout": 600})
    stand.reconcile()
    stand.wait_for_nodes(1, 60)
    (old,) = stand.nodes()
    assert stand.reconcile().verbs() == []
    stand.document["clouds"]["alpha"]["image"] = "worker-2026"
    stand.configure()

    def replaced() -> bool:
        stand.reconcile()
        return old not in stand.nodes() and stand.joined() == 1

    wait_until(replaced, 90, "the node to be replaced")
    done = stand.reconcile()
    assert (done.verbs(), "drift" in done.held()) == ([], False)
    images = {image["id"]: image["name"] for image in alpha.call_as_admin("GET", "glance", "/v2/images")["images"]}
    (new,) = [server for server in all_servers(alpha) if server["metadata"].get(NODE_TAG) in stand.nodes()]
    assert images[new["image"]["id"]] == "worker-2026-02"
    passes = Record(stand.settings.record, 0.0, keep=False).passes()
    codes = dict.fromkeys(action["code"] for entry in passes for action in entry["actions"])
    assert list(codes) == ["nodes-min", "drift", "drained"]
