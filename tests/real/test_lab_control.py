"""How lab pools start, freeze, die, come back and end: beside one another, for any account, with nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ehoslite
import lab
from lab import pool as pool_module
from lab import read_file, read_parents
from lab.jobs import wait_until
from lab.keeper import members
from lab.pool import LabPool, daemon_account
from lab.release import LabError, Release

pytestmark = pytest.mark.real


def read_state(pid: int) -> str:
    """Return the state letter of a process: T is frozen."""
    return read_file(pid, "stat").rpartition(b")")[2].split()[0].decode()


@pytest.mark.parametrize("frozen", [False, True])
def test_stop_leaves_no_process(release: Release, folder: Path, frozen: bool) -> None:
    pool = LabPool(folder / "pool", release)
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


def test_processes_that_lost_their_parent_are_ended_too(release: Release, folder: Path) -> None:
    pool = LabPool(folder / "pool", release)
    pool.start()
    pids = pool.find_processes()
    os.kill(pool.pid_of("master"), signal.SIGKILL)
    pool.stop()
    assert len(pids) >= 5
    assert not set(pids) & set(read_parents())


def test_a_stand_whose_starter_is_killed_leaves_no_process(release: Release, folder: Path) -> None:
    """As when somebody interrupts the tests."""
    script = """
        import sys
        from pathlib import Path
        from lab.release import Release
        from lab.stand import Stand
        with Stand(Path(sys.argv[1]), Release(*map(Path, sys.argv[2:])), scaling={"nodes_min": 1}) as stand:
            stand.reconcile()
            stand.wait_for_nodes(1)
            print("up", flush=True)
            sys.stdin.read()
    """
    places = [str(place) for place in (release.prefix, release.library, release.libexec, release.share)]
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder), *places]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        before = members(str(folder))
        starter.kill()
    assert len(before) >= 8, "the daemons of the pool and of a node"
    wait_until(lambda: not members(str(folder)), 20, "an end of every process")


def test_failed_start_shows_logs_and_leaves_no_process(
    release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 2)
    pool = LabPool(folder / "pool", release, extra="SCHEDD1 = /nonexistent/condor_schedd")
    with pytest.raises(LabError, match=r"schedd1@lab(?s:.)*--- MasterLog(?s:.)*nonexistent"):
        pool.start()
    assert not pool.find_processes()


def test_pools_start_side_by_side(release: Release, folder: Path) -> None:
    pools = [LabPool(folder / name, release) for name in ("one", "two")]
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
    release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        choose_port = pool_module.choose_port
        ports = iter([taken])
        monkeypatch.setattr(pool_module, "choose_port", lambda *where: next(ports, None) or choose_port(*where))
        with LabPool(folder / "pool", release) as pool:
            assert pool.port != taken


def test_queue_and_address_outlive_a_restart(release: Release, folder: Path) -> None:
    with LabPool(folder / "pool", release) as pool:
        pool.submit(count=2)
        address = pool.address
        pool.stop()
        assert pool.run("condor_status").returncode != 0
        pool.start()
        assert pool.address == address
        assert [job["JobStatus"] for job in pool.queue(attributes=["JobStatus"])] == [1, 1]


def test_killed_daemons_stay_dead_until_revived(release: Release, folder: Path) -> None:
    with LabPool(folder / "pool", release, schedds=2) as pool:
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


def test_frozen_schedd_answers_again_after_the_thaw(release: Release, folder: Path) -> None:
    with LabPool(folder / "pool", release) as pool:
        pool.freeze("schedd1")
        assert read_state(pool.pid_of("schedd1")) == "T"
        with pytest.raises(LabError, match="did not end within 1 s"):
            pool.run("condor_q", "-name", "schedd1@lab", seconds=1)
        pool.thaw("schedd1")
        assert pool.answers("schedd1@lab")


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test shows it")
def test_ordinary_user_runs_a_pool(release: Release, folder: Path) -> None:
    interpreter = next((path for path in (sys.executable, "/usr/bin/python3") if nobody_runs(path)), None)
    if not interpreter:
        pytest.skip("no Python 3.11 that the account nobody can run")
    for package in (ehoslite, lab):
        shutil.copytree(Path(str(package.__file__)).parent, folder / "code" / package.__name__)
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
    places = [str(place) for place in (release.prefix, release.library, release.libexec, release.share)]
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


def test_closed_folder_is_refused_with_advice(release: Release, folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's daemons can enter the user's own folders")
    folder.chmod(0o700)
    with pytest.raises(LabError, match="temporary_directory"):
        LabPool(folder / "pool", release).start()
