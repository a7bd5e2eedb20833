"""The proxies before a cloud's APIs, in one process of the standard library; faults.py tells what they can do.

It also watches over the cloud: when its standard input closes, the one who started the cloud is gone, and it ends the
daemons, the guests and itself. Started with /dev/null and --keep, it stays.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.openstack import layout as layouts
from lab.openstack.daemons import Daemons
from lab.openstack.exchange import Exchange, Route
from lab.openstack.faults import KEY_HEADER, Fault
from lab.openstack.layout import APIS, HOST
from lab.openstack.rules import Record, Rules

READY = "lab: ready"
BACKLOG = 512


class Gate:
    """One service's port: opened and closed, with all its connections."""

    def __init__(self, port: int, route: Route) -> None:
        self._port = port
        self._route = route
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()

    def open(self) -> None:
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.create_server((HOST, self._port), backlog=BACKLOG)
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is None:
                return
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            Exchange(connection, address, self._route)
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


class Control(http.server.BaseHTTPRequestHandler):
    """What `Faults` talks to."""

    protocol_version = "HTTP/1.1"
    key = ""
    rules: Rules
    gates: dict[str, Gate]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Nothing."""

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get(KEY_HEADER) != self.key:
            return self._send(403, {"error": "wrong key"})
        _, what, *rest = self.path.split("/")
        answer = self._act(self.command, what, rest[0] if rest else "", json.loads(body or b"null"))
        return self._send(404 if answer is None else 200, answer or {})

    do_GET = do_POST = do_DELETE = handle_request  # noqa: N815

    def _act(self, method: str, what: str, name: str, body: Any) -> dict[str, object] | None:
        if what == "ports" and name in self.gates:
            if body["open"]:
                self.gates[name].open()
            else:
                self.gates[name].close()
            return {"open": body["open"]}
        if what == "faults" and method == "POST":
            return {"number": self.rules.add(Fault(**body))}
        if what == "faults" and method == "DELETE":
            self._clear(name)
            return {"removed": name or "all"}
        hits = self.rules.count_hits(int(name or 0))
        return None if hits is None else {"hits": hits}

    def _clear(self, name: str) -> None:
        self.rules.remove(int(name) if name else None)
        if not name:
            for gate in self.gates.values():
                gate.open()

    def _send(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def open_gates(layout: layouts.Layout) -> Iterator[http.server.ThreadingHTTPServer]:
    """Open all ports; give the server of the control port, which is to be run."""
    rules = Rules()
    record = Record(layout.requests)
    gates = {name: Gate(layout.ports.front[name], Route(name, layout.ports.back[name], rules, record)) for name in APIS}
    control = type("CloudControl", (Control,), {"key": layout.secrets.control, "rules": rules, "gates": gates})
    with http.server.ThreadingHTTPServer((HOST, layout.ports.control), control) as server:
        for gate in gates.values():
            gate.open()
        yield server


def watch_starter(layout: layouts.Layout) -> None:
    """Wait until standard input closes; then end the cloud, and this process last."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    Daemons(layout).end_all(but=os.getpid())
    os._exit(0)


def main(directory: Path, keep: bool) -> None:
    """Serve until SIGTERM, or until the starter is gone."""
    layout = layouts.load(directory)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open_gates(layout) as server:
        if not keep:
            threading.Thread(target=watch_starter, args=(layout,), daemon=True).start()
        print(READY, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--keep" in sys.argv)
