"""One client's connection to a proxy: each request is passed on, or struck by a fault."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import select
import socket
import struct
import time
from dataclasses import dataclass

from lab.openstack.faults import Fault
from lab.openstack.layout import HOST
from lab.openstack.rules import Record, Rules

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


@dataclass(frozen=True)
class Route:
    """Where a proxy's requests go: the service behind, its port, and what all proxies share."""

    service: str
    back: int
    rules: Rules
    record: Record


class Exchange(http.server.BaseHTTPRequestHandler):
    """One client's connection, with one of its own to the service behind."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # buffered, so that an answer is one packet

    def __init__(self, connection: socket.socket, address: object, route: Route) -> None:
        self._route = route
        self._behind = http.client.HTTPConnection(HOST, route.back)
        super().__init__(connection, address, route)  # type: ignore[arg-type] # it is only kept, as `server`

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Nothing: the record has it."""

    def finish(self) -> None:
        self._behind.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle_request(self) -> None:
        arrived = time.time()
        body = self._read_body()
        taken = self._route.rules.take(self._route.service, self.command, self.path)
        number, fault = taken or (0, None)
        status, self._body = 0, b""
        try:
            status = self._answer(fault, number, body)
        except OSError:
            self._reset()
        finally:
            path, _, query = self.path.partition("?")
            self._route.record.write(
                service=self._route.service,
                method=self.command,
                path=ID.sub("{id}", path),
                query=query,
                status=status,
                fault=fault.kind if fault else "",
                time=arrived,
                seconds=round(time.time() - arrived, 4),
            )
        self._flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def _answer(self, fault: Fault | None, number: int, body: bytes) -> int:
        """Carry the request out, or what the fault makes of it; return the status to be sent, 0 for none."""
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
        if behind.sock is not None and wait_readable([behind.sock], 0):
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
            if behind in wait_readable([behind, self.connection]):
                return
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionError("the client went away")
            wait_readable([behind], HANG_POLL_SECONDS)  # it has sent the next request already: let that be

    def _send(self, reply: Reply, announced: int | None = None) -> int:
        """Prepare this answer; the buffer holds its headers, `_body` the rest."""
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
            self._body = reply.body
        return reply.status

    def _flush(self) -> None:
        """Send what `_send` has prepared: after the record of it, so that who has the answer finds it recorded."""
        try:
            self.wfile.write(self._body)
            self.wfile.flush()
        except OSError:
            self._reset()

    def _hang(self, number: int) -> None:
        """Say nothing until the client goes away or the fault is removed."""
        self.close_connection = True
        while self._route.rules.count_hits(number) is not None:
            if wait_readable([self.connection], HANG_POLL_SECONDS):
                return

    def _reset(self) -> None:
        """Have the kernel send RST at the close: that is what a linger of 0 seconds does (socket(7))."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_readable(connections: list[socket.socket], seconds: float | None = None) -> list[socket.socket]:
    """Wait until one of the connections can be read or is closed; give those. By poll(2): select(2) fails with the
    1024th descriptor of a process, and clients keep hundreds of connections open."""
    by_number = {connection.fileno(): connection for connection in connections}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(None if seconds is None else seconds * 1000)]


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
