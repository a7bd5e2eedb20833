"""A real HTCondor pool on one machine, for the demo, the tests and the benchmarks."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has ended meanwhile is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def read_file(pid: int, name: str) -> bytes:
    """Return /proc/PID/name, empty if the process has ended or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def read_environment(pid: int) -> list[bytes]:
    """Return the variables that a process was started with."""
    return read_file(pid, "environ").split(b"\0")


def read_parents() -> dict[int, int]:
    """Return the parent of every living process; one that has ended but was not yet waited for is not living."""
    parents = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        # The program's name, in parentheses, may hold spaces; state and parent follow it.
        fields = read_file(int(path.name), "stat").rpartition(b")")[2].split()
        if len(fields) > 1 and fields[0] not in (b"Z", b"X"):
            parents[int(path.name)] = int(fields[1])
    return parents
