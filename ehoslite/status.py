"""What `ehoslite status` shows: nodes with their states and cost, demand by shape, the last passes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ehoslite.draft import Draft
from ehoslite.errors import EXIT_FINE
from ehoslite.model import Node, World
from ehoslite.nodes import join, remember
from ehoslite.record import Record
from ehoslite.report import SCHEMA, cost_data, demand_data, node_data, printable
from ehoslite.settings import Settings
from ehoslite.windows import in_force


def show(world: World, record: Record, settings: Settings, *, passes: int, as_json: bool) -> int:
    """Print the status; gives the exit code."""
    memory = remember(record.memory(), world, settings)
    scaling, windows = in_force(settings.scaling, world.now)
    draft = Draft(world, replace(settings, scaling=scaling), join(world, memory, settings.pool), memory)
    last = record.passes()[-passes:] if passes > 0 else []
    if as_json:
        print(json.dumps(_as_data(draft, windows, last), indent=2))
    else:
        print(printable("\n".join(_as_text(draft, windows, last))))
    return EXIT_FINE


def _as_data(draft: Draft, windows: Sequence[str], passes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    world = draft.world
    return {
        "schema": SCHEMA,
        "pool": draft.settings.pool,
        "at": world.now,
        "nodes": [node_data(node) for node in draft.nodes],
        "cost": cost_data(draft.cost()),
        "windows": list(windows),
        "demand": demand_data(world.demand),
        "silent": {cloud.name: cloud.fault for cloud in world.clouds if cloud.fault} | dict(world.demand.silent),
        "passes": list(passes),
    }


def _as_text(draft: Draft, windows: Sequence[str], passes: Sequence[Mapping[str, Any]]) -> list[str]:
    world, cost = draft.world, draft.cost()
    lines = table(
        ("NODE", "CLOUD", "FLAVOR", "VM_STATE", "CONDOR_STATE", "SINCE"),
        [
            (node.id, node.cloud, node.flavor, node.vm_state, node.condor_state, ago(world.now - _since(node)))
            for node in draft.nodes
        ],
    )
    if cost.hour or cost.spent:
        lines.append(f"cost: {cost}")
    if windows:
        lines.append(f"open windows: {', '.join(windows)}")
    shapes = [
        (
            shape.count,
            f"{shape.request.cpus:g}",
            f"{shape.request.memory:g}",
            disk(shape.request.disk),
            shape.request.gpus,
        )
        for shape in world.demand.shapes
    ]
    lines += ["", *table(("IDLE JOBS", "CPUS", "MEMORY MB", "DISK", "GPUS"), shapes)]
    silent = {cloud.name: cloud.fault for cloud in world.clouds if cloud.fault} | dict(world.demand.silent)
    lines += [f"silent: {name}: {why}" for name, why in silent.items()]
    return [*lines, "", *table(("PASS", "NODES", "IDLE", "ACTIONS"), [_pass_row(entry, world.now) for entry in passes])]


def _since(node: Node) -> float:
    """Since when it is in its state, as far as that is known: idle nodes by their last job, others by their age."""
    return node.idle_since if node.condor_state.value == "idle" and node.idle_since else node.created


def _pass_row(entry: Mapping[str, Any], now: float) -> tuple[str, ...]:
    when = ago(now - entry.get("at", now))
    if "error" in entry:
        return when, "-", "-", str(entry["error"])
    actions = ", ".join(f"{action['verb']} {action['node']} ({action['code']})" for action in entry.get("actions", []))
    nodes = sum(entry.get("nodes", {}).values())
    return when, str(nodes), str(entry.get("idle", "?")), actions or "-"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns as wide as their widest cell; a line that says so when there are no rows."""
    cells = [list(map(str, row)) for row in rows]
    if not cells:
        return [f"{head[0].lower()}: none"]
    widths = [max(len(row[column]) for row in [list(head), *cells]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [list(head), *cells]
    ]


def ago(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit} ago"
    return f"{max(0.0, seconds):.0f}s ago"


def disk(kib: float) -> str:
    """An amount of disk as people say it."""
    return f"{kib / 1048576:.3g} GB" if kib >= 1048576 else f"{kib / 1024:.3g} MB"
