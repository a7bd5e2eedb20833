"""What a pass sees: a cloud that leaves out servers which exist has not answered."""

from __future__ import annotations

from typing import Any

import pytest

from ehoslite.clouds import Cloud
from ehoslite.errors import CloudUnreachable
from ehoslite.memory import Intent, Memory
from ehoslite.model import CloudView, Flavor, Leftover, Room, Server
from ehoslite.nodes import remember
from ehoslite.observe import ASKED_AFTER, look_at_clouds, sizes_of_room
from ehoslite.resources import Resources
from tests.unit.worlds import LARGE, NOW, SMALL, remembered, server, settings, slot, world


class Listing:
    """A cloud that lists some servers, though others exist too; or that fails at the question for one."""

    name = "here"

    def __init__(self, listed: list[str], existing: list[str], fail: bool = False) -> None:
        self.listed, self.existing, self.fail = listed, existing, fail
        self.asked: list[str] = []

    def servers(self) -> tuple[Server, ...]:
        return tuple(server(node) for node in self.listed)

    def exists(self, server: str) -> bool:
        self.asked.append(server)
        if self.fail:
            raise CloudUnreachable("no answer", "timeout")
        return server in self.existing

    def flavors(self) -> tuple[Flavor, ...]:
        return (SMALL,)

    def room(self) -> Room:
        return Room()

    def leftovers(self) -> tuple[Leftover, ...]:
        return ()

    def remove(self, leftover: Leftover) -> None: ...

    def console(self, server: Server) -> str:
        return server.fault

    def create(self, node: str, flavor: str, user_data: str) -> str:
        return f"{node}{flavor}{user_data}"

    def delete(self, server: Server) -> None: ...


def seen_before(*nodes: str, **more: Any) -> Memory:
    return Memory({node: remembered(node, **{"server": f"id-{node}", **more}) for node in nodes})


def look(cloud: Cloud, memory: Memory) -> CloudView:
    (view,) = look_at_clouds([cloud], memory)
    return view


def test_a_whole_listing_asks_for_nothing_more() -> None:
    cloud = Listing(["n1", "n2"], [])
    assert (look(cloud, seen_before("n1")).fault, cloud.asked) == ("", [])


def test_what_is_gone_is_gone() -> None:
    cloud = Listing(["n1"], [])
    assert (look(cloud, seen_before("n1", "n2")).fault, cloud.asked) == ("", ["id-n2"])


def test_a_listing_that_leaves_out_what_exists_is_no_answer() -> None:
    view = look(Listing(["n1"], ["id-n2"]), seen_before("n1", "n2"))
    assert (view.servers, "its listing is not whole" in view.fault) == ((), True)


def test_a_question_that_fails_is_no_answer() -> None:
    assert look(Listing([], [], fail=True), seen_before("n1")).fault == "no answer"


@pytest.mark.parametrize("more", [{"server": ""}, {"flavor": Flavor("there", "small", SMALL.resources)}])
def test_servers_of_other_clouds_and_unknown_ones_are_not_asked_for(more: dict[str, Any]) -> None:
    cloud = Listing([], ["id-n1"])
    assert (look(cloud, seen_before("n1", **more)).fault, cloud.asked) == ("", [])


def test_a_bounded_number_is_asked_for() -> None:
    cloud = Listing([], [])
    look(cloud, seen_before(*(f"n{number}" for number in range(3 * ASKED_AFTER))))
    assert len(cloud.asked) == ASKED_AFTER


def test_a_server_that_was_never_listed_is_known_by_its_intent() -> None:
    """Its startd may speak while its cloud is silent; the next listing may leave it out."""
    past = Memory(intents={"n1": Intent("n1", "here", "small", NOW - 60, "id-n1")})
    past = remember(past, world(slots=[slot("n1")], fault="down"), settings())
    assert past.intents == {}
    node = past.nodes["n1"]
    assert (node.server, node.cloud, node.flavor, node.created_here) == ("id-n1", "here", "small", True)
    assert look(Listing([], ["id-n1"]), past).fault


def test_the_sizes_of_room_are_those_of_slots_and_of_nodes_to_come() -> None:
    sizes = [Resources(4, 4000, 100), Resources(4, 4000, 300), Resources(4, 4000, 200, 1)]
    slots = [slot(f"n{number}", total=size, free=Resources()) for number, size in enumerate(sizes)]
    slots.append(slot("n0", kind="Dynamic", total=Resources(2, 2000, 100)))
    assert set(sizes_of_room(world().clouds, slots, Memory())) == {SMALL.resources, LARGE.resources, *sizes[1:]}
