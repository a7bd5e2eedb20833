"""A cloud whose servers are process groups on this machine: each a real condor_master and startd.

A server is a folder: `server.json` holds its tags, and whatever process has the folder in its environment belongs to
it. Servers outlive the pass that made them, are listed and deleted by their tags, and obey a quota, like a VM.
`trial.json` in the cloud's folder makes the next boots fail, for tests and trials (see `Trial`).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ehoslite.clouds.console import last_words
from ehoslite.clouds.guest import FOLDER_VARIABLE
from ehoslite.clouds.promises import promises_of
from ehoslite.clouds.recipe import made_of, recipe_of
from ehoslite.clouds.release import find_prefix
from ehoslite.errors import ActionFailed, CloudUnreachable, NoCapacity
from ehoslite.model import Flavor, Leftover, Room, Server, VmState
from ehoslite.resources import Resources
from ehoslite.settings import FlavorSettings, LocalCloudSettings

KIB_PER_MB = 1024
# A folder without a process is a creation that died half-way, once it is older than a creation takes.
STARTING = 10.0


@dataclass
class Trial:
    """What shall go wrong with the next servers: so many end in error, never join, or boot so many seconds longer."""

    fail_build: int = 0
    never_join: int = 0
    boot_delay: float = 0.0
    unreachable: bool = False


class LocalCloud:
    """The local cloud of one pool. Several pools may share a folder; they see and touch only their own servers."""

    def __init__(self, name: str, settings: LocalCloudSettings, pool: str) -> None:
        self.name = name
        self.settings = settings
        self.pool = pool
        self.directory = Path(settings.directory)

    def flavors(self) -> tuple[Flavor, ...]:
        """The configured sizes."""
        recipe, promises = recipe_of(self.settings), promises_of(self.settings)
        return tuple(
            Flavor(
                self.name,
                flavor.name,
                Resources(flavor.cpus, flavor.memory, flavor.disk * KIB_PER_MB, flavor.gpus),
                flavor.price,
                recipe=recipe,
                promises=promises,
                made_of=self._made_of(flavor),
            )
            for flavor in self.settings.flavors
        )

    def _made_of(self, size: FlavorSettings) -> str:
        return made_of(self.settings, "", (size.name, size.cpus, size.memory, size.disk, size.gpus))

    def servers(self) -> tuple[Server, ...]:
        """Every server of this pool, whatever its state."""
        if self.trial().unreachable:
            raise CloudUnreachable("trial.json says that it does not answer")
        return tuple(self._server(folder, tags) for folder, tags in self._folders() if tags["pool"] == self.pool)

    def exists(self, server: str) -> bool:
        """Whether its folder is there."""
        return (self.directory / server / "server.json").exists()

    def room(self) -> Room:
        """The quota less what the servers of all pools in the folder use."""
        quota, used = self.settings.quota, [tags for _, tags in self._folders()]
        return Room(
            quota.instances - len(used),
            quota.cores - sum(int(tags["cpus"]) for tags in used),
            quota.memory - sum(int(tags["memory_mb"]) for tags in used),
        )

    def leftovers(self) -> tuple[Leftover, ...]:
        """Folders of servers that were being made or removed by a pass that was killed; one whose tags are gone
        already is anybody's to remove."""
        found = []
        for folder in (*self.directory.glob(".new-*"), *self.directory.glob(".gone-*")):
            with suppress(OSError):  # its pass is at work, and done with it
                if time.time() - folder.stat().st_ctime > STARTING:
                    found.append((folder.name, _tags_of(folder)))
        return tuple(
            Leftover(self.name, "folder", name, str(tags.get("node", "")))
            for name, tags in found
            if tags.get("pool", self.pool) == self.pool
        )

    def remove(self, leftover: Leftover) -> None:
        """Remove the folder."""
        shutil.rmtree(self.directory / leftover.id, ignore_errors=True)

    def console(self, server: Server) -> str:
        """The end of what its guest wrote."""
        with suppress(OSError):
            return last_words((self.directory / server.id / "console.log").read_text(errors="replace"))
        return ""

    def create(self, node: str, flavor: str, user_data: str) -> str:
        """Make the server's folder, tags and all, in one step, and start its process. Raises NoCapacity,
        ActionFailed."""
        size = next((size for size in self.settings.flavors if size.name == flavor), None)
        if size is None:
            raise ActionFailed(f"there is no flavor {flavor!r} in {self.name}")
        release = self.settings.release or find_prefix()
        if release is None:
            raise ActionFailed(f"no condor_master on PATH; name HTCondor's folder in clouds.{self.name}.release")
        hardware = {"cpus": size.cpus, "memory_mb": size.memory, "disk_gb": size.disk / 1024, "gpus": size.gpus}
        with self._alone():
            wanted = Flavor(self.name, flavor, Resources(size.cpus, size.memory))
            if self.room().holds(wanted) < 1:
                raise NoCapacity(f"the quota of {self.name} allows no further {flavor}")
            trial = self._use_up(self.trial())
            tags = {"pool": self.pool, "node": node, "flavor": flavor, "made_of": self._made_of(size)}
            folder = self._make_folder(tags, hardware, user_data)
        if trial.fail_build:
            (folder / "error").write_text("No valid host was found (trial.json)")
        else:
            self._boot(folder, release, trial)
        return folder.name

    def delete(self, server: Server) -> None:
        """Kill every process of the server and remove its folder. Raises ActionFailed."""
        folder = self.directory / server.id
        if not folder.exists():
            return
        deadline = time.monotonic() + STARTING
        while running := processes_of(folder):
            if time.monotonic() > deadline:
                raise ActionFailed(f"processes {running} of {server.node} do not end")
            for pid in running:
                with suppress(FileNotFoundError, ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        gone = self.directory / f".gone-{server.id}"
        with suppress(FileNotFoundError, ProcessLookupError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def trial(self) -> Trial:
        """What trial.json asks for now."""
        try:
            return Trial(**json.loads((self.directory / "trial.json").read_text()))
        except FileNotFoundError:
            return Trial()

    def try_out(self, trial: Trial) -> None:
        """Have the next servers go wrong like this."""
        self.directory.mkdir(parents=True, exist_ok=True)
        beside = self.directory / ".trial.json"
        beside.write_text(json.dumps(asdict(trial)))
        beside.replace(self.directory / "trial.json")

    def _use_up(self, trial: Trial) -> Trial:
        """What happens to this server; the counters go down by one."""
        if trial.fail_build or trial.never_join:
            fail = bool(trial.fail_build)
            rest = (trial.fail_build - fail, trial.never_join - (not fail))
            self.try_out(Trial(*rest, trial.boot_delay, trial.unreachable))
            return Trial(int(fail), int(not fail), trial.boot_delay)
        return trial

    def _make_folder(self, tags: dict[str, Any], hardware: dict[str, Any], user_data: str) -> Path:
        server = uuid.uuid4().hex
        beside = self.directory / f".new-{server}"
        beside.mkdir(mode=0o711)
        tags = {**tags, "created": time.time(), **hardware}
        for name, text in (("server.json", json.dumps(tags)), ("hardware.json", json.dumps(hardware))):
            (beside / name).write_text(text)
        with os.fdopen(os.open(beside / "user_data", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(user_data)
        return beside.rename(self.directory / server)

    def _boot(self, folder: Path, release: Path, trial: Trial) -> None:
        guest = Path(__file__).with_name("guest.py")
        command = [sys.executable, str(guest), str(folder), "--release", str(release), "--user", self.settings.user]
        command += ["--delay", str(self.settings.boot_delay + trial.boot_delay)]
        command += ["--never-join"] if trial.never_join else []
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(guest.parent.parent.parent),
            FOLDER_VARIABLE: str(folder),
        }
        with (folder / "console.log").open("ab") as console:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": console, "stderr": console}
            try:
                process = subprocess.Popen(command, cwd="/", env=environment, start_new_session=True, **streams)
            except OSError as error:
                (folder / "error").write_text(f"its process could not be started: {error.strerror or error}")
                return
        (folder / "pid").write_text(str(process.pid))

    def _folders(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Each server's folder with its tags; half-made and half-deleted ones are not servers."""
        if not self.directory.exists():
            return
        for folder in sorted(self.directory.iterdir()):
            if not folder.name.startswith(".") and folder.is_dir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    yield folder, json.loads((folder / "server.json").read_text())

    def _server(self, folder: Path, tags: dict[str, Any]) -> Server:
        state, fault = _state(folder, time.time() - tags["created"])
        parts = str(tags.get("made_of", ""))
        return Server(
            self.name, folder.name, tags["node"], tags["flavor"], state, tags["created"], fault, made_of=parts
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One creation at a time looks at the quota and takes from it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _tags_of(folder: Path) -> dict[str, Any]:
    """A server's tags; none where they are not written, or removed already."""
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / "server.json").read_text()))
    return {}


def _state(folder: Path, age: float) -> tuple[VmState, str]:
    """A server's state, and its fault when it has one, from what lies in its folder and from its process."""
    if (folder / "error").exists():
        return VmState.ERROR, (folder / "error").read_text()
    try:
        pid = int((folder / "pid").read_text())
    except (FileNotFoundError, ValueError):  # not written yet; the guest writes it once more, and it is empty meanwhile
        return (VmState.BOOTING, "") if age < STARTING else (VmState.ERROR, "its process was never started")
    if not belongs(pid, folder):
        # While the guest becomes condor_master its environment cannot be read for a moment.
        boots = age < STARTING and Path(f"/proc/{pid}").exists()
        return (VmState.BOOTING if boots else VmState.STOPPED), ""
    return (VmState.ACTIVE if (folder / "booted").exists() else VmState.BOOTING), ""


def belongs(pid: int, folder: Path) -> bool:
    """Whether this process runs and has the folder in its environment; a zombie's environment is empty."""
    try:
        return os.fsencode(folder) in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def processes_of(folder: Path) -> list[int]:
    """Every process of a server: its daemons by our variable, its jobs by their scratch directory in the folder."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and belongs(int(entry.name), folder)
    ]
