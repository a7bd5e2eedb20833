"""Hands off what is not ours (law 4), secrets stay secret (law 9), and other kinds of pools and ads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ehoslite.cloudinit import read_template, user_data
from ehoslite.clouds.local import LocalCloud, processes_of
from ehoslite.settings import LocalCloudSettings
from lab.jobs import wait_until
from lab.stand import CHECKOUT, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well, job_is_done

EXECUTE = CHECKOUT / "cloud-init" / "execute.yaml"

STATIC = """
  - path: /etc/condor/config.d/60-static.conf
    content: |
      NUM_SLOTS_TYPE_1 = 2
      SLOT_TYPE_1 = cpus=1
      SLOT_TYPE_1_PARTITIONABLE = False
      NUM_SLOTS = 2
runcmd:"""


def start_foreign_node(stand: Stand, name: str, pool: str = "other", template: Path = EXECUTE) -> LocalCloud:
    """A node of another pool's ehoslite, in the same folder and the same HTCondor pool."""
    settings = stand.settings.clouds["here"]
    assert isinstance(settings, LocalCloudSettings)
    cloud = LocalCloud("here", settings, pool)
    token = stand.pool.create_token(f"node-{name}", "READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")
    values = {
        "node": name,
        "pool": pool,
        "cloud": "here",
        "flavor": "tiny",
        "collector": stand.pool.address,
        "domain": stand.pool.domain,
        "node_domain": "foreign.test",
        "retirement": "3600",
        "lease": "0",
        "token": token,
    }
    cloud.create(name, "tiny", user_data(read_template(template), values, template))
    wait_until(lambda: name in {ad.get("EhosNode") for ad in stand.pool.machines(["EhosNode"])}, 30, f"{name} to join")
    return cloud


def test_a_foreign_node_is_room_and_is_never_touched(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"idle_timeout": 0, "nodes_max": 0})
    foreign = start_foreign_node(stand, "foreign-1")
    try:
        stand.pool.submit(memory=200, seconds=1)
        first = stand.reconcile()
        assert "nodes-max" not in first.held(), "the job fits onto the foreign node"
        wait_until(lambda: not stand.pool.queue(), 30, "the job to run there")
        for _ in range(3):
            done = stand.reconcile()
            assert (done.verbs(), done.data["nodes"]) == ([], [])
        assert [server.node for server in foreign.servers()] == ["foreign-1"]
        assert [ad["State"] for ad in stand.pool.machines(["State"])] == ["Unclaimed"]
    finally:
        for server in foreign.servers():
            foreign.delete(server)


def test_a_foreign_startd_that_bears_a_node_s_name_blocks_its_drain(make_stand: MakeStand) -> None:
    """Drains go by Machine; where two startds share one, the drain might hit the stranger."""
    stand = make_stand(
        flavors=(TINY,), scaling={"idle_timeout": 0, "nodes_min": 1}, condor={"node_domain": "foreign.test"}
    )
    stand.reconcile()
    stand.wait_for_nodes(1)
    (node,) = stand.nodes()
    text = EXECUTE.read_text().replace("NETWORK_HOSTNAME = {node}", f"NETWORK_HOSTNAME = {node}")
    template = stand.directory / "twin.yaml"
    template.write_text(
        text.replace("runcmd:", "runcmd:\n  - [echo, twin]").replace(
            "RunBenchmarks", "STARTD_NAME = twin\n      RunBenchmarks"
        )
    )
    settings = stand.settings.clouds["here"]
    assert isinstance(settings, LocalCloudSettings)
    cloud = LocalCloud("here", settings, "other")
    values = {
        "node": "twin",
        "pool": "other",
        "cloud": "here",
        "flavor": "tiny",
        "collector": stand.pool.address,
        "domain": stand.pool.domain,
        "node_domain": "foreign.test",
        "retirement": "3600",
        "lease": "0",
        # No token of a node: with one the collector would not take this ad.
        "token": stand.pool.create_token("scaler", "READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"),
    }
    cloud.create("twin", "tiny", user_data(read_template(template), values, template))
    try:
        wait_until(lambda: len(stand.pool.machines(["Name"], f'Machine == "{node}.foreign.test"')) == 2, 30, "the twin")
        stand.configure(nodes_min=0)
        done = stand.reconcile()
        assert "ambiguous-machine" in done.held()
        assert "drain" not in done.verbs()
    finally:
        for server in cloud.servers():
            cloud.delete(server)


def test_no_secret_leaves_its_place(make_stand: MakeStand) -> None:
    """The node's token stands in files for one account only: not in logs, argv, environments or the state file."""
    stand = make_stand(flavors=(TINY,))
    stand.pool.submit(memory=200, seconds=600)
    done = stand.reconcile("-vv")
    stand.wait_for_nodes(1)
    (server,) = stand.cloud().servers()
    home = stand.directory / "nodes" / server.id
    token = (home / "root/etc/condor/tokens.d/ehoslite").read_text().strip()
    assert token.count(".") == 2
    for text in (done.out, done.err, stand.state.read_text(), (home / "console.log").read_text()):
        assert token not in text
    for process in processes_of(home):
        assert token.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
        assert token.encode() not in Path(f"/proc/{process}/environ").read_bytes()
    holders = [path for path in home.rglob("*") if path.is_file() and token in path.read_text(errors="replace")]
    assert holders
    assert [oct(path.stat().st_mode & 0o077) for path in holders] == ["0o0"] * len(holders)
    assert stand.state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("source", ["fetch", "create"])
def test_a_node_s_token_can_join_and_nothing_more(make_stand: MakeStand, source: str) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 1})
    if source == "create":
        stand.document["condor"].update(token_source="create", token_key=str(stand.pool.key_copy_for_client()))
        stand.configure()
    assert stand.reconcile().code == 0
    stand.wait_for_nodes(1)
    (server,) = stand.cloud().servers()
    thief = stand.pool.client("stranger").parent
    token = (stand.directory / "nodes" / server.id / "root/etc/condor/tokens.d/ehoslite").read_text()
    for old in (thief / "tokens.d").iterdir():
        old.unlink()
    stolen = thief / "tokens.d" / "stolen"
    with os.fdopen(os.open(stolen, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(token)
    identity = json.loads(_decode(token.split(".")[1]))
    assert set(identity["scope"].split()) == {
        f"condor:/{right}" for right in ("READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")
    }
    assert identity["sub"] == ("scaler@labpool" if source == "fetch" else f"node-{server.node}@labpool")
    assert stand.pool.run("condor_status", user="stranger").returncode == 0
    machine = stand.pool.machines(["Machine"])[0]["Machine"]
    assert stand.pool.run("condor_drain", machine, user="stranger").returncode != 0
    with pytest.raises(Exception, match="condor_submit"):
        stand.pool.submit(user="stranger")


def _decode(part: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize("fault", ["wrong token", "wrong port", "no such configuration"])
def test_a_pool_that_refuses_or_is_not_there_is_try_again_later(make_stand: MakeStand, fault: str) -> None:
    stand = make_stand(condor={"query_timeout": 5})
    config = stand.directory / "client.conf"
    if fault == "wrong token":
        config = stand.pool.client("stranger")
    elif fault == "wrong port":
        text = stand.pool.client("scaler").read_text()
        config.write_text(text.replace(stand.pool.address, "127.0.0.1:9"))
    stand.document["condor"]["config"] = str(config)
    stand.configure()
    stand.pool.submit()
    done = stand.reconcile()
    assert done.code == 75
    assert "collector" in done.err
    assert stand.nodes() == {}


def test_a_schedd_that_died_is_said(make_stand: MakeStand) -> None:
    stand = make_stand(schedds=2, condor={"query_timeout": 15})
    stand.pool.stop_schedd("schedd2")
    done = stand.reconcile()
    assert "schedd-silent" in done.held()
    assert "schedd2@lab" in done.err


def test_jobs_of_every_schedd_count(make_stand: MakeStand) -> None:
    stand = make_stand(schedds=2)
    for schedd in ("schedd1@lab", "schedd2@lab"):
        stand.pool.submit(count=2, schedd=schedd)
    assert sum(row["idle"] for row in stand.reconcile("--dry-run").data["demand"]) == 4


def test_static_slots_are_room_and_are_drained_like_others(make_stand: MakeStand) -> None:
    two = {"name": "two", "cpus": 2, "memory": "512 MB", "disk": "2 GB"}
    stand = make_stand(flavors=(two,), scaling={"idle_timeout": 1})
    template = stand.directory / "static.yaml"
    template.write_text(EXECUTE.read_text().replace("\nruncmd:", STATIC))
    stand.document["clouds"]["here"]["template"] = str(template)
    stand.configure()
    cluster = stand.pool.submit(count=2, seconds=2)
    stand.reconcile()
    stand.wait_for_nodes(1)
    assert len(stand.pool.machines(["Name"])) == 2
    wait_until(lambda: job_is_done(stand, cluster), 30, "the jobs to end")
    wait_until(lambda: stand.reconcile().code == 0 and not stand.nodes(), 30, "the node to be gone")
    assert_every_job_ended_well(stand, 2)


def test_strange_ads_do_no_harm(make_stand: MakeStand) -> None:
    """Ads with wrong types, huge numbers and control characters, as any advertiser may send them."""
    stand = make_stand(scaling={"nodes_min": 1, "idle_timeout": 0})
    strange = (
        'Name = "slot1@odd"\nMachine = "odd"\nCpus = "many"\nMemory = -5\nEhosPool = "lab"\nEhosNode = 7',
        'Name = "slot1@huge"\nMachine = "huge"\nCpus = 1e300\nMemory = 1/0\nState = true\nEhosPool = {}',
        'Name = "slot1@ghost"\nEhosPool = "lab"\nEhosNode = "../../\\"|| true"\nState = "Drained"',
    )
    for ad in strange:
        path = stand.pool.jobs_directory / "strange.ad"
        path.write_text(f'MyType = "Machine"\n{ad}\nMyAddress = "<127.0.0.1:9>"\n')
        stand.pool.run_checked("condor_advertise", "UPDATE_STARTD_AD", str(path))
    done = stand.reconcile()
    assert (done.code, done.verbs()) == (0, ["create"])
    stand.wait_for_nodes(1)
    assert stand.reconcile().code == 0
