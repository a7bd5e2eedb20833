"""Where one cloud's files and ports are."""

from __future__ import annotations

import json
import os
import random
import socket
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

HOST = "127.0.0.1"
REGION = "RegionOne"
# Daemons by name, with the type that their API has in the catalog. `nova` serves placement's API too.
APIS = {
    "keystone": "identity",
    "glance": "image",
    "placement": "placement",
    "nova": "compute",
    "neutron": "network",
    "cinder": "block-storage",
}
PATHS = {"keystone": "/v3", "nova": "/v2.1", "cinder": "/v3"}
DAEMONS = ("keystone", "glance", "neutron", "nova", "cinder")
# Below Linux's own range for outgoing connections (32768-60999, ip(7)), so that none of them can take a port while its
# daemon is being started again.
PORTS = range(15000, 32000)


def pick_ports(count: int) -> list[int]:
    """Return so many different ports of 127.0.0.1 that nothing listens on. Raises OSError if none can be had."""
    picked: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with closing(socket.socket()) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        picked.append(port)
        if len(picked) == count:
            return picked
    raise OSError(f"only {len(picked)} of {count} ports between {PORTS.start} and {PORTS.stop} of {HOST} are free")


@dataclass(frozen=True)
class Ports:
    """A cloud's ports. `front` is where clients come, at the fault proxies; `back` is where the daemons listen."""

    front: dict[str, int]
    back: dict[str, int]
    control: int

    @staticmethod
    def pick() -> Ports:
        """Choose free ports for all."""
        count = len(APIS)
        free = pick_ports(2 * count + 1)
        return Ports(dict(zip(APIS, free[:count], strict=True)), dict(zip(APIS, free[count:-1], strict=True)), free[-1])

    def url(self, service: str) -> str:
        """Return the address that clients use, at the proxy."""
        return f"http://{HOST}:{self.front[service]}{PATHS.get(service, '')}"

    def back_url(self, service: str) -> str:
        """Return the daemon's own address, past the proxy: for the daemons among themselves and the lab's own use."""
        return f"http://{HOST}:{self.back[service]}{PATHS.get(service, '')}"


@dataclass(frozen=True)
class Secrets:
    """A cloud's passwords. They are made anew for each start: who can log in can have programs run as our user."""

    admin: str
    service: str
    tenant: str
    neighbour: str
    control: str


@dataclass(frozen=True)
class Layout:
    """The files below a cloud's directory."""

    directory: Path
    environment: Path  # of the lab's own interpreter
    ports: Ports
    secrets: Secrets
    project: str = "tenant"
    neighbour: str = "neighbour"
    computes: tuple[str, ...] = ("compute-1", "compute-2")
    guest_command: tuple[str, ...] = ()
    host_cpus: int = 1000
    host_memory_mb: int = 8_000_000
    host_gpus: int = 16

    @property
    def settings(self) -> Path:
        """The daemons' configuration, one folder each."""
        return self.directory / "etc"

    @property
    def databases(self) -> Path:
        """The SQLite files."""
        return self.directory / "db"

    @property
    def state(self) -> Path:
        """The daemons' own files, such as the images' data."""
        return self.directory / "state"

    @property
    def log(self) -> Path:
        """Where the daemons write their logs."""
        return self.directory / "log"

    @property
    def servers(self) -> Path:
        """A folder per server, named by its id: what the guest program gets."""
        return self.directory / "servers"

    @property
    def knobs(self) -> Path:
        """What is to happen to servers at their next boots; see inside/knobs.py."""
        return self.directory / "knobs.json"

    @property
    def requests(self) -> Path:
        """The proxies' record of requests, one JSON object a line."""
        return self.directory / "requests.jsonl"

    @property
    def record(self) -> Path:
        """The file that `save` writes."""
        return self.directory / "lab.json"

    @property
    def python(self) -> Path:
        """The interpreter that has OpenStack."""
        return self.environment / "bin" / "python"

    def database_url(self, name: str) -> str:
        """Return SQLAlchemy's URL of a database. A writer waits for at most 60 s for another one to finish."""
        return f"sqlite:///{self.databases / name}.sqlite?timeout=60"

    def make_folders(self) -> None:
        """Create the folders. Only servers' folders can be entered by others: jobs may run as users of their own."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.servers.mkdir(exist_ok=True)
        for folder in (self.settings, self.databases, self.state, self.log):
            folder.mkdir(mode=0o700, exist_ok=True)
        for daemon in (*DAEMONS, "placement"):
            (self.settings / daemon).mkdir(exist_ok=True)
            (self.state / daemon / "lock").mkdir(parents=True, exist_ok=True)
        for name in ("images", "staging", "tasks"):
            (self.state / "glance" / name).mkdir(exist_ok=True)

    def save(self) -> None:
        """Write all of this down, for the daemons and for `load`; only the user can read it."""
        values = asdict(self) | {"directory": str(self.directory), "environment": str(self.environment)}
        write_private(self.record, json.dumps(values, indent=1))


def load(directory: Path) -> Layout:
    """Read what `save` wrote. Raises FileNotFoundError if no cloud was ever started there."""
    values = json.loads((directory / "lab.json").read_text())
    values["directory"] = Path(values["directory"])
    values["environment"] = Path(values["environment"])
    values["ports"] = Ports(**values["ports"])
    values["secrets"] = Secrets(**values["secrets"])
    values["computes"] = tuple(values["computes"])
    values["guest_command"] = tuple(values["guest_command"])
    return Layout(**values)


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, in one step: no reader sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
