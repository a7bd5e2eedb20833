"""The only door to HTCondor: slots, idle jobs, drains, node tokens and the ads of nodes that are gone.

Queries run in children that can be killed (asking.py); drains and tokens go by HTCondor's own tools, because the
bindings cannot reach a node that holds nothing but a node token (measured, htcondor 25.14.1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ehoslite import questions
from ehoslite.ads import StartAsks, newest_of_each, read_slots, why_passive
from ehoslite.asking import Unanswered, ask, ask_all
from ehoslite.demand_settings import DemandSettings
from ehoslite.errors import ActionFailed, AlreadyDraining, DrainOver, NotIdle, PoolUnreachable
from ehoslite.jobs import find_job, query_jobs_on
from ehoslite.matching import Matched, Matching
from ehoslite.matchmaking import explain, match
from ehoslite.model import Demand, Node, Slot
from ehoslite.nodes import DRAIN_REASON
from ehoslite.resources import Resources
from ehoslite.schedds import Wish, query_schedd
from ehoslite.serving import Served, read_served
from ehoslite.settings import CondorSettings

# Judged by the startd itself, on every slot, in one step with the drain. A constant: condor_drain silently ignores an
# expression that it cannot parse, and a busy node would be drained.
ONLY_IF_IDLE = 'State == "Unclaimed" || State == "Owner"'

# What of query_timeout evaluating may take, so that what it found is told before the time is over.
MATCHING_SHARE = 0.7

# So begin the attributes of our nodes; their START asks for one without saying whose, and no job has it.
OURS = "ehos"

NODE_RIGHTS = ("READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")

Remaining = Callable[[], float]


class Pool:
    """The HTCondor pool that CONDOR_CONFIG names. `remaining` tells how many seconds of the pass are left."""

    def __init__(
        self,
        settings: CondorSettings,
        remaining: Remaining = lambda: 3600.0,
        serving: DemandSettings = DemandSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.settings = settings
        self.serving = serving
        self.remaining = remaining
        self.environment = dict(os.environ)
        if settings.config is not None:
            self.environment["CONDOR_CONFIG"] = str(settings.config)
        self._collectors: tuple[str, ...] = ("",)  # the configured one; their addresses when they are several
        self._start_asks = StartAsks()
        self._asked_of_jobs: tuple[str, ...] = ()
        self._has_slots = True

    def why_passive(self, pool: str) -> str:
        """Why this machine is not the one whose passes act now; empty if it is. Raises PoolUnreachable."""
        answers = self._ask_collectors(questions.query_managers, pool)
        _answered(answers)
        return why_passive(answers)

    def renew_lease(self, pool: str, pass_lasts: float, lifetime: float) -> None:
        """Tell the nodes that somebody looks after them, and other managers that a pass has begun here that is over
        after `pass_lasts` seconds. The ad lasts for `lifetime` seconds. Raises ActionFailed when no collector took it.
        """
        answers = self._ask_collectors(questions.renew_lease, pool, pass_lasts, lifetime)
        if all(isinstance(answer, Unanswered) for answer in answers.values()):
            raise ActionFailed(f"the lease of the nodes could not be renewed: {_faults(answers)}")

    def slots(self) -> tuple[tuple[Slot, ...], float, dict[str, str]]:
        """Every slot of the pool, when the collector started, and the schedds that it knows (name -> its ad).

        Of several collectors those that answer are taken together. The one that has been there longest vouches for
        what is absent: startds and schedds report to all of them. Raises PoolUnreachable when none answers.
        """
        answers = _answered(self._ask_collectors(questions.query_pool))
        slots = newest_of_each(ad for answer in answers for ad in answer["slots"])
        schedds = {name: ad for answer in answers for name, ad in answer["schedds"].items()}
        self._start_asks = StartAsks.of_all(answer["asks"] for answer in answers)
        self._has_slots = bool(slots)
        return read_slots(slots), min(answer["since"] for answer in answers), schedds

    def demand(self, schedds: Mapping[str, str], asked: Iterable[str] = (), rooms: Iterable[Resources] = ()) -> Demand:
        """The idle jobs of these schedds, each asked on its own; those that do not answer are named in `silent`. Jobs
        that differ in an attribute that some slot's START asks for, or that is `asked` here, are two shapes. `rooms`
        are the sizes of what there is for them (Served)."""
        negotiated = self.serving.negotiated_only and self._has_slots
        names = {name.lower() for name in (*self._start_asks.of_jobs, *asked)}
        self._asked_of_jobs = tuple(sorted(name for name in names if not name.startswith(OURS)))
        ahead, capped = self.serving.factory_ahead, bool(self.serving.caps)
        wish = Wish(self._asked_of_jobs, capped, negotiated, ahead, self._has_slots)
        schedds_asked = {name: self._in_child(query_schedd, ad, wish) for name, ad in schedds.items()}
        answers = ask_all(schedds_asked, self._patience())
        return read_served(answers, Served(self.serving.caps, negotiated, tuple(rooms)))

    def match(self, matching: Matching) -> Matched:
        """The verdicts on which shapes run where; of several collectors the slots are taken together. Raises
        PoolUnreachable."""
        asked = replace(matching, asked=self._start_asks.of_slots, patience=self._patience() * MATCHING_SHARE)
        answers: list[Matched] = _answered(self._ask_collectors(match, asked))
        slots = {name: mask for answer in reversed(answers) for name, mask in answer.slots.items()}
        return replace(answers[0], slots=slots)

    def explain(self, shape: str) -> list[tuple[tuple[str, ...], list[str]]]:
        """What a shape fails of on the slots of the pool: clauses, and the slots. Raises PoolUnreachable."""
        found: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for answer in _answered(self._ask_collectors(explain, shape)):
            for clauses, names in answer:
                found[clauses].update(names)
        return sorted((clauses, sorted(names)) for clauses, names in found.items())

    def find_job(self, schedds: Mapping[str, str], cluster: int, proc: int | None) -> dict[str, Any]:
        """What each of these schedds knows of this job (jobs.find_job), by schedd; an Unanswered stands for one that
        does not answer. Those that do not have the job are left out."""
        wish = Wish(self._asked_of_jobs, owners=True)
        asked = {name: self._in_child(find_job, ad, cluster, proc, wish) for name, ad in schedds.items()}
        return {name: answer for name, answer in ask_all(asked, self._patience()).items() if answer is not None}

    def slots_of(self, nodes: Iterable[Node]) -> dict[str, tuple[Slot, ...]]:
        """The slots of these nodes as the collector knows them now, by node id. Raises PoolUnreachable."""
        ids = {node.id for node in nodes}
        answers = _answered(self._ask_collectors(questions.query_nodes, sorted(ids)))
        slots = read_slots(newest_of_each(ad for answer in answers for ad in answer))
        return {node: tuple(slot for slot in slots if slot.node == node) for node in ids}

    def jobs_on(self, nodes: Iterable[Node]) -> dict[str, str]:
        """A job that a schedd runs on each of these nodes, by node id, as text; nodes without one are left out. Startds
        that fell silent before a pass saw them busy have jobs, too, and these are known to the schedds alone.

        Raises PoolUnreachable unless each schedd that the collectors know has answered.
        """
        ids = sorted(node.id for node in nodes)
        known = _answered(self._ask_collectors(questions.query_schedds))
        schedds = {name: ad for answer in known for name, ad in answer.items()}
        asked = {name: self._in_child(query_jobs_on, ad, ids) for name, ad in schedds.items()}
        answers = ask_all(asked, self._patience())
        if silent := {name: answer for name, answer in answers.items() if isinstance(answer, Unanswered)}:
            raise PoolUnreachable(f"a schedd may run a job on it and did not answer: {_faults(silent)}")
        return {
            node: f"job {job} of {name}"
            for name, answer in answers.items()
            for host, job in answer
            for node in ids
            if node in host
        }

    def drain(self, node: Node) -> None:
        """Have the startd take no more jobs, if it judges itself idle. Raises NotIdle, ActionFailed."""
        self._drain_tool("-graceful", "-reason", DRAIN_REASON, "-check", ONLY_IF_IDLE, node.machine)

    def undrain(self, node: Node) -> None:
        """Cancel the drain that was seen, and no other that may have come since; on a node that does not drain this
        changes nothing. Raises DrainOver, ActionFailed."""
        request = next((slot.drain_request for slot in node.slots if slot.drain_request), "")
        self._drain_tool("-cancel", *(("-request-id", request) if request else ()), node.machine)

    def _drain_tool(self, *arguments: str) -> None:
        done = self._run_at_collector("condor_drain", *arguments)
        if done.returncode == 0:
            return
        said = " ".join((done.stderr + done.stdout).split())
        if "10003" in said:
            raise NotIdle("it was not idle any more when asked to drain")
        if "10001" in said:
            raise AlreadyDraining("it is draining already")
        if "10002" in said:
            raise DrainOver("the drain that was seen is over")
        raise ActionFailed(f"condor_drain: {said or f'exit {done.returncode}'}"[:300])

    def invalidate(self, nodes: Iterable[Node]) -> None:
        """Remove the ads that deleted nodes left in the collector; they would linger for 15 minutes and more. Those in
        a collector that does not answer, while another does, are left to a later pass, which sees them.

        Raises ActionFailed.
        """
        answers = self._ask_collectors(questions.invalidate, sorted(node.id for node in nodes))
        if all(isinstance(answer, Unanswered) for answer in answers.values()):
            raise ActionFailed(f"the ads could not be invalidated: {_faults(answers)}")

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
            done = self._run_at_collector("condor_token_fetch", "-type", "COLLECTOR", *rights, *lifetime)
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
            return str(ask(self._in_child(questions.read_parameter, name), self._patience()))
        except Unanswered as error:
            raise PoolUnreachable(f"HTCondor's configuration gives no {name}: {error}") from error

    def _ask_collectors(self, question: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """What each collector answers, by its address; an Unanswered stands for one that does not. While another does,
        it is not asked again in this pass: each time would cost the whole query_timeout."""
        while True:
            asked = {
                address: self._in_child(questions.ask_collector, address, question, arguments)
                for address in self._collectors
            }
            answers = ask_all(asked, self._patience())
            first = next(iter(answers.values()))
            if isinstance(first, questions.Several):
                self._collectors = first.addresses
                continue
            answering = [address for address, answer in answers.items() if not isinstance(answer, Unanswered)]
            self._collectors = tuple(answering) or self._collectors
            return answers

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

    def _run_at_collector(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a tool that asks the collector first; of several, one after the other until one knows what it wants."""
        for address in self._collectors:
            done = self._run(program, *(("-pool", address) if address else ()), *arguments)
            if done.returncode == 0 or any(code in done.stderr for code in ("10001", "10002", "10003")):
                break
        return done

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


def _answered(answers: Mapping[str, Any]) -> list[Any]:
    """The answers that came. Raises PoolUnreachable when there are none."""
    came = [answer for answer in answers.values() if not isinstance(answer, Unanswered)]
    if not came:
        raise PoolUnreachable(f"the collector did not answer: {_faults(answers)}")
    return came


def _faults(answers: Mapping[str, Any]) -> str:
    """Why collectors did not answer, each with its address where there are several."""
    return "; ".join(
        f"{address}: {answer}" if address else str(answer)
        for address, answer in answers.items()
        if isinstance(answer, Unanswered)
    )
