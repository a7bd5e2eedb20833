"""Builds worlds for the tests of the plan: a few words each, the rest are defaults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ehoslite.actions import Create, Plan
from ehoslite.memory import Memory, Remembered
from ehoslite.model import CloudView, Demand, Flavor, Room, Server, Shape, Slot, VmState, World
from ehoslite.nodes import DRAIN_REASON
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.settings import LocalCloudSettings, ScalingSettings, Settings

NOW = 1_000_000.0
POOL = "lab"
SMALL = Flavor("here", "small", Resources(1, 1000, 10_000))
LARGE = Flavor("here", "large", Resources(8, 8000, 80_000))


def settings(**scaling: Any) -> Settings:
    return Settings(
        pool=POOL,
        clouds={"here": LocalCloudSettings(Place(Path("/nowhere")))},
        scaling=ScalingSettings(**{"nodes_max": 100, "idle_timeout": 300, **scaling}),
    )


def server(node: str, state: VmState = VmState.ACTIVE, flavor: Flavor = SMALL, fault: str = "") -> Server:
    return Server(flavor.cloud, f"id-{node}", node, flavor.name, state, NOW - 5000, fault)


def slot(
    node: str,
    state: str = "Unclaimed",
    activity: str = "Idle",
    *,
    flavor: Flavor = SMALL,
    idle_for: float = 1000,
    heard_ago: float = 10,
    pool: str = POOL,
    free: Resources | None = None,
    **more: Any,
) -> Slot:
    drained = {"draining": True, "drain_reason": DRAIN_REASON} if state == "Drained" else {}
    return Slot(
        **{
            "name": f"slot1@{node}",
            "machine": f"{node}.nodes",
            "state": state,
            "activity": activity,
            "kind": "Partitionable",
            "free": flavor.resources if free is None else free,
            "total": flavor.resources,
            "node": node,
            "pool": pool,
            "cloud": "here",
            "idle_since": NOW - idle_for,
            "heard": NOW - heard_ago,
            **drained,
            **more,
        }
    )


def alien(**more: Any) -> Slot:
    """A free slot of a startd that no ehoslite made."""
    return replace(slot("alien", **more), node="", pool="", cloud="")


def claim(node: str, cpus: float = 1, **more: Any) -> Slot:
    """A dynamic slot with a job in it."""
    named = {"name": f"slot1_1@{node}", "kind": "Dynamic", "free": Resources(cpus, 100, 100), **more}
    return slot(node, **{"state": "Claimed", "activity": "Busy", **named})


def jobs(count: int, cpus: float = 1, memory: float = 100, disk: float = 100, gpus: float = 0) -> Shape:
    return Shape(Resources(cpus, memory, disk, gpus), count)


def world(
    servers: Sequence[Server] = (),
    slots: Sequence[Slot] = (),
    shapes: Sequence[Shape] = (),
    *,
    flavors: Sequence[Flavor] = (SMALL, LARGE),
    room: Room | None = None,
    fault: str = "",
    silent: dict[str, str] | None = None,
    collector_since: float = 0.0,
    now: float = NOW,
) -> World:
    view = CloudView("here", tuple(flavors), tuple(servers), room or Room(), fault)
    if fault:
        view = CloudView("here", fault=fault)
    return World(now, (view,), tuple(slots), Demand(tuple(shapes), silent=silent or {}), collector_since)


def remembered(node: str, *, age: float = 5000, flavor: Flavor = SMALL, **more: Any) -> Remembered:
    return Remembered(node, flavor.cloud, flavor.name, NOW - age, **{"created_here": True, **more})


def memory(*nodes: Remembered) -> Memory:
    return Memory({node.node: node for node in nodes})


def decide(seen: World, past: Memory | None = None, **scaling: Any) -> Plan:
    return plan(seen, past or Memory(), settings(**scaling))


def made(decided: Plan) -> dict[str, int]:
    return dict(Counter(action.flavor.name for action in decided.actions if isinstance(action, Create)))


def acts(decided: Plan) -> list[tuple[str, str, str]]:
    return [(action.verb, action.subject, action.reason.code) for action in decided.actions]


def held(decided: Plan) -> set[str]:
    return {hold.reason.code for hold in decided.held}
