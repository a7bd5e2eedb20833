"""The only door to HTCondor: slots, idle jobs, drains, node tokens and the ads of nodes that are gone.

Queries run in children that can be killed (asking.py); drains and tokens go by HTCondor's own tools, because the
bindings cannot reach a node that holds nothing but a node token (measured, htcondor 25.14.1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ehoslite.ads import GROUP_BY, SLOT_ATTRIBUTES, read_demand, read_slots
from ehoslite.asking import Unanswered, ask, ask_all
from ehoslite.errors import ActionFailed, AlreadyDraining, NotIdle, PoolUnreachable
from ehoslite.model import Demand, Node, Slot
from ehoslite.nodes import DRAIN_REASON
from ehoslite.settings import CondorSettings

# Judged by the startd itself, on every slot, in one step with the drain. A constant: condor_drain silently ignores an
# expression that it cannot parse, and a busy node would be drained.
ONLY_IF_IDLE = 'State == "Unclaimed" || State == "Owner"'

# Idle (1), and of a universe that a startd runs: vanilla with docker and container (5), java (10), parallel (11),
# vm (13); not scheduler (7), grid (9) and local (12). JobStatus and JobUniverse must be in the projection as well.
IDLE = "JobStatus == 1 && (JobUniverse == 5 || JobUniverse == 10 || JobUniverse == 11 || JobUniverse == 13)"

NODE_RIGHTS = ("READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")

Remaining = Callable[[], float]


class Pool:
    """The HTCondor pool that CONDOR_CONFIG names. `remaining` tells how many seconds of the pass are left."""

    def __init__(self, settings: CondorSettings, remaining: Remaining = lambda: 3600.0) -> None:
        self.settings = settings
        self.remaining = remaining
        self.environment = dict(os.environ)
        if settings.config is not None:
            self.environment["CONDOR_CONFIG"] = str(settings.config)

    def slots(self) -> tuple[tuple[Slot, ...], float, dict[str, str]]:
        """Every slot of the pool, when the collector started, and the schedds that it knows (name -> its ad).

        Raises PoolUnreachable.
        """
        try:
            answer = ask(self._in_child(_query_collector), self._patience())
        except Unanswered as error:
            raise PoolUnreachable(f"the collector did not answer: {error}") from error
        return read_slots(answer["slots"]), answer["since"], answer["schedds"]

    def demand(self, schedds: Mapping[str, str]) -> Demand:
        """The idle jobs of these schedds, each asked on its own; those that do not answer are named in `silent`."""
        questions = {name: self._in_child(_query_schedd, ad) for name, ad in schedds.items()}
        return read_demand(ask_all(questions, self._patience()))

    def slots_of(self, nodes: Iterable[Node]) -> dict[str, tuple[Slot, ...]]:
        """The slots of these nodes as the collector knows them now, by node id. Raises PoolUnreachable."""
        ids = {node.id for node in nodes}
        try:
            slots = read_slots(ask(self._in_child(_query_nodes, sorted(ids)), self._patience()))
        except Unanswered as error:
            raise PoolUnreachable(f"the collector did not answer: {error}") from error
        return {node: tuple(slot for slot in slots if slot.node == node) for node in ids}

    def drain(self, node: Node) -> None:
        """Have the startd take no more jobs, if it judges itself idle. Raises NotIdle, ActionFailed."""
        self._drain_tool("-graceful", "-reason", DRAIN_REASON, "-check", ONLY_IF_IDLE, node.machine)

    def undrain(self, node: Node) -> None:
        """Cancel the drain; on a node that does not drain this changes nothing. Raises ActionFailed."""
        self._drain_tool("-cancel", node.machine)

    def _drain_tool(self, *arguments: str) -> None:
        done = self._run("condor_drain", *arguments)
        if done.returncode == 0:
            return
        said = " ".join((done.stderr + done.stdout).split())
        if "10003" in said:
            raise NotIdle("it was not idle any more when asked to drain")
        if "10001" in said:
            raise AlreadyDraining("it is draining already")
        raise ActionFailed(f"condor_drain: {said or f'exit {done.returncode}'}"[:300])

    def invalidate(self, nodes: Iterable[Node]) -> None:
        """Remove the ads that deleted nodes left in the collector; they would linger for 15 minutes and more.

        Raises ActionFailed.
        """
        try:
            ask(self._in_child(_invalidate, sorted(node.id for node in nodes)), self._patience())
        except Unanswered as error:
            raise ActionFailed(f"the ads could not be invalidated: {error}") from error

    def node_token(self, node: str) -> str:
        """A new token with the rights of a node only. Never on a command line, in a log or in the state file.

        Raises ActionFailed.
        """
        rights = [part for right in NODE_RIGHTS for part in ("-authz", right)]
        lifetime = ("-lifetime", f"{self.settings.token_lifetime:.0f}")
        if self.settings.token_source == "create":  # noqa: S105
            key = Path(self.settings.token_key or "")
            more = {
                "_CONDOR_SEC_PASSWORD_DIRECTORY": str(key.parent),
                "_CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE": str(key),
            }
            identity = f"node-{node}@{self.domain()}"
            arguments = ("condor_token_create", "-key", key.name, "-identity", identity, *rights, *lifetime)
            done = self._run(*arguments, more=more)
        else:
            done = self._run("condor_token_fetch", "-type", "COLLECTOR", *rights, *lifetime)
        token = done.stdout.strip()
        if done.returncode or token.count(".") != 2:
            raise ActionFailed(f"no token for the node: {' '.join(done.stderr.split())[:300] or 'no answer'}")
        return token

    def domain(self) -> str:
        """The trust domain of the pool's tokens."""
        return self.settings.domain or self._parameter("TRUST_DOMAIN")

    def collector(self) -> str:
        """Where the nodes reach the collector."""
        return self.settings.collector or self._parameter("COLLECTOR_HOST")

    def _parameter(self, name: str) -> str:
        try:
            return str(ask(self._in_child(_read_parameter, name), self._patience()))
        except Unanswered as error:
            raise PoolUnreachable(f"HTCondor's configuration gives no {name}: {error}") from error

    def _patience(self) -> float:
        return max(0.0, min(self.settings.query_timeout, self.remaining()))

    def _in_child(self, question: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        config = self.environment.get("CONDOR_CONFIG")

        def asked() -> Any:
            if config:
                os.environ["CONDOR_CONFIG"] = config
            if "htcondor2" in sys.modules:
                import htcondor2

                htcondor2.reload_config()
            return question(*arguments)

        return asked

    def _run(
        self, program: str, *arguments: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = self.environment.get("PATH", os.defpath)
        if self.settings.tools is not None:
            path = f"{self.settings.tools}{os.pathsep}{path}"
        found = shutil.which(program, path=path)
        if found is None:
            raise ActionFailed(f"{program} is not on PATH; name its folder in condor.tools")
        try:
            return subprocess.run(
                [found, *arguments],
                env={**self.environment, **(more or {})},
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=max(0.1, self._patience()),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ActionFailed(f"{program} did not come back within {error.timeout:.0f} s") from error


def _plain(ad: Any, names: Iterable[str]) -> dict[str, Any]:
    """The attributes that come to numbers, texts or booleans; an expression is evaluated within its ad.

    Not by isinstance: classad2's Undefined and Error are ints to Python (2 and 1).
    """
    values = {name: ad.eval(name) for name in names if name in ad}
    return {name: value for name, value in values.items() if type(value) in (bool, int, float, str)}


def _query_collector() -> dict[str, Any]:
    import htcondor2

    collector = htcondor2.Collector()
    slots = [_plain(ad, SLOT_ATTRIBUTES) for ad in collector.query(htcondor2.AdType.Startd, projection=SLOT_ATTRIBUTES)]
    schedds = {str(ad["Name"]): str(ad) for ad in collector.locateAll(htcondor2.DaemonType.Schedd)}
    own = collector.query(htcondor2.AdType.Collector, projection=["MonitorSelfTime", "MonitorSelfAge"])
    return {"slots": slots, "schedds": schedds, "since": _started(own)}


def _started(own: Iterable[Any]) -> float:
    """When the collector started, by its own ad; a collector too young to have one started just now."""
    known = [_plain(ad, ("MonitorSelfTime", "MonitorSelfAge")) for ad in own]
    starts = [ad["MonitorSelfTime"] - ad["MonitorSelfAge"] for ad in known if len(ad) == 2]
    return float(max(starts, default=float("inf")))


def _among(nodes: Iterable[str]) -> str:
    """The constraint that selects the ads of these nodes; ids are quoted, so none can be more than a text."""
    import classad2

    return " || ".join(f"EhosNode =?= {classad2.quote(node)}" for node in nodes)


def _query_nodes(nodes: list[str]) -> list[dict[str, Any]]:
    import htcondor2

    ads = htcondor2.Collector().query(htcondor2.AdType.Startd, _among(nodes), SLOT_ATTRIBUTES)
    return [_plain(ad, SLOT_ATTRIBUTES) for ad in ads]


def _query_schedd(ad: str) -> list[dict[str, Any]]:
    import classad2
    import htcondor2

    schedd = htcondor2.Schedd(classad2.ClassAd(ad))
    groups = schedd.query(IDLE, GROUP_BY, opts=htcondor2.QueryOpt.GroupBy)
    return [
        {
            **_plain(group, (*GROUP_BY, "JobCount")),
            "Requirements": str(group.lookup("Requirements")),
            "Text": _texts(group),
        }
        for group in groups
    ]


def _texts(group: Any) -> dict[str, str]:
    """The requests as they were written, for the report on those that come to no number."""
    return {name: str(group.lookup(name)) for name in GROUP_BY if name.startswith("Request") and name in group}


def _invalidate(nodes: list[str]) -> None:
    import classad2
    import htcondor2

    collector = htcondor2.Collector()
    wanted = _among(nodes)
    for ad in collector.query(htcondor2.AdType.Any, wanted, ["Name", "MyAddress", "MyType"]):
        kind = str(ad["MyType"])
        query = classad2.ClassAd({"MyType": "Query", "TargetType": kind, "Name": ad["Name"]})
        if "MyAddress" in ad:
            query["MyAddress"] = ad["MyAddress"]
        query["Requirements"] = classad2.ExprTree(f"TARGET.Name == {classad2.quote(str(ad['Name']))}")
        command = "INVALIDATE_MASTER_ADS" if kind == "DaemonMaster" else "INVALIDATE_STARTD_ADS"
        collector.advertise([query], command)


def _read_parameter(name: str) -> str:
    import htcondor2

    return str(htcondor2.param[name])
