# mypy: disable-error-code="import-not-found, import-untyped"
"""Serves a WSGI application on a port of 127.0.0.1 with native threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

import waitress

from lab.openstack.layout import HOST

READY = "lab: ready"


def serve_in_thread(application: Any, port: int, threads: int) -> None:
    """Serve it beside whatever else the process does."""
    server = _make_server(application, port, threads)
    threading.Thread(target=server.run, name=f"port-{port}", daemon=True).start()


def serve_forever(application: Any, port: int, threads: int) -> None:
    """Say that the daemon is ready, and serve until SIGTERM."""
    server = _make_server(application, port, threads)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print(READY, flush=True)
    server.run()


def die_at_errors() -> None:
    """Have an error of the main thread end the process: other threads would keep half a daemon up."""

    def die(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        os._exit(1)

    sys.excepthook = die


def _make_server(application: Any, port: int, threads: int) -> Any:
    return waitress.create_server(
        application,
        host=HOST,
        port=port,
        threads=threads,
        connection_limit=1000,
        channel_timeout=300,
        backlog=512,
        clear_untrusted_proxy_headers=True,
    )
