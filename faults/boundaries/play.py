"""A stand on which passes are broken, and the healthy passes after each breakage, with everything counted."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ehoslite.act import Hands
from ehoslite.actions import Drain, Forget, Outcome, Pass, Undrain
from ehoslite.clouds import open_clouds
from ehoslite.errors import EhosError
from ehoslite.model import CondorState, Slot, VmState
from ehoslite.pool import Pool
from ehoslite.record import Record, lock
from faults.boundaries.killing import LATE
from faults.boundaries.sight import Seen, Sight
from faults.boundaries.tally import Boundary, Tally
from lab.jobs import wait_until
from lab.release import LabError
from lab.stand import CHECKOUT, Stand
from reconcile import reconcile

# A healthy pass of the harness has so long; it is never near it.
SECONDS = 100.0
# Passes that act until all is calm, where nothing has to boot, to run or to time out in between: drain, delete, forget.
ACTING = 3
# One that runs as long as the stand: whatever is broken, it may never notice.
LONG = 100_000


class Play:
    """Breaks passes on this stand. `mutation` names a deliberate breakage of the product, for the killed passes."""

    def __init__(self, stand: Stand, sight: Sight, tally: Tally, mutation: str = "", patience: float = 30) -> None:
        self.stand = stand
        self.sight = sight
        self.tally = tally
        self.mutation = mutation
        self.patience = patience
        self.runner = ""
        self.long = 0
        self.damaged = 0  # state files that were damaged on purpose
        self.settled_at = 0.0  # when what was on its way at a kill has come about
        self.errors = Path(tempfile.mkstemp(dir=stand.directory, prefix="killed-")[1])
        logging.getLogger("ehoslite").addHandler(logging.NullHandler())
        _import_once(str(stand.pool.client("scaler")))

    # --- jobs

    def start_long_job(self) -> None:
        """Have a job run on a node of its own from now to the end."""
        self.long = self.stand.pool.submit(memory=200, seconds=LONG)
        self.tally.jobs += 1
        wait_until(lambda: bool(self.pass_healthily()) and self._long_runs(), self.patience, "the long job to run")
        (self.runner,) = {server.node for server in self.sight.servers()}

    def _long_runs(self) -> bool:
        return len(self.stand.pool.queue(f"ClusterId == {self.long} && JobStatus == 2", ["ClusterId"])) == 1

    def submit(self, count: int, seconds: float = 0.1) -> None:
        """Jobs that each need a node."""
        self.stand.pool.submit(count=count, memory=200, seconds=seconds)
        self.tally.jobs += count

    def jobs_are_done(self) -> bool:
        """Whether all but the long one have left the queue."""
        return not self.stand.pool.queue(f"ClusterId != {self.long}", ["ClusterId"])

    def claims(self) -> int:
        """How many slots have a job, by the collector."""
        return len(self.stand.pool.machines(["Name"], "DynamicSlot =?= True"))

    def check_running_jobs(self) -> None:
        """The long job runs and was started once (the schedd counts the shadows), and the node of each job that the
        schedd takes for running is there."""
        there = {server.node for server in self.sight.servers()}
        for ad in self.stand.pool.queue(None, ["ClusterId", "JobStatus", "NumShadowStarts", "RemoteHost"]):
            node = str(ad.get("RemoteHost", "")).rpartition("@")[2].partition(".")[0]
            if node and node not in there:
                self.tally.note("jobs killed", f"it ran on {node}, which is gone: {ad}")
            if ad["ClusterId"] == self.long and (ad["JobStatus"], ad.get("NumShadowStarts")) != (2, 1):
                self.tally.note("jobs killed", f"the long job: {ad}")

    def check_history(self) -> None:
        """Every job that ended was started once and ended well, by its schedd's own history."""
        attributes = ["ClusterId", "ProcId", "ExitCode", "NumJobStarts", "JobStatus"]
        for ad in self.stand.pool.history(attributes=attributes):
            if (ad.get("JobStatus"), ad.get("ExitCode"), ad.get("NumJobStarts")) != (4, 0, 1):
                self.tally.note("jobs killed", f"{ad}")

    # --- passes

    def pass_healthily(self) -> Pass | None:
        """One pass in this process; None when it could not be made."""
        settings, now, before = self.stand.settings, time.time(), self.sight.servers()
        self.tally.passes += 1
        try:
            with lock(settings.record):
                record = Record(settings.record, now)
                clouds = {cloud.name: cloud for cloud in open_clouds(settings, lambda: SECONDS, record.names)}
                pool = Pool(settings.condor, lambda: SECONDS)
                hands = Hands(settings, pool, clouds, random.SystemRandom(), lambda: SECONDS)
                done = reconcile(hands, record, now)
        except EhosError as error:
            self.tally.note("passes crashed", f"a healthy pass: {type(error).__name__}: {error}")
            return None
        self.check_servers()
        self._check_listing(before, done)
        return done

    def pass_broken(self, effect: str = "none", when: str = "before", nth: int = 1, skew: float = 0.0) -> int:
        """One pass as a process of its own, armed; gives its exit code."""
        with self.errors.open("wb") as errors:
            code = subprocess.run(self._command(effect, when, nth, skew), stderr=errors, **QUIET).returncode
        return self._judge(code)

    def pass_twice_at_once(self) -> tuple[int, int]:
        """Two passes started side by side, each a process of its own; gives their exit codes."""
        with self.errors.open("wb") as errors:
            both = [subprocess.Popen(self._command("none", "before", 1), stderr=errors, **QUIET) for _ in range(2)]
            first, second = (process.wait(SECONDS) for process in both)
        return self._judge(first), self._judge(second)

    def _judge(self, code: int) -> int:
        self.tally.passes += 1
        self.tally.real += 1
        said = self.errors.read_text(errors="replace")
        if "Traceback" in said or code not in {0, 1, 2, 75, -signal.SIGKILL}:
            self.tally.note("passes crashed", f"exit code {code}: {said[-2000:]}")
        self.check_servers()
        return code

    def _command(self, effect: str, when: str, nth: int, skew: float = 0.0) -> list[str]:
        more = ["--mutation", self.mutation] if self.mutation else []
        words = [effect, when, str(nth), f"--skew={skew}", *more, "--", "--json", "-c", str(self.stand.config)]
        return [sys.executable, "-m", "faults.boundaries.killing", *words]

    def kill(self, boundary: Boundary, patience: float = 0.0) -> bool:
        """A pass killed there; pass after pass until one comes to that effect, but no longer than `patience`."""
        until = time.monotonic() + patience * 4
        while (code := self.pass_broken(boundary.effect, boundary.when, boundary.nth)) != -signal.SIGKILL:
            if time.monotonic() > until:
                self.tally.note("boundaries missed", f"the pass ended with {code}")
                return False
        self.tally.killed.append(boundary)
        if boundary.when == "late":
            self.settled_at = time.monotonic() + 2 * LATE
        return True

    def stop_after(self, effect: str, meanwhile: Callable[[], None]) -> int:
        """A pass that stops right after this effect while something happens, then goes on; gives its exit code."""
        with self.errors.open("wb") as errors:
            stopped = subprocess.Popen(self._command(effect, "stop", 1), stderr=errors, **QUIET)
            wait_until(lambda: is_stopped(stopped), self.patience, f"a pass to stop after {effect}")
            if stopped.returncode is None:
                meanwhile()
                stopped.send_signal(signal.SIGCONT)
            else:
                self.tally.note("boundaries missed", f"{effect}: the pass ended with {stopped.returncode}")
            return self._judge(stopped.wait(SECONDS))

    def unusable(self) -> int:
        """How many state files were set aside so far."""
        return len(list(self.stand.state.parent.glob("*.unusable-*")))

    # --- what must hold

    def check_servers(self) -> None:
        """After every pass: no more servers than nodes_max, none doubled."""
        servers, most = self.sight.servers(), self.stand.document["scaling"]["nodes_max"]
        if len(servers) > most:
            self.tally.note("limits exceeded", f"{len(servers)} servers, nodes_max is {most}")
        for node, count in Counter(server.node for server in servers).items():
            if count > 1:
                self.tally.note("servers doubled", f"{count} servers of {node}")

    def _check_listing(self, before: Sequence[Seen], done: Pass) -> None:
        """What was there before a pass and is there after it, the pass has listed; or else it knows that it was not
        told all."""
        if any(cloud.fault for cloud in done.world.clouds):
            return
        listed = {server.id for cloud in done.world.clouds for server in cloud.servers}
        unlisted = [server for server in before if server.id not in listed]
        for server in set(unlisted).intersection(self.sight.servers() if unlisted else ()):
            self.tally.note("servers orphaned", f"server {server.id} of {server.node}: a pass does not list it")

    def calm(self, until: Callable[[], bool] = lambda: True, acting: int | None = None) -> None:
        """Healthy passes until this holds and nothing is left to do; then every server must be known and serve. What
        has gone wrong on the way is not waited for.

        `acting`: how many of them may act."""
        acted: list[list[str]] = []
        wrongs = len(self.tally.wrongs)

        def is_calm() -> bool:
            done = self.pass_healthily()
            verbs = [action.verb for action in done.plan.actions] if done else ["none"]
            acted.extend([verbs] if verbs else [])
            if len(self.tally.wrongs) > wrongs:
                return True
            self._see_acts(done.outcomes if done else ())
            settled = time.monotonic() >= self.settled_at
            return settled and not verbs and done is not None and self._all_serve(done) and until()

        try:
            wait_until(is_calm, self.patience, "calm")
        except LabError:
            self.tally.note("never calm", f"{self.stand.nodes()}, {acted[-3:]}")
        if acting is not None and len(acted) > acting:
            self.tally.note("too many acting passes", f"{acted}")
        self.check_orphans()
        self.check_running_jobs()
        if self.unusable() != self.damaged:
            self.tally.note("state files unusable", f"{self.unusable()} set aside, {self.damaged} were damaged")
            self.damaged = self.unusable()

    def _see_acts(self, outcomes: Sequence[Outcome]) -> None:
        """Wait until the collector knows what this pass asked of startds, and of itself: passes follow each other in no
        time here, and the next one would ask again."""
        done = [one.action for one in outcomes if not one.error]
        asked = {action.node.id: action for action in done if isinstance(action, Drain | Undrain | Forget)}
        pool = Pool(self.stand.settings.condor, lambda: SECONDS)

        def is_seen(action: Drain | Undrain | Forget, slots: Sequence[Slot]) -> bool:
            return not slots or (not isinstance(action, Forget) and drains(slots) == isinstance(action, Drain))

        def known() -> bool:
            seen = pool.slots_of(action.node for action in asked.values())
            return all(is_seen(action, seen[node]) for node, action in asked.items())

        if asked:
            wait_until(known, self.patience, "what was asked to be seen")

    def _all_serve(self, done: Pass) -> bool:
        """Whether no server is in a state that a pass has to do with, no node is only an ad or an intent, and nothing
        that a kill has left waits to be old enough to be swept."""
        if self.sight.beside({server.node for server in self.sight.servers()}):
            return False
        well = {CondorState.ABSENT, CondorState.IDLE, CondorState.BUSY}
        return all(
            node.servers and node.vm_state in {VmState.ACTIVE, VmState.BOOTING} and node.condor_state in well
            for node in done.plan.nodes
        )

    def check_orphans(self) -> None:
        """Nothing that was made for a node may lie beside the servers."""
        for what in self.sight.beside({server.node for server in self.sight.servers()}):
            self.tally.note("servers orphaned", f"{what} is left beside")

    def configure(self, **scaling: Any) -> None:
        """Change options of `scaling`."""
        self.stand.configure(**scaling)


def drains(slots: Sequence[Slot]) -> bool:
    """Whether these slots' startd is draining or drained."""
    return any(slot.draining or slot.state == "Drained" for slot in slots)


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Whether it stands still (SIGSTOP) or has ended."""
    if process.poll() is not None:
        return True
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _import_once(config: str) -> None:
    """Import HTCondor's bindings here, so that not every question's process does it anew; it reads this
    configuration, and its own again."""
    with patch.dict(os.environ, {"CONDOR_CONFIG": config}):
        import_module("htcondor2")


QUIET: dict[str, Any] = {"cwd": CHECKOUT, "stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
