"""What boots where its flavor is not told now (its cloud is silent, or it is configured no more) holds its jobs all the
same: else one unanswered look at a cloud would make all its booting nodes again in the next one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ehoslite.memory import Intent, KnownFlavor, Memory
from ehoslite.model import CloudView, Flavor, Room, VmState, World
from ehoslite.nodes import remember
from ehoslite.plan import plan
from ehoslite.resources import Resources
from tests.unit.records import opened
from tests.unit.worlds import (
    LARGE,
    NOW,
    SMALL,
    acts,
    held,
    jobs,
    made,
    memory,
    remembered,
    server,
    settings,
    slot,
    world,
)

OURS = replace(LARGE, cloud="there", quota_memory=9000, quota_cpus=9)
KNOWN = {"there/large": KnownFlavor.of(OURS)}
NODE = memory(remembered("n1", age=60, flavor=OURS, listed=NOW - 60))
INTENT = Memory(intents={"n1": Intent("n1", "there", "large", NOW - 60)})
LISTED = server("n1", VmState.BOOTING, OURS)

SILENT = CloudView("there", fault="timeout")
RENAMED = CloudView("there", (replace(OURS, name="larger"),), (LISTED,))
LOOKS: dict[str, tuple[CloudView, Memory]] = {
    "a node of a silent cloud": (SILENT, NODE),
    "an intent in a silent cloud": (SILENT, INTENT),
    "a listed node of a flavor that is configured no more": (RENAMED, NODE),
    "an intent of a flavor that is configured no more": (replace(RENAMED, servers=()), INTENT),
}


def seen_beside(other: CloudView, waiting: int, **more: float) -> World:
    first = world(shapes=[jobs(waiting, **more)], flavors=[SMALL])
    return replace(first, clouds=(*first.clouds, other))


@pytest.mark.parametrize("case", LOOKS)
def test_what_boots_of_a_flavor_that_is_not_offered_now_holds_its_jobs_and_no_more(case: str) -> None:
    other, past = LOOKS[case]
    other = replace(other, room=Room(0, 0, 0))
    past = replace(past, flavors=KNOWN)
    decided = plan(seen_beside(other, 8), past, settings())
    assert acts(decided) == []
    assert "waits-for-boot" in held(decided)
    assert made(plan(seen_beside(other, 9), past, settings())) == {"small": 1}


@pytest.mark.parametrize("more", [{"gpus": 1}, {"disk": 80_001}, {"memory": 8001}])
def test_it_holds_none_that_do_not_fit_there(more: dict[str, float]) -> None:
    decided = plan(seen_beside(SILENT, 1, **more), replace(NODE, flavors=KNOWN), settings())
    assert "waits-for-boot" not in held(decided)


@pytest.mark.parametrize("flavors", [{}, {"there/large": KnownFlavor("there/large", 8, 8000, 0)}], ids=["none", "old"])
@pytest.mark.parametrize("case", LOOKS)
def test_what_boots_and_is_of_no_known_size_holds_all_jobs_until_it_is_given_up(
    case: str, flavors: dict[str, KnownFlavor]
) -> None:
    other, past = LOOKS[case]
    other, seen = replace(other, room=Room(0, 0, 0)), replace(past, flavors=flavors)
    assert acts(plan(seen_beside(other, 99), seen, settings(nodes_max=1000))) == []
    late = settings(nodes_max=1000, boot_timeout=50)
    assert made(plan(seen_beside(other, 99), seen, late)).get("small", 0) == 99


def test_what_is_of_no_known_size_is_no_reserve() -> None:
    seen = replace(seen_beside(SILENT, 0), slots=(slot("n2", flavor=LARGE),))
    here = replace(seen.clouds[0], flavors=(LARGE,), servers=(server("n2", flavor=LARGE),))
    seen = replace(seen, clouds=(here, SILENT), demand=replace(seen.demand, shapes=()))
    decided = plan(seen, NODE, settings(reserve_cores=8))
    assert (acts(decided), held(decided)) == ([], {"cloud-silent", "kept"})


def test_a_size_is_remembered_for_as_long_as_a_node_of_it_boots_in_a_silent_cloud() -> None:
    first = replace(seen_beside(SILENT, 8), clouds=(CloudView("there", (OURS,), (LISTED,)),))
    past = remember(Memory(), first, settings())
    for minute in 1, 2, 3:
        silent = replace(seen_beside(SILENT, 8), now=NOW + 60 * minute)
        past = remember(past, silent, settings())
        assert acts(plan(silent, past, settings())) == []
    assert past.flavors["there/large"].resources == OURS.resources


def test_a_size_comes_back_from_the_state_file_and_an_older_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    gpus = KnownFlavor.of(Flavor("there", "gpu", Resources(4, 4000, 40_000, 2), 9.0))
    opened(path).save(Memory(flavors={gpus.key: gpus}))
    assert opened(path).memory().flavors == {"there/gpu": gpus}
    stored = json.loads(path.read_text())
    stored["flavors"] = {"1": {"key": "there/gpu", "cores": 4, "memory": 4000, "price": 9.0}}
    path.write_text(json.dumps(stored))
    assert opened(path).memory().flavors == {"there/gpu": KnownFlavor("there/gpu", 4, 4000, 9.0)}


def test_a_node_that_has_joined_offers_what_its_ads_say() -> None:
    """Its cloud's silence and its flavor's size are of no matter then."""
    seen = seen_beside(SILENT, 2)
    free = slot("n1", flavor=OURS, cloud="there", free=Resources(1, 1000, 10_000))
    decided = plan(replace(seen, slots=(free,)), replace(NODE, flavors=KNOWN), settings())
    assert made(decided) == {"small": 1}
