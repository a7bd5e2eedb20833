# mypy: disable-error-code="import-not-found"
"""Makes oslo.db work with SQLite under threads and several processes.

oslo.db opens each transaction with a plain BEGIN. SQLite then takes the write lock at the first write only, and refuses
it at once ("database is locked", whatever the timeout) if the transaction has read before and another one has written
meanwhile (https://www.sqlite.org/lang_transaction.html). oslo.db's enginefacade knows which transactions write: those
begin with BEGIN IMMEDIATE here, which waits for its turn.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy
import sqlalchemy.event
import sqlalchemy.pool
from oslo_db.sqlalchemy import enginefacade, engines

_of_thread = threading.local()


class _Replaced:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def install() -> None:
    """Patch oslo.db; to be called before the first engine is made."""
    _mark_writers()
    engines.sqlalchemy = _Replaced(sqlalchemy, text=_make_statement)
    # oslo.db makes a connection for each session with SQLite, and yields the processor at each check-in: both cost
    # more than half of keystone's time for a request
    engines.pool = _Replaced(sqlalchemy.pool, NullPool=sqlalchemy.pool.QueuePool)
    engines._thread_yield = lambda *_: None  # noqa: SLF001
    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "checkin", _forget_transaction)


def _make_statement(text: str) -> Any:
    if text == "BEGIN" and getattr(_of_thread, "writes", False):
        text = "BEGIN IMMEDIATE"
    return sqlalchemy.text(text)


def _forget_transaction(_connection: object, record: Any) -> None:
    record.info.pop("in_transaction", None)


def _mark_writers() -> None:
    context = enginefacade._TransactionContext  # noqa: SLF001 there is no public place for this
    writer = enginefacade._WRITER  # noqa: SLF001
    produce = context._produce_block  # noqa: SLF001

    @contextlib.contextmanager
    def produce_marked(self: Any, mode: object, *rest: Any, **named: Any) -> Iterator[Any]:
        before = getattr(_of_thread, "writes", False)
        with produce(self, mode, *rest, **named) as block:
            # a reader within a writer shares its transaction, and BEGIN is sent with the first statement of either
            _of_thread.writes = mode is writer or self.mode is writer
            try:
                yield block
            finally:
                _of_thread.writes = before

    context._produce_block = produce_marked  # noqa: SLF001
