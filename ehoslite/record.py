"""The lock, and the memory between passes: a TinyDB file, written whole in one step or not at all.

The file is memory, not truth. One that cannot be read, or that a newer version wrote, is set aside and a new one is
begun; what it held is seen again in the clouds and the pool.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ehoslite.errors import AlreadyRunning, Fault, FixConfiguration
from ehoslite.model import Intent, Memory, Remembered
from ehoslite.settings import RecordSettings

FORMAT = 1
log = logging.getLogger("ehoslite")


class Record:
    """The memory of one pass at work: read once, kept in hand, written by `save`."""

    def __init__(self, settings: RecordSettings, now: float) -> None:
        self.settings = settings
        self.path = Path(settings.path)
        self.tables = _read(self.path, now)

    def memory(self) -> Memory:
        """What earlier passes have seen. Entries that make no sense are left out: they are only memory."""
        return Memory(
            {entry.node: entry for entry in _entries(self.tables.get("nodes"), Remembered)},
            {entry.node: entry for entry in _entries(self.tables.get("intents"), Intent)},
        )

    def passes(self) -> list[dict[str, Any]]:
        """The history, oldest first."""
        return [dict(entry) for entry in self.tables.get("passes", {}).values()]

    def save(self, memory: Memory, finished: Mapping[str, Any] | None = None, now: float = 0.0) -> None:
        """Write the memory, and the pass that has just finished into the history. All of it in one step."""
        passes = self.passes() + ([dict(finished)] if finished else [])
        oldest = now - self.settings.retention if finished else 0.0
        kept = [entry for entry in passes if entry.get("at", 0) >= oldest][-self.settings.retention_passes :]
        self.tables = {
            "format": _numbered([{"version": FORMAT}]),
            "nodes": _numbered(asdict(entry) for entry in memory.nodes.values()),
            "intents": _numbered(asdict(entry) for entry in memory.intents.values()),
            "passes": _numbered(kept),
        }
        self._write()

    def _write(self) -> None:
        from tinydb import TinyDB
        from tinydb.middlewares import CachingMiddleware

        from ehoslite.storage import AtomicJSONStorage

        caching = CachingMiddleware(AtomicJSONStorage)
        caching.WRITE_CACHE_SIZE = 10**9
        with TinyDB(self.path, storage=caching) as database:
            database.drop_tables()
            for name, documents in self.tables.items():
                database.table(name).insert_multiple(documents.values())


def _numbered(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(number): entry for number, entry in enumerate(entries, 1)}


def _read(path: Path, now: float) -> dict[str, Any]:
    """The tables of the file; none when there is no file. One that cannot be used is set aside, and that is said."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        version = next(iter(tables["format"].values()))["version"]
        if version > FORMAT:
            return _set_aside(path, now, f"it is of format {version}, newer than {FORMAT}")
        return {name: dict(table) for name, table in tables.items()}
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise FixConfiguration([Fault(str(path), "record.path", f"cannot be read: {error.strerror}")]) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        return _set_aside(path, now, f"it cannot be read ({type(error).__name__}: {error})")


def _set_aside(path: Path, now: float, why: str) -> dict[str, Any]:
    aside = path.with_name(f"{path.name}.unusable-{now:.0f}")
    log.warning("the state file %s is not used: %s. It is kept as %s; the memory starts anew", path, why, aside.name)
    try:
        path.replace(aside)
    except OSError as error:
        log.warning("it could not be set aside: %s", error)
    return {}


def _entries(table: Any, kind: type[Any]) -> Iterator[Any]:
    """The documents of a table as values of this type; unknown fields are of another version and left out."""
    known = {entry.name: entry for entry in fields(kind)}
    for document in table.values() if isinstance(table, dict) else ():
        if isinstance(document, dict):
            values = {name: value for name, value in document.items() if name in known}
            if all(isinstance(value, _type_of(known[name].type)) for name, value in values.items()):
                try:
                    yield kind(**values)
                except TypeError:
                    log.warning("an entry of the state file is left out: %.200r", document)


def _type_of(name: Any) -> tuple[type, ...]:
    """What a field may hold in JSON: model.py annotates with plain names."""
    return {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}[str(name)]


@contextmanager
def lock(settings: RecordSettings) -> Iterator[None]:
    """Hold the lock of this state file: one pass at a time. It dies with its process, so it is never stale.

    Raises AlreadyRunning, FixConfiguration.
    """
    path = Path(settings.path).with_name(Path(settings.path).name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FixConfiguration([Fault(str(path), "record.path", f"cannot be written: {error.strerror}")]) from error
    try:
        _hold(held, path)
        yield
    finally:
        os.close(held)


def _hold(held: int, path: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(held, 32, 0).decode(errors="replace").strip()
        raise AlreadyRunning(f"another pass is at work (process {holder or '?'}, lock {path})") from error
    # A child that only asks a question must not keep the lock alive when this process is killed.
    os.register_at_fork(after_in_child=lambda: _close_quietly(held))
    os.truncate(held, 0)
    os.pwrite(held, str(os.getpid()).encode(), 0)


def _close_quietly(held: int) -> None:
    try:
        os.close(held)
    except OSError:
        return
