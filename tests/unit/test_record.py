"""What stands in a state file is used, or left out and said; looking changes nothing; the history has an end."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehoslite.errors import FixConfiguration, NotRecorded
from ehoslite.memory import Memory, Remembered
from ehoslite.options import Seconds
from ehoslite.record import FORMAT
from tests.unit.records import MEMORY, NOW, OTHER, PASS, opened, refuse, saved


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have started the log of the command line, which keeps messages to itself."""
    monkeypatch.setattr(logging.getLogger("ehoslite"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("ehoslite"), "handlers", [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.json"


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder, with modes, times and contents."""
    found = [folder, *folder.rglob("*")] if folder.exists() else []
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in found
    }


# Only looking


@pytest.mark.parametrize("content", [None, "good", b"", b"garbage", b"[]", b'{"format": {"1": {"version": 99}}}'])
def test_looking_writes_nothing(path: Path, content: bytes | str | None) -> None:
    if content is not None:
        good = saved(path)
        path.write_bytes(good if isinstance(content, str) else content)
    before = snapshot(path.parent.parent)
    record = opened(path, keep=False)
    assert record.memory() == (MEMORY if content == "good" else Memory())
    assert len(record.passes()) == (content == "good")
    record.save(OTHER, PASS, NOW)
    assert snapshot(path.parent.parent) == before


# Files that cannot be used

UNUSABLE: dict[str, bytes] = {
    "empty": b"",
    "blanks": b" \n",
    "null": b"null",
    "list": b"[]",
    "number": b"1",
    "zeros": b"\0" * 500,
    "not utf-8": b"\xff\xfe{}",
    "deep": b"[" * 100_000,
    "tables in a list": b'{"nodes": []}',
    "number for a document": b'{"nodes": {"1": 5}}',
    "text for a document": b'{"passes": {"1": "ab"}}',
    "null for a document": b'{"intents": {"1": null}}',
    "document without number": b'{"nodes": {"x": {}}}',
    "endless number": b'{"nodes": {"1": {"first_seen": %s}}}' % (b"9" * 5000),
    "newer": b'{"format": {"1": {"version": %d}}}' % (FORMAT + 1),
    "version of text": b'{"format": {"1": {"version": "1"}}}',
    "version of nothing": b'{"format": {"1": {"version": null}}}',
}


def check_set_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    caplog.clear()
    record = opened(path)
    assert (record.memory(), record.passes()) == (Memory(), [])
    aside = path.with_name("state.json.unusable-1000000")
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        f"the state file {path} is not used",
        f"it is kept as {aside}",
    ]
    assert {entry.name for entry in path.parent.iterdir()} == {aside.name}
    assert aside.read_bytes() == content


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_file_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    check_set_aside(path, UNUSABLE[name], caplog)
    opened(path).save(OTHER)
    assert opened(path).memory() == OTHER


def test_file_cut_anywhere_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = saved(path)
    for length in range(len(whole)):
        for entry in path.parent.iterdir():
            entry.unlink()
        check_set_aside(path, whole[:length], caplog)


def test_files_set_aside_within_a_second_are_all_kept(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        opened(path)
    assert {entry.read_bytes() for entry in path.parent.iterdir()} == {b"one", b"two", b"three"}


def test_file_that_cannot_be_set_aside_is_never_written_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage")
    with monkeypatch.context() as patch, pytest.raises(NotRecorded, match="cannot be set aside: No space left"):
        patch.setattr(Path, "replace", refuse)
        opened(path)
    assert path.read_bytes() == b"garbage"


def test_folder_in_place_of_the_file(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(FixConfiguration, match=r"record\.path: cannot be read: Is a directory"):
        opened(path)
    assert path.is_dir()


def test_file_of_others_is_not_set_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved(path)

    def deny(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(FixConfiguration, match="cannot be read: Permission denied"):
        patch.setattr(Path, "read_text", deny)
        opened(path)
    assert path.read_bytes() == before


# Entries that cannot be used


def write_tables(path: Path, **tables: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    documents = {name: {str(number): entry for number, entry in enumerate(rows, 1)} for name, rows in tables.items()}
    path.write_text(json.dumps(documents))


REMEMBERED = {"node": "n1", "cloud": "here", "flavor": "small", "first_seen": 5}


def test_older_file_is_read_without_what_is_unknown(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tables(path, nodes=[{**REMEMBERED, "color": "red"}], moons=[{"name": "Io"}])
    assert opened(path).memory().nodes == {"n1": Remembered("n1", "here", "small", 5)}
    assert caplog.messages == []


def test_older_sample_is_of_an_unknown_making(path: Path) -> None:
    write_tables(path, samples=[{"key": "here/small/r", "at": 5, "ad": "Cpus = 1", "exact": True, "cpus": 1}])
    (sample,) = opened(path).memory().samples.values()
    assert (sample.made_of, sample.tells_of("4d2f")) == ("", True)


@pytest.mark.parametrize(
    "change",
    [{"first_seen": "5"}, {"first_seen": None}, {"first_seen": -1}, {"first_seen": float("nan")}, {"heard": 10**400},
     {"joined": float("inf")}, {"heard": True}, {"node": 5}, {"node": None}, {"created_here": "yes"},
     {"created_here": 1}, {"flavor": ["small"]}],
)  # fmt: skip
def test_entry_of_wrong_types_is_left_out_and_said(
    path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    write_tables(path, nodes=[{**REMEMBERED, **change}, {**REMEMBERED, "node": "n2"}])
    assert list(opened(path).memory().nodes) == ["n2"]
    assert [message.partition("'")[0] for message in caplog.messages] == [
        "an entry of the state file is left out, for ["
    ]


@pytest.mark.parametrize("missing", REMEMBERED)
def test_entry_that_lacks_something_is_left_out_and_said(
    path: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    write_tables(path, nodes=[{name: value for name, value in REMEMBERED.items() if name != missing}])
    assert opened(path).memory() == Memory()
    assert f"is left out, for ['{missing}']" in caplog.messages[0]


@pytest.mark.parametrize(
    "change",
    [{"at": None}, {"at": "now"}, {"at": True}, {"at": float("nan")}, {"nodes": []}, {"nodes": {"idle": "x"}},
     {"actions": {}}, {"actions": ["drain"]}, {"actions": [{"verb": "drain"}]}],
)  # fmt: skip
def test_pass_that_makes_no_sense_is_left_out(path: Path, change: dict[str, Any]) -> None:
    write_tables(path, passes=[{**PASS, **change}, PASS])
    record = opened(path)
    assert record.passes() == [PASS]
    record.save(OTHER, PASS, NOW)
    assert opened(path).passes() == [PASS, PASS]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
entries = st.dictionaries(
    st.sampled_from(["node", "cloud", "flavor", "first_seen", "heard", "at", "nodes", "actions", "version", "x"]),
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2),
)
documents = st.dictionaries(
    st.sampled_from(["format", "nodes", "intents", "passes", "x"]),
    scalars | st.dictionaries(st.sampled_from(["1", "2", "02", "-1", "x"]), scalars | entries, max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary() | documents.map(json.dumps).map(str.encode))
def test_any_file_gives_a_memory_that_can_be_written(path: Path, content: bytes) -> None:
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(content)
    record = opened(path)
    memory = record.memory()
    record.save(memory, PASS, NOW)
    assert opened(path).memory() == memory
    assert opened(path).passes()[-1] == PASS


# The history


def test_history_is_kept_for_its_time(path: Path) -> None:
    for age in (101, 100, 50):
        opened(path).save(Memory(), {"at": NOW - age}, NOW - age)
    opened(path, retention=Seconds(100)).save(Memory(), {"at": NOW}, NOW)
    assert [NOW - entry["at"] for entry in opened(path).passes()] == [100, 50, 0]


def test_history_is_kept_to_its_length(path: Path) -> None:
    for number in range(5):
        opened(path, retention_passes=3).save(Memory(), {"at": NOW + number}, NOW)
    assert [entry["at"] - NOW for entry in opened(path).passes()] == [2, 3, 4]
