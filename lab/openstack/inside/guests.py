"""Runs servers' guest programs: a folder and a process group each."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.openstack.processes import Process, identify, is_alive, kill_family, send_signal, wait_until

LOG = logging.getLogger(__name__)
CONSOLE = "console.log"
PID = "guest.json"
ADOPTED_POLL_SECONDS = 0.5


class Guests:
    """The guest programs of one host. `ended` is called with a server's id when its program exits by itself."""

    def __init__(self, root: Path, command: Sequence[str], ended: Callable[[str], None]) -> None:
        self._root = root
        self._command = tuple(command)
        self._ended = ended
        self._expected: set[str] = set()  # servers whose program is to run
        self._lock = threading.Lock()

    def folder(self, server: str) -> Path:
        """Return the server's folder."""
        return self._root / server

    def prepare(self, server: str, files: dict[str, bytes]) -> None:
        """Make the server's folder anew with these files."""
        folder = self.folder(server)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def boot(self, server: str) -> None:
        """Start the guest program, unless there is none or it runs."""
        if not self._command or self.runs(server):
            return
        folder = self.folder(server)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "EHOSLITE_NODE_DIR": str(folder),
        }
        with (folder / CONSOLE).open("ab") as console:
            child = subprocess.Popen(
                [*self._command, str(folder)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        process = identify(child.pid) or Process(child.pid, 0)
        (folder / PID).write_text(json.dumps([process.pid, process.started]))
        self._watch(server, process, child.wait)

    def adopt(self, server: str) -> None:
        """Watch a program that an earlier nova process started."""
        process = self._recorded(server)
        if process is not None and server not in self._expected:
            self._watch(server, process, lambda: wait_until(lambda: not is_alive(process), 1e9, ADOPTED_POLL_SECONDS))

    def runs(self, server: str) -> bool:
        """Tell whether the server's guest program runs."""
        process = self._recorded(server)
        return process is not None and is_alive(process)

    def has_program(self, server: str) -> bool:
        """Tell whether one was ever started for it."""
        return (self.folder(server) / PID).exists()

    def halt(self, server: str, grace_seconds: float) -> None:
        """End the server's processes: SIGTERM to the guest program, then after the grace the power is cut."""
        with self._lock:
            self._expected.discard(server)
        process = self._recorded(server)
        if process is not None and grace_seconds > 0 and send_signal(process, signal.SIGTERM):
            wait_until(lambda: not is_alive(process), grace_seconds)
        left = kill_family(self.folder(server), [process] if process else [])
        if left:
            LOG.error("processes of server %s outlive SIGKILL: %s", server, sorted(one.pid for one in left))
        (self.folder(server) / PID).unlink(missing_ok=True)

    def remove(self, server: str) -> None:
        """End the server's processes at once, and remove its folder."""
        self.halt(server, 0)
        shutil.rmtree(self.folder(server), ignore_errors=True)

    def read_console(self, server: str) -> bytes:
        """Return what its program printed since the server was built."""
        path = self.folder(server) / CONSOLE
        return path.read_bytes() if path.exists() else b""

    def _recorded(self, server: str) -> Process | None:
        try:
            pid, started = json.loads((self.folder(server) / PID).read_text())
        except (OSError, ValueError):
            return None
        return Process(pid, started)

    def _watch(self, server: str, process: Process, wait: Callable[[], object]) -> None:
        with self._lock:
            self._expected.add(server)

        def report() -> None:
            wait()
            with self._lock:
                meant = server in self._expected and self._recorded(server) == process
                self._expected.discard(server)
            if meant:
                kill_family(self.folder(server))  # a machine that is off runs nothing
                self._ended(server)

        threading.Thread(target=report, name=f"guest-{server}", daemon=True).start()
