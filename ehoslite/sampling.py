"""Prints the sample configuration and the table of options from settings.py, the one place where they stand."""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from ehoslite.settings import CLOUD_TYPES, CloudSettings, Megabytes, Option, Seconds, Settings


def sample() -> str:
    """A commented configuration, valid as printed: what must be given stands, the rest shows its default."""
    head = (
        "# ehoslite's configuration. What is commented out shows the default.\n"
        "# Times may be written 300, 5m or 1h 30m; memory and disk 2048 (MB) or 2 GB.\n"
    )
    return head + "\n".join(_section(Settings, "")) + "\n"


def _section(kind: type[Any], indent: str) -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    for entry in fields(kind):
        known: Option = entry.metadata["option"]
        yield ""
        yield from textwrap.wrap(known.help, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        yield from _entry(entry, hints[entry.name], known, indent)


def _entry(entry: dataclasses.Field[Any], kind: Any, known: Option, indent: str) -> Iterator[str]:
    if is_dataclass(kind) and isinstance(kind, type):
        yield f"{indent}{entry.name}:"
        yield from _section(kind, indent + "  ")
    elif typing.get_origin(kind) is Mapping and typing.get_args(kind)[1] == CloudSettings:
        yield f"{indent}{entry.name}:"
        yield f"{indent}  {known.sample}:"
        yield from _section(CLOUD_TYPES["local"], indent + "    ")
    elif typing.get_origin(kind) is tuple and is_dataclass(typing.get_args(kind)[0]):
        yield f"{indent}{entry.name}:"
        yield from _first_of_list(typing.get_args(kind)[0], indent + "  ")
    else:
        given = entry.default is MISSING and entry.default_factory is MISSING
        value = known.shown or (known.sample if given or entry.default is None else default_of(entry))
        line = f"{entry.name}: {written(value, kind)}"
        yield indent + (line if given or entry.name == "type" else f"# {line}")


def _first_of_list(kind: Any, indent: str) -> Iterator[str]:
    lines = [line[len(indent) + 2 :] for line in _section(kind, indent + "  ") if line]
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    order = [lines[first], *lines[:first], *lines[first + 1 :]]
    for index, line in enumerate(order):
        yield f"{indent}{'- ' if index == 0 else '  '}{line}"


def default_of(entry: dataclasses.Field[Any]) -> Any:
    """The default, made where it comes from a factory."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def written(value: Any, kind: Any = None) -> str:
    """A value as it would be written in the file."""
    if kind is Seconds:
        return duration(float(value))
    if kind is Megabytes:
        return f"{value} MB" if value % 1024 else f"{value // 1024} GB"
    if isinstance(value, Path):
        return str(value)
    if value is None or value == "":
        return '""' if value == "" else ""
    if isinstance(value, Mapping):
        return "{}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(value: float) -> str:
    """Seconds as people write them."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if value and value % length == 0:
            return f"{value / length:g}{unit}"
    return f"{value:g}s"
