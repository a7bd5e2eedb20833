"""Nodes of another image under the same name teach nothing for certain; one like the next one is not asked twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ehoslite.booting import keys_of
from ehoslite.matching import (
    Matched,
    Wanted,
    what_is_told,
    what_to_learn,
    what_to_match,
    with_learned_size,
    with_matches,
)
from ehoslite.memory import Memory
from ehoslite.model import Flavor, World
from ehoslite.samples import Sample
from tests.unit.test_matching import MAYBE, OF_TODAY, shape
from tests.unit.worlds import NOW, decide, held, made, memory, remembered, server, slot, world

B = replace(OF_TODAY, made_of="image B")


def seen_on(today: Flavor, image: str) -> World:
    """A world in which nodes are made like `today`, and n1 is there, made of this image."""
    return world([replace(server("n1"), made_of=image)], [slot("n1")], [shape(1)], flavors=[today])


@pytest.mark.parametrize(
    ("image", "exact"), [("image A", False), ("image B", True), ("", True)], ids=["older", "same", "unknown"]
)
def test_a_node_of_another_image_under_the_same_name_is_not_of_today(image: str, exact: bool) -> None:
    past = memory(remembered("n1", recipe="today"))
    assert what_to_learn(seen_on(B, image), past) == (Wanted(keys_of(B)[0], "slot1@n1", "n1", exact, image),)
    assert what_to_learn(seen_on(OF_TODAY, image), past)[0].exact, "the cloud does not tell its image now"


def test_what_is_certain_of_an_older_image_is_replaced_and_of_todays_it_is_not() -> None:
    key, past = keys_of(B)[0], memory(remembered("n1", recipe="today"))
    for image, wanted in (("image A", True), ("image B", False), ("", False)):
        known = replace(past, samples={key: Sample(key, 1.0, "x", made_of=image)})
        assert bool(what_to_learn(seen_on(B, "image A"), known)) == wanted


def test_the_size_that_nodes_of_an_older_image_have_shown_is_not_that_of_a_new_one() -> None:
    key = keys_of(B)[0]
    for image, size in (("image A", 1000), ("image B", 900), ("", 900)):
        samples = {key: Sample(key, NOW, "", cpus=1, memory=900, disk=9000, made_of=image)}
        assert with_learned_size(B, samples).resources.memory == size


def trial(**changed: Any) -> tuple[World, Memory]:
    """A job of which nobody knows whether it runs on the flavor, of which n1 is there."""
    seen, past = seen_on(B, "image B"), memory(remembered("n1", recipe="today", joined=NOW - 100))
    seen = replace(seen, slots=tuple(replace(one, **changed) for one in seen.slots))
    asked = what_to_match(seen, past)
    assert asked is not None
    return with_matches(seen, asked, Matched({"slot1@n1": 0}, ((MAYBE,),), judged=1)), past


def test_while_a_node_is_there_that_does_not_tell_no_other_is_tried() -> None:
    """Else one would be made after the other, as long as the job waits."""
    decided = decide(*trial(accepts_jobs=False))
    assert made(decided) == {}
    assert held(decided) >= {"not-told"}
    assert any("another: here/small: clause" in hold.reason.text for hold in decided.held)


@pytest.mark.parametrize("changed", [{"draining": True}, {"state": "Drained"}, {"node": ""}])
def test_a_node_that_leaves_or_is_not_there_tells_nothing(changed: dict[str, Any]) -> None:
    seen, _ = trial(**changed)
    assert seen.demand.shapes[0].tries


def test_a_node_of_another_making_does_not_keep_from_trying() -> None:
    past = memory(remembered("n1", recipe="today"))
    assert what_is_told(seen_on(B, "image B"), past) == {keys_of(B)[0]}
    assert what_is_told(seen_on(B, "image A"), past) == frozenset()
    assert what_is_told(seen_on(B, "image B"), memory(remembered("n1", recipe="old"))) == frozenset()
