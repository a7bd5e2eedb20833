"""Named effects of a pass, and what may happen right before and right after each: a kill, an error, the world moving.

A kill is an exception beside Exception. From then on every effect of that pass raises it again and does nothing, so
that nothing is written after it, whatever `finally` and `except BaseException` would do.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar
from unittest.mock import patch

from ehoslite import act, observe, storage
from faults.model.world import World

Answer = TypeVar("Answer")

# What a call costs of the pass's time.
CALL_SECONDS = 0.2

EFFECTS = (
    "cloud.flavors",
    "cloud.servers",
    "cloud.room",
    "cloud.leftovers",
    "cloud.exists",
    "cloud.console",
    "cloud.create",
    "cloud.port",
    "cloud.delete",
    "cloud.remove",
    "pool.slots",
    "pool.demand",
    "pool.slots_of",
    "pool.jobs_on",
    "pool.drain",
    "pool.undrain",
    "pool.invalidate",
    "pool.token",
    "state.clear",
    "state.open",
    "state.fsync",
    "state.rename",
    "state.folder",
)


class Killed(BaseException):
    """The pass was killed here (SIGKILL)."""


@dataclass
class Break:
    """What happens once at the next effect of this name, before or after it. `kind` is counted."""

    kind: str
    on: str
    after: bool
    happen: Callable[[], None]


class Effects:
    """The gate through which every effect of a pass goes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.armed: list[Break] = []
        self.dead = False
        self.at_work = False  # whether a pass is
        self.kills: Counter[str] = Counter()
        self.made: Counter[str] = Counter()

    def around(self, name: str, do: Callable[[], Answer]) -> Answer:
        """Do it, with what is armed for it happening before and after."""
        self.come_to(name, after=False)
        answer = do()
        self.made[name] += 1
        self.come_to(name, after=True)
        return answer

    def come_to(self, name: str, *, after: bool) -> None:
        """Let the world move, and happen what is armed for this place. Raises Killed."""
        if self.dead:
            raise Killed
        if not after:
            self.world.advance(CALL_SECONDS)
        for one in [one for one in self.armed if (one.on, one.after) == (name, after)]:
            self.armed.remove(one)
            self.world.counts[f"during a pass: {one.kind}"] += 1
            one.happen()

    def kill(self, where: str) -> None:
        """End the pass here. Raises Killed."""
        self.dead = True
        self.kills[where] += 1
        raise Killed


class InTurn:
    """Stands for a ThreadPoolExecutor: the same tasks one after the other, in an order that chance chooses. A kill
    leaves the rest undone."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_ignored: object) -> None:
        """Nothing runs on."""

    def map(self, do: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """The answers in the order of the tasks."""
        wanted = list(enumerate(tasks))
        self.world.chance.shuffle(wanted)
        answers = {number: do(task) for number, task in wanted}
        return iter(answers[number] for number in sorted(answers))


@contextmanager
def effects_of_the_state_file(effects: Effects, folder: Path) -> Iterator[None]:
    """Send what storage.py and record.py do to files below this folder through the gate, and threads through InTurn."""

    def opened(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            return os.open(path, flags)
        effects.come_to("state.open", after=False)
        file = os.open(path, flags, mode)
        try:
            effects.come_to("state.open", after=True)
        except BaseException:
            os.close(file)
            raise
        effects.made["state.open"] += 1
        return file

    def synced(file: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
        effects.around("state.folder" if is_folder else "state.fsync", lambda: None)

    def through(name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def run(path: Path, *arguments: Any, **named: Any) -> Any:
            if path.parent != folder or not effects.at_work:
                return whole(path, *arguments, **named)
            return effects.around(name, lambda: whole(path, *arguments, **named))

        return run

    names = {name: getattr(os, name) for name in ("O_WRONLY", "O_CREAT", "O_EXCL", "O_RDONLY", "O_DIRECTORY")}
    shim = SimpleNamespace(open=opened, fsync=synced, fdopen=os.fdopen, close=os.close, **names)
    with ExitStack() as stack:
        stack.enter_context(patch.object(storage, "os", shim))
        stack.enter_context(patch.object(Path, "replace", through("state.rename", Path.replace)))
        stack.enter_context(patch.object(Path, "unlink", through("state.clear", Path.unlink)))
        for module in (act, observe):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", lambda _count: InTurn(effects.world)))
        yield
