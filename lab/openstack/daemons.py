"""Starts and ends a cloud's processes: the daemons, the proxies and what is left of the guests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from lab.openstack.layout import Layout, write_private
from lab.openstack.processes import Process, end, identify, is_alive, kill_family, send_signal, wait_until
from lab.openstack.settings import layout_root, make_environment

READY = "lab: ready"
START_SECONDS = 180.0
INSIDE = "lab.openstack.inside"
COMMANDS = {
    "keystone": (f"{INSIDE}.serve_api", "keystone"),
    "glance": (f"{INSIDE}.serve_api", "glance"),
    "neutron": (f"{INSIDE}.serve_api", "neutron"),
    "nova": (f"{INSIDE}.serve_nova",),
    "cinder": (f"{INSIDE}.serve_cinder",),
}


class StartError(RuntimeError):
    """A daemon did not come up; the text has the end of what it said."""


class Daemons:
    """The processes of one cloud, by name. What runs is written down in the cloud's directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.directory / "processes.json"
        self._lifeline: int | None = None

    def start(self, names: Sequence[str]) -> None:
        """Start these daemons at once, without waiting for them."""
        for name in names:
            module, *words = COMMANDS[name]
            command = [str(self._layout.python), "-m", module, *words]
            self._launch(name, command, make_environment(self._layout), subprocess.DEVNULL)

    def start_front(self, keep: bool) -> None:
        """Start the proxies. Without `keep` they end the cloud when this process ends, however it does."""
        command = [sys.executable, "-m", "lab.openstack.front", str(self._layout.directory)]
        environment = {"PYTHONPATH": layout_root(), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        if keep:
            self._launch("front", [*command, "--keep"], environment, subprocess.DEVNULL)
        else:
            pipe = self._launch("front", command, environment, subprocess.PIPE)
            assert pipe is not None  # noqa: S101 as PIPE was asked for
            # a descriptor of its own, which nothing closes but `end_all` and the end of this process
            self._lifeline = os.dup(pipe.fileno())
            pipe.close()

    def wait_ready(self, names: Iterable[str]) -> None:
        """Wait until they serve. Raises StartError."""
        for name in names:
            wait_until(lambda name=name: self._is_ready(name) or not self.is_running(name), START_SECONDS)  # type: ignore[misc]
            if not self._is_ready(name):
                raise StartError(f"{name} did not come up; the end of {self._output(name)}:\n{self._read_tail(name)}")

    def is_running(self, name: str) -> bool:
        """Tell whether the daemon runs; one that is stopped (SIGSTOP) does."""
        process = self._read().get(name)
        return process is not None and is_alive(process)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a daemon. Raises ProcessLookupError if it does not run."""
        process = self._read().get(name)
        if process is None or not send_signal(process, number):
            raise ProcessLookupError(f"{name} of {self._layout.directory} does not run")

    def kill(self, name: str) -> None:
        """End a daemon by SIGKILL, and wait until it is gone. Raises ProcessLookupError if it does not run."""
        self.signal(name, signal.SIGKILL)
        wait_until(lambda: not self.is_running(name), 10)

    def find_running(self) -> dict[str, Process]:
        """Return the daemons that run."""
        return {name: process for name, process in self._read().items() if is_alive(process)}

    def end_all(self, but: int = 0) -> None:
        """End everything that belongs to the cloud, whoever started it, except the process with the pid `but`."""
        kept = [process for process in self._read().values() if process.pid != but]
        # nova first and at once: it would take its guests' end for their own doing, and go on to write about it
        end(kept, grace_seconds=2)
        kill_family(self._layout.servers)
        self._path.unlink(missing_ok=True)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _launch(self, name: str, command: list[str], environment: dict[str, str], stdin: int) -> IO[bytes] | None:
        with self._output(name).open("wb") as output:
            child = subprocess.Popen(
                command,
                cwd=self._layout.state,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = identify(child.pid) or Process(child.pid, 0)
        self._write(self._read() | {name: process})
        child.returncode = 0  # it is waited for by pid, also by others than this object: no warning at its end
        return child.stdin

    def _output(self, name: str) -> Path:
        return self._layout.log / f"{name}.out"

    def _is_ready(self, name: str) -> bool:
        path = self._output(name)
        return path.exists() and READY in path.read_text(errors="replace")

    def _read_tail(self, name: str) -> str:
        return "\n".join(self._output(name).read_text(errors="replace").splitlines()[-25:])

    def _read(self) -> dict[str, Process]:
        if not self._path.exists():
            return {}
        return {name: Process(*values) for name, values in json.loads(self._path.read_text()).items()}

    def _write(self, processes: dict[str, Process]) -> None:
        write_private(self._path, json.dumps({name: [one.pid, one.started] for name, one in processes.items()}))
