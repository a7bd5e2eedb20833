"""The lock is held by one pass at a time and dies with its process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ehoslite.asking import ask
from ehoslite.errors import AlreadyRunning, FixConfiguration, NotRecorded
from ehoslite.options import Place
from ehoslite.record import lock
from ehoslite.settings import RecordSettings
from tests.unit.records import refuse

# For what takes a moment, however busy the machine.
PATIENCE = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file will be, in a folder that is not there yet."""
    return tmp_path / "state" / "state.json"


HOLD = """
import os, sys, time
from pathlib import Path
from ehoslite.record import lock
from ehoslite.settings import RecordSettings
with lock(RecordSettings(path=Path(sys.argv[1]))):
    if sys.argv[2:] != ["fork"] or os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Starts a process that holds the lock; gives it and its number or, if asked to fork, that of its child."""
    holders: list[subprocess.Popen[str]] = []
    children: list[int] = []

    def start(*more: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", HOLD, str(path), *more]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        with holder.stdout as said:
            speaker = int(said.readline())
        holders.append(holder)
        children.extend({speaker} - {holder.pid})
        return holder, speaker

    yield start
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for holder in holders:
        holder.kill()
        holder.wait()


def record_settings(path: Path) -> RecordSettings:
    return RecordSettings(path=Place(path))


def test_second_holder_is_told_of_the_first(path: Path) -> None:
    with lock(record_settings(path)):
        with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}, lock {path}.lock") as caught:
            lock(record_settings(path)).__enter__()
        assert caught.value.exit_code == 75
    with lock(record_settings(path)):
        assert stat.S_IMODE(Path(f"{path}.lock").stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_lock_dies_with_its_process(path: Path, hold: Callable[..., tuple[subprocess.Popen[str], int]]) -> None:
    holder, _ = hold()
    with pytest.raises(AlreadyRunning, match=rf"process {holder.pid}, "):
        lock(record_settings(path)).__enter__()
    holder.kill()
    holder.wait()
    with lock(record_settings(path)):
        assert Path(f"{path}.lock").read_text() == str(os.getpid())


def test_forked_child_does_not_keep_the_lock(
    path: Path, hold: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    holder, child = hold("fork")
    with pytest.raises(AlreadyRunning):
        lock(record_settings(path)).__enter__()
    holder.kill()
    holder.wait()
    os.kill(child, 0)  # it lives
    with lock(record_settings(path)):
        pass


def test_lock_that_was_let_go_takes_nothing_from_later_children(path: Path) -> None:
    """Its descriptor's number goes to the next file; a child must find that file open."""
    with lock(record_settings(path)):
        pass
    here, there = os.pipe()
    try:
        assert ask(lambda: [os.fstat(end).st_ino for end in (here, there)], PATIENCE) == [
            os.fstat(end).st_ino for end in (here, there)
        ]
    finally:
        os.close(here)
        os.close(there)


def test_lock_below_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FixConfiguration, match=r"record\.path: cannot be written: "):
        lock(record_settings(tmp_path / "file" / "state.json")).__enter__()


def test_lock_on_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file cannot be made: not now. It is there and only the number cannot be told: the pass goes on."""
    with lock(record_settings(path)):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with lock(record_settings(path)), pytest.raises(AlreadyRunning, match=r"process \?"):
            lock(record_settings(path)).__enter__()
        patch.setattr(os, "open", refuse)
        with pytest.raises(NotRecorded, match="cannot be made: No space left on device"):
            lock(record_settings(path)).__enter__()
