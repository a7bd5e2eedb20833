"""A node's token is the node's own: stolen, it can do nothing to others. It stands nowhere but where it must."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import read_file, read_parents, write_secret
from lab.jobs import wait_until
from lab.pool import LabPool
from lab.release import Release
from lab.stand import CHECKOUT, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

EXECUTE = CHECKOUT / "cloud-init" / "execute.yaml"
TWO = {"nodes_min": 2, "idle_timeout": 3600}


def with_own_tokens(stand: Stand, report: int = 5, **scaling: Any) -> Stand:
    """The stand with tokens that are each bound to a node, and nodes that report so often, in seconds."""
    template = stand.directory / "execute.yaml"
    template.write_text(EXECUTE.read_text().replace("UPDATE_INTERVAL = 60", f"UPDATE_INTERVAL = {report}"))
    stand.document["clouds"]["here"]["template"] = str(template)
    stand.document["condor"].update(token_source="create", token_key=str(stand.pool.key_copy_for_client()))
    stand.configure(**scaling)
    return stand


def token_of(stand: Stand, node: str) -> str:
    """The token that stands in this node's file."""
    (server,) = [server for server in stand.cloud().servers() if server.node == node]
    return (stand.directory / "nodes" / server.id / "root/etc/condor/tokens.d/ehoslite").read_text().strip()


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def become_thief(stand: Stand) -> tuple[str, str]:
    """Have the client `stranger` hold the token of one of the two nodes; gives the robbed and the other node."""
    assert stand.reconcile().code == 0
    stand.wait_for_nodes(2)
    robbed, other = sorted(stand.nodes())
    tokens = stand.pool.client("stranger").parent / "tokens.d"
    for old in tokens.iterdir():
        old.unlink()
    write_secret(tokens / "stolen", token_of(stand, robbed).encode())
    return robbed, other


def advertise(stand: Stand, command: str, user: str = "stranger", **ad: str) -> None:
    """Send an ad as this client. The collector answers nothing, whatever it makes of it."""
    path = stand.pool.client(user).parent / "forged.ad"
    path.write_text("".join(f"{name} = {value}\n" for name, value in ad.items()))
    stand.pool.run_checked("condor_advertise", command, str(path), user=user)


def slot_ad(node: str, name: str = "", machine: str = "", **more: str) -> dict[str, str]:
    """The ad of a slot that says it is of this node, and, as the strongest temptation, that it may be deleted."""
    return {
        "MyType": '"Machine"',
        "Name": f'"{name or f"slot1@{node}.nodes.ehos"}"',
        "Machine": f'"{machine or f"{node}.nodes.ehos"}"',
        "MyAddress": '"<127.0.0.1:9>"',
        "EhosNode": f'"{node}"',
        "EhosPool": '"lab"',
        "EhosCloud": '"here"',
        "State": '"Drained"',
        "Activity": '"Idle"',
        "Draining": "true",
        "DrainReason": '"ehoslite: retired"',
        "PartitionableSlot": "true",
        "Cpus": "1000",
        "Memory": "1000000",
        "Disk": "1000000000",
        **more,
    }


def states(stand: Stand) -> dict[str, str]:
    """The state of every slot by its name."""
    return {ad["Name"]: ad["State"] for ad in stand.pool.machines(["Name", "State"])}


def test_a_stolen_token_advertises_no_other_node(make_stand: MakeStand) -> None:
    stand = with_own_tokens(make_stand(flavors=(TINY,)), **TWO)
    robbed, other = become_thief(stand)
    of_other, of_robbed = f"slot1@{other}.nodes.ehos", f"slot1@{robbed}.nodes.ehos"
    forgeries = (
        slot_ad(other),
        slot_ad(other, name=f"slot7@{other}.nodes.ehos"),
        slot_ad(other, name=f"slot7@{robbed}.nodes.ehos", machine=f"{robbed}.nodes.ehos"),
        slot_ad(robbed, name=of_other, machine=f"{robbed}.nodes.ehos"),
        slot_ad(robbed, name=f"slot7@{robbed}.nodes.ehos", machine=f"{other}.nodes.ehos"),
        slot_ad(robbed, name=f"slot7@{robbed}.nodes.ehos", machine=f"{robbed}x.nodes.ehos"),
        {key: value for key, value in slot_ad(robbed, name="slot7@x").items() if key != "Machine"},
    )
    for ad in forgeries:
        advertise(stand, "UPDATE_STARTD_AD", **ad)
    advertise(stand, "UPDATE_MASTER_AD", MyType='"DaemonMaster"', Name=f'"guest@{other}.nodes.ehos"', Machine='"x"')
    advertise(stand, "UPDATE_STARTD_AD", **slot_ad(robbed, name=f"slot9@{robbed}.nodes.ehos"))
    own = f"slot9@{robbed}.nodes.ehos"
    wait_until(lambda: own in states(stand), 20, "the thief's ad under the name of the node that it has robbed")
    assert set(states(stand)) == {of_other, of_robbed, own}
    assert states(stand)[of_other] == "Unclaimed"


@pytest.fixture
def open_stand(folder: Path, release: Release) -> Iterator[Stand]:
    """A stand whose collector takes what node tokens advertise, under whatever name."""
    pool = LabPool(folder / "pool", release, extra="COLLECTOR_REQUIREMENTS = True\n")
    with Stand(folder, release, pool=pool, flavors=(TINY,)) as stand:
        yield with_own_tokens(stand, report=3600, **TWO)


def test_what_an_open_collector_takes_is_not_believed(open_stand: Stand) -> None:
    """The forged ad takes the place of the real one, says that the busy node is drained by us, and draws no harm."""
    robbed, other = become_thief(open_stand)
    open_stand.pool.submit(count=2, memory=200, seconds=40)
    wait_until(lambda: len(open_stand.pool.queue("JobStatus == 2")) == 2, 30, "both nodes to have a job")
    name = f"slot1@{other}.nodes.ehos"
    address = open_stand.pool.machines(["MyAddress"], f'Name == "{name}"')[0]["MyAddress"]

    def forged_ad_is_seen() -> bool:
        """The startd itself may speak in between: then the next pass sees the forged ad."""
        claimed = f'EhosNode == "{other}" && DynamicSlot'
        query = {"MyType": '"Query"', "TargetType": '"Machine"', "Requirements": claimed}
        advertise(open_stand, "INVALIDATE_STARTD_ADS", **query)
        advertise(open_stand, "UPDATE_STARTD_AD", **slot_ad(other, MyAddress=f'"{address}"'))
        done = open_stand.reconcile()
        assert (done.code, done.verbs()) == (0, [])
        return "forged-ad" in done.held() and f"came with the token of node-{robbed}@labpool" in done.err

    open_stand.configure(nodes_min=0)
    wait_until(forged_ad_is_seen, 20, "a pass that sees the forged ad as all that there is of the busy node")
    assert sorted(open_stand.nodes()) == [robbed, other]
    wait_until(lambda: not open_stand.pool.queue(), 60, "the jobs to end")
    assert_every_job_ended_well(open_stand, 2)


def test_an_ad_invalidated_by_a_thief_comes_back_and_costs_nothing(make_stand: MakeStand) -> None:
    stand = with_own_tokens(make_stand(flavors=(TINY,)), **TWO)
    _, other = become_thief(stand)
    stand.pool.submit(count=2, memory=200, seconds=20)
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 2, 30, "both nodes to have a job")
    assert stand.reconcile().verbs() == []

    def gone() -> bool:
        query = {"MyType": '"Query"', "TargetType": '"Machine"', "Requirements": f'EhosNode == "{other}"'}
        advertise(stand, "INVALIDATE_STARTD_ADS", **query)
        return f"slot1@{other}.nodes.ehos" not in states(stand)

    wait_until(gone, 20, "the ad to be gone")
    done = stand.reconcile()
    assert (done.code, done.verbs()) == (0, []), "neither replaced nor made a second time"
    wait_until(lambda: f"slot1@{other}.nodes.ehos" in states(stand), 30, "the ad to be back")
    wait_until(lambda: not stand.pool.queue(), 60, "the jobs to end")
    assert_every_job_ended_well(stand, 2)


PRIVATE = """
import htcondor2
print(len(htcondor2.Collector().query(htcondor2.AdType.StartdPrivate)))
"""


def query_private(stand: Stand, user: str) -> subprocess.CompletedProcess[str]:
    """Ask for the ads in which startds hand their claims to the negotiator."""
    command = [sys.executable, "-c", PRIVATE]
    environment = stand.pool.environment(user)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_stolen_token_reads_no_secret_and_commands_nothing(make_stand: MakeStand) -> None:
    stand = with_own_tokens(make_stand(flavors=(TINY,)), **TWO)
    _, other = become_thief(stand)
    assert "HTCondorException" in query_private(stand, "stranger").stderr
    visible = stand.pool.run_checked("condor_status", "-long", user="stranger")
    assert f'"{other}"' in visible, "what everybody may read it reads as well"
    assert "Capability" not in visible
    assert "ClaimId" not in visible.replace("PublicClaimId", "")
    for program in ("condor_drain", "condor_off", "condor_restart", "condor_reconfig"):
        target = () if program == "condor_drain" else ("-name",)
        assert stand.pool.run(program, *target, f"{other}.nodes.ehos", user="stranger").returncode != 0, program
    with pytest.raises(Exception, match="condor_submit"):
        stand.pool.submit(user="stranger")
    assert set(states(stand).values()) == {"Unclaimed"}


# Where the tokens stand


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line and environment of any process, looked at again and again meanwhile."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for pid in read_parents():
                seen.update((read_file(pid, "cmdline"), read_file(pid, "environ")))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def slow_tools(stand: Stand) -> Path:
    """The tools that make tokens, slow enough that nobody who looks misses their command lines."""
    folder = stand.directory / "tools"
    folder.mkdir()
    for name in ("condor_token_create", "condor_token_fetch"):
        (folder / name).write_text(f'#!/bin/sh\nsleep 1\nexec {stand.pool.release.program(name)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("source", ["fetch", "create"])
def test_a_token_stands_in_its_node_s_files_only(make_stand: MakeStand, source: str) -> None:
    stand = make_stand(flavors=(TINY,))
    if source == "create":
        with_own_tokens(stand)
    stand.document["condor"].update(token_lifetime="2h", tools=str(slow_tools(stand)))
    stand.configure(**TWO)
    with command_lines() as seen:
        done = stand.reconcile("-vv")
        stand.wait_for_nodes(2)
    assert any(b"condor_token_" in line for line in seen), "the making of the tokens was looked at"
    nodes = sorted(stand.nodes())
    tokens = [token_of(stand, node) for node in nodes]
    assert len(set(tokens)) == 2
    for node, token in zip(nodes, tokens, strict=True):
        claims = claims_of(token)
        assert claims["exp"] - claims["iat"] == 7200
        assert claims["sub"] == ("scaler@labpool" if source == "fetch" else f"node-{node}@labpool")
        assert not [line for line in seen if token.encode() in line]
        assert token not in done.out + done.err + stand.state.read_text()
        holders = [path for path in stand.directory.rglob("*") if path.is_file() and token.encode() in read(path)]
        (server,) = [server for server in stand.cloud().servers() if server.node == node]
        home = stand.directory / "nodes" / server.id
        assert holders
        assert all(path.is_relative_to(home) for path in holders)
        assert [oct(path.stat().st_mode & 0o077) for path in holders] == ["0o0"] * len(holders)


def read(path: Path) -> bytes:
    """What stands in a file; one that has gone meanwhile is empty."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_token_that_has_run_out_lets_nobody_in(make_stand: MakeStand) -> None:
    stand = with_own_tokens(make_stand(flavors=(TINY,)), **TWO)
    become_thief(stand)
    old = stand.pool.create_token("node-old", "READ", seconds=2)
    write_secret(stand.pool.client("stranger").parent / "tokens.d" / "stolen", old.encode())
    wait_until(lambda: stand.pool.run("condor_status", user="stranger").returncode != 0, 20, "the token to be refused")
