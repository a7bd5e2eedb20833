"""What the proxies share: the faults that are set, and the record of the requests."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from lab.openstack.faults import Fault, use_up


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
