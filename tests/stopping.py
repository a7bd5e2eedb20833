"""Runs a pass that stops itself (SIGSTOP) right before one of its effects, until somebody continues it.

`python -m tests.stopping MODULE:CLASS.METHOD [options of reconcile]`
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
    module, _, path = sys.argv[1].partition(":")
    kind, _, method = path.partition(".")
    owner = getattr(importlib.import_module(module), kind)
    effect = getattr(owner, method)

    def armed(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return effect(*arguments, **named)

    setattr(owner, method, armed)
    return reconcile.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
