"""Run a real HTCondor central manager, with one or more schedds, on this machine's loopback address."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from lab import send_signal
from lab.configuration import NOBODY, PoolFiles
from lab.control import MARK, START_SECONDS, PoolControl
from lab.jobs import wait_until
from lab.keeper import dismiss, members, start_keeper
from lab.release import LabError, Release

__all__ = ["NOBODY", "LabPool", "daemon_account", "temporary_directory"]

# Below the ports that Linux gives to outgoing connections, so that only another lab can be there first.
PORTS = range(20000, 30000)
PORT_TRIES = 5
LOOPBACK = "127.0.0.1"
STOP_SECONDS = 20.0


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Give a new folder that the daemons' account can enter (pytest's tmp_path is closed to it) and then remove it."""
    with tempfile.TemporaryDirectory(prefix="ehoslite-lab-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


class DaemonAccount(TypedDict, total=False):
    """The arguments of subprocess calls that drop root's rights."""

    user: int
    group: int
    extra_groups: list[int]


def daemon_account() -> DaemonAccount:
    """Return the arguments that start a process as the daemons' account; none for an ordinary user."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


class LabPool(PoolFiles, PoolControl):
    """A central manager and its schedds in `directory`, and client folders for its users.

    Use it as a context manager, or call start() and stop(); stop() and start() again keep the address and the queue.
    `extra` is added to the daemons' configuration. Every method that fails raises LabError, or FileNotFoundError if
    the release lacks a program.
    """

    def __init__(
        self,
        directory: Path,
        release: Release,
        *,
        domain: str = "labpool",
        schedds: int = 1,
        extra: str = "",
        interface: str = LOOPBACK,
    ) -> None:
        """Write nothing yet; `domain` is the pool's trust domain, `schedds` their number (schedd1@lab and so on),
        `interface` the daemons' address, which nothing beyond this machine may reach."""
        self.directory = directory.absolute()
        self.kept = self.directory  # all that works in here ends with the one who started the pool
        self.release = release
        self.domain = domain
        self.extra = extra
        self.interface = interface
        self.schedd_names = [f"schedd{number}@lab" for number in range(1, schedds + 1)]
        self.manager = self.directory / "manager"
        self.jobs_directory = self.directory / "jobs"
        # The first one's is the manager's own: the shadows of all of them look there for the spool's version.
        self.spools = {
            f"SCHEDD{number}": self.manager / ("spool" if number == 1 else f"spool{number}")
            for number in range(1, schedds + 1)
        }
        self.port = 0
        self.starter = 0
        self.master: subprocess.Popen[bytes] | None = None
        self.keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The collector's address, as in 127.0.0.1:20000."""
        return f"{self.interface}:{self.port}"

    @property
    def port_file(self) -> Path:
        """Where the daemon that holds the port tells the others of it."""
        return self.manager / "lock" / "shared_port_ad"

    def node_settings(self) -> dict[str, str]:
        """Return the macros that a node needs to join this pool, besides a token for node-NAME@domain."""
        return {
            "COLLECTOR_HOST": self.collectors,
            "TRUST_DOMAIN": self.domain,
            "UID_DOMAIN": self.domain,
            "DEFAULT_DOMAIN_NAME": "lab.test",
        }

    def start(self) -> None:
        """Start the daemons; return when the collector shows every schedd. The first start chooses the port."""
        if self.master is not None:
            raise LabError(f"the lab pool in {self.directory} runs already; stop it first")
        fresh = self.port == 0
        if fresh:
            self.make_folders()
        for left in reversed(range(PORT_TRIES if fresh else 1)):
            if fresh:
                self.port = choose_port(self.interface)
                self.write_configuration()
                self.write_tokens()
            self.keeper = self.keeper or start_keeper(self.kept)
            try:
                self.launch()
                return
            except LabError:
                lost_race = self.lost_port()
                # Nothing in a pool that never worked deserves the time of an orderly end.
                self.stop(patience=1)
                if not lost_race or not left:
                    raise

    def launch(self) -> None:
        """Start condor_master and wait for its daemons."""
        self.port_file.unlink(missing_ok=True)
        shutil.rmtree(self.manager / "log")
        self.make_daemon_folder(self.manager / "log")
        atexit.register(self.stop)
        self.starter = os.getpid()
        self.master = self.start_master(self.manager)
        self.wait_ready()

    def start_master(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start a condor_master with the configuration in this folder."""
        environment = {
            **self.release.environment(),
            "CONDOR_CONFIG": str(folder / "condor_config"),
            "HOME": str(folder),
            MARK: str(self.directory),
        }
        with (folder / "log" / "output").open("wb") as output:
            return subprocess.Popen(
                [str(self.release.program("condor_master")), "-f"],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **daemon_account(),
            )

    def wait_ready(self) -> None:
        """Wait until the collector shows every schedd; raises LabError with the ends of the logs."""
        try:
            wait_until(self.is_ready, START_SECONDS, f"the collector at {self.address} to show {self.schedd_names}")
        except LabError as error:
            raise LabError(f"{error}; the lab pool's logs:\n{self.read_logs()}") from error

    def is_ready(self) -> bool:
        """Tell whether every schedd's ad is in the collector; raises LabError if the daemons cannot get there."""
        if self.master is None or self.master.poll() is not None:
            raise LabError(f"condor_master in {self.manager} ended")
        if self.lost_port():
            raise LabError(f"port {self.port} of {self.interface} was taken by another program")
        if not self.port_file.exists():
            # Whoever else has the port may keep a tool waiting.
            return False
        shown = self.run("condor_status", "-schedd", "-af", "Name", user="reader")
        return set(self.schedd_names) <= set(shown.stdout.split())

    def lost_port(self) -> bool:
        """Tell whether another program had this pool's port first."""
        log = self.manager / "log" / "MasterLog"
        return log.exists() and "Address already in use" in log.read_text(errors="replace")

    def read_logs(self, characters: int = 1500) -> str:
        """Return the end of every daemon's log."""
        logs = [path for path in sorted((self.manager / "log").glob("[!.]*")) if path.is_file()]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-characters:]}" for path in logs)

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """End every process of the pool, frozen ones too, by force after `patience` seconds; jobs stay in the queue.

        It does nothing to a pool that does not run, or that another process started (this one's parent, by fork).
        """
        master = self.master
        if master is None or self.starter != os.getpid():
            return
        for pid in self.find_processes():
            send_signal(pid, signal.SIGCONT)
        # Fast shutdown: a slow one would wait for running jobs.
        send_signal(master.pid, signal.SIGQUIT)
        deadline = time.monotonic() + patience
        while pids := self.find_processes():
            if time.monotonic() > deadline or master.poll() is not None:
                for pid in pids:
                    send_signal(pid, signal.SIGKILL)
            time.sleep(0.05)
        master.wait()
        # Not before: an interrupted stop can be called again.
        self.master = None
        if self.keeper and not members(str(self.kept)):  # nodes may still be there
            dismiss(self.keeper)
            self.keeper = None
        atexit.unregister(self.stop)


def choose_port(interface: str = LOOPBACK) -> int:
    """Return a port of this address that nothing listens on now; raises LabError if there is none."""
    for _ in range(200):
        port = secrets.choice(PORTS)
        with socket.socket() as trial:
            try:
                trial.bind((interface, port))
            except OSError:
                continue
            return port
    raise LabError(f"found no free port from {PORTS.start} to {PORTS.stop} on {interface}; stop other programs")
