"""Runs a real pass that is broken at one of its effects.

`python -m faults.boundaries.killing NAME before|after|late|stop NTH [--mutation NAME] [--skew S] -- [options of
reconcile]`. before, after: SIGKILL right there. late: SIGKILL before the effect, which is carried out all the same a
second later, as by a server that had the request. stop: SIGSTOP right after it, until somebody continues the pass.
NAME may be "none": the pass is only mutated, or its clock is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import reconcile
from faults.boundaries.effects import EFFECTS, Effect
from faults.boundaries.haste import hastened
from faults.boundaries.mutations import MUTATIONS

LATE = 1.0  # seconds; passes of the harness follow each other faster


class Altered(ModuleType):
    """A module with some of its functions replaced, for one module that uses it."""

    def __init__(self, original: ModuleType) -> None:
        super().__init__(original.__name__)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Arm the effect, then run the pass."""
    own, rest = _split(list(sys.argv[1:] if arguments is None else arguments))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("effect")
    parser.add_argument("when", choices=["before", "after", "late", "stop"])
    parser.add_argument("nth", type=int)
    parser.add_argument("--mutation", default="")
    parser.add_argument("--skew", type=float, default=0.0)
    options = parser.parse_args(own)
    if options.skew:
        _set_clock(options.skew)
    with hastened(), MUTATIONS.get(options.mutation, nullcontext)():
        if options.effect != "none":
            arm(EFFECTS[options.effect], options.when, options.nth)
        return reconcile.main(rest)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _set_clock(skew: float) -> None:
    true = time.time
    time.time = lambda: true() + skew


def arm(effect: Effect, when: str, nth: int) -> None:
    """Replace the function of this effect by one that breaks the pass at its nth call."""
    module_name, _, path = effect.place.partition(":")
    *way, name = path.split(".")
    owner: Any = importlib.import_module(module_name)
    for part in way:
        inner = getattr(owner, part)
        if isinstance(inner, ModuleType):  # os, json: to be altered for this one user of it
            inner = Altered(inner)
            setattr(owner, part, inner)
        owner = inner
    setattr(owner, name, _armed(effect, getattr(owner, name), when, nth))


def _armed(effect: Effect, act: Any, when: str, nth: int) -> Any:
    calls, main_process = 0, os.getpid()

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        if (os.getpid() == main_process) == effect.asked or not effect.matches(arguments):
            return act(*arguments, **named)
        calls += 1
        if calls != nth:  # other threads count on
            return act(*arguments, **named)
        if when == "late":
            _do_late(lambda: act(*arguments, **named))
        if when in {"before", "late"}:
            os.kill(main_process, signal.SIGKILL)
        answer = act(*arguments, **named)
        if when in {"after", "stop"}:
            os.kill(main_process, signal.SIGKILL if when == "after" else signal.SIGSTOP)
        return answer

    return armed


def _do_late(act: Any) -> None:
    """Have a child do it when this process is no more."""
    if os.fork() == 0:
        try:
            let_go_of_locks()
            time.sleep(LATE)
            act()
        finally:
            os._exit(0)


def let_go_of_locks() -> None:
    """A lock that another thread held at the fork would be held by this process, which may then wait for itself."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if entry.readlink().name.endswith(".lock"):
                os.close(int(entry.name))


if __name__ == "__main__":
    sys.exit(main())
