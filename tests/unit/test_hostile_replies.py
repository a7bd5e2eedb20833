"""Whatever a cloud replies, a pass goes on: the cloud counts as silent, or what makes sense of its answer is taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ehoslite import report
from ehoslite.actions import Pass
from ehoslite.clouds.openstack import OpenStack
from ehoslite.memory import Memory
from ehoslite.model import CloudView, World
from ehoslite.nodes import remember
from ehoslite.observe import look_at_clouds
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.settings import (
    FlavorChoice,
    OpenStackCloudSettings,
    RecordSettings,
    ScalingSettings,
    Settings,
)
from tests.unit.worlds import NOW, jobs, slot, world

NODE = "ehos-lab-0123abcd"
SERVER = {
    "id": "2f4fb5d0-7a1c-4c1e-8a3c-0f6f4f2f3c11",
    "name": NODE,
    "status": "ACTIVE",
    "tags": ["ehoslite-pool=lab", f"ehoslite-node={NODE}"],
    "metadata": {},
    "flavor": {"original_name": "small", "vcpus": 2, "ram": 4096, "disk": 20},
    "fault": {"message": "none"},
    "created": "2026-01-31T12:00:00Z",
    "updated": "2026-01-31T12:00:00Z",
    "OS-EXT-STS:task_state": None,
}
ABSOLUTE = {
    "maxTotalInstances": 10, "totalInstancesUsed": 1, "maxTotalCores": 40, "totalCoresUsed": 2,
    "maxTotalRAMSize": 100_000, "totalRAMUsed": 4096,
}  # fmt: skip
QUOTA = {"limit": 10, "used": 1, "reserved": 0}
REPLIES: dict[str, Any] = {
    "/": {"version": {"version": "2.96"}},
    "/flavors/detail": {"flavors": [{"id": "7", "name": "small", "vcpus": 2, "ram": 4096, "disk": 20}]},
    "/flavors/7/os-extra_specs": {"extra_specs": {"resources:VGPU": "1"}},
    "/servers/detail": {"servers": [SERVER, {**SERVER, "id": "other", "tags": []}], "servers_links": []},
    "/limits": {"limits": {"absolute": ABSOLUTE}},
    "/images": {"images": [{"id": "3c1e", "name": "worker", "created_at": "2026-01-01T00:00:00Z"}]},
    "/ports": {"ports": [{"id": "p1", "name": "ehos-lab-89abcdef", "device_id": ""}]},
    "/floatingips": {"floatingips": [{"id": "f1", "description": "ehos-lab-89abcdef", "port_id": None}]},
    "/quotas/project/details.json": {"quota": {"port": QUOTA, "floatingip": QUOTA}},
}
CLOUD = OpenStackCloudSettings(
    flavors=(FlavorChoice("small"),), image="worker", networks=("net",), floating_ip="public"
)
SETTINGS = Settings(
    pool="lab",
    clouds={"beta": CLOUD},
    scaling=ScalingSettings(nodes_max=5),
    record=RecordSettings(Place(Path("/nowhere"))),
)

hostile_texts = st.sampled_from(["\x1b[2J\x07", "a\nb", "\u202e", "x" * 100_000, "", "null", "-1", "1e999", NODE])
hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | hostile_texts
    | st.sampled_from([-(10**18), 10**400, 1e308, 5e-324, 10**15]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | hostile_texts, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


class Transport:
    """What lies beneath Calls: answers every request with these replies."""

    def __init__(self, replies: Mapping[str, bytes]) -> None:
        self.replies = replies

    def answer(self, _service: str, _verb: str, path: str, *_: Any) -> Any:
        content = self.replies[path.partition("?")[0]]

        def read(**hooks: Any) -> Any:
            return json.loads(content, **hooks)

        return SimpleNamespace(
            status_code=200, content=content, json=read, text=content.decode(errors="replace"), headers={}
        )


def see(replies: Mapping[str, bytes]) -> CloudView:
    """What a pass sees of a cloud that replies so."""
    cloud = OpenStack("beta", CLOUD, "lab", lambda: 60.0, sleep=lambda _: None)
    vars(cloud.calls).update(
        _answer=Transport(replies).answer, _connection=SimpleNamespace(current_project_id="project")
    )
    (view,) = look_at_clouds([cloud], Memory())
    return view


def encode(replies: Mapping[str, Any]) -> dict[str, bytes]:
    return {path: json.dumps(reply).encode() for path, reply in replies.items()}


def check_a_pass_over(view: CloudView) -> None:
    """Everything that follows the listing goes through, and nothing that is said has control characters."""
    seen: World = world(slots=[slot(NODE)], shapes=[jobs(3)])
    seen = World(NOW, (view,), seen.slots, seen.demand)
    memory = remember(Memory(), seen, SETTINGS)
    decided = plan(seen, memory, SETTINGS)
    done = Pass(seen, decided, ())
    json.dumps(report.as_data(done, SETTINGS, dry_run=True))
    json.dumps(report.entry(done))
    assert len(view.fault) < 2000
    assert sum(action.verb == "create" for action in decided.actions) <= 5


def test_the_replies_of_these_tests_make_sense() -> None:
    view = see(encode(REPLIES))
    assert (view.fault, [server.node for server in view.servers]) == ("", [NODE])
    assert (view.room.instances, len(view.leftovers)) == (9, 2)
    check_a_pass_over(view)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a reply."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


EVERYWHERE = [(path, *place) for path, reply in REPLIES.items() for place in places(reply)]


def put(replies: dict[str, Any], place: tuple[Any, ...], value: Any) -> None:
    *way, last = place
    part: Any = replies
    for step in way:
        part = part[step]
    part[last] = value


@given(place=st.sampled_from(EVERYWHERE), value=hostile)
@example(place=("/ports", "ports", 0, "name"), value=True)
@example(place=("/floatingips", "floatingips", 0, "description"), value=True)
def test_any_value_at_any_place_of_a_reply_is_survived(place: tuple[Any, ...], value: Any) -> None:
    replies = copy.deepcopy(REPLIES)
    put(replies, place, value)
    check_a_pass_over(see(encode(replies)))


@pytest.mark.parametrize("path", REPLIES)
@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b'{"servers":' * 50_000, b"\xff\xfe", b"nul", b"{}", b"[]", b'{"a": NaN}', b"x" * 10_000_000],
    ids=["empty", "deep-list", "deep-object", "no-text", "cut", "nothing", "list", "NaN", "10-MB"],
)
def test_any_reply_is_survived(path: str, content: bytes) -> None:
    view = see({**encode(REPLIES), path: content})
    check_a_pass_over(view)
    harmless = content == b"{}" and path in {"/", "/flavors/7/os-extra_specs"}
    harmless = harmless or path == "/images"  # then it is not known what a node is made of, and nothing is replaced
    assert bool(view.fault) or harmless or content == b""


@pytest.mark.parametrize(
    ("written", "cores"),
    [(b"NaN", None), (b"Infinity", None), (b"1" * 9999, None), (b"1e999", 10**9 - 2), (b"1" + b"0" * 400, 10**9 - 2),
     (b"-1e999", 10**9 - 2), (b"9223372036854775807", 10**9 - 2), (b"41", 39)],
    ids=["NaN", "Infinity", "9999 digits", "1e999", "10^400", "-1e999", "2^63-1", "41"],
)  # fmt: skip
def test_numbers_beyond_reckoning_are_no_limit_or_no_answer(written: bytes, cores: float | None) -> None:
    """Without a limit of the cloud's our own holds, of 10^9 cores."""
    replies = encode(REPLIES)
    replies["/limits"] = replies["/limits"].replace(b'"maxTotalCores": 40', b'"maxTotalCores": ' + written)
    view = see(replies)
    assert bool(view.fault) is (cores is None)
    assert cores is None or view.room.cores == cores


def test_pages_that_lead_to_themselves_end() -> None:
    replies = copy.deepcopy(REPLIES)
    link = {"rel": "next", "href": "http://nova/servers/detail?marker=1"}
    put(replies, ("/servers/detail", "servers_links"), [link])
    assert "leads back" in see(encode(replies)).fault


def test_hostile_duplicates_of_a_server_do_no_harm() -> None:
    replies = copy.deepcopy(REPLIES)
    put(replies, ("/servers/detail", "servers"), [SERVER] * 50)
    view = see(encode(replies))
    check_a_pass_over(view)
