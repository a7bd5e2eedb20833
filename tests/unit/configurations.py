"""Configurations for the tests: a good one, one with any value anywhere, and what load says of them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehoslite import sampling
from ehoslite.config import load
from ehoslite.errors import FixConfiguration
from ehoslite.options import Option
from ehoslite.reading import Reader, Spot
from ehoslite.settings import CLOUD_TYPES, LocalCloudSettings, Settings
from ehoslite.yamlfile import compose

GOOD = """\
pool: demo
clouds:
  here:
    type: local
    directory: nodes
record:
  path: state.json
"""
# The names that clouds of each type have here.
NAMES: dict[type[Any], str] = {
    kind: "here" if kind is LocalCloudSettings else name for name, kind in CLOUD_TYPES.items()
}

WITHOUT_RECORD = GOOD.partition("record:")[0]


def load_text(file: Path, text: str | bytes, mode: int = 0o644) -> Settings:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return load(file)


def faults_of(file: Path, text: str | bytes, mode: int = 0o644) -> list[str]:
    """What load says of this text, with the file's name cut short."""
    with pytest.raises(FixConfiguration) as caught:
        load_text(file, text, mode)
    assert caught.value.exit_code == 2
    assert str(caught.value) == "\n".join(str(fault) for fault in caught.value.faults)
    return [str(fault).replace(str(file), "FILE") for fault in caught.value.faults]


def read_alone(file: Path, text: str) -> Settings:
    """The settings in this text, whatever the places that they name are like on this machine."""
    reader, document = Reader(file), compose(file, text)
    assert document is not None
    found = reader.read(document, Settings, Spot())
    assert [str(fault) for fault in reader.faults] == []
    assert isinstance(found, Settings)
    return found


def every_option(
    kind: type[Any] = Settings, path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], Any, Option]]:
    """The path, type and description of every option, in a cloud of each type (see NAMES) with one flavor."""
    for entry in fields(kind):
        inner = typing.get_type_hints(kind)[entry.name]
        place = (*path, entry.name)
        yield place, inner, entry.metadata["option"]
        for part, _ in sampling._parts(inner, ""):  # noqa: SLF001
            below = (0,) if typing.get_origin(inner) is tuple else (NAMES[part],) if part in NAMES else ()
            yield from every_option(part, (*place, *below))


def document_with(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """GOOD and a cloud of each further type, with this one value at this path."""
    document = yaml.safe_load(GOOD)
    for kind, name in NAMES.items():
        cloud = document["clouds"].setdefault(name, {"type": name})
        cloud["flavors"] = [{"name": "small"}]
        given = [entry.name for entry in fields(kind) if sampling.must_be_given(entry)]
        cloud.update({option: "x" for option in given if option != "flavors"})
    if path[:2] == ("scaling", "windows") and len(path) > 2:
        document["scaling"] = {"windows": [{"name": "night", "start": "0 20 * * *", "end": "0 6 * * *"}]}
    part = document
    for step in path[:-1]:
        part = part[step] if isinstance(part, list) else part.setdefault(step, {})
    part[path[-1]] = value
    return typing.cast("dict[str, Any]", document)
