"""Ads become slots and demand, whatever stands in them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehoslite.ads import GROUP_BY, SLOT_ATTRIBUTES, number, read_demand, read_slots, text
from ehoslite.asking import Unanswered
from ehoslite.model import Demand, Shape, Slot, Unreadable
from ehoslite.resources import Resources

STATIC: dict[str, Any] = {
    "Name": "slot1@n1.nodes.ehos",
    "Machine": "n1.nodes.ehos",
    "State": "Unclaimed",
    "Activity": "Idle",
    "Cpus": 4,
    "Memory": 8192,
    "Disk": 1048576,
    "EnteredCurrentState": 1000,
    "EnteredCurrentActivity": 1000,
    "MyCurrentTime": 1300,
    "LastHeardFrom": 1300,
}
GROUP: dict[str, Any] = {
    "JobCount": 3,
    "RequestCpus": 1,
    "RequestMemory": 128,
    "RequestDisk": 1024,
    "Requirements": "true",
    "Text": {},
}
STRANGE: list[Any] = [
    None, True, False, -1, math.nan, math.inf, -math.inf, 10**400, 1e18, "", "7", "\x1b[2J\n", [1], {"a": 1}, b"x",
]  # fmt: skip


def slot(**ad: Any) -> Slot:
    """The slot of the static ad with these attributes changed."""
    (found,) = read_slots([{**STATIC, **ad}])
    return found


def group(**changed: Any) -> dict[str, Any]:
    return {**GROUP, **changed}


@pytest.mark.parametrize("value", STRANGE)
def test_numbers_are_finite_and_not_negative(value: Any) -> None:
    assert number({"a": value}, "a", 5) == 5
    assert number({}, "a", 5) == 5


@pytest.mark.parametrize("value", [0, 0.5, 1, 10**17])
def test_numbers(value: float) -> None:
    assert number({"a": value}, "a", 5) == value


def test_texts_are_printable_and_short() -> None:
    assert text({"a": "x\n\x1b[2Jy\u202e"}, "a") == "x[2Jy"
    assert len(text({"a": "x" * 10_000}, "a")) == 200
    for value in [None, 1, True, [1], b"x"]:
        assert text({"a": value}, "a") == ""


def test_static_slot() -> None:
    found = slot(EhosNode="n1", EhosPool="demo", EhosCloud="here", Draining=True, DrainReason="why")
    resources = Resources(4, 8192, 1048576)
    assert found == Slot(
        name="slot1@n1.nodes.ehos",
        machine="n1.nodes.ehos",
        state="Unclaimed",
        activity="Idle",
        kind="Static",
        free=resources,
        total=resources,
        node="n1",
        pool="demo",
        cloud="here",
        drain_reason="why",
        draining=True,
        idle_since=1000,
        heard=1300,
    )


def test_partitionable_slot_has_a_total_beside_what_is_free() -> None:
    total = {"TotalSlotCpus": 16, "TotalSlotMemory": 65536, "TotalSlotDisk": 2097152, "TotalSlotGPUs": 2}
    found = slot(PartitionableSlot=True, GPUs=1, **total)
    assert found.kind == "Partitionable"
    assert found.free == Resources(4, 8192, 1048576, 1)
    assert found.total == Resources(16, 65536, 2097152, 2)


def test_dynamic_slot() -> None:
    found = slot(DynamicSlot=True, State="Claimed", Activity="Busy")
    assert (found.kind, found.claimed) == ("Dynamic", True)


@pytest.mark.parametrize(
    ("ad", "accepts"),
    [
        ({}, True),
        ({"Start": True}, True),
        ({"Start": False}, False),
        ({"Offline": True}, False),
        ({"Start": "x"}, True),
    ],
)
def test_slot_that_takes_no_jobs(ad: dict[str, Any], accepts: bool) -> None:
    assert slot(**ad).accepts_jobs is accepts


@pytest.mark.parametrize("name", [None, "", "\n", 7, True])
def test_slots_without_a_name_are_left_out(name: Any) -> None:
    assert [slot.name for slot in read_slots([{**STATIC, "Name": name}, {}, STATIC])] == [STATIC["Name"]]


# Whose token an ad came with


@pytest.mark.parametrize(
    "identity", ["node-n2@lab", "node-n1x@lab", "node-@lab", "node-n1@x@lab", "node-n1", "node-N1@lab"]
)
def test_an_ad_that_came_with_the_token_of_another_node_is_not_believed(identity: str) -> None:
    found = slot(EhosNode="n1", EhosPool="demo", EhosCloud="here", AuthenticatedIdentity=identity)
    assert (found.node, found.pool, found.cloud, found.accepts_jobs) == ("", "", "", False)
    assert found.forged == f"it says that it is of n1, but came with the token of {identity}"


@pytest.mark.parametrize("identity", ["node-n1@lab", "scaler@lab", "condor@lab", "", 7, None, "xnode-n2@lab"])
def test_an_ad_with_its_own_token_or_with_one_that_is_bound_to_no_node_is_believed(identity: Any) -> None:
    found = slot(EhosNode="n1", EhosPool="demo", AuthenticatedIdentity=identity)
    assert (found.node, found.pool, found.accepts_jobs, found.forged) == ("n1", "demo", True, "")


def test_a_node_token_in_foreign_hands_is_foreign_room_and_no_forgery() -> None:
    found = slot(AuthenticatedIdentity="node-n1@lab")
    assert (found.node, found.accepts_jobs, found.forged) == ("", True, "")


# When the last job left


def test_idle_since_the_later_of_state_and_activity() -> None:
    assert slot(EnteredCurrentState=1100).idle_since == 1100
    assert slot(EnteredCurrentActivity=1200).idle_since == 1200


@pytest.mark.parametrize("skew", [-100_000, -60, 0, 60, 100_000])
def test_idle_since_is_in_the_time_of_the_collector(skew: int) -> None:
    """The node's clock is off; the collector heard it say "idle for 300 s" at 200000."""
    clock = 200_000 + skew
    found = slot(MyCurrentTime=clock, EnteredCurrentState=clock - 300, EnteredCurrentActivity=0, LastHeardFrom=200_000)
    assert found.idle_since == 199_700


def test_idle_since_does_not_lie_in_the_future() -> None:
    assert slot(EnteredCurrentState=9999).idle_since == 1300


def test_idle_since_does_not_lie_before_the_epoch() -> None:
    assert slot(MyCurrentTime=10_000).idle_since == 0


def test_idle_since_of_a_partitionable_slot_is_told_by_its_dynamic_slots_alone() -> None:
    changed = {"EnteredCurrentState": 900, "EnteredCurrentActivity": 1250}
    assert slot(PartitionableSlot=True, NumDynamicSlotsTime=1100, **changed).idle_since == 1100
    assert slot(PartitionableSlot=True, **changed).idle_since == 0


@pytest.mark.parametrize("missing", ["MyCurrentTime", "LastHeardFrom"])
def test_idle_since_is_unknown_without_a_clock(missing: str) -> None:
    assert slot(**{missing: None}).idle_since == 0


def test_idle_since_is_unknown_without_a_change() -> None:
    assert slot(EnteredCurrentState=None, EnteredCurrentActivity="x").idle_since == 0


# Anything at all

anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(STRANGE)
    | st.lists(st.integers(), max_size=2)
)  # fmt: skip


def check_resources(resources: Resources) -> None:
    for value in (resources.cpus, resources.memory, resources.disk, resources.gpus):
        assert 0 <= value < 1e18


@settings(max_examples=80, deadline=None)
@given(ad=st.dictionaries(st.sampled_from(SLOT_ATTRIBUTES), anything))
def test_any_ad_gives_a_sound_slot_or_none(ad: dict[str, Any]) -> None:
    for found in read_slots([ad]):
        check_resources(found.free)
        check_resources(found.total)
        assert 0 <= found.idle_since <= found.heard
        assert (found.name + found.state + found.node + found.drain_reason).isprintable()


@settings(max_examples=80, deadline=None)
@given(groups=st.lists(st.dictionaries(st.sampled_from([*GROUP_BY, "RequestGPUs", "JobCount"]), anything), max_size=3))
def test_any_group_gives_sound_demand(groups: list[dict[str, Any]]) -> None:
    demand = read_demand({"a": groups})
    for shape in demand.shapes:
        check_resources(shape.request)
        assert shape.count > 0
    assert all(part.count > 0 and part.what.isprintable() for part in demand.unreadable)


# Demand


def test_equal_shapes_are_one_over_all_schedds() -> None:
    other = group(RequestCpus=2, JobCount=1)
    demand = read_demand({"a": [group(), other], "b": [group(JobCount=4, RequestCpus=1.0)]})
    assert demand == Demand(
        (Shape(Resources(1, 128, 1024), 7, "true"), Shape(Resources(2, 128, 1024), 1, "true")),
    )


def test_other_requirements_are_another_shape() -> None:
    demand = read_demand({"a": [group(), group(Requirements="HasDocker")]})
    assert [(shape.requirements, shape.count) for shape in demand.shapes] == [("HasDocker", 3), ("true", 3)]


def test_parallel_jobs_count_once_for_each_host() -> None:
    assert read_demand({"a": [group(MinHosts=4)]}).shapes[0].count == 12
    for strange in STRANGE:
        assert read_demand({"a": [group(MinHosts=strange)]}).shapes[0].count == 3


def test_gpus() -> None:
    assert read_demand({"a": [group(RequestGPUs=2)]}).shapes[0].request == Resources(1, 128, 1024, 2)
    assert read_demand({"a": [group(Text={"RequestGPUs": "undefined"})]}).shapes[0].request.gpus == 0


def test_silent_schedds_are_named_and_the_others_count() -> None:
    demand = read_demand({"a": Unanswered("no answer within 10.0 s"), "b": [group()], "c": []})
    assert demand.silent == {"a": "no answer within 10.0 s"}
    assert [shape.count for shape in demand.shapes] == [3]


@pytest.mark.parametrize("name", ["RequestCpus", "RequestMemory", "RequestDisk", "RequestGPUs"])
def test_unreadable_requests_are_reported_as_they_were_written(name: str) -> None:
    written = {name: "ifThenElse(\x1bisUndefined(X), error, 1)"}
    without = {key: value for key, value in group(Text=written).items() if key != name}
    demand = read_demand({"a": [without], "b": [without]})
    assert demand.shapes == ()
    assert demand.unreadable == (Unreadable(6, f"{name} = ifThenElse(isUndefined(X), error, 1)"),)


def test_jobs_that_could_not_be_read_are_reported_by_owner() -> None:
    demand = read_demand(
        {"a": [{"JobCount": 2, "Unreadable": "al\x1bice"}, group()], "b": [{"JobCount": 1, "Unreadable": "bob"}]}
    )
    assert [(part.count, part.what.split("'")[0]) for part in demand.unreadable] == [
        (2, "something of alice"),
        (1, "something of bob"),
    ]
    assert [shape.count for shape in demand.shapes] == [3]


def test_unreadable_request_without_a_text_is_undefined() -> None:
    demand = read_demand({"a": [group(RequestCpus=-1, RequestMemory="big")]})
    assert demand.unreadable == (Unreadable(3, "RequestCpus = undefined, RequestMemory = undefined"),)


@pytest.mark.parametrize("value", STRANGE)
def test_strange_gpus_are_not_taken_for_none(value: Any) -> None:
    demand = read_demand({"a": [group(RequestGPUs=value)]})
    assert [part.what for part in demand.unreadable] == ["RequestGPUs = undefined"]


@pytest.mark.parametrize("value", [0, *STRANGE])
def test_group_without_a_count_is_no_demand(value: Any) -> None:
    assert read_demand({"a": [group(JobCount=value)]}) == Demand()
