"""Grows a cloud's list of servers by copying one server's rows in nova's databases.

Building thousands of servers takes hours on one machine; a list of thousands is there in seconds this way. The copies
can be listed, looked at and deleted. They have no process, no port in neutron and no allocation in placement.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing

from lab.openstack.layout import Layout

SECONDS_FOR_LOCK = 60.0
TABLES = ("instance_extra", "instance_info_caches", "instance_metadata", "instance_system_metadata")
ADDRESS = re.compile(r"\b10\.0\.\d+\.\d+\b")  # of the lab's network
Row = dict[str, object]


def clone_server(layout: Layout, server_id: str, count: int, prefix: str = "clone-") -> list[str]:
    """Copy a server so many times, as PREFIX00000, PREFIX00001, ...; return the copies' ids.

    Raises LookupError if there is no such server.
    """
    ids = [str(uuid.uuid4()) for _ in range(count)]
    cell = sqlite3.connect(layout.databases / "nova_cell1.sqlite", timeout=SECONDS_FOR_LOCK)
    api = sqlite3.connect(layout.databases / "nova_api.sqlite", timeout=SECONDS_FOR_LOCK)
    with closing(cell), closing(api), cell, api:
        if not list(_read(cell, "instances", "uuid", server_id)):
            raise LookupError(f"nova in {layout.directory} has no server {server_id} to copy")
        _copy_instances(cell, server_id, ids, prefix)
        for table in TABLES:
            _copy(cell, table, "instance_uuid", server_id, ids)
        _copy(cell, "tags", "resource_id", server_id, ids)
        _copy(api, "instance_mappings", "instance_uuid", server_id, ids)
    return ids


def _copy_instances(cell: sqlite3.Connection, server_id: str, ids: list[str], prefix: str) -> None:
    for row in _read(cell, "instances", "uuid", server_id):
        names = [f"{prefix}{number:05d}" for number in range(len(ids))]
        copies = [
            row | {"uuid": one, "display_name": name, "hostname": name} for one, name in zip(ids, names, strict=True)
        ]
        _write(cell, "instances", copies)


def _copy(database: sqlite3.Connection, table: str, key: str, server_id: str, ids: list[str]) -> None:
    for row in _read(database, table, key, server_id):
        _write(database, table, [_renumber(row, number) | {key: one} for number, one in enumerate(ids)])


def _renumber(row: Row, number: int) -> Row:
    """Give a copy an address of its own."""
    address = f"10.0.{200 + number // 250}.{number % 250 + 2}"
    return {
        name: ADDRESS.sub(address, value) if name == "network_info" and isinstance(value, str) else value
        for name, value in row.items()
    }


def _read(database: sqlite3.Connection, table: str, key: str, server_id: str) -> Iterator[Row]:
    """Read a server's rows, without their number."""
    cursor = database.execute(f'select * from "{table}" where "{key}" = ?', (server_id,))  # noqa: S608 names of ours
    names = [column[0] for column in cursor.description]
    for values in cursor.fetchall():
        yield {name: value for name, value in zip(names, values, strict=True) if name != "id"}


def _write(database: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in rows[0])
    marks = ", ".join("?" for _ in rows[0])
    database.executemany(
        f'insert into "{table}" ({names}) values ({marks})',  # noqa: S608 names of ours
        [list(row.values()) for row in rows],
    )
