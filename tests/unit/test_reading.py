"""Values are read by the types of their options; what is of another type is a fault, at every option."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehoslite.options import Megabytes, Option, Seconds
from ehoslite.reading import Spot, megabytes, seconds
from ehoslite.settings import FlavorSettings
from tests.unit.configurations import WITHOUT_RECORD, document_with, every_option, faults_of, read_alone

OPTIONS = list(every_option())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test writes its configuration."""
    return tmp_path / "ehos.yaml"


@pytest.mark.parametrize(("path", "kind", "known"), OPTIONS, ids=[".".join(map(str, path)) for path, _, _ in OPTIONS])
def test_wrong_types_are_faults_at_every_option(file: Path, path: tuple[Any, ...], kind: Any, known: Option) -> None:
    wrong: list[Any] = [[[1]], "\u0007"]
    if typing.get_origin(kind) is Mapping and int in typing.get_args(kind):
        wrong += [5, True, "text", [1], {"a": "many"}, {"a": True}, {"a": 0.5}]
        wrong += [{"a": known.at_least - 1}] if known.at_least is not None else []
    elif "int" in str(kind) or "float" in str(kind) or kind in {Seconds, Megabytes}:
        wrong += [True, "many", float("nan"), float("inf"), 10**400, {"a": 1}]
        wrong += [known.at_least - 1] if known.at_least is not None else []
    elif is_dataclass(kind) or typing.get_origin(kind) is Mapping:
        wrong += [5, True, "text", [1]]
    else:
        wrong += [{"a": 1}]
    where = re.escape(str(Spot(path[:1]) if len(path) == 1 else ".".join(map(str, path)).replace(".0.", "[0].")))
    for value in wrong:
        text = yaml.safe_dump(document_with(path, value), sort_keys=False)
        said = faults_of(file, text, 0o600)
        assert any(re.match(rf"FILE:\d+: {where}[^:]*: must be ", line) for line in said), (value, said)


@pytest.mark.parametrize("section", ["condor", "scaling", "record"])
def test_empty_section_means_the_defaults(file: Path, section: str) -> None:
    assert getattr(read_alone(file, f"{WITHOUT_RECORD}{section}:\n"), section) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [("300", 300), ("0", 0), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400), ("1.5h", 5400), (" 2 d ", 172800),
     ("1w", 604800), ("0.5", 0.5), ("-1", -1), ("5 parsecs", None), ("m", None), ("", None), ("1h 30", None),
     ("-5m", None), ("nan", None), ("inf", None), ("1e3", None)],
)  # fmt: skip
def test_seconds(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("2048", 2048), ("2 GB", 2048), ("2gb", 2048), ("1.5TB", 1572864), ("64 M", 64), ("-1 GB", -1024), ("2 kB", None),
     ("GB", None), ("", None), ("nan", None)],
)  # fmt: skip
def test_megabytes(text: str, value: int | None) -> None:
    assert megabytes(text) == value


def test_names_of_flavors_are_enough_for_openstack(file: Path) -> None:
    text = "pool: demo\nclouds:\n  far: {type: openstack, image: i, flavors: [m1.small, {name: m1.large, price: 2}]}\n"
    flavors = read_alone(file, text).clouds["far"].flavors
    assert [(flavor.name, flavor.price) for flavor in flavors] == [("m1.small", 0), ("m1.large", 2)]


def test_aliases_work(file: Path) -> None:
    flavors = "flavors: &sizes [{name: tiny, memory: 512 MB}]"
    text = f"pool: demo\nclouds:\n  a: {{type: local, directory: a, {flavors}}}\n"
    found = read_alone(file, f"{text}  b: {{type: local, directory: b, flavors: *sizes}}\n")
    assert [cloud.flavors for cloud in found.clouds.values()] == [(FlavorSettings("tiny", memory=Megabytes(512)),)] * 2
