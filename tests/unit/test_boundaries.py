"""The list of effects at which whole passes are killed: none is left out of every scenario."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults.boundaries import local, openstack
from faults.boundaries.effects import EFFECTS
from faults.boundaries.killing import let_go_of_locks


def test_every_effect_is_met_in_some_scenario() -> None:
    met = {one.effect for one in (*local.boundaries(), *openstack.boundaries())}
    assert met == set(EFFECTS)


def test_every_scenario_has_an_effect() -> None:
    assert {one.scenario for one in local.boundaries()} == set(local.SCENARIOS)
    assert {one.scenario for one in openstack.boundaries()} == set(openstack.SCENARIOS)


@pytest.mark.parametrize("name", [".lock", "state.json.lock"])
def test_who_comes_late_holds_no_lock_of_the_dead(tmp_path: Path, name: str) -> None:
    lock, other = (os.open(tmp_path / file, os.O_CREAT) for file in (name, "other"))
    let_go_of_locks()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lock)
    os.close(other)
