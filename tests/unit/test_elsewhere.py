"""What is planned for other clouds when creations have failed in this pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ehoslite.actions import Create, Outcome, Plan, Reason
from ehoslite.memory import Memory
from ehoslite.model import CloudView, Flavor, Room, World
from ehoslite.plan import plan_elsewhere
from tests.unit.worlds import SMALL, jobs, settings, world

ALPHA, BETA = replace(SMALL, cloud="alpha"), replace(SMALL, cloud="beta")


def two_clouds() -> World:
    """Room in both, and jobs that want a node."""
    views = (CloudView("alpha", (ALPHA,), (), Room()), CloudView("beta", (BETA,), (), Room()))
    return replace(world(shapes=[jobs(1)]), clouds=views)


def outcome(flavor: Flavor, *, certain: bool, fault: str = "") -> Outcome:
    """A creation that failed."""
    return Outcome(Create(flavor, Reason("demand", "jobs")), "n1", "it failed", certain=certain, fault=fault)


def elsewhere(*outcomes: Outcome) -> list[str]:
    """The clouds in which more is then planned."""
    decided = plan_elsewhere(two_clouds(), Memory(), settings(), outcomes)
    return [action.flavor.cloud for action in decided.actions if isinstance(action, Create)]


@pytest.mark.parametrize("fault", ["quota", "bad-request", "misconfigured", ""])
def test_the_next_cloud_takes_over_whatever_has_failed(fault: str) -> None:
    assert elsewhere(outcome(ALPHA, certain=True, fault=fault)) == ["beta"]


@pytest.mark.parametrize("fault", ["quota", ""])
def test_it_ends_when_creations_have_failed_in_all(fault: str) -> None:
    assert elsewhere(outcome(ALPHA, certain=True, fault="quota"), outcome(BETA, certain=True, fault=fault)) == []


def test_an_unclear_creation_is_not_made_elsewhere() -> None:
    unclear = outcome(ALPHA, certain=False, fault="unclear")
    assert plan_elsewhere(two_clouds(), Memory(), settings(), [unclear]) == Plan()
