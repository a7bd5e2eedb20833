"""The list of effects at which whole passes are killed: none is left out of every scenario."""

from __future__ import annotations

from faults.boundaries import local, openstack
from faults.boundaries.effects import EFFECTS


def test_every_effect_is_met_in_some_scenario() -> None:
    met = {one.effect for one in (*local.boundaries(), *openstack.boundaries())}
    assert met == set(EFFECTS)


def test_every_scenario_has_an_effect() -> None:
    assert {one.scenario for one in local.boundaries()} == set(local.SCENARIOS)
    assert {one.scenario for one in openstack.boundaries()} == set(openstack.SCENARIOS)
