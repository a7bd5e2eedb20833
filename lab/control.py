"""Find the daemons of a running lab pool, and freeze, kill and revive them one by one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from lab import read_environment, read_file, read_parents, send_signal
from lab.jobs import PoolTools, wait_until
from lab.release import LabError

START_SECONDS = 60.0
# In the environment of every process of a pool, so that stop() finds even those that lost their parent.
MARK = "EHOSLITE_LAB_POOL"


class PoolControl(PoolTools):
    """What one does to a pool's processes from outside, as an accident would."""

    directory: Path
    master: subprocess.Popen[bytes] | None

    def wait_ready(self) -> None:
        """Wait until the collector shows every schedd; raises LabError."""
        raise NotImplementedError

    def find_processes(self) -> list[int]:
        """Return the pids of the pool's living processes, found by their environment, and of all their descendants."""
        parents = read_parents()
        mark = f"{MARK}={self.directory}".encode()
        members = {pid for pid in parents if mark in read_environment(pid)}
        while more := {pid for pid, parent in parents.items() if parent in members} - members:
            members |= more
        return sorted(members)

    def pid_of(self, name: str) -> int:
        """Return the pid of master, collector, negotiator, shared_port or a schedd (schedd1 or schedd1@lab)."""
        if self.master is None:
            raise LabError(f"the lab pool in {self.directory} does not run; start it first")
        if name == "master":
            return self.master.pid
        word = name.partition("@")[0].encode()
        for pid, parent in read_parents().items():
            program, *arguments = read_file(pid, "cmdline").split(b"\0")
            named = program.rpartition(b"/")[2] == b"condor_" + word or word.upper() in arguments
            if parent == self.master.pid and named:
                return pid
        raise LabError(f"the lab pool in {self.directory} has no living {name}")

    def freeze(self, name: str) -> None:
        """Stop a daemon's clock: it keeps its connections and answers nothing."""
        send_signal(self.pid_of(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen daemon go on."""
        send_signal(self.pid_of(name), signal.SIGCONT)

    def kill(self, name: str) -> None:
        """Kill a daemon and keep it dead: the master, which would start it anew, is frozen until revive()."""
        pid = self.pid_of(name)
        self.freeze("master")
        send_signal(pid, signal.SIGKILL)
        wait_until(lambda: pid not in read_parents(), 10, f"the end of {name}, pid {pid}")

    def revive(self) -> None:
        """Let the master start the killed daemons anew; return when all live and every schedd answers."""
        self.thaw("master")
        for name in ("collector", "negotiator", *self.schedd_names):
            wait_until(lambda name=name: self.is_alive(name), START_SECONDS, f"a new {name}")  # type: ignore[misc]
        self.wait_ready()
        for name in self.schedd_names:
            self.start_schedd(name)

    def is_alive(self, name: str) -> bool:
        """Tell whether a daemon has a process, which may be frozen."""
        try:
            return self.pid_of(name) > 0
        except LabError:
            return False

    def stop_schedd(self, name: str) -> None:
        """Kill a schedd, whose ad stays in the collector; start_schedd() or revive() brings it back."""
        self.kill(name)

    def start_schedd(self, name: str) -> None:
        """Bring a killed schedd back, with its queue, and wait until it answers."""
        self.thaw("master")
        full = name if "@" in name else f"{name}@lab"
        wait_until(lambda: self.answers(full), START_SECONDS, f"{full} to answer")

    def answers(self, schedd: str) -> bool:
        """Tell whether a schedd answers a query."""
        return self.run("condor_q", "-name", schedd, "-totals", user="reader").returncode == 0

    def restart_collector(self) -> None:
        """Kill the collector and wait for a new one, which knows no node until the nodes' next update."""
        self.kill("collector")
        self.revive()
