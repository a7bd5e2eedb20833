"""The lab itself: a real HTCondor pool that starts, keeps its rules, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import lab
from lab import pool as pool_module
from lab import read_file, read_parents, release
from lab.jobs import wait_until
from lab.pool import LabPool, daemon_account, temporary_directory
from lab.release import LabError, Release, find_or_build

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


def read_state(pid: int) -> str:
    """Return the state letter of a process: T is frozen."""
    return read_file(pid, "stat").rpartition(b")")[2].split()[0].decode()


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
def htcondor() -> Release:
    return find_or_build()


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_directory() as path:
        yield path


@pytest.fixture(scope="module")
def pool(htcondor: Release) -> Iterator[LabPool]:
    """One pool with two schedds and one node, for the tests that do no harm to it."""
    with temporary_directory() as path, LabPool(path / "pool", htcondor, schedds=2) as running, run_node(running, "n1"):
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


@pytest.mark.parametrize("frozen", [False, True])
def test_stop_leaves_no_process(htcondor: Release, folder: Path, frozen: bool) -> None:
    pool = LabPool(folder / "pool", htcondor)
    pool.start()
    pids = {name: pool.pid_of(name) for name in ("master", "shared_port", "collector", "negotiator", "schedd1")}
    assert set(pids.values()) <= set(pool.find_processes())
    assert 0 not in {Path(f"/proc/{pid}").stat().st_uid for pid in pids.values()}
    if frozen:
        for name in ("collector", "schedd1", "master"):
            pool.freeze(name)
    pool.stop()
    pool.stop()
    assert not pool.find_processes()
    assert not set(pids.values()) & set(read_parents())


def test_processes_that_lost_their_parent_are_ended_too(htcondor: Release, folder: Path) -> None:
    pool = LabPool(folder / "pool", htcondor)
    pool.start()
    pids = pool.find_processes()
    os.kill(pool.pid_of("master"), signal.SIGKILL)
    pool.stop()
    assert len(pids) >= 5
    assert not set(pids) & set(read_parents())


def test_failed_start_shows_logs_and_leaves_no_process(
    htcondor: Release, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 2)
    pool = LabPool(folder / "pool", htcondor, extra="SCHEDD1 = /nonexistent/condor_schedd")
    with pytest.raises(LabError, match=r"schedd1@lab(?s:.)*--- MasterLog(?s:.)*nonexistent"):
        pool.start()
    assert not pool.find_processes()


def test_pools_start_side_by_side(htcondor: Release, folder: Path) -> None:
    pools = [LabPool(folder / name, htcondor) for name in ("one", "two")]
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(LabPool.start, pools))
        assert pools[0].port != pools[1].port
        pools[0].submit(count=3)
        assert [len(pool.queue()) for pool in pools] == [3, 0]
        # The one's token is worth nothing in the other.
        assert pools[0].run("condor_status", "-pool", pools[1].address).returncode != 0
    finally:
        for pool in pools:
            pool.stop()


def test_port_lost_to_another_program_is_given_up_for_a_new_one(
    htcondor: Release, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        choose_port = pool_module.choose_port
        ports = iter([taken])
        monkeypatch.setattr(pool_module, "choose_port", lambda: next(ports, None) or choose_port())
        with LabPool(folder / "pool", htcondor) as pool:
            assert pool.port != taken


def test_queue_and_address_outlive_a_restart(htcondor: Release, folder: Path) -> None:
    with LabPool(folder / "pool", htcondor) as pool:
        pool.submit(count=2)
        address = pool.address
        pool.stop()
        assert pool.run("condor_status").returncode != 0
        pool.start()
        assert pool.address == address
        assert [job["JobStatus"] for job in pool.queue(attributes=["JobStatus"])] == [1, 1]


def test_killed_daemons_stay_dead_until_revived(htcondor: Release, folder: Path) -> None:
    with LabPool(folder / "pool", htcondor, schedds=2) as pool:
        pool.submit(schedd="schedd2@lab")
        pool.stop_schedd("schedd2@lab")
        assert not pool.answers("schedd2@lab")
        assert pool.answers("schedd1@lab")
        assert read_state(pool.pid_of("master")) == "T"
        assert "schedd2@lab" in pool.run_checked("condor_status", "-schedd", "-af", "Name")
        pool.kill("collector")
        assert pool.run("condor_status").returncode != 0
        pool.revive()
        assert len(pool.queue(schedd="schedd2@lab")) == 1


def test_frozen_schedd_answers_again_after_the_thaw(htcondor: Release, folder: Path) -> None:
    with LabPool(folder / "pool", htcondor) as pool:
        pool.freeze("schedd1")
        assert read_state(pool.pid_of("schedd1")) == "T"
        with pytest.raises(LabError, match="did not end within 1 s"):
            pool.run("condor_q", "-name", "schedd1@lab", seconds=1)
        pool.thaw("schedd1")
        assert pool.answers("schedd1@lab")


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test shows it")
def test_ordinary_user_runs_a_pool(htcondor: Release, folder: Path) -> None:
    interpreter = next((path for path in (sys.executable, "/usr/bin/python3") if nobody_runs(path)), None)
    if not interpreter:
        pytest.skip("no Python 3.11 that the account nobody can run")
    shutil.copytree(Path(lab.__file__).parent, folder / "code" / "lab")
    script = """
        import os, sys
        from pathlib import Path
        from lab.pool import LabPool
        from lab.release import Release
        with LabPool(Path(sys.argv[1]), Release(*map(Path, sys.argv[2:]))) as pool:
            pool.submit(count=4)
            print(os.geteuid(), len(pool.queue()), os.stat(f"/proc/{pool.pid_of('collector')}").st_uid)
        print(pool.find_processes())
    """
    places = [str(place) for place in (htcondor.prefix, htcondor.library, htcondor.libexec, htcondor.share)]
    own = folder / "own"
    own.mkdir()
    os.chown(own, 12345, 12345)
    said = subprocess.run(
        [interpreter, "-c", textwrap.dedent(script), str(own / "pool"), *places],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "code"), "HOME": str(own)},
        cwd=own,
        user=12345,
        group=12345,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.stdout.split("\n")[:2] == ["12345 4 12345", "[]"], said.stderr


def nobody_runs(interpreter: str) -> bool:
    """Tell whether an interpreter is new enough, and not in a folder that is closed to other accounts."""
    command = [interpreter, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, cwd="/", check=False, timeout=30, **daemon_account()).returncode == 0
    except OSError:
        return False


def test_tree_is_built_once_and_rebuilt_if_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    meeting = threading.Barrier(2)

    def build(tree: Path, *_: object) -> None:
        built.append(tree)
        assert not release.is_complete(tree)
        # Time for a second builder to come in, if the lock lets it.
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)
        tree.mkdir(exist_ok=True)
        (tree / release.COMPLETE_MARK).write_text(release.complete_text(tree))

    monkeypatch.setenv("EHOSLITE_LAB_HTCONDOR", "build")
    monkeypatch.setattr(release, "build", build)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(find_or_build, [tmp_path / "first"] * 4))
    assert len(found) == len(built) == 1
    # A moved tree holds the old place's paths.
    (tmp_path / "first").rename(tmp_path / "second")
    assert find_or_build(tmp_path / "second") not in found
    (built[1] / release.COMPLETE_MARK).unlink()
    find_or_build(tmp_path / "second")
    assert len(built) == 3


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHOSLITE_LAB_HTCONDOR", "build")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"needs apt-get.* install"):
        find_or_build(tmp_path / "cache")


@pytest.mark.parametrize(
    ("version", "usable"), [("8.9.11", False), ("9.0.1", False), ("23.0.1", True), ("25.1.0", True)]
)
def test_installed_release_is_used_unless_too_old(tmp_path: Path, version: str, usable: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "condor_version"
    program.write_text(f"#!/bin/sh\necho '$CondorVersion: {version} 2024-01-01 $'\n")
    program.chmod(0o755)
    found = release.find_installed(str(tmp_path / "sbin" / "condor_master"))
    assert (found is not None) == usable


def test_closed_folder_is_refused_with_advice(htcondor: Release, folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's daemons can enter the user's own folders")
    folder.chmod(0o700)
    with pytest.raises(LabError, match="temporary_directory"):
        LabPool(folder / "pool", htcondor).start()
