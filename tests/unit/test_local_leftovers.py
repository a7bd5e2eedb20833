"""What a killed pass leaves on the local cloud's disk: found when it is old enough, ours alone, and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ehoslite.clouds import local
from ehoslite.clouds.local import LocalCloud
from ehoslite.model import VmState
from ehoslite.options import Place
from ehoslite.settings import LocalCloudSettings


@pytest.fixture
def cloud(tmp_path: Path) -> LocalCloud:
    return LocalCloud("here", LocalCloudSettings(Place(tmp_path)), "lab")


def leave(cloud: LocalCloud, name: str, **tags: str) -> None:
    folder = cloud.directory / name
    folder.mkdir()
    (folder / "user_data").write_text("a token")
    if tags:
        (folder / "server.json").write_text(json.dumps(tags))


@pytest.mark.parametrize("name", [".new-1", ".gone-1"])
@pytest.mark.parametrize("tags", [{}, {"pool": "lab", "node": "ehos-lab-1"}], ids=["without tags", "with tags"])
def test_half_a_server_is_swept(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, name: str, tags: dict[str, str]
) -> None:
    leave(cloud, name, **tags)
    assert cloud.leftovers() == (), "a creation or a deletion may be at work"
    monkeypatch.setattr(local, "STARTING", -1.0)
    (found,) = cloud.leftovers()
    assert (found.id, found.node, found.in_use) == (name, tags.get("node", ""), False)
    assert cloud.servers() == ()
    cloud.remove(found)
    cloud.remove(found)
    assert cloud.leftovers() == ()


def test_what_is_no_half_of_ours_is_left_alone(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STARTING", -1.0)
    leave(cloud, ".gone-2", pool="lab-2", node="ehos-lab-2-1")
    leave(cloud, "3", pool="lab", node="ehos-lab-3")
    (cloud.directory / ".lock").touch()
    assert cloud.leftovers() == ()


def test_a_server_whose_process_cannot_be_started_is_in_error(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an image that no host can boot: a pass replaces it, and counts it as a failed boot."""
    monkeypatch.setattr(local, "find_prefix", lambda: Path("/usr"))
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    cloud.create("ehos-lab-1", "small", "")
    (server,) = cloud.servers()
    assert server.vm_state is VmState.ERROR
    assert "could not be started: No such file" in server.fault
