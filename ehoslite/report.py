"""Tells people and programs what a pass saw, did and did not do, as text, as JSON and as log lines."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ehoslite.actions import Action, Cost, HoldBack, Outcome, Pass, Plan, Reason
from ehoslite.booting import FAILED_BOOTS
from ehoslite.errors import EXIT_ACTION_FAILED, EXIT_FINE, EhosError
from ehoslite.memory import Memory
from ehoslite.model import Demand, Node, World
from ehoslite.record import Record
from ehoslite.settings import Settings

# Raise it when a key of the JSON changes its meaning or goes; new keys may come at any time (docs/json.md).
SCHEMA = 1

# What a person must hear of even when nothing else is to be said, and what with -v.
LOUD = {
    "cloud-silent": logging.WARNING,
    "schedd-silent": logging.WARNING,
    "forged-ad": logging.WARNING,
    "unreadable-ad": logging.WARNING,
    "not-matched": logging.WARNING,
    "not-active": logging.INFO,
    "cost-per-hour": logging.INFO,
    "cost-per-month": logging.INFO,
}

log = logging.getLogger("ehoslite")

Acting = Callable[..., tuple[tuple[Outcome, ...], Memory]]

# syslog's levels, which journald reads from "<N>" at the start of a line.
JOURNAL_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Lines(logging.Formatter):
    """One line a message: with a level for journald where that listens, else with a time, for cron mail."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self.journal = journal

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage()).replace("\n", " ")
        if self.journal:
            return f"<{JOURNAL_LEVELS.get(record.levelno, 6)}>{message}"
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{moment} {record.levelname.lower()}: {message}"


def printable(text: str) -> str:
    """The text without control characters: names and faults come from outside."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def start_log(verbose: int) -> None:
    """Log to standard error: warnings always, actions with -v, what was seen with -vv."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("JOURNAL_STREAM" in os.environ))
    log.handlers[:] = [handler]
    logging.getLogger().addHandler(logging.NullHandler())  # libraries have their say in our errors, not beside them
    logging.captureWarnings(True)
    log.propagate = False
    log.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])


@contextmanager
def failure_into(record: Record, now: float) -> Iterator[None]:
    """Note in the history that a pass could not be made, and why; the memory stays as it was."""
    try:
        yield
    except EhosError as error:
        with saying():
            record.save(record.memory(), {"at": now, "error": str(error)}, now)
        raise


@contextmanager
def saying(kind: type[EhosError] = EhosError) -> Iterator[None]:
    """Say what goes wrong in here, and go on."""
    try:
        yield
    except kind as error:
        log.warning("%s", error)


def passive(now: float, why: str) -> Pass:
    """The pass of a machine that is not the active manager: nothing was looked at."""
    held = HoldBack("this machine", Reason("not-active", why))
    return Pass(World(now, (), (), Demand()), Plan(held=(held,)), ())


def fail(error: EhosError, *, as_json: bool) -> int:
    """Say why there was no pass; gives the exit code."""
    if as_json:
        print(json.dumps({"schema": SCHEMA, "error": str(error), "exit_code": error.exit_code}, indent=2))
    print(f"ehoslite: {printable(str(error))}", file=sys.stderr)
    return error.exit_code


def tell(done: Pass, settings: Settings, *, dry_run: bool, as_json: bool) -> int:
    """Log and print a finished pass; gives the exit code."""
    for outcome in done.outcomes:
        level = logging.INFO if not outcome.error or outcome.harmless else logging.ERROR
        if outcome.action.reason.code in FAILED_BOOTS and not outcome.harmless:
            level = max(level, logging.WARNING)  # said once: it backs off
        log.log(level, "%s", _outcome_line(outcome))
    for held in done.plan.held:
        level = LOUD.get(held.reason.code, logging.DEBUG)
        log.log(level, "%s [%s]", held.reason.text, held.reason.code)
    log.log(logging.INFO if done.outcomes else logging.DEBUG, "%s", headline(done.world, done.plan.nodes))
    if as_json:
        print(json.dumps(as_data(done, settings, dry_run=dry_run), indent=2))
    elif dry_run:
        print("\n".join(printable(line).replace("\n", " ") for line in plan_lines(done.world, done.plan)))
    failed = any(outcome.error and not outcome.harmless for outcome in done.outcomes)
    silent = any(cloud.fault for cloud in done.world.clouds)
    return EXIT_ACTION_FAILED if failed or silent else EXIT_FINE


def _outcome_line(outcome: Outcome) -> str:
    action = outcome.action
    name = outcome.node if outcome.node == action.subject else f"{outcome.node} ({action.subject})"
    line = f"{action.verb} {name}: {action.reason.text} [{action.reason.code}]"
    if outcome.detail:
        line += f"; {outcome.detail}"
    if outcome.error:
        line += f" - {'not done' if outcome.harmless else 'FAILED'}: {outcome.error}"
    return line


def headline(world: World, nodes: Sequence[Node]) -> str:
    """Nodes by state and idle jobs, in one line."""
    states = Counter(f"{node.vm_state}/{node.condor_state}" for node in nodes)
    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    idle = sum(shape.count for shape in world.demand.shapes)
    return f"nodes: {seen}; idle jobs: {idle} in {len(world.demand.shapes)} shapes"


def plan_lines(world: World, plan: Plan) -> list[str]:
    """The plan as a person reads it: what would be done and why, and why nothing more."""
    lines = [headline(world, plan.nodes), "", "would do:"]
    lines += [f"  {line}" for line in _grouped(plan.actions)] or ["  nothing"]
    lines += ["", "and nothing more because:"]
    lines += [f"  {held.reason.text} [{held.reason.code}]" for held in plan.held] or ["  nothing else is wanted"]
    return lines


def _grouped(actions: Sequence[Action]) -> list[str]:
    """A line an action; equal ones (forty creations for one shape) are one line with a count."""
    lines = Counter(
        f"{action.verb} {action.subject}: {action.reason.text} [{action.reason.code}]" for action in actions
    )
    return [line if count == 1 else f"{count} x {line}" for line, count in lines.items()]


def as_data(done: Pass, settings: Settings, *, dry_run: bool) -> dict[str, Any]:
    """The pass as docs/json.md describes it."""
    outcomes = {id(outcome.action): outcome for outcome in done.outcomes}
    return {
        "schema": SCHEMA,
        "pool": settings.pool,
        "at": done.world.now,
        "dry_run": dry_run,
        "nodes": [node_data(node) for node in done.plan.nodes],
        "demand": demand_data(done.world.demand),
        "silent": {cloud.name: cloud.fault for cloud in done.world.clouds if cloud.fault}
        | dict(done.world.demand.silent),
        "cost": cost_data(done.plan.cost),
        "actions": [_action_data(action, outcomes.get(id(action))) for action in done.plan.actions],
        "held": [_held_data(held) for held in done.plan.held],
    }


def node_data(node: Node) -> dict[str, Any]:
    """A node as JSON."""
    return {
        "node": node.id,
        "cloud": node.cloud,
        "flavor": node.flavor,
        "vm_state": node.vm_state.value,
        "condor_state": node.condor_state.value,
        "machine": node.machine,
        "first_seen": node.created,
        "joined": node.joined,
        "idle_since": node.idle_since if node.condor_state.value == "idle" else 0,
    }


def cost_data(cost: Cost | None) -> dict[str, Any] | None:
    """What nodes cost as JSON; null when nothing was looked at."""
    if cost is None:
        return None
    return {
        "per_hour": cost.hour,
        "cost_per_hour": cost.hour_cap,
        "month": cost.month,
        "spent": cost.spent,
        "cost_per_month": cost.month_cap,
    }


def demand_data(demand: Demand) -> list[dict[str, Any]]:
    """The idle jobs as JSON, a row a shape."""
    return [
        {
            "cpus": shape.request.cpus,
            "memory_mb": shape.request.memory,
            "disk_kib": shape.request.disk,
            "gpus": shape.request.gpus,
            "requirements": shape.requirements,
            "idle": shape.count,
        }
        for shape in demand.shapes
    ]


def _action_data(action: Action, outcome: Outcome | None) -> dict[str, Any]:
    result = "planned"
    if outcome:
        result = "done" if not outcome.error else "not-done" if outcome.harmless else "failed"
    return {
        "verb": action.verb,
        "subject": action.subject,
        "node": outcome.node if outcome else "",
        "reason": {"code": action.reason.code, "text": action.reason.text},
        "result": result,
        "error": outcome.error if outcome else "",
        "fault": outcome.fault if outcome else "",
        "detail": outcome.detail if outcome else "",
    }


def _held_data(held: HoldBack) -> dict[str, Any]:
    return {"subject": held.subject, "reason": {"code": held.reason.code, "text": held.reason.text}}


def entry(done: Pass) -> Mapping[str, Any]:
    """What the history keeps of a pass: little, for there are many."""
    return {
        "at": done.world.now,
        "nodes": dict(Counter(f"{node.vm_state}/{node.condor_state}" for node in done.plan.nodes)),
        "idle": sum(shape.count for shape in done.world.demand.shapes),
        "actions": [_brief(outcome) for outcome in done.outcomes],
        "held": dict(Counter(held.reason.code for held in done.plan.held)),
    }


def _brief(outcome: Outcome) -> dict[str, Any]:
    brief = {"verb": outcome.action.verb, "node": outcome.node, "code": outcome.action.reason.code}
    return brief | ({"error": outcome.error[:300]} if outcome.error else {})
