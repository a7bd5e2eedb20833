"""State files for the tests, and a disk that is full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, NoReturn

from ehoslite.memory import Intent, Memory, Remembered
from ehoslite.options import Place
from ehoslite.record import Record
from ehoslite.samples import Sample
from ehoslite.settings import RecordSettings

NOW = 1_000_000.0
MEMORY = Memory(
    {"n1": Remembered("n1", "here", "small", 5.0, True, 6.0, 7.0, 8.0), "ü\n": Remembered("ü\n", "", "", 0)},
    {"n2": Intent("n2", "here", "small", 9.0, recipe="0a1b2c3d")},
    samples={
        "here/small/0a1b2c3d": Sample(
            "here/small/0a1b2c3d", 8.0, 'Arch = "X"\nCpus = 1', False, cpus=1, gpus=2, made_of="5e"
        )
    },
)
OTHER = Memory({"n3": Remembered("n3", "here", "large", 1.0)})
PASS = {"at": NOW, "nodes": {"active/idle": 1}, "idle": 3, "actions": [], "held": {}}


def opened(path: Path, *, keep: bool = True, **more: Any) -> Record:
    return Record(RecordSettings(path=Place(path), **more), NOW, keep=keep)


def saved(path: Path, memory: Memory = MEMORY) -> bytes:
    """The content of a state file with this memory and one pass."""
    opened(path).save(memory, PASS, NOW)
    return path.read_bytes()


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")
