"""`python -m faults race [--decisions N] [--seed S]`: jobs race the drains of real passes on a real HTCondor pool.

Every idle node is a candidate in each pass, passes run back to back, and bursts of jobs arrive between a plan and its
drains, between a look at drained nodes and their deletion, and whenever nothing is left to do. The startds refuse, or
jobs wait until nodes are taken back; no job may ever be hurt, by HTCondor's own account.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ehoslite import act as acting
from ehoslite.act import Hands
from ehoslite.actions import Drain, Outcome, Pass, Plan
from ehoslite.clouds import open_clouds
from ehoslite.clouds.local import processes_of
from ehoslite.deadline import Deadline
from ehoslite.memory import Memory
from ehoslite.model import Node, Slot
from ehoslite.nodes import is_drained
from ehoslite.record import Record, lock
from ehoslite.settings import Settings
from faults.bursts import Bursts
from faults.raced import MUTATIONS, RacedPool, raced_stand
from lab.jobs import wait_until
from lab.pool import temporary_directory
from lab.release import find_or_build
from lab.stand import Stand
from reconcile import reconcile

NODES_WANTED = 6
SETTLING_SECONDS = 60.0
# Of so many passes one is made by the real command in a process of its own.
OWN_PROCESS = 40
BURST_AT_DRAINS, BURST_OTHERWISE, ALL_WANTED_BACK, FORGET_AT_DELETE = 0.5, 0.3, 0.85, 0.1
# Passes until a drain shows in the ads, which lag by a second.
WANTED_PASSES = 6
FORGOTTEN_SECONDS, UNTIL_NEXT = 4.0, 0.15
# No more bursts while so many jobs wait: nodes that are always busy are never drained.
ENOUGH_WAITING = 2

DONE = {"create": "creates", "drain": "drains_done", "undrain": "undrains", "delete": "deletes"}


@dataclass
class Counts:
    """What a race came to."""

    passes: int = 0
    passes_in_their_own_process: int = 0
    creates: int = 0
    drain_decisions: int = 0
    drains_refused: int = 0
    drains_done: int = 0
    drains_done_before: int = 0  # the startd drained already, its ads did not say so yet
    undrains: int = 0
    drains_forgotten: int = 0  # by a startd between the last look and the delete: made so by the race
    deletes: int = 0
    deletes_called_off: int = 0
    called_off: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    jobs_submitted: int = 0
    jobs_run: int = 0
    jobs_killed: int = 0
    jobs_lost: int = 0
    servers_orphaned: int = 0  # servers, startds and processes that are there when all is at rest
    servers_doubled: int = 0
    limits_exceeded: int = 0
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """`name: value`, one a line."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            for name, count in sorted(value.items()) if isinstance(value, Counter) else ():
                yield f"{entry.name.replace('_', ' ')} ({name}): {count}"
            if not isinstance(value, Counter):
                yield f"{entry.name.replace('_', ' ')}: {value:.0f}"

    @property
    def won(self) -> bool:
        """Whether every job ran once and to its end, and nothing was left behind."""
        wrong = self.jobs_killed + self.jobs_lost + self.servers_orphaned + self.servers_doubled + self.limits_exceeded
        return not wrong and self.jobs_run == self.jobs_submitted

    def note(self, verb: str, error: str, *, harmless: bool, before: bool = False) -> None:
        """Count what came of one action; `before` says that the startd drained already."""
        self.drain_decisions += verb == "drain"
        if error and not harmless:
            self.failures[f"{verb}: {error[:80]}"] += 1
        elif error and verb == "delete":
            self.deletes_called_off += 1
            self.called_off[error] += 1
        elif error:
            self.drains_refused += verb == "drain"
        elif verb == "drain" and before:
            self.drains_done_before += 1
        elif name := DONE.get(verb):
            setattr(self, name, getattr(self, name) + 1)


class Race:
    """Jobs against drains on one stand. `sleep` and `chance` are what they are called."""

    def __init__(
        self,
        stand: Stand,
        chance: random.Random,
        mutation: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.stand = stand
        self.chance = chance
        self.mutation = mutation
        self.sleep = sleep
        self.bursts = Bursts(stand.pool, chance, doomed=bool(mutation))
        self.forget = 1.0 if mutation == "blind-delete" else FORGET_AT_DELETE
        self.counts = Counts()
        self.configured = stand.settings
        self.nodes = 0
        self.wanted = 0  # for so many passes all of them are
        self.calm = False
        self.stopped = False  # by Ctrl-C: what has been raced is judged all the same
        self.trail: deque[str] = deque(maxlen=60)  # the last actions, told when a job was hurt

    def run(self, decisions: int, say: Callable[[str], None] = lambda _: None, seconds: float = float("inf")) -> Counts:
        """Race until so many drains have been tried, the time is over or a job was hurt; let the pool come to rest, and
        judge."""
        started, told = time.monotonic(), 0
        with MUTATIONS[self.mutation]():
            while self.counts.drain_decisions < decisions and not self.bursts.hear():
                if self.stopped or time.monotonic() - started > seconds:
                    break
                self.make_pass()
                if self.counts.drain_decisions // 100 > told:
                    told = self.counts.drain_decisions // 100
                    say(f"{self.counts.drain_decisions} drain decisions in {time.monotonic() - started:.0f} s")
        self.calm = True
        wait_until(self.is_at_rest, SETTLING_SECONDS, "every job to end and every node to go")
        self.judge(say)
        self.counts.seconds = time.monotonic() - started
        return self.counts

    def is_at_rest(self) -> bool:
        """After one more pass: whether there is no job and no node; a race that is lost need not rest."""
        self.make_pass()
        return bool(self.bursts.hear()) or (not self.stand.nodes() and not self.stand.pool.queue(attributes=["ProcId"]))

    def judge(self, say: Callable[[str], None]) -> None:
        """Count what became of jobs and nodes."""
        verdict, counts = self.bursts.judge(), self.counts
        counts.jobs_submitted, counts.jobs_run = self.bursts.submitted, verdict.finished
        counts.jobs_killed, counts.jobs_lost = len(verdict.killed), len(verdict.lost)
        counts.jobs = self.bursts.kinds
        folders = [Path(cloud["directory"]) for cloud in self.stand.document["clouds"].values()]
        left = {folder.name for path in folders if path.exists() for folder in path.iterdir() if folder.is_dir()}
        left |= {f"process {pid}" for path in folders for pid in processes_of(path)}
        counts.servers_orphaned = len(left) + self.stand.joined()
        for job, wrong in sorted(verdict.killed.items()):
            say(f"job {job[0]}.{job[1]}: {wrong}\n{self.bursts.events_of(job)}")
        for line in self.trail if verdict.killed else ():
            say(line)

    def make_pass(self) -> None:
        """One pass, mostly in this process; now and then by the command."""
        self.counts.passes += 1
        if not self.calm and not self.mutation and self.counts.passes % OWN_PROCESS == 0:
            self.counts.passes_in_their_own_process += 1
            for action in self.stand.reconcile().data["actions"]:
                harmless = action["result"] == "not-done"
                self.counts.note(action["verb"], action.get("error") or "", harmless=harmless)
            self.count_servers()
            return
        settings, now = self.settings(), time.time()
        with Deadline(settings.deadline) as deadline, lock(settings.record):
            record = Record(settings.record, now)
            clouds = {cloud.name: cloud for cloud in open_clouds(settings, deadline.remaining, record.names)}
            pool = RacedPool(settings.condor, deadline.remaining)
            pool.after_look, pool.before = self.forget_drains, set()
            done = reconcile(Hands(settings, pool, clouds, self.chance, deadline.remaining), record, now, self.act)
        for outcome in done.outcomes:
            before = outcome.node in pool.before
            self.counts.note(outcome.action.verb, outcome.error, harmless=outcome.harmless, before=before)
            what = f"{outcome.action.verb} {outcome.node} ({outcome.action.reason.code}) {outcome.error}"
            self.trail.append(f"pass {now:.1f}-{time.time():.1f}: {what}")
        self.count_servers()
        self.go_on(done)

    def count_servers(self) -> None:
        """After each pass: no more of them than nodes_max, and one a node."""
        clouds = open_clouds(self.configured, lambda: 60.0)
        nodes = Counter(server.node for cloud in clouds for server in cloud.servers())
        self.counts.limits_exceeded += nodes.total() > self.configured.scaling.nodes_max
        self.counts.servers_doubled += nodes.total() > len(nodes)

    def go_on(self, done: Pass) -> None:
        """What shall happen before the next pass. One that found nothing to do leaves the machine to boots and jobs."""
        if not done.outcomes:
            self.sleep(UNTIL_NEXT)
        verbs = Counter(outcome.action.verb for outcome in done.outcomes if not outcome.error)
        self.nodes = len(done.plan.nodes)
        if verbs["drain"] and not self.wanted and self.chance.random() < ALL_WANTED_BACK:
            self.wanted = WANTED_PASSES
        if verbs["undrain"]:
            self.wanted = 0
        waiting = sum(shape.count for shape in done.world.demand.shapes)
        quiet = not any(isinstance(action, Drain) for action in done.plan.actions)
        if not self.calm and quiet and waiting < ENOUGH_WAITING and self.chance.random() < BURST_OTHERWISE:
            self.bursts.submit()

    def settings(self) -> Settings:
        """The stand's; after many a drain with a minimum that wants back every node there is, until it is."""
        if self.calm or not self.wanted:
            return self.configured
        self.wanted -= 1
        return replace(
            self.configured, scaling=replace(self.configured.scaling, nodes_min=max(self.nodes, NODES_WANTED))
        )

    def act(
        self, plan: Plan, memory: Memory, hands: Hands, record: Record, now: float
    ) -> tuple[tuple[Outcome, ...], Memory]:
        """The product's, after a burst that arrives between the plan and its drains; the drains meet its jobs anywhere
        between the submission and their start."""
        drains = any(isinstance(action, Drain) for action in plan.actions)
        if drains and not self.calm and self.chance.random() < BURST_AT_DRAINS:
            self.bursts.submit()
            if self.chance.random() < 0.5:
                self.sleep(self.chance.uniform(0.0, 1.0))
        return acting.act(plan, memory, hands, record, now)

    def forget_drains(self, seen: dict[str, tuple[Slot, ...]], nodes: list[Node]) -> None:
        """Have a drained node forget its drain, as a restarted startd does, and wait for a job to start on it."""
        drained = [node for node in nodes if is_drained(seen[node.id])]
        if self.calm or not drained or self.chance.random() >= self.forget:
            return
        self.counts.drains_forgotten += 1
        node = self.chance.choice(drained)
        self.trail.append(f"{time.time():.1f}: the drain of {node.id} is forgotten")
        self.stand.pool.run_checked("condor_drain", "-cancel", node.machine)
        self.bursts.submit()
        until = time.monotonic() + FORGOTTEN_SECONDS
        here = f'JobStatus == 2 && regexp("{node.id}", RemoteHost)'
        while not self.stand.pool.queue(here, ["ProcId"]) and time.monotonic() < until:
            self.sleep(0.05)


def main(options: argparse.Namespace) -> int:
    """Race, and print the counts; gives 1 when a job was killed or lost, or something was left behind."""
    import htcondor2  # noqa: F401 - once here, and not in each question's process

    with temporary_directory() as folder, raced_stand(folder, find_or_build()) as stand:
        race = Race(stand, random.Random(options.seed), options.mutation)  # noqa: S311 - replayable
        signal.signal(signal.SIGINT, lambda *_: setattr(race, "stopped", True))
        counts = race.run(options.decisions, lambda line: print(line, flush=True), 60 * options.minutes)
    for line in counts.lines():
        print(line)
    return 0 if counts.won else 1


def add_arguments(layers: Any) -> None:
    """The options of `python -m faults race`."""
    parser = layers.add_parser("race", help="jobs race the drains of real passes on a real HTCondor pool")
    parser.add_argument("--decisions", type=int, default=1000, help="how many drains are tried")
    parser.add_argument("--minutes", type=float, default=60.0, help="try no more after so many minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), default="", help="break the product: jobs must die")
    parser.set_defaults(run=main)
