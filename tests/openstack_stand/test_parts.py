"""The stand's parts that need no cloud."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.openstack import install
from lab.openstack.golden import hash_password, replace_strings
from lab.openstack.inside.knobs import Boot, change, take_boot
from lab.openstack.layout import PORTS, pick_ports, write_private
from lab.openstack.processes import Process, find_family, identify, is_alive, kill_family, wait_until

# a leader whose child leaves its session and loses its parent, as HTCondor's daemons do
FAMILY = "setsid sh -c 'sleep 7100 & exec sleep 7101' & sleep 7102"


def find_sleepers(folder: Path) -> list[int]:
    """Find what FAMILY starts by its environment, not by the code under test; the leader ends with its child."""
    mark = f"EHOSLITE_NODE_DIR={folder}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and (entry / "cmdline").read_bytes().startswith(b"sleep")
                and mark in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Path]:
    """A node's folder with processes that have it in their environment."""
    leader = subprocess.Popen(
        ["/bin/sh", "-c", FAMILY], env=os.environ | {"EHOSLITE_NODE_DIR": str(tmp_path)}, start_new_session=True
    )
    try:
        assert wait_until(lambda: len(find_sleepers(tmp_path)) == 3, 10), "the processes did not start"
        yield tmp_path
    finally:
        for pid in find_sleepers(tmp_path):
            os.kill(pid, signal.SIGKILL)
        leader.wait()


def test_family_is_killed_with_those_that_left(node: Path) -> None:
    family = find_family(node)
    leader = next(one for one in family if os.getsid(one.pid) == one.pid)
    os.kill(leader.pid, signal.SIGKILL)  # its children have lost their parent now
    assert kill_family(node) == set()
    assert wait_until(lambda: not any(is_alive(one) for one in family), 10)


def test_family_of_all_nodes_is_found_by_the_folder_above(node: Path) -> None:
    assert find_family(node.parent) >= find_family(node) != set()


def test_family_of_another_folder_is_not_touched(node: Path) -> None:
    shorter = node.with_name(node.name[:-1])
    assert find_family(shorter) == set()


def test_descendants_without_a_mark_are_found_by_their_parents(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"], start_new_session=True) as leader:
        try:
            root = identify(leader.pid)
            assert root is not None
            assert wait_until(lambda: len(find_family(tmp_path, [root])) == 2, 10)
            assert kill_family(tmp_path, [root]) == set()
            assert identify(leader.pid) is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)


def test_recycled_pid_is_another_process() -> None:
    own = identify(os.getpid())
    assert own is not None
    assert is_alive(own)
    assert not is_alive(Process(own.pid, own.started - 1))


def test_zombie_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert wait_until(lambda: identify(child) is None, 10)
    os.waitpid(child, 0)


def test_knobs_are_used_up(tmp_path: Path) -> None:
    path = tmp_path / "knobs.json"
    with change(path) as knobs:
        knobs.update(fail_build=1, fail_text="no", boot_delay=2, by_name=[{"name": "w-.*", "hang_build": -1}])
    assert take_boot(path, "v-1") == Boot(2.0, fail_build=True, fail_text="no")
    assert take_boot(path, "v-2") == Boot(2.0, fail_build=False, fail_text="no")
    assert [take_boot(path, "w-1") for _ in range(3)] == [Boot(hang_build=True)] * 3
    assert take_boot(path, "aw-1").hang_build is False


def test_knobs_are_counted_once_by_many(tmp_path: Path) -> None:
    path = tmp_path / "knobs.json"
    with change(path) as knobs:
        knobs["never_join"] = 10
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda: taken.append(take_boot(path, "x").never_join)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10


def test_ports_are_different_and_not_the_kernels() -> None:
    ports = pick_ports(50)
    assert len(set(ports)) == 50
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert PORTS.stop <= first or first < 32768


def test_private_file_is_private_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_strings_are_replaced_within_texts_and_not_elsewhere(tmp_path: Path) -> None:
    import sqlite3

    database = sqlite3.connect(tmp_path / "some.sqlite")
    database.execute("create table t (id integer primary key, name varchar(20), body text, size integer)")
    database.execute("insert into t values (1, 'aa', '{\"x\": \"aa/b\"}', 11), (2, null, 'c', 12)")
    database.commit()
    replace_strings(tmp_path / "some.sqlite", {"aa": "zz", "zz": "!", "1": "9"})
    rows = database.execute("select * from t").fetchall()
    database.close()
    assert rows == [(1, "zz", '{"x": "zz/b"}', 11), (2, None, "c", 12)]


def test_password_hashes_are_salted() -> None:
    assert hash_password("a") != hash_password("a")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EHOSLITE_LAB_CACHE": "/x"}, "/x/openstack"),
        ({"XDG_CACHE_HOME": "/y"}, "/y/ehoslite-lab/openstack"),
        ({"HOME": "/h"}, "/h/.cache/ehoslite-lab/openstack"),
    ],
)
def test_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("EHOSLITE_LAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert str(install.find_cache()) == expected


def test_root_has_the_systems_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EHOSLITE_LAB_CACHE", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(install.find_cache()) == "/var/cache/ehoslite-lab/openstack"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The environments that were made; making one takes a moment and gives a Python that has `nova`."""
    made: list[Path] = []

    def make(environment: Path, _log: Path) -> None:
        made.append(environment)
        (environment / "bin").mkdir(parents=True)
        time.sleep(0.2)
        python = environment / "bin" / "python"
        python.write_text(f"#!/bin/sh\nexec {sys.executable} -c ''\n")
        python.chmod(0o755)

    monkeypatch.setattr("lab.openstack.install._make", make)
    return made


def test_environment_is_made_once_by_two_at_once(tmp_path: Path, made: list[Path]) -> None:
    threads = [threading.Thread(target=install.install, args=(tmp_path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_unfinished_environment_is_made_anew(tmp_path: Path, made: list[Path]) -> None:
    environment = install.install(tmp_path)
    (environment / ".complete").unlink()
    (environment / "rest").touch()
    assert install.install(tmp_path) == environment
    assert len(made) == 2
    assert not (environment / "rest").exists()


def test_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, made: list[Path]) -> None:
    environment = install.install(tmp_path)
    (environment / "bin" / "python").unlink()
    install.install(tmp_path)
    assert len(made) == 2
