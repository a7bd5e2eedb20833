"""How the lab finds or makes its HTCondor, once, and what it says when it cannot."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ehoslite.clouds.release import describe
from lab import release
from lab.release import LabError, find_or_build

pytestmark = pytest.mark.real


def test_tree_is_built_once_and_rebuilt_if_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    meeting = threading.Barrier(2)

    def build(tree: Path, *_: object) -> None:
        built.append(tree)
        assert not release.is_complete(tree)
        # Time for a second builder to come in, if the lock lets it.
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)
        tree.mkdir(exist_ok=True)
        (tree / release.COMPLETE_MARK).write_text(release.complete_text(tree))

    monkeypatch.setenv("EHOSLITE_LAB_HTCONDOR", "build")
    monkeypatch.setattr(release, "build", build)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(find_or_build, [tmp_path / "first"] * 4))
    assert len(found) == len(built) == 1
    # A moved tree holds the old place's paths.
    (tmp_path / "first").rename(tmp_path / "second")
    assert find_or_build(tmp_path / "second") not in found
    (built[1] / release.COMPLETE_MARK).unlink()
    find_or_build(tmp_path / "second")
    assert len(built) == 3


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHOSLITE_LAB_HTCONDOR", "build")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"needs apt-get.* install"):
        find_or_build(tmp_path / "cache")


@pytest.mark.parametrize(
    ("version", "usable"), [("8.9.11", False), ("9.0.1", False), ("23.0.1", True), ("25.1.0", True)]
)
def test_installed_release_is_used_unless_too_old(tmp_path: Path, version: str, usable: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "condor_version"
    program.write_text(f"#!/bin/sh\necho '$CondorVersion: {version} 2024-01-01 $'\n")
    program.chmod(0o755)
    found = release.find_installed(str(tmp_path / "sbin" / "condor_master"))
    assert (found is not None) == usable


def test_program_is_found_in_either_folder_or_named_as_missing(tmp_path: Path) -> None:
    for name in ("bin/condor_q", "sbin/condor_master"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = describe(tmp_path)
    assert found.program("condor_q") == tmp_path / "bin/condor_q"
    assert found.program("condor_master") == tmp_path / "sbin/condor_master"
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} has no program condor_qq"):
        found.program("condor_qq")
