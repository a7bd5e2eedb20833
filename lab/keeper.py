"""Ends what a lab has started when the one who started it is gone without a word: a test run that was interrupted or
killed. `python -m lab.keeper FOLDER`; the starter holds its standard input open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab import read_environment, read_file, read_parents, send_signal

# A process that turns into another one has no environment for a moment.
TWICE = 2
CHECKOUT = Path(__file__).parent.parent


def start_keeper(folder: Path) -> subprocess.Popen[bytes]:
    """Watch over every process that works in this folder, until `dismiss`."""
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "lab.keeper", str(folder)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        start_new_session=True,  # whoever interrupts the starter must not interrupt it
    )


def dismiss(keeper: subprocess.Popen[bytes]) -> None:
    """Its starter has seen to everything."""
    keeper.kill()
    keeper.communicate()


def members(folder: str) -> list[int]:
    """The processes, of accounts that we may signal, with a file or folder in here on their command line or in their
    environment."""
    mark = f"{folder}/".encode()
    return [pid for pid in read_parents() if pid != os.getpid() and _may_signal(pid) and _names(pid, mark)]


def _may_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _names(pid: int, mark: bytes) -> bool:
    """A shell that somebody has opened there, to look at a test that hangs, is told by where it is alone."""
    words = [*read_file(pid, "cmdline").split(b"\0"), *read_environment(pid)]
    return any(mark in word and not word.startswith((b"PWD=", b"OLDPWD=")) for word in words)


def main(folder: str) -> None:
    """Wait until standard input closes; then end them all."""
    while os.read(0, 1):
        pass
    quiet = 0
    while quiet < TWICE:
        found = members(folder)
        quiet = 0 if found else quiet + 1
        for pid in found:
            send_signal(pid, signal.SIGKILL)
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
