"""How long a plan takes: 10,000 nodes, a million idle jobs in 300 shapes, 30 flavors in 4 clouds."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from ehoslite.choosing import EFFORT
from ehoslite.memory import Memory
from ehoslite.model import CloudView, Demand, Flavor, Room, Server, Shape, Slot, VmState, World
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.settings import LocalCloudSettings, ScalingSettings, Settings

NOW = 1_000_000.0
NODES, SHAPES, FLAVORS, CLOUDS = 10_000, 300, 30, 4
# Of so many flavors every subset is compared.
FEW_FLAVORS = 4


def rows() -> Iterator[tuple[str, str]]:
    """CPU seconds of one plan for two queues of the same shapes, and the process's peak memory."""
    settings = Settings(
        pool="bench",
        clouds={"c0": LocalCloudSettings(Place(Path("/nowhere")))},
        scaling=ScalingSettings(nodes_max=20_000),
    )
    for jobs in (1_000_000, 10_000_000):
        seen = make_world(jobs, random.Random(1))  # noqa: S311 - the same world at each run
        began = time.process_time()
        decided = plan(seen, Memory(), settings)
        spent = time.process_time() - began
        what = f"plan: {NODES:,} nodes, {jobs:,} jobs in {SHAPES} shapes, {FLAVORS} flavors: CPU"
        yield what, f"{spent:.2f} s ({len(decided.actions)} actions)"
    yield subsets_row()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield "plan: peak memory of the process, both worlds in turn", f"{peak:.0f} MB"


def subsets_row() -> tuple[str, str]:
    """CPU seconds of a plan at the upper end of those in which every subset of the flavors is compared."""
    chance = random.Random(2)  # noqa: S311 - the same world at each run
    flavors = tuple(
        Flavor("c0", f"f{number}", Resources(2**number, 2000 * 2**number, 10**8), 2**number * 0.9**number)
        for number in range(FEW_FLAVORS)
    )
    shapes = [
        Shape(Resources(1, chance.randint(100, 2000), chance.randint(10, 10**6)), 30)
        for _ in range(EFFORT // 2**FEW_FLAVORS)
    ]
    seen = World(NOW, (CloudView("c0", flavors),), (), Demand(tuple(shapes)))
    settings = Settings(
        "bench", {"c0": LocalCloudSettings(Place(Path("/nowhere")))}, scaling=ScalingSettings(nodes_max=20_000)
    )
    began = time.process_time()
    plan(seen, Memory(), settings)
    what = f"plan: {len(shapes)} shapes, all {2**FEW_FLAVORS - 1} choices among {FEW_FLAVORS} flavors compared: CPU"
    return what, f"{time.process_time() - began:.2f} s"


def make_world(jobs: int, chance: random.Random) -> World:
    """Nodes half full of running jobs, shapes of all sizes."""
    flavors = [
        Flavor(
            f"c{number % CLOUDS}", f"f{number}", Resources(2 ** (number % 6), 2000 * 2 ** (number % 6), 10**8), number
        )
        for number in range(FLAVORS)
    ]
    servers: dict[str, list[Server]] = {f"c{number}": [] for number in range(CLOUDS)}
    slots = []
    for number in range(NODES):
        flavor, node = flavors[number % FLAVORS], f"ehos-bench-{number:08x}"
        servers[flavor.cloud].append(Server(flavor.cloud, node, node, flavor.name, VmState.ACTIVE, NOW - 5000))
        used = chance.randint(0, int(flavor.resources.cpus))
        free = flavor.resources - Resources(used, 1000 * used, 1000 * used)
        slots.append(
            Slot(f"slot1@{node}", node, "Unclaimed", "Idle", "Partitionable", free, flavor.resources, node, "bench")
        )
    shapes = [
        Shape(Resources(chance.choice((1, 1, 2, 4, 8)), chance.randint(100, 16_000), chance.randint(10, 10**6)), count)
        for count in [jobs // SHAPES] * SHAPES
    ]
    views = tuple(
        CloudView(name, tuple(one for one in flavors if one.cloud == name), tuple(listed), Room(5000, 50_000, 10**8))
        for name, listed in servers.items()
    )
    return World(NOW, views, tuple(slots), Demand(tuple(shapes)))
