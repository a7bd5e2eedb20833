"""The dead-man lease on a real cloud: a node that powers itself off is SHUTOFF there."""

from __future__ import annotations

from pathlib import Path

from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from tests.openstack.conftest import MakeOpenStack
from tests.real.test_lease import LEASE, write_template


def test_a_node_that_nobody_looks_after_shuts_off_and_is_deleted(
    make_openstack: MakeOpenStack, alpha: OpenStackLab, folder: Path
) -> None:
    options = {"alpha": {"flavors": ["m1.small"], "template": str(write_template(folder))}}
    scaling = {"nodes_min": 1, "idle_timeout": 3600, "boot_timeout": 90, "lease": LEASE}
    stand = make_openstack(alpha, options=options, scaling=scaling)
    assert stand.reconcile().verbs() == ["create"]
    stand.wait_for_nodes(1, 60)
    wait_until(lambda: list(stand.nodes().values()) == ["stopped"], 60, "the server to be SHUTOFF")
    stand.configure(nodes_min=0)
    done = stand.reconcile()
    assert [(action["verb"], action["reason"]["code"]) for action in done.data["actions"]] == [("delete", "stopped")]
    wait_until(lambda: not stand.nodes(), 60, "the server to be gone")
