"""Faults for the proxies before a cloud's APIs, and the record of the requests that passed them.

Each API has a proxy before it (front.py), and the public endpoints of the catalog point there, keystone's too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from lab.openstack import rest
from lab.openstack.layout import APIS, HOST

Kind = Literal["status", "delay", "reset", "hang", "lose_reply", "truncate", "cut", "drop_servers"]
KEY_HEADER = "X-Lab-Key"


@dataclass(frozen=True)
class Fault:
    """What is to go wrong with which requests.

    kind: status: answer with `status` and perhaps Retry-After, without asking the service;
        delay: answer so many `seconds` later; reset: reset the connection without asking the service;
        hang: never answer; lose_reply: have the service do it, then close the connection without a word;
        truncate: answer with the first half of the body, as if it was whole; cut: break off in the midst of the body;
        drop_servers: leave the servers whose names match `drop` out of a list.
    service: the daemon's name, "keystone", "nova", ...; None for all.
    method: "GET", ...; None for all.
    path: a regular expression, searched in the path with its query, as in r"/servers/detail\\?".
    skip: so many matching requests pass first.
    times: so many requests are then struck; None for all.
    """

    kind: Kind
    service: str | None = None
    method: str | None = None
    path: str = ""
    skip: int = 0
    times: int | None = None
    status: int = 503
    retry_after: str | None = None
    seconds: float = 0.0
    drop: str = ".*"

    def __post_init__(self) -> None:
        if self.service is not None and self.service not in APIS:
            raise ValueError(f"no service is called {self.service!r}; there are {', '.join(APIS)}")
        re.compile(self.path)
        re.compile(self.drop)

    def matches(self, service: str, method: str, path: str) -> bool:
        """Tell whether the request is meant; the counts are not looked at."""
        return (
            self.service in (None, service) and self.method in (None, method) and re.search(self.path, path) is not None
        )


@dataclass(frozen=True)
class Call:
    """A request that came to a proxy.

    path: without the query, and with {id} in the place of ids; query: as sent; status: what the client was answered
    with, 0 if with nothing; fault: the kind of the fault that struck it, or ""; time: epoch seconds of its arrival;
    seconds: until the answer was sent.
    """

    service: str
    method: str
    path: str
    query: str
    status: int
    fault: str
    time: float
    seconds: float


class Faults:
    """Sets a cloud's faults, from any process that can read the cloud's directory."""

    def __init__(self, port: int, key: str) -> None:
        self._url = f"http://{HOST}:{port}"
        self._headers = {KEY_HEADER: key}

    def add(self, fault: Fault) -> int:
        """Add a fault, behind the earlier ones: the first one that matches a request strikes. Return its number."""
        answer = rest.call("POST", f"{self._url}/faults", asdict(fault), self._headers)
        return int(answer["number"])

    def count_hits(self, number: int) -> int:
        """Return how many requests the fault struck. Raises ApiError (404) if it was removed."""
        answer = rest.call("GET", f"{self._url}/faults/{number}", headers=self._headers)
        return int(answer["hits"])

    def remove(self, number: int) -> None:
        """Remove a fault, and let go of the requests that it made hang."""
        rest.call("DELETE", f"{self._url}/faults/{number}", headers=self._headers)

    def clear(self) -> None:
        """Remove all faults, and have all services accept connections again."""
        rest.call("DELETE", f"{self._url}/faults", headers=self._headers)

    def refuse(self, service: str) -> None:
        """Close the service's port, and the connections there are: connecting is refused."""
        rest.call("POST", f"{self._url}/ports/{service}", {"open": False}, self._headers)

    def accept(self, service: str) -> None:
        """Open the service's port again."""
        rest.call("POST", f"{self._url}/ports/{service}", {"open": True}, self._headers)


class Calls:
    """Reads the record of requests."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def forget(self) -> None:
        """Have later reads start with what comes from now on."""
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def read(self, service: str | None = None, method: str | None = None, path: str = "") -> list[Call]:
        """Return the requests so far whose service and method are these and whose path has the regular expression."""
        chosen = Fault("status", service, method, path)
        return [call for call in self._read_all() if chosen.matches(call.service, call.method, call.path)]

    def _read_all(self) -> Iterator[Call]:
        if not self._path.exists():
            return
        with self._path.open() as file:
            file.seek(self._offset)
            for line in file:
                if line.endswith("\n"):
                    yield Call(**json.loads(line))


def use_up(fault: Fault) -> tuple[Fault, bool]:
    """Count a matching request; return the fault as it is from then on, and whether it strikes this one."""
    if fault.skip:
        return replace(fault, skip=fault.skip - 1), False
    if fault.times is None:
        return fault, True
    return replace(fault, times=max(fault.times - 1, 0)), fault.times > 0
