"""Anything at all in a configuration ends in settings or in faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehoslite.config import load
from ehoslite.errors import FixConfiguration
from ehoslite.settings import Settings
from tests.unit.configurations import document_with, every_option

OPTIONS = list(every_option())

names = st.sampled_from(sorted({str(step) for path, _, _ in OPTIONS for step in path})) | st.text(max_size=5)
words = st.sampled_from(["local", "5m", "2 GB", "create", "execute.yaml", "/dev/null"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test writes its configuration."""
    return tmp_path / "ehos.yaml"


def load_anything(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    try:
        assert isinstance(load(file), Settings)
    except FixConfiguration as error:
        assert error.faults
        assert all(fault.what and fault.where for fault in error.faults)


@fuzz
@given(data=st.binary() | st.text().map(str.encode) | st.text("[]{}:,-&*!|>'\"%@?<~ \n\tab").map(str.encode))
def test_any_text_gives_settings_or_faults(file: Path, data: bytes) -> None:
    load_anything(file, data)


@fuzz
@given(document=st.dictionaries(names, values, max_size=6))
def test_any_document_gives_settings_or_faults(file: Path, document: Any) -> None:
    load_anything(file, yaml.safe_dump(document).encode())


@fuzz
@given(path=st.sampled_from([path for path, _, _ in OPTIONS]), value=values)
def test_any_value_of_an_option_gives_settings_or_faults(file: Path, path: tuple[Any, ...], value: Any) -> None:
    load_anything(file, yaml.safe_dump(document_with(path, value)).encode())
