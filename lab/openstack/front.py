"""The proxies before a cloud's APIs, in one process of the standard library; faults.py tells what they can do.

It also watches over the cloud: when its standard input closes, the one who started the cloud is gone, and it ends the
daemons, the guests and itself. Started with /dev/null and --keep, it stays.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.openstack import layout as layouts
from lab.openstack.daemons import Daemons
from lab.openstack.faults import KEY_HEADER, Fault, use_up
from lab.openstack.layout import APIS, HOST

READY = "lab: ready"
BACKLOG = 512
HANG_POLL_SECONDS = 0.1
# what one connection's headers say is not for the next one (RFC 9110, 7.6.1); the length is set anew
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "te", "upgrade"}
ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


@dataclass
class Reply:
    """An answer of a service."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Rules:
    """The faults that are set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[int, Fault] = {}
        self._hits: dict[int, int] = {}
        self._next = 1

    def add(self, fault: Fault) -> int:
        with self._lock:
            number = self._next
            self._next += 1
            self._faults[number] = fault
            self._hits[number] = 0
            return number

    def remove(self, number: int | None) -> None:
        with self._lock:
            for one in [number] if number is not None else list(self._faults):
                self._faults.pop(one, None)
                self._hits.pop(one, None)

    def count_hits(self, number: int) -> int | None:
        with self._lock:
            return self._hits.get(number)

    def take(self, service: str, method: str, path: str) -> tuple[int, Fault] | None:
        """Return the fault that strikes this request, and its number."""
        with self._lock:
            for number, fault in self._faults.items():
                if fault.matches(service, method, path):
                    self._faults[number], strikes = use_up(fault)
                    if strikes:
                        self._hits[number] += 1
                        return number, fault
        return None


class Record:
    """Writes down the requests."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **values: object) -> None:
        with self._lock:
            os.write(self._file, (json.dumps(values) + "\n").encode())


class Gate:
    """One service's port: opened and closed, with all its connections."""

    def __init__(self, service: str, port: int, back: int, rules: Rules, record: Record) -> None:
        self.service = service
        self.back = back
        self.rules = rules
        self.record = record
        self._port = port
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
            Exchange(connection, address, self)
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


class Exchange(http.server.BaseHTTPRequestHandler):
    """One client's connection, with one of its own to the service behind."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # buffered, so that an answer is one packet

    def __init__(self, connection: socket.socket, address: object, gate: Gate) -> None:
        self._gate = gate
        self._behind = http.client.HTTPConnection(HOST, gate.back)
        super().__init__(connection, address, gate)  # type: ignore[arg-type] # it is only kept, as `server`

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Nothing: the record has it."""

    def finish(self) -> None:
        self._behind.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle_request(self) -> None:
        arrived = time.time()
        body = self._read_body()
        taken = self._gate.rules.take(self._gate.service, self.command, self.path)
        number, fault = taken or (0, None)
        status = 0
        try:
            status = self._answer(fault, number, body)
        except OSError:
            self._reset()
        finally:
            path, _, query = self.path.partition("?")
            self._gate.record.write(
                service=self._gate.service,
                method=self.command,
                path=ID.sub("{id}", path),
                query=query,
                status=status,
                fault=fault.kind if fault else "",
                time=arrived,
                seconds=round(time.time() - arrived, 4),
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def _answer(self, fault: Fault | None, number: int, body: bytes) -> int:
        """Carry the request out, or what the fault makes of it; return the status sent, 0 for none."""
        if fault is None:
            return self._send(self._ask(body))
        if fault.kind == "status":
            return self._send(_make_refusal(fault))
        if fault.kind == "delay":
            time.sleep(fault.seconds)
            return self._send(self._ask(body))
        if fault.kind == "reset":
            self._reset()
            return 0
        if fault.kind == "hang":
            self._hang(number)
            return 0
        return self._spoil(fault, self._ask(body))

    def _spoil(self, fault: Fault, reply: Reply) -> int:
        if fault.kind == "lose_reply":
            self.close_connection = True
            return 0
        half = reply.body[: len(reply.body) // 2]
        if fault.kind == "cut":
            self.close_connection = True
            return self._send(Reply(reply.status, reply.headers, half), announced=len(reply.body))
        if fault.kind == "truncate":
            return self._send(Reply(reply.status, reply.headers, half))
        return self._send(_drop_servers(reply, fault.drop))

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _ask(self, body: bytes) -> Reply:
        """Pass the request on. Raises OSError if the service cannot be reached or the client went away meanwhile."""
        behind = self._behind
        if behind.sock is not None and select.select([behind.sock], [], [], 0)[0]:
            behind.close()  # the service has closed it since
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        if body or self.command in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(body))
        try:
            behind.request(self.command, self.path, body or None, headers)
            self._wait_for(behind.sock)
            with behind.getresponse() as answer:
                return Reply(answer.status, answer.getheaders(), answer.read())
        except http.client.HTTPException as error:
            behind.close()
            raise ConnectionError(str(error)) from error
        except OSError:
            behind.close()
            raise

    def _wait_for(self, behind: socket.socket) -> None:
        """Wait for the service's answer, as long as the client does."""
        while True:
            ready, _, _ = select.select([behind, self.connection], [], [])
            if behind in ready:
                return
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionError("the client went away")
            select.select([behind], [], [], HANG_POLL_SECONDS)  # it has sent the next request already: let that be

    def _send(self, reply: Reply, announced: int | None = None) -> int:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        if reply.status not in (204, 304):
            kept = next((value for name, value in reply.headers if name.lower() == "content-length"), "0")
            length = kept if self.command == "HEAD" else str(len(reply.body) if announced is None else announced)
            self.send_header("Content-Length", length)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()
        return reply.status

    def _hang(self, number: int) -> None:
        """Say nothing until the client goes away or the fault is removed."""
        self.close_connection = True
        while self._gate.rules.count_hits(number) is not None:
            if select.select([self.connection], [], [], HANG_POLL_SECONDS)[0]:
                return

    def _reset(self) -> None:
        """Have the kernel send RST at the close: that is what a linger of 0 seconds does (socket(7))."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _make_refusal(fault: Fault) -> Reply:
    """Make a refusal in the form that nova gives them (https://docs.openstack.org/api-guide/compute/faults.html)."""
    body = json.dumps({"labFault": {"code": fault.status, "message": "a fault of the lab"}}).encode()
    headers = [("Content-Type", "application/json")]
    if fault.retry_after is not None:
        headers.append(("Retry-After", fault.retry_after))
    return Reply(fault.status, headers, body)


def _drop_servers(reply: Reply, pattern: str) -> Reply:
    content = json.loads(reply.body)
    if not isinstance(content.get("servers"), list):
        return reply
    content["servers"] = [server for server in content["servers"] if not re.fullmatch(pattern, server["name"])]
    return Reply(reply.status, reply.headers, json.dumps(content).encode())


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
    gates = {name: Gate(name, layout.ports.front[name], layout.ports.back[name], rules, record) for name in APIS}
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
