"""A real pool with the local cloud and a configuration, and passes by the real command: for the demo and the tests."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from ehoslite.clouds import open_clouds
from ehoslite.clouds.local import LocalCloud
from ehoslite.config import load
from ehoslite.record import Record
from ehoslite.settings import LocalCloudSettings, Settings
from lab.jobs import wait_until
from lab.pool import LabPool
from lab.release import Release

log = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parent.parent

SMALL = {"name": "small", "cpus": 1, "memory": "1 GB", "disk": "4 GB", "price": 0.05}
LARGE = {"name": "large", "cpus": 4, "memory": "4 GB", "disk": "16 GB", "price": 0.20}

# Waits that a person would set to minutes, cut to what a test can wait for.
QUICK = {"nodes_max": 4, "idle_timeout": 2, "boot_timeout": 30, "intent_timeout": 2, "boot_backoff": 0}


@dataclass(frozen=True)
class Finished:
    """A pass that has come to its end."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        """What a person wants to know of it who reads why a test has failed, in few lines."""
        told = tell(self.data) if self.out.startswith("{") else self.out.splitlines()
        return "\n  ".join([f"a pass ended with {self.code}", *told, *self.err.splitlines()])

    @property
    def data(self) -> dict[str, Any]:
        """What `--json` printed."""
        return dict(json.loads(self.out))

    def verbs(self) -> list[str]:
        """The actions' verbs, in order."""
        return [action["verb"] for action in self.data["actions"]]

    def held(self) -> set[str]:
        """The reason codes of what was held back."""
        return {held["reason"]["code"] for held in self.data["held"]}


def tell(data: Mapping[str, Any]) -> list[str]:
    """A line for each thing that a pass has seen, done and left, from what `--json` printed."""
    nodes = (f"{one['node']} {one['vm_state']} {one['condor_state']}" for one in data.get("nodes", ()))
    demand = (" ".join(f"{value} {name}" for name, value in shape.items()) for shape in data.get("demand", ()))
    silent = (f"{name}: {why}" for name, why in data.get("silent", {}).items())
    done = (f"{one['subject']} {one['result']} {one['reason']} {one['error']}" for one in data.get("actions", ()))
    held = (str(one["reason"]) for one in data.get("held", ()))
    kinds = {"node": nodes, "idle": demand, "silent": silent, "done": done, "held back": held}
    return [f"{kind}: {line}" for kind, lines in kinds.items() for line in lines]


class Stand:
    """A pool, the local cloud `here` and ehos.yaml in one folder. Stopping it leaves no node and no daemon."""

    def __init__(
        self,
        directory: Path,
        release: Release,
        *,
        schedds: int = 1,
        scaling: Mapping[str, Any] | None = None,
        flavors: tuple[Mapping[str, Any], ...] = (SMALL, LARGE),
        cloud: Mapping[str, Any] | None = None,
        clouds: Mapping[str, Mapping[str, Any]] | None = None,
        condor: Mapping[str, Any] | None = None,
        pool: LabPool | None = None,
    ) -> None:
        self.directory = directory
        self.pool = pool or LabPool(directory / "pool", release, schedds=schedds)
        self.pool.kept = directory.absolute()
        self.config = directory / "ehos.yaml"
        local = {
            "type": "local",
            "directory": str(directory / "nodes"),
            "release": str(release.prefix),
            "flavors": [dict(flavor) for flavor in flavors],
            **(cloud or {}),
        }
        self.document: dict[str, Any] = {
            "pool": "lab",
            "deadline": 120,
            "clouds": {name: dict(options) for name, options in clouds.items()} if clouds else {"here": local},
            "condor": {
                "tools": str(release.prefix / "bin"),
                "collector_warmup": 0,
                "query_timeout": 40,
                **(condor or {}),
            },
            "scaling": {**QUICK, **(scaling or {})},
            "record": {"path": str(directory / "state" / "state.json")},
        }

    def __enter__(self) -> Self:
        self.pool.start()
        self.document["condor"].setdefault("config", str(self.pool.client("scaler")))
        self.configure()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self.delete_nodes()
        finally:
            self.pool.stop()

    def configure(self, **scaling: Any) -> None:
        """Write the configuration, with these options of `scaling` changed."""
        self.document["scaling"].update(scaling)
        self.config.write_text(yaml.safe_dump(self.document))
        self.config.chmod(0o600)

    @property
    def settings(self) -> Settings:
        """The configuration as a pass reads it."""
        return load(self.config)

    @property
    def state(self) -> Path:
        """The state file."""
        return self.directory / "state" / "state.json"

    def cloud(self) -> LocalCloud:
        """The local cloud, to look at and to let go wrong."""
        settings = self.settings.clouds["here"]
        assert isinstance(settings, LocalCloudSettings)  # noqa: S101 - written so above
        return LocalCloud("here", settings, "lab")

    def start_pass(self, *options: str, module: str = "reconcile") -> subprocess.Popen[str]:
        """Start a pass and do not wait for it."""
        verb = [*options, "-c", str(self.config)]
        return subprocess.Popen(
            [sys.executable, "-m", module, *verb],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reconcile(self, *options: str) -> Finished:
        """One pass, by the real command in a process of its own, with `--json`."""
        running = self.start_pass("--json", *options)
        out, err = running.communicate(timeout=240)
        done = Finished(running.returncode, out, err)
        log.info("%s", done)
        return done

    def passes(self) -> int:
        """How many passes the history holds."""
        return len(Record(self.settings.record, 0.0, keep=False).passes())

    def nodes(self) -> dict[str, str]:
        """Our servers: node id -> vm_state."""
        clouds = open_clouds(self.settings, lambda: 60.0)
        return {server.node: server.vm_state.value for cloud in clouds for server in cloud.servers()}

    def wait_for_nodes(self, count: int, seconds: float = 30) -> None:
        """Wait until so many nodes are in the collector and take jobs."""
        wait_until(lambda: self.joined() >= count, seconds, f"{count} nodes in the collector")

    def joined(self) -> int:
        """How many of our nodes are in the collector."""
        return len({ad["EhosNode"] for ad in self.pool.machines(["EhosNode"], 'EhosPool =?= "lab"')})

    def reconcile_until(self, verb: str, seconds: float = 30) -> Finished:
        """Pass after pass until one has an action of this verb; gives that pass."""
        found: list[Finished] = []

        def seen() -> bool:
            done = self.reconcile()
            found.append(done)
            return done.code == 0 and verb in done.verbs()

        wait_until(seen, seconds, f"a pass that does {verb}")
        return found[-1]

    def delete_nodes(self) -> None:
        """Delete every node, whatever runs on it: the stand is being taken down."""
        for cloud in open_clouds(self.settings, lambda: 60.0):
            for server in cloud.servers():
                cloud.delete(server)
