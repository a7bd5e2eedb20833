"""What the local cloud says of a server while its processes come and go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ehoslite.clouds.local import LocalCloud
from ehoslite.model import VmState
from ehoslite.options import Place
from ehoslite.settings import LocalCloudSettings


@pytest.mark.parametrize(
    ("pid", "age", "state"),
    [
        (None, 1, VmState.BOOTING),
        ("", 1, VmState.BOOTING),
        (None, 60, VmState.ERROR),
        ("", 60, VmState.ERROR),
        ("999999999", 1, VmState.STOPPED),
        ("our own", 1, VmState.BOOTING),
        ("our own", 60, VmState.STOPPED),
    ],
)
def test_a_server_whose_process_is_being_written_down_boots(
    tmp_path: Path, pid: str | None, age: float, state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in a race: a young server whose pid file or environment was empty for a moment counted as stopped, and was
    deleted. This test's process stands for one whose environment does not tell."""
    monkeypatch.setattr("time.time", lambda: 1000.0 + age)
    folder = tmp_path / "server"
    folder.mkdir()
    tags = {"pool": "lab", "node": "n1", "flavor": "small", "created": 1000.0, "cpus": 1, "memory_mb": 256}
    (folder / "server.json").write_text(json.dumps(tags))
    if pid is not None:
        (folder / "pid").write_text(str(os.getpid()) if pid == "our own" else pid)
    (server,) = LocalCloud("here", LocalCloudSettings(directory=Place(tmp_path)), "lab").servers()
    assert server.vm_state is state
