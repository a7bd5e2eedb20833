"""Turns YAML nodes into the dataclasses of settings.py, by their types, collecting every fault on the way."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml

from ehoslite.errors import Fault
from ehoslite.options import Megabytes, Option, Place, Seconds
from ehoslite.settings import CLOUD_TYPES, CloudSettings, FlavorChoice
from ehoslite.yamlfile import has_control

UNREADABLE = object()

# A mapping or list beyond this is a mistake; so many faults are enough to search hints for.
MOST_ENTRIES = 1000
MOST_HINTS = 100

# What is too much for any option of a type. Seconds end where the 32 bits of HTCondor's integers do (68 years).
MOST: Mapping[Any, float] = {Seconds: 2**31 - 1, Megabytes: 10**12, int: 10**9, float: 1e12}

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "mb": 1, "m": 1, "gb": 1024, "g": 1024, "tb": 1048576, "t": 1048576}
_YAML = "tag:yaml.org,2002:"
_TAGS = {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"}


class Spot(tuple[str, ...]):
    """A path in the document; prints as clouds.here.flavors[0].cpus."""

    def __truediv__(self, part: str | int) -> Spot:
        return Spot((*self, f"[{part}]" if isinstance(part, int) else part))

    def __str__(self) -> str:
        parts = [part if part.isprintable() and len(part) <= 64 else repr(part[:64]) for part in self]
        return ".".join(parts).replace(".[", "[")


class Reader:
    """Reads one document. `faults` fills as it goes; `good` holds what could be read, by its spot, so that options can
    be judged together even when others are wrong; `secrets_seen` names the secret options that were given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.absolute().parent
        self.faults: list[Fault] = []
        self.good: dict[Spot, Any] = {}
        self.lines: dict[Spot, int] = {}
        self.secrets_seen: list[str] = []

    def fault(self, node: yaml.Node, spot: Spot, what: str) -> object:
        """Note a fault at this node; gives the value that stands for "could not be read"."""
        self.faults.append(Fault(f"{self.path}:{node.start_mark.line + 1}", str(spot), what))
        return UNREADABLE

    def fault_at(self, spot: Spot, what: str) -> Fault:
        """A fault at this spot; its line is that of the next spot above when it is not in the file."""
        given = next((known for end in range(len(spot), -1, -1) if (known := Spot(spot[:end])) in self.lines), None)
        where = f"{self.path}:{self.lines[given]}" if given is not None else str(self.path)
        return Fault(where, str(spot), what)

    def read(self, node: yaml.Node, kind: Any, spot: Spot, known: Option | None = None) -> Any:
        """The node as a value of this type, or UNREADABLE after noting what is wrong."""
        self.lines.setdefault(spot, node.start_mark.line + 1)
        if node.tag.removeprefix(_YAML) not in _TAGS:
            return self.fault(node, spot, f"the YAML tag {node.tag[:60]!r} means nothing here")
        value = self._read(node, kind, spot, known or Option(""))
        if value is not UNREADABLE:
            self.good[spot] = value
        return value

    def _read(self, node: yaml.Node, kind: Any, spot: Spot, known: Option) -> Any:
        origin = typing.get_origin(kind)
        if kind == CloudSettings:
            return self._cloud(node, spot)
        if is_dataclass(kind) and isinstance(kind, type):
            return self._section(node, kind, spot)
        if origin in (typing.Union, types.UnionType):
            wanted = next(part for part in typing.get_args(kind) if part is not type(None))
            return None if _is_null(node) else self._read(node, wanted, spot, known)
        if origin is Literal:
            return self._one_of(node, typing.get_args(kind), spot)
        if origin is tuple:
            part = typing.get_args(kind)[0]
            return () if _is_null(node) and is_dataclass(part) else self._list(node, part, spot)
        if origin in (Mapping, dict):
            return self._mapping(node, typing.get_args(kind)[1], spot, known)
        return self._scalar(node, kind, spot, known)

    def _pairs(
        self, node: yaml.Node, spot: Spot, what: str, known: Option | None = None
    ) -> list[tuple[str, yaml.Node, yaml.Node]] | None:
        """The names with their own nodes and their values', or None after noting that there are none to read."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, spot, f"must be a mapping of {what}, not {_describe(node, known)}")
            return None
        if len(node.value) > MOST_ENTRIES:
            self.fault(node, spot, f"has more than {MOST_ENTRIES} {what}")
            return None
        pairs: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = _plain(key)
            if name is None or key.tag == f"{_YAML}merge":
                what = "merge keys (<<) are not read here, aliases are" if name else f"is no name but {_describe(key)}"
                self.fault(key, spot / (name or "?"), what)
                continue
            if name in pairs:
                self.fault(key, spot / name, "is given twice")
            pairs[name] = (name, key, value)
        return list(pairs.values())

    def _section(self, node: yaml.Node, kind: type[Any], spot: Spot) -> Any:
        if kind is FlavorChoice and isinstance(node, yaml.ScalarNode) and not _is_null(node):
            pairs: list[tuple[str, yaml.Node, yaml.Node]] | None = [("name", node, node)]
        else:
            pairs = [] if _is_null(node) and spot else self._pairs(node, spot, "options")
        if pairs is None:
            return UNREADABLE
        hints = typing.get_type_hints(kind)
        known = {entry.name: entry for entry in fields(kind)}
        values: dict[str, Any] = {}
        for name, key, value in pairs:
            if name not in known:
                self.fault(key, spot / name, _unknown(name, list(known), len(self.faults) < MOST_HINTS))
                continue
            choice: Option = known[name].metadata["option"]
            if choice.secret and not _is_empty(value):
                self.secrets_seen.append(str(spot / name))
            values[name] = self.read(value, hints[name], spot / name, choice)
        for entry in known.values():
            if entry.name not in values and isinstance(entry.default, Path):
                values[entry.name] = self.folder / entry.default
            elif entry.name not in values and entry.default is MISSING and entry.default_factory is MISSING:
                values[entry.name] = self.fault(node, spot / entry.name, f"is missing: {entry.metadata['option'].help}")
        return UNREADABLE if UNREADABLE in values.values() else kind(**values)

    def _cloud(self, node: yaml.Node, spot: Spot) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self.fault(node, spot, f"must be a mapping of options, not {_describe(node)}")
        given = next((value for key, value in node.value if _plain(key) == "type"), None)
        kind = CLOUD_TYPES.get(_plain(given) or "") if given is not None else None
        if kind is None:
            return self.fault(given or node, spot / "type", f"must be one of {', '.join(CLOUD_TYPES)}")
        return self._section(node, kind, spot)

    def _list(self, node: yaml.Node, kind: Any, spot: Spot) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.fault(node, spot, f"must be a list, not {_describe(node)}")
        if len(node.value) > MOST_ENTRIES:
            return self.fault(node, spot, f"has more than {MOST_ENTRIES} entries")
        values = tuple(self.read(part, kind, spot / index) for index, part in enumerate(node.value))
        return UNREADABLE if UNREADABLE in values else values

    def _mapping(self, node: yaml.Node, kind: Any, spot: Spot, known: Option) -> Any:
        pairs = self._pairs(node, spot, "names", known)
        if pairs is None:
            return UNREADABLE
        values = {}
        for name, key, value in pairs:
            values[name] = self.read(value, kind, spot / name, known)
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
                values[name] = self.fault(key, spot / name, "a name is 1 to 64 letters, digits, '_', '-' or '.'")
        return UNREADABLE if UNREADABLE in values.values() else values

    def _one_of(self, node: yaml.Node, allowed: tuple[str, ...], spot: Spot) -> Any:
        value = _plain(node)
        wanted = f"must be one of {', '.join(allowed)}, not {_describe(node)}"
        return value if value in allowed else self.fault(node, spot, wanted)

    def _scalar(self, node: yaml.Node, kind: Any, spot: Spot, known: Option) -> Any:
        read, what = {
            Seconds: (seconds, "a time such as 300, 5m or 1h 30m"),
            Megabytes: (megabytes, "an amount such as 2048 (MB) or 2 GB"),
            Place: (self._place, "a path"),
            bool: (_bool, "true or false"),
            int: (_int, "a whole number"),
            float: (_float, "a number"),
            str: (_str, "text"),
        }[kind]
        value = read(node.value) if isinstance(node, yaml.ScalarNode) and not _is_null(node) else None
        much = isinstance(value, int | float) and value > MOST.get(kind, float("inf"))
        if value is not None and not much and _allowed(value, known):
            return value
        end = ": that is too much" if much else ""
        return self.fault(node, spot, f"must be {what}{_limits(known)}, not {_describe(node, known)}{end}")

    def _place(self, text: str) -> Path | None:
        """Relative paths start from the configuration's folder: a pass has no working directory to speak of."""
        if not text or has_control(text):
            return None
        try:
            return (self.folder / Path(text).expanduser()).absolute()
        except RuntimeError:  # ~nobody-of-this-name
            return None


def seconds(text: str) -> Seconds | None:
    """300, 5m, 1h 30m and the like; None if it is none of these."""
    if re.fullmatch(r"-?\d+(\.\d+)?", text.strip()):
        return Seconds(float(text))
    if not re.fullmatch(r"(\s*\d+(\.\d+)?\s*[smhdw])+\s*", text):
        return None
    return Seconds(sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)\s*([smhdw])", text)))


def megabytes(text: str) -> Megabytes | None:
    """2048, 2 GB, 1.5TB and the like; None if it is none of these."""
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _SIZES:
        return None
    return Megabytes(int(min(float(match[1]) * _SIZES[match[2]], 2 * MOST[Megabytes])))


def _bool(text: str) -> bool | None:
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower())


def _int(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,100}", text) else None


def _float(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None


def _str(text: str) -> str | None:
    return None if has_control(text) else text


def _allowed(value: Any, known: Option) -> bool:
    if known.pattern and not re.fullmatch(known.pattern, str(value)):
        return False
    low = known.at_least is None or value >= known.at_least
    return low and (known.at_most is None or value <= known.at_most)


def _limits(known: Option) -> str:
    parts = [known.pattern_help] if known.pattern_help else []
    parts += [f"at least {known.at_least:g}"] if known.at_least is not None else []
    parts += [f"at most {known.at_most:g}"] if known.at_most is not None else []
    return f", {' and '.join(parts)}" if parts else ""


def _plain(node: yaml.Node) -> str | None:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_YAML}null"


def _is_empty(node: yaml.Node) -> bool:
    return _is_null(node) or not node.value


def _describe(node: yaml.Node, known: Option | None = None) -> str:
    """What stands at this node; a secret is not repeated."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if _is_null(node):
        return "nothing"
    return "what is given" if known is not None and known.secret else f"{str(node.value)[:60]!r}"


def _unknown(name: str, known: list[str], hinted: bool) -> str:
    near = get_close_matches(name, known, 1) if hinted else []
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no such option{hint} (known here: {', '.join(sorted(known))})"
