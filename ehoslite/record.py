"""The lock, and the memory between passes: a TinyDB file, written whole in one step or not at all.

The file is memory, not truth. One that cannot be read, or that a newer version wrote, is set aside and a new one is
begun; what it held is seen again in the clouds and the pool.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehoslite.errors import AlreadyRunning, Fault, FixConfiguration, NotRecorded
from ehoslite.memory import Boots, Intent, KnownFlavor, Memory, Remembered, Spent
from ehoslite.samples import Sample
from ehoslite.settings import RecordSettings

if TYPE_CHECKING:
    from tinydb import TinyDB

FORMAT = 1
# Ids behind names change seldom; an hour spares six calls a pass. A refused creation resolves them anew at once.
NAMES_LAST = 3600.0
log = logging.getLogger("ehoslite")


class Record:
    """The memory of one pass at work: read once, kept in hand, written by `save`.

    `names` holds, by cloud, what its names stand for; who resolves them fills it.
    With `keep` false (a dry run, a report) nothing is written anywhere, not even an unusable file is set aside.
    """

    def __init__(self, settings: RecordSettings, now: float, *, keep: bool = True) -> None:
        self.settings = settings
        self.keep = keep
        self.path = Path(settings.path)
        self.database = _open(self.path, now, keep)
        self._named = {name: at for name, at, _ in _known_names(self.database.table("names"), now)}
        self.names = {name: known for name, _, known in _known_names(self.database.table("names"), now)}
        self._now = now

    def memory(self) -> Memory:
        """What earlier passes have seen. Entries that make no sense are left out: they are only memory."""
        return Memory(
            {entry.node: entry for entry in _entries(self.database.table("nodes"), Remembered)},
            {entry.node: entry for entry in _entries(self.database.table("intents"), Intent)},
            {entry.key: _with_tuple(entry) for entry in _entries(self.database.table("boots"), Boots)},
            {entry.key: entry for entry in _entries(self.database.table("samples"), Sample)},
            {entry.key: entry for entry in _entries(self.database.table("flavors"), KnownFlavor)},
            {entry.month: entry for entry in _entries(self.database.table("spent"), Spent)},
        )

    def passes(self) -> list[dict[str, Any]]:
        """The history, oldest first. Entries that make no sense are left out."""
        return [dict(entry) for entry in self.database.table("passes") if _is_pass(entry)]

    def save(self, memory: Memory, finished: Mapping[str, Any] | None = None, now: float = 0.0) -> None:
        """Write the memory, and the pass that has just finished into the history. All of it in one step.

        Raises NotRecorded.
        """
        if not self.keep:
            return
        self._replace("format", [{"version": FORMAT}])
        self._replace("nodes", [asdict(entry) for entry in memory.nodes.values()])
        self._replace("intents", [asdict(entry) for entry in memory.intents.values()])
        self._replace("boots", [asdict(entry) for entry in memory.boots.values()])
        self._replace("samples", [asdict(entry) for entry in memory.samples.values()])
        self._replace("flavors", [asdict(entry) for entry in memory.flavors.values()])
        self._replace("spent", [asdict(entry) for entry in memory.spent.values()])
        named = [(name, self._named.get(name, self._now), known) for name, known in self.names.items() if known]
        self._replace("names", [{"cloud": name, "at": at, "known": known} for name, at, known in named])
        if finished:
            oldest = now - self.settings.retention
            passes = [entry for entry in self.passes() if entry["at"] >= oldest]
            self._replace("passes", [*passes, finished][-self.settings.retention_passes :])
        try:
            self.database.storage.flush()  # type: ignore[attr-defined]
        except OSError as error:
            raise NotRecorded(f"the state file {self.path} cannot be written: {error.strerror or error}") from error

    def _replace(self, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
        table = self.database.table(name)
        table.truncate()
        table.insert_multiple(documents)


def _known_names(table: Iterable[Mapping[str, Any]], now: float) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """What names stood for in each cloud (cloud, when resolved, what), as far as it is young enough."""
    for entry in table:
        name, at, known = entry.get("cloud"), entry.get("at"), entry.get("known")
        readable = isinstance(name, str) and isinstance(at, int | float) and isinstance(known, dict)
        if readable and 0 <= now - float(at or 0) <= NAMES_LAST:
            yield str(name), float(at or 0), dict(known or {})


def _open(path: Path, now: float, keep: bool) -> TinyDB:
    """The database. A file that cannot be used is set aside, which is said; a new one then begins."""
    database = _database(path)
    try:
        versions = [entry.get("version", 0) for entry in database.table("format")]
        if any(version > FORMAT for version in versions):
            raise ValueError(f"it is of format {max(versions)}, newer than {FORMAT}")
        for name in database.tables():
            database.table(name).all()
    except (PermissionError, IsADirectoryError) as error:
        raise FixConfiguration([Fault(str(path), "record.path", f"cannot be read: {error.strerror}")]) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        _set_aside(path, now, error, keep)
        return _database(path) if keep else _database(Path(os.devnull))  # save() writes nothing there
    return database


def _database(path: Path) -> TinyDB:
    from tinydb import TinyDB
    from tinydb.middlewares import CachingMiddleware

    from ehoslite.storage import AtomicJSONStorage

    caching = CachingMiddleware(AtomicJSONStorage)  # type: ignore[no-untyped-call]
    caching.WRITE_CACHE_SIZE = sys.maxsize  # written by save() alone
    return TinyDB(path, storage=caching)


def _set_aside(path: Path, now: float, why: Exception, keep: bool) -> None:
    aside = path.with_name(f"{path.name}.unusable-{now:.0f}")
    while aside.exists():  # two passes by hand within a second: nothing is lost
        aside = aside.with_name(f"{aside.name}-again")
    log.warning("the state file %s is not used (%s: %s); the memory starts anew", path, type(why).__name__, why)
    if keep:
        try:
            path.replace(aside)
            log.warning("it is kept as %s", aside)
        except OSError as error:
            raise NotRecorded(f"{path} is no state file and cannot be set aside: {error.strerror or error}") from error


def _entries(table: Iterable[Mapping[str, Any]], kind: type[Any]) -> Iterator[Any]:
    """The documents of a table as values of this type; unknown fields are of another version and left out."""
    known = {entry.name: entry for entry in fields(kind)}
    for document in table:
        values = {name: value for name, value in document.items() if name in known}
        wrong = [name for name, value in values.items() if not _fits(value, str(known[name].type))]
        missing = [name for name, entry in known.items() if entry.default is MISSING and name not in values]
        if wrong or missing:
            log.warning("an entry of the state file is left out, for %s: %.200r", wrong + missing, document)
        else:
            yield kind(**values)


def _fits(value: Any, kind: str) -> bool:
    """Whether JSON may hold this value in a field of this type (model.py annotates with plain names)."""
    if kind in {"int", "float"}:
        number = int if kind == "int" else int | float
        return isinstance(value, number) and not isinstance(value, bool) and 0 <= value < 1e18
    if kind == "tuple[float, ...]":
        return isinstance(value, list | tuple) and all(_fits(one, "float") for one in value)
    return isinstance(value, {"str": str, "bool": bool}[kind])


def _with_tuple(boots: Boots) -> Boots:
    """JSON knows lists only."""
    return replace(boots, times=tuple(boots.times))


def _is_pass(entry: Mapping[str, Any]) -> bool:
    """Whether a document is a pass as report.entry writes it; the reports rely on it."""
    nodes, actions = entry.get("nodes", {}), entry.get("actions", [])
    return (
        _fits(entry.get("at"), "float")
        and isinstance(nodes, dict)
        and all(_fits(count, "float") for count in nodes.values())
        and isinstance(actions, list)
        and all(isinstance(action, dict) and {"verb", "node", "code"} <= action.keys() for action in actions)
    )


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
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotRecorded(f"the lock {path} cannot be made: {error.strerror}") from error
        raise FixConfiguration([Fault(str(path), "record.path", f"cannot be written: {error.strerror}")]) from error
    _held.add(held)
    try:
        _hold(held, path)
        yield
    finally:
        if held in _held:  # else this is a forked child, which has let go of it already
            _held.remove(held)
            os.close(held)


def _hold(held: int, path: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(held, 32, 0).decode(errors="replace").strip()
        raise AlreadyRunning(f"another pass is at work (process {holder or '?'}, lock {path})") from error
    with suppress(OSError):  # a full disk; the number is only told to people
        os.truncate(held, 0)
        os.pwrite(held, str(os.getpid()).encode(), 0)


def _let_go_in_child() -> None:
    """A child that only asks a question must not keep the lock alive when this process is killed."""
    while _held:
        os.close(_held.pop())


_held: set[int] = set()
os.register_at_fork(after_in_child=_let_go_in_child)
