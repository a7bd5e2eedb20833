"""Processes by pid and start time, so that a recycled pid is never mistaken for one of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

STATE_FIELD = 0  # fields of /proc/PID/stat after the command's name, proc(5): state, ppid, ..., starttime is the 22nd
PARENT_FIELD = 1
START_FIELD = 19
NODE_VARIABLES = ("EHOSLITE_NODE_DIR", "_CONDOR_SCRATCH_DIR")
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A process of this machine. `started` is its start in clock ticks since boot (starttime in proc(5))."""

    pid: int
    started: int


def read_stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # the command's name, in brackets, may hold brackets and blanks itself
    return text.rpartition(")")[2].split()


def identify(pid: int) -> Process | None:
    """Return the process that has the pid now, or None. A zombie is no process: nobody may be left to reap it."""
    fields = read_stat(pid)
    if fields is None or fields[STATE_FIELD] in "ZX":
        return None
    return Process(pid, int(fields[START_FIELD]))


def is_alive(process: Process) -> bool:
    """Tell whether it runs; one that is our own child and ended is reaped."""
    if identify(process.pid) == process:
        return True
    with contextlib.suppress(OSError):
        os.waitpid(process.pid, os.WNOHANG)
    return False


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Signal the process if it is still the one meant; tell whether it was."""
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, poll: float = POLL_SECONDS) -> bool:
    """Poll the condition for at most so many seconds, half of the time where that is work; return its last value."""
    asked = time.monotonic()
    deadline = asked + seconds
    while not condition():
        now = time.monotonic()
        if now >= deadline:
            return condition()
        time.sleep(max(poll, min(1.0, now - asked)))
        asked = time.monotonic()
    return True


def end(processes: Iterable[Process], grace_seconds: float = 5.0) -> None:
    """End the processes: SIGTERM, and SIGKILL for what has not ended after the grace. Returns when all are gone."""
    ours = [process for process in processes if send_signal(process, signal.SIGTERM)]
    for process in ours:
        send_signal(process, signal.SIGCONT)  # a stopped process does not act upon SIGTERM
    wait_until(lambda: not any(is_alive(process) for process in ours), grace_seconds)
    for process in ours:
        send_signal(process, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(process) for process in ours), grace_seconds)


def find_family(folder: Path, roots: Iterable[Process] = ()) -> set[Process]:
    """Find all processes of one node.

    They are the roots' descendants, and whatever has the folder, or one below it, as EHOSLITE_NODE_DIR or
    _CONDOR_SCRATCH_DIR in its environment: HTCondor's daemons and jobs start sessions of their own, and their parents
    may be gone. So the folder above all nodes' folders gives the processes of them all.
    """
    marks = tuple(f"{name}={folder}{end}".encode() for name in NODE_VARIABLES for end in "\0/")
    parents: dict[int, int] = {}
    found = {process.pid: process for process in roots if is_alive(process)}
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        fields = read_stat(pid)
        if fields is None or fields[STATE_FIELD] in "ZX" or pid == os.getpid():
            continue
        parents[pid] = int(fields[PARENT_FIELD])
        if _has_mark(pid, marks):
            found[pid] = Process(pid, int(fields[START_FIELD]))
    _add_descendants(found, parents)
    return set(found.values())


def _has_mark(pid: int, marks: tuple[bytes, ...]) -> bool:
    try:
        environment = b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:  # ended meanwhile, or another user's
        return False
    return any(b"\0" + mark in environment for mark in marks)


def _add_descendants(found: dict[int, Process], parents: dict[int, int]) -> None:
    grew = True
    while grew:
        grew = False
        for pid, parent in parents.items():
            if parent in found and pid not in found and (process := identify(pid)) is not None:
                found[pid] = process
                grew = True


def kill_family(folder: Path, roots: Iterable[Process] = (), seconds: float = 10.0) -> set[Process]:
    """Kill all processes of one node, as if its power was cut; return what is left after so many seconds.

    They are stopped before they are killed, so that none can start another one unseen.
    """
    deadline = time.monotonic() + seconds
    family = find_family(folder, roots)
    while family and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in family:
                with contextlib.suppress(PermissionError):
                    send_signal(process, number)
        time.sleep(POLL_SECONDS)
        family = find_family(folder, family)
    return family
