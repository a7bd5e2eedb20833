"""Runs a pass as if so many seconds later: what takes minutes need not be waited for.

`python -m tests.later SECONDS [options of reconcile]`
"""

from __future__ import annotations

import sys
import time

import reconcile

ahead = float(sys.argv[1])
now = time.time

if __name__ == "__main__":
    time.time = lambda: now() + ahead
    sys.exit(reconcile.main(sys.argv[2:]))
