"""Runs a pass that is killed (SIGKILL) at one of its effects.

`python -m tests.killing MODULE:CLASS.METHOD before|after NTH [options of reconcile]`
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import reconcile


def main() -> int:
    """Arm the effect, then run the pass."""
    place, when, nth = sys.argv[1], sys.argv[2], int(sys.argv[3])
    module, _, path = place.partition(":")
    kind, _, method = path.partition(".")
    owner = getattr(importlib.import_module(module), kind)
    setattr(owner, method, killer(getattr(owner, method), when, nth))
    return reconcile.main(sys.argv[4:])


def killer(effect: Any, when: str, nth: int) -> Any:
    """The effect, with this process killed right before or after its nth call."""
    calls = 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls  # other threads count on
        if mine == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = effect(*arguments, **named)
        if mine == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return armed


if __name__ == "__main__":
    sys.exit(main())
