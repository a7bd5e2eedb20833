"""A pool with two central managers, cm1 and cm2, of which HTCondor's high-availability daemon (HAD) makes one active.

The schedds run under a master of their own, as on a submit machine: they outlive either manager.
"""

from __future__ import annotations

import copy
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from lab import read_file, read_parents, send_signal
from lab.configuration import FOLDERS, give_to_daemons
from lab.jobs import wait_until
from lab.pool import LabPool, choose_port
from lab.release import LabError, Release
from lab.stand import Stand

MACHINES = ("cm1", "cm2")
TAKEOVER_SECONDS = 120.0
# Of a pass; the other manager waits for so long and the grace after the last one of a manager that died.
DEADLINE = 35
# A frozen manager costs each pass so much; less, and a schedd of a busy machine is called silent.
QUERY_TIMEOUT = 12

# Either may become active first; one that comes back is passive as long as the other lives.
MANAGERS = """\
NETWORK_HOSTNAME = {machine}.lab.test
MASTER_NAME = {machine}
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR HAD
USE_SHARED_PORT = False
COLLECTOR_ARGS = -f -p {port}
HAD_ARGS = -f -p {had}
MASTER_NEGOTIATOR_CONTROLLER = HAD
HAD_LIST = {hads}
HAD_USE_PRIMARY = False
HAD_USE_REPLICATION = False
HAD_CONNECTION_TIMEOUT = 1
HAD_UPDATE_INTERVAL = 5
# All of them live on one host and in different families.
SEC_USE_FAMILY_SESSION = False
"""
SCHEDDS = """\
DAEMON_LIST = MASTER SHARED_PORT {schedds}
SEC_USE_FAMILY_SESSION = False
"""


class TwoManagers(LabPool):
    """The pool. Its `master` is the schedds'; kill_manager() and start_manager() do the like to a whole manager."""

    def __init__(self, directory: Path, release: Release) -> None:
        super().__init__(directory, release)
        self.ports = {machine: choose_port() for machine in MACHINES}
        self.had_ports = {machine: choose_port() for machine in MACHINES}
        self.masters: dict[str, subprocess.Popen[bytes]] = {}
        self.extra = SCHEDDS.format(schedds=" ".join(self.spools))

    @property
    def collectors(self) -> str:
        """Both managers' collectors."""
        return ", ".join(self.address_of(machine) for machine in MACHINES)

    def address_of(self, machine: str) -> str:
        """The address of one manager's collector."""
        return f"127.0.0.1:{self.ports[machine]}"

    def client_on(self, machine: str) -> Path:
        """The scaler's CONDOR_CONFIG on this manager."""
        return self.client("scaler").with_name(f"condor_config.{machine}")

    def write_configuration(self) -> None:
        """Write that of the schedds, of the clients and of both managers."""
        super().write_configuration()
        hads = ", ".join(f"127.0.0.1:{self.had_ports[machine]}" for machine in MACHINES)
        for machine in MACHINES:
            folder = self.directory / machine
            folder.mkdir(exist_ok=True)
            for path in (folder, *(folder / name for name in FOLDERS)):
                self.make_daemon_folder(path)
            port, had = self.ports[machine], self.had_ports[machine]
            more = MANAGERS.format(machine=machine, port=port, had=had, hads=hads)
            (folder / "condor_config").write_text(self.daemon_configuration(folder, port) + more)
            client = self.client("scaler").read_text()
            self.client_on(machine).write_text(f"{client}NETWORK_HOSTNAME = {machine}.lab.test\n")

    def launch(self) -> None:
        """Start the managers, then the schedds."""
        for machine in MACHINES:
            self.start_manager(machine)
        super().launch()

    def start_manager(self, machine: str) -> None:
        """Start a manager's daemons, after a kill as well."""
        folder = self.directory / machine
        for secret in ("keys/POOL", "tokens.d/condor"):
            shutil.copy(self.manager / secret, folder / secret)
            give_to_daemons(folder / secret)
        self.masters[machine] = self.start_master(folder)

    def processes_of(self, machine: str) -> list[int]:
        """The daemons of a manager."""
        config = f"CONDOR_CONFIG={self.directory / machine / 'condor_config'}".encode()
        return [pid for pid in self.find_processes() if config in read_file(pid, "environ").split(b"\0")]

    def freeze_manager(self, machine: str) -> None:
        """Stop the clock of every daemon of a manager, as when its machine hangs."""
        for pid in self.processes_of(machine):
            send_signal(pid, signal.SIGSTOP)

    def kill_manager(self, machine: str) -> None:
        """Kill every daemon of a manager at once, as when its machine dies."""
        self.freeze_manager(machine)
        mine = self.processes_of(machine)
        for pid in mine:
            send_signal(pid, signal.SIGKILL)
        self.masters.pop(machine).wait()
        wait_until(lambda: not set(mine) & read_parents().keys(), 10, f"the end of {machine}")

    def hads(self, machine: str) -> dict[str, bool]:
        """Which machines' HADs are active, as this manager's collector knows them; nothing if it does not answer."""
        wanted = ("-any", "-constraint", 'MyType == "HAD"', "-af", "Machine", "HadIsActive")
        asked = self.run("condor_status", "-pool", self.address_of(machine), *wanted)
        rows = [line.split() for line in asked.stdout.splitlines()]
        return {name.partition(".")[0]: active.lower() == "true" for name, active in rows}

    def active(self) -> str:
        """The manager that both collectors call the active one; empty while they do not agree on one."""
        views = [self.hads(machine) for machine in MACHINES]
        found = {machine for view in views for machine, active in view.items() if active}
        return found.pop() if len(found) == 1 and all(len(view) == len(MACHINES) for view in views) else ""

    def wait_until_active(self, machine: str) -> None:
        """Wait until HAD has made this manager the active one and its negotiator runs."""

        def is_active() -> bool:
            return self.hads(machine).get(machine, False) and self.has_negotiator(machine)

        wait_until(is_active, TAKEOVER_SECONDS, f"{machine} to be the active manager")

    def has_negotiator(self, machine: str) -> bool:
        """Whether this manager's negotiator runs."""
        master = self.masters[machine].pid
        return any(
            parent == master and b"condor_negotiator" in read_file(pid, "cmdline")
            for pid, parent in read_parents().items()
        )

    def is_ready(self) -> bool:
        """Tell whether both collectors show every schedd."""
        if any(
            master.poll() is not None for master in (*self.masters.values(), *([self.master] if self.master else []))
        ):
            raise LabError(f"a condor_master in {self.directory} ended")
        shown = [
            self.run("condor_status", "-pool", self.address_of(machine), "-schedd", "-af", "Name", user="reader")
            for machine in self.masters
        ]
        return all(set(self.schedd_names) <= set(one.stdout.split()) for one in shown)

    def read_logs(self, characters: int = 1500) -> str:
        """Return the end of every daemon's log."""
        logs = [path for path in sorted(self.directory.glob("*/log/*Log")) if path.is_file()]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-characters:]}" for path in logs)

    def stop(self, *arguments: Any, **options: Any) -> None:
        """End every process of the pool."""
        super().stop(*arguments, **options)
        for master in self.masters.values():
            if master.poll() is None and self.master is None:
                master.wait()


class TwoManagersStand(Stand):
    """A stand whose passes run on either manager, each with a configuration and a state file of its own. `active` and
    `passive` name the managers as they were at the start."""

    pool: TwoManagers

    def __init__(self, directory: Path, release: Release, **options: Any) -> None:
        condor = {"high_availability": True, "query_timeout": QUERY_TIMEOUT, **options.pop("condor", {})}
        super().__init__(directory, release, pool=TwoManagers(directory / "pool", release), condor=condor, **options)
        self.document["deadline"] = DEADLINE

    def __enter__(self) -> Self:
        super().__enter__()
        wait_until(lambda: bool(self.pool.active()), TAKEOVER_SECONDS, "one manager to be active")
        self.active = self.pool.active()
        (self.passive,) = set(MACHINES) - {self.active}
        return self

    def on(self, machine: str) -> TwoManagersStand:
        """The same stand as a person sees it who is logged in on this manager."""
        seat = copy.copy(self)
        seat.document = copy.deepcopy(self.document)
        seat.document["condor"]["config"] = str(self.pool.client_on(machine))
        seat.document["record"]["path"] = str(self.directory / "state" / machine / "state.json")
        seat.config = self.directory / f"ehos-{machine}.yaml"
        seat.configure()
        return seat

    @property
    def state(self) -> Path:
        """The state file."""
        return Path(self.document["record"]["path"])
