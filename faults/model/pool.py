"""A pretend HTCondor: what the real Pool asks of the collector, the schedds and condor_drain, answered by the world."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ehoslite import pool
from ehoslite.ads import read_demand, read_slots
from ehoslite.asking import Unanswered
from ehoslite.errors import ActionFailed, PoolUnreachable
from ehoslite.matching import Matched, Matching
from ehoslite.model import Demand, Node, Slot
from ehoslite.resources import Resources
from ehoslite.settings import CondorSettings
from faults.model.breaking import Effects
from faults.model.laws import TOKEN, check_drain, check_undrain
from faults.model.things import Machine
from faults.model.world import World


class PretendPool(pool.Pool):
    """The real drain and undrain (their arguments and what they make of the tool's answer) over a pretend tool."""

    def __init__(self, settings: CondorSettings, world: World, effects: Effects) -> None:
        super().__init__(settings)
        self.world = world
        self.effects = effects

    def slots(self) -> tuple[tuple[Slot, ...], float, dict[str, str]]:
        """The collector's ads."""
        return self.effects.around("pool.slots", self._slots)

    def _slots(self) -> tuple[tuple[Slot, ...], float, dict[str, str]]:
        self._collector_answers()
        world = self.world
        schedds = {name: "ad" for name, since in world.known_from.items() if since <= world.now}
        return read_slots(self._ads()), world.collector_since, schedds

    def _collector_answers(self) -> None:
        if not self.world.collector_answers:
            raise PoolUnreachable("the collector did not answer")

    def _ads(self) -> list[dict[str, Any]]:
        return [{**ad, "LastHeardFrom": heard} for heard, ads in self.world.collector.values() for ad in ads]

    def demand(
        self, schedds: Mapping[str, str], _asked: Iterable[str] = (), _rooms: Iterable[Resources] = ()
    ) -> Demand:
        """The idle jobs of these schedds."""
        return self.effects.around("pool.demand", lambda: self._demand(schedds))

    def _demand(self, schedds: Mapping[str, str]) -> Demand:
        world = self.world
        world.unheard = {name for name in world.schedds if name not in schedds or not world.schedds[name]}
        return read_demand({name: self._queue(name) for name in schedds})

    def _queue(self, schedd: str) -> Any:
        if not self.world.schedds[schedd]:
            return Unanswered("no answer within 10.0 s")
        waiting = [job for job in self.world.jobs if job.state == "idle" and job.schedd == schedd]
        return [
            {
                "JobCount": count,
                "RequestCpus": request.cpus,
                "RequestMemory": request.memory,
                "RequestDisk": request.disk,
                "Requirements": "true",
            }
            for request, count in Counter(job.request for job in waiting).items()
        ]

    def match(self, matching: Matching) -> Matched:  # noqa: ARG002 - what runs where is a matter of amounts here
        """Nothing is learned of nodes, and no shape asks for more than room."""
        return Matched()

    def slots_of(self, nodes: Iterable[Node]) -> dict[str, tuple[Slot, ...]]:
        """The collector's ads of these nodes, now."""
        ids = [node.id for node in nodes]

        def look() -> dict[str, tuple[Slot, ...]]:
            self._collector_answers()
            slots, self.world.last_look = read_slots(self._ads()), self.world.now
            self.world.heard_at_look = {name: heard for name, (heard, _) in self.world.collector.items()}
            return {node: tuple(slot for slot in slots if slot.node == node) for node in ids}

        return self.effects.around("pool.slots_of", look)

    def jobs_on(self, nodes: Iterable[Node]) -> dict[str, str]:
        """The jobs that schedds run on these nodes. One that hangs is asked in vain."""
        ids = {node.id for node in nodes}

        def ask() -> dict[str, str]:
            self._collector_answers()
            world = self.world
            if any(since <= world.now and not world.schedds[name] for name, since in world.known_from.items()):
                raise PoolUnreachable("a schedd did not answer")
            world.last_look = world.now
            known = {job.number for job in world.jobs if world.known_from[job.schedd] <= world.now}
            return {
                machine.node: f"job {job.number}"
                for machine in world.nodes()
                for job in machine.running
                if machine.node in ids and job.number in known
            }

        return self.effects.around("pool.jobs_on", ask)

    def invalidate(self, nodes: Iterable[Node]) -> None:
        """Take their ads out of the collector."""
        ids = {node.id for node in nodes}

        def do() -> None:
            if not self.world.collector_answers:
                raise ActionFailed("the ads could not be invalidated")
            for name, (_, ads) in list(self.world.collector.items()):
                if ads[0].get("EhosNode") in ids:
                    del self.world.collector[name]

        self.effects.around("pool.invalidate", do)

    def node_token(self, node: str) -> str:
        """A token."""
        return self.effects.around("pool.token", lambda: TOKEN + node)

    def domain(self) -> str:
        """The trust domain."""
        return "model"

    def collector(self) -> str:
        """The collector's address."""
        self._collector_answers()
        return "manager.model"

    def _run(
        self,
        program: str,
        *arguments: str,
        more: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> subprocess.CompletedProcess[str]:
        effect = "pool.undrain" if "-cancel" in arguments else "pool.drain"
        code, said = self.effects.around(effect, lambda: self._drain_jobs(arguments))
        return subprocess.CompletedProcess([program], code, "", said)

    def _drain_jobs(self, arguments: tuple[str, ...]) -> tuple[int, str]:
        """What condor_drain does and says (measured, HTCondor 23.9.6)."""
        self._collector_answers()
        machine = self.world.machine(arguments[-1])
        if machine is None or machine.name not in self.world.collector:
            return 1, "Can't find address for startd"
        if not machine.is_reached(self.world.now):
            return 1, "Failed to start DRAIN_JOBS command"
        if "-cancel" in arguments:
            request = arguments[arguments.index("-request-id") + 1] if "-request-id" in arguments else ""
            if machine.draining and request not in ("", str(machine.drains)):
                return 1, "error code 10002: No matching draining request id"
            check_undrain(machine)
            return self._set(machine, "")
        machine.asked_at = self.world.now
        if machine.draining:
            return 1, "10001: Draining already in progress."
        # An expression that does not parse is ignored, silently.
        check = arguments[arguments.index("-check") + 1] if "-check" in arguments else ""
        allowed = re.findall(r'State == "(\w+)"', check)
        if allowed and not all(state in allowed for state in machine.slot_states()):
            self.world.counts["drains raced by a job"] += 1
            return 1, "error code 10003: Draining check expression is false on slot1_1"
        check_drain(self.world, machine)
        return self._set(machine, arguments[arguments.index("-reason") + 1])

    def _set(self, machine: Machine, reason: str) -> tuple[int, str]:
        if machine.draining != reason:
            machine.drain(reason)
            self.world.counts["drains" if reason else "drains cancelled"] += 1
        return 0, ""
