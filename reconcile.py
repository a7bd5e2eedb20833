#!/usr/bin/env python3
"""One pass of ehoslite: look, decide, act, write down. Then exit.

cron or systemd starts this every minute (see cron/). It is safe to start twice, safe to kill anywhere and safe to run
without its state file: HTCondor and the clouds are the truth, the state file is memory.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ehoslite import report
from ehoslite.act import Hands, act, rehearse
from ehoslite.actions import Pass
from ehoslite.clouds import open_clouds
from ehoslite.config import find, load
from ehoslite.deadline import GRACE, Deadline
from ehoslite.errors import ActionFailed, EhosError
from ehoslite.nodes import remember
from ehoslite.observe import observe
from ehoslite.plan import plan, plan_elsewhere
from ehoslite.pool import Pool
from ehoslite.record import Record, lock


def reconcile(hands: Hands, record: Record, now: float, act: report.Acting = act) -> Pass:
    """One pass. The tests run this very function; a dry run is the same pass with `rehearse` in the place of `act`."""
    world = observe(hands.pool, tuple(hands.clouds.values()), record.memory(), now)  # reads only: demand last
    memory = remember(record.memory(), world, hands.settings)  # what earlier passes saw, and this one
    decided = plan(world, memory, hands.settings)  # pure: the same input gives the same plan
    outcomes, memory = act(decided, memory, hands, record, now)  # intents first; each action may fail alone
    while (again := plan_elsewhere(world, memory, hands.settings, outcomes)).actions:  # a cloud refused: the next one
        more, memory = act(again, memory, hands, record, now)
        decided = replace(decided, actions=(*decided.actions, *again.actions), held=again.held)
        outcomes = (*outcomes, *more)
    done = Pass(world, decided, outcomes)
    record.save(memory, report.entry(done), now)  # one atomic write
    return done


def take_turn(hands: Hands, record: Record, now: float, *, dry_run: bool) -> Pass:
    """A pass of the machine whose turn it is; on the other of two managers one that does nothing and says so."""
    settings, pool = hands.settings, hands.pool
    two = settings.condor.high_availability
    why = pool.why_passive(settings.pool) if two else ""
    if not why and not dry_run and (settings.scaling.lease or two):
        with nullcontext() if two else report.saying(ActionFailed):  # nodes wait long before they give up
            pool.renew_lease(settings.pool, settings.deadline + GRACE, settings.scaling.lease)
        why = pool.why_passive(settings.pool) if two else ""  # of two that begin at once, each now sees the other
    if not why:
        return reconcile(hands, record, now, rehearse if dry_run else act)
    done = report.passive(now, why)
    record.save(record.memory(), report.entry(done), now)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one pass; gives the exit code (docs/operating.md lists them)."""
    options = _parser().parse_args(arguments)
    report.start_log(options.verbose)
    now = time.time()
    try:
        settings = load(find(options.config))
        with Deadline(settings.deadline) as deadline, nullcontext() if options.dry_run else lock(settings.record):
            record = Record(settings.record, now, keep=not options.dry_run)
            clouds = {cloud.name: cloud for cloud in open_clouds(settings, deadline.remaining, record.names)}
            pool = Pool(settings.condor, deadline.remaining, settings.demand)
            hands = Hands(settings, pool, clouds, random.SystemRandom(), deadline.remaining)
            with report.failure_into(record, now):
                done = take_turn(hands, record, now, dry_run=options.dry_run)
    except EhosError as error:
        return report.fail(error, as_json=options.json)
    return report.tell(done, settings, dry_run=options.dry_run, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reconcile", description="Run one pass: look, decide, act once, exit.")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the configuration (default: ehos.yaml, searched)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan with its reasons and change nothing")
    parser.add_argument("--json", action="store_true", help="print the pass as JSON (docs/json.md) to standard output")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log what is done (-v) and seen (-vv)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
