"""What people and programs are told, by the real commands on a real pool."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest

from lab.jobs import wait_until
from lab.stand import CHECKOUT
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY

SCHEMA = json.loads((CHECKOUT / "docs" / "json-schema.json").read_text())


def test_status_tells_nodes_demand_and_passes(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"nodes_max": 1, "idle_timeout": 600})
    stand.pool.submit(count=3, memory=200, seconds=600)
    stand.reconcile()
    stand.wait_for_nodes(1)
    wait_until(lambda: len(stand.pool.machines(["Name"], "DynamicSlot =?= True")) == 1, 30, "a job to be seen running")
    (node,) = stand.nodes()
    out, err = stand.start_pass("status", module="ehoslite.cli").communicate(timeout=240)
    assert err == ""
    nodes, demand, passes = out.strip().split("\n\n")
    assert nodes.splitlines()[1].split()[:5] == [node, "here", "tiny", "active", "busy"]
    assert demand.splitlines()[1].split()[:3] == ["2", "1", "200"]
    assert f"create {node} (demand)" in passes


def test_json_keeps_to_its_schema(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"nodes_max": 1})
    stand.pool.submit(count=2, memory=200)
    stand.pool.submit(cpus=99)
    for document in (stand.reconcile("--dry-run").data, stand.reconcile().data, stand.reconcile().data):
        jsonschema.validate(document, SCHEMA)
        assert document["held"]
    out, _ = stand.start_pass("status", "--json", module="ehoslite.cli").communicate(timeout=240)
    status = json.loads(out)
    jsonschema.validate(status, SCHEMA)
    assert len(status["passes"]) == 2
    stand.pool.kill("collector")
    failed = stand.reconcile()
    jsonschema.validate(failed.data, SCHEMA)
    assert failed.data["exit_code"] == failed.code == 75
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(failed.data | {"schema": 2}, SCHEMA)


def test_a_failed_pass_stands_in_the_history(make_stand: MakeStand) -> None:
    stand = make_stand(condor={"query_timeout": 8})
    stand.pool.kill("collector")
    assert stand.reconcile().code == 75
    stand.pool.revive()
    wait_until(lambda: stand.reconcile("--dry-run").code == 0, 30, "the collector to be back")
    out, _ = stand.start_pass("status", module="ehoslite.cli").communicate(timeout=240)
    assert "the collector did not answer" in out


def test_a_pass_ends_within_its_deadline(make_stand: MakeStand) -> None:
    stand = make_stand(condor={"query_timeout": 60})
    stand.document["deadline"] = 2
    stand.configure()
    stand.pool.freeze("collector")
    began = time.monotonic()
    done = stand.reconcile()
    spent = time.monotonic() - began
    stand.pool.thaw("collector")
    assert done.code == 75
    assert spent < 50, "the collector alone would block for 60 s"


def test_a_dry_run_explains_itself_to_a_person(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,))
    stand.pool.submit(count=2, memory=200)
    stand.pool.submit(cpus=99)
    out, err = stand.start_pass("--dry-run").communicate(timeout=240)
    assert err == ""
    assert "2 x create here/tiny: no room for 2 idle jobs of 1 cpus, 200 MB memory" in out
    assert "no node for 1 idle job of 99 cpus" in out
    assert "[no-flavor-fits]" in out
