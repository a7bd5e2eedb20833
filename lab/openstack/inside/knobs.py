"""What is to happen to servers when they boot, read from the cloud's knobs.json at each build.

The file is an object with any of the keys of `Boot`, and "by_name": a list of such objects with "name" besides, a
regular expression that the server's whole name must match. The first of them that matches is taken, else the file's
own keys. The counts `fail_build`, `hang_build` and `never_join` go down as builds use them up; -1 is for ever.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COUNTED = ("fail_build", "hang_build", "never_join")
Knobs = dict[str, Any]


@dataclass(frozen=True)
class Boot:
    """How one server's build goes.

    boot_delay: seconds that the build takes more.
    fail_build: the build fails: with `fail_text` at once, without it on each host in turn, as nova retries it.
    hang_build: the server stays BUILD until it is deleted.
    never_join: the server becomes ACTIVE, and its guest program is not started.
    """

    boot_delay: float = 0.0
    fail_build: bool = False
    fail_text: str = ""
    hang_build: bool = False
    never_join: bool = False


@contextmanager
def change(path: Path) -> Iterator[Knobs]:
    """Give the file's content to read and change while nobody else does; an absent file is an empty object."""
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        knobs: Knobs = json.loads(path.read_text()) if path.exists() else {}
        yield knobs
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(knobs, indent=1))
        draft.replace(path)


def take_boot(path: Path, name: str) -> Boot:
    """Return how the build of the server of that name goes, and count it."""
    with change(path) as knobs:
        chosen = _choose(knobs, name)
        counted = {key: _use_up(chosen, key) for key in COUNTED}
        return Boot(float(chosen.get("boot_delay", 0)), fail_text=str(chosen.get("fail_text", "")), **counted)


def _choose(knobs: Knobs, name: str) -> Knobs:
    for rule in knobs.get("by_name", []):
        if re.fullmatch(rule["name"], name):
            return _check_object(rule)
    return knobs


def _check_object(rule: Any) -> Knobs:
    """Return the rule itself. Raises ValueError if it is no object."""
    if not isinstance(rule, dict):
        raise ValueError(f"knobs.json: each of by_name must be an object, not {rule!r}")
    return rule


def _use_up(knobs: Knobs, key: str) -> bool:
    left = int(knobs.get(key, 0))
    if left > 0:
        knobs[key] = left - 1
    return left != 0
