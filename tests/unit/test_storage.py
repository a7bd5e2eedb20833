"""The state file is the old one or the new one, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ehoslite.errors import NotRecorded
from ehoslite.memory import Memory
from tests.unit.records import MEMORY, NOW, OTHER, PASS, opened, refuse, saved

# For what takes a moment, however busy the machine.
PATIENCE = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file will be, in a folder that is not there yet."""
    return tmp_path / "state" / "state.json"


def test_memory_and_passes_come_back(path: Path) -> None:
    saved(path)
    assert opened(path).memory() == MEMORY
    assert opened(path).passes() == [PASS]


def test_new_memory_replaces_the_old_one(path: Path) -> None:
    saved(path)
    saved(path, OTHER)
    assert opened(path).memory() == OTHER
    assert opened(path).passes() == [PASS, PASS]


def test_memory_alone_leaves_the_history(path: Path) -> None:
    saved(path)
    opened(path).save(OTHER)
    assert (opened(path).memory(), opened(path).passes()) == (OTHER, [PASS])


def test_no_file_is_no_memory(path: Path) -> None:
    assert opened(path).memory() == Memory()
    assert opened(path).passes() == []


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_file_is_its_owners_alone(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        saved(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "json.dump", "os.fdopen"])
def test_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    before = saved(path)
    record = opened(path)
    with (
        monkeypatch.context() as patch,
        pytest.raises(NotRecorded, match=r"state\.json cannot be written: No space left"),
    ):
        patch.setattr(call, refuse)
        record.save(OTHER, PASS, NOW)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]
    record.save(OTHER)
    assert opened(path).memory() == OTHER


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_killed_write_leaves_the_old_file(path: Path, call: str) -> None:
    before = saved(path)
    child = os.fork()
    if child == 0:
        try:
            pytest.MonkeyPatch().setattr(call, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            opened(path).save(OTHER)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_bytes() == before
    saved(path, OTHER)
    assert opened(path).memory() == OTHER
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


FULL = """
import pathlib, sys
from ehoslite.errors import NotRecorded
from ehoslite.memory import Memory, Remembered
from ehoslite.record import Record, lock
from ehoslite.settings import RecordSettings
folder = pathlib.Path(sys.argv[1])
settings = RecordSettings(path=folder / "state.json")
Record(settings, 1.0).save(Memory())
before = settings.path.read_bytes()
try:
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 512)
except OSError:
    pass
nodes = {str(number): Remembered(str(number), "here", "small", 1.0) for number in range(5000)}
with lock(settings):
    try:
        Record(settings, 2.0).save(Memory(nodes))
    except NotRecorded as error:
        print(error)
assert settings.path.read_bytes() == before
assert sorted(path.name for path in folder.iterdir()) == ["ballast", "state.json", "state.json.lock"]
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can mount a small disk")
def test_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=64k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode in {1, 77} and "mount" in done.stderr + "unshare" and "Traceback" not in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"the state file {tmp_path}/state.json cannot be written: No space left on device")
