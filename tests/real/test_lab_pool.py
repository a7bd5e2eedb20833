"""What a lab pool lets its jobs, its nodes and each of its clients do, and what not."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lab
from lab.jobs import wait_until
from lab.pool import LabPool, daemon_account, temporary_directory
from lab.release import Release

pytestmark = pytest.mark.real

NODE = """\
{release}
{network}
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/log
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/log
RUN = $(LOCAL_DIR)/log
DAEMON_LIST = MASTER STARTD
USE_SHARED_PORT = False
USE_PROCD = False
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
NETWORK_HOSTNAME = {name}.lab.test
# Its default is the account's name, which an account need not have.
MASTER_NAME = {name}
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_DEFAULT_ENCRYPTION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/keys
SEC_TOKEN_DIRECTORY = $(LOCAL_DIR)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/tokens.d
SEC_ENABLE_MATCH_PASSWORD_AUTHENTICATION = True
SEC_ENABLE_REMOTE_ADMINISTRATION = True
SEC_USE_FAMILY_SESSION = False
ALLOW_READ = *
ALLOW_WRITE = condor@{domain}
ALLOW_DAEMON = condor@{domain}
ALLOW_ADMINISTRATOR =
NUM_CPUS = {cpus}
MEMORY = {memory}
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = True
MAXJOBRETIREMENTTIME = 604800
UPDATE_INTERVAL = 5
MAIL = /bin/true
STARTD_DETECT_GPUS =
RunBenchmarks = False
"""


@contextmanager
def run_node(pool: LabPool, name: str, cpus: int = 2, memory: int = 1024, extra: str = "") -> Iterator[Path]:
    """Run a condor_master and startd that hold nothing but a node token; give the node's folder."""
    folder = pool.directory / "nodes" / name
    for path in (folder / "log", folder / "execute", folder / "keys", folder / "tokens.d"):
        path.mkdir(parents=True)
    token = folder / "tokens.d" / "token"
    token.write_text(pool.create_token(f"node-{name}", "READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"))
    token.chmod(0o600)
    settings = "".join(f"{key} = {value}\n" for key, value in pool.node_settings().items())
    (folder / "condor_config").write_text(
        NODE.format(
            release=pool.release.configuration(),
            network=settings,
            folder=folder,
            name=name,
            domain=pool.domain,
            cpus=cpus,
            memory=memory,
        )
        + extra
    )
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
    environment = {**pool.release.environment(), "CONDOR_CONFIG": str(folder / "condor_config")}
    command = [str(pool.release.program("condor_master")), "-f"]
    master = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **daemon_account()
    )
    try:
        wait_until(lambda: bool(pool.machines(["Name"], f'Machine == "{name}.lab.test"')), 30, f"node {name} to join")
        yield folder
    finally:
        master.send_signal(signal.SIGQUIT)
        master.wait(30)


@pytest.fixture(scope="module")
def pool(release: Release) -> Iterator[LabPool]:
    """One pool with two schedds and one node, for the tests that do no harm to it."""
    with temporary_directory() as path, LabPool(path / "pool", release, schedds=2) as running, run_node(running, "n1"):
        yield running


def test_job_runs_on_a_node_that_holds_only_a_node_token(pool: LabPool) -> None:
    cluster = pool.submit(schedd="schedd2@lab", count=2, seconds=0.2)
    ended = f"ClusterId == {cluster} && ExitCode == 0"
    wait_until(lambda: len(pool.history(ended, ["ProcId"], "schedd2@lab")) == 2, 30, "two jobs to end")
    attributes = ["Owner", "LastRemoteHost", "NumJobStarts", "JobStatus"]
    for job in pool.history(ended, attributes, "schedd2@lab"):
        assert job.pop("LastRemoteHost").endswith("@n1.lab.test")
        assert job == {"Owner": "alice", "NumJobStarts": 1, "JobStatus": 4}


def test_each_schedd_has_a_queue_of_its_own(pool: LabPool) -> None:
    cluster = pool.submit(schedd="schedd2@lab", cpus=1000)
    constraint = f"ClusterId == {cluster} && RequestCpus == 1000"
    assert not pool.queue(constraint, ["ProcId"], schedd="schedd1@lab")
    assert pool.queue(constraint, ["Owner"], schedd="schedd2@lab") == [{"Owner": "alice"}]
    assert len(pool.queue(constraint)) == 1
    pool.run_checked("condor_rm", "-name", "schedd2@lab", str(cluster), user="alice")


def test_scaler_drains_and_undrains_a_node(pool: LabPool) -> None:
    pool.run_checked("condor_drain", "-reason", "test", "n1.lab.test")
    try:
        shown = ["State", "Activity", "DrainReason"]
        drained = [{"State": "Drained", "Activity": "Idle", "DrainReason": "test"}]
        wait_until(lambda: pool.machines(shown) == drained, 30, "the node to be drained")
    finally:
        pool.run_checked("condor_drain", "-cancel", "n1.lab.test")
    wait_until(lambda: [ad["State"] for ad in pool.machines(["State"])] == ["Unclaimed"], 30, "the node to be back")


@pytest.mark.parametrize("user", ["alice", "reader", "stranger"])
def test_only_the_scaler_drains(pool: LabPool, user: str) -> None:
    assert pool.run("condor_drain", "n1.lab.test", user=user).returncode != 0


def test_each_client_has_its_rights_and_no_more(pool: LabPool) -> None:
    job = "executable = /bin/true\nrequirements = false\nqueue\n"
    submit = ["condor_submit", "-name", "schedd1@lab"]
    outcomes = {
        user: (pool.run("condor_status", user=user).returncode, pool.run(*submit, user=user, text=job).returncode)
        for user in ("alice", "bob", "reader", "stranger")
    }
    pool.run_checked("condor_rm", "-name", "schedd1@lab", "-all", user="alice")
    assert outcomes == {"alice": (0, 0), "bob": (0, 0), "reader": (0, 1), "stranger": (1, 1)}
    assert "IDTOKENS" in pool.run("condor_status", user="stranger").stderr


def test_identity_that_the_pool_does_not_know_is_refused(pool: LabPool, folder: Path) -> None:
    places = {f"_CONDOR_SEC_TOKEN_{name}DIRECTORY": str(folder / "tokens.d") for name in ("", "SYSTEM_")}
    (folder / "tokens.d").mkdir(mode=0o700)
    lab.write_secret(folder / "tokens.d" / "token", pool.create_token("mallory").encode())
    done = subprocess.run(
        [pool.release.program("condor_status")],
        env={**pool.environment("reader"), **places},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "DENIED" in done.stderr
    assert "mallory" in done.stderr


def test_scaler_fetches_a_node_token_without_the_key(pool: LabPool) -> None:
    fetch = ["-type", "COLLECTOR", "-authz", "ADVERTISE_STARTD", "-lifetime", "60"]
    token = pool.run_checked("condor_token_fetch", *fetch)
    assert token.count(".") == 2


def test_secrets_are_closed_to_others(pool: LabPool) -> None:
    secrets = [*pool.directory.glob("**/tokens.d/*"), *pool.directory.glob("**/keys/*")]
    assert len(secrets) == 5 + 1 + 1 + 3  # clients, daemons, node; keys of the manager, the scaler and the stranger
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert {stat.S_IMODE(pool.client(name).parent.stat().st_mode) for name in ("scaler", "alice")} == {0o700}
    assert pool.key_copy_for_client().stat().st_uid == os.geteuid()
    assert pool.key_copy_for_client().read_bytes() == pool.signing_key.read_bytes()


def test_pool_listens_on_the_loopback_address_only(pool: LabPool) -> None:
    inodes = set()
    for pid in pool.find_processes():
        inodes |= {str(path.readlink())[8:-1] for path in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    addresses = {fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes}
    assert addresses == {"0100007F"}
