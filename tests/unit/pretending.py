"""A pool that does at once what a pass decides, for tests over many passes: nodes join a pass after their creation,
jobs run for a while wherever they fit, drains and deletes are done on the spot."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ehoslite.actions import Create, Delete, Drain, Undrain
from ehoslite.memory import Memory
from ehoslite.model import Demand, Flavor, Server, Shape, Slot, VmState, World
from ehoslite.nodes import remember
from ehoslite.plan import plan
from ehoslite.resources import Resources
from ehoslite.settings import Settings
from tests.unit.worlds import NOW, server, slot, world

TICK = 120.0


@dataclass
class Startd:
    """A node: what runs on it, as (request, when it ends), and since when it is idle."""

    flavor: Flavor
    born: float
    running: list[tuple[Resources, float]] = field(default_factory=list)
    idle_since: float = 0.0
    drained: bool = False

    def free(self) -> Resources:
        left = self.flavor.resources
        for request, _ in self.running:
            left -= request
        return left


class Pretence:
    """One cloud without a quota, its nodes, and a queue."""

    def __init__(self, flavors: Sequence[Flavor], shapes: Sequence[Shape], settings: Settings, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same at each run
        self.flavors, self.settings, self.now = tuple(flavors), settings, NOW
        self.queue = Counter({shape.request: shape.count for shape in shapes})
        self.nodes: dict[str, Startd] = {}
        self.memory = Memory()
        self.killed = 0

    def submit(self, shapes: Sequence[Shape]) -> None:
        """More jobs."""
        for shape in shapes:
            self.queue[shape.request] += shape.count

    def waiting(self) -> list[Shape]:
        """The idle jobs."""
        return [Shape(request, count) for request, count in self.queue.items() if count]

    def run(self, passes: int, done: Callable[[], bool]) -> None:
        """So many passes, or until this is done."""
        for _ in range(passes):
            if done():
                return
            self.one_pass()
            self.now += TICK
            self.negotiate()

    def see(self) -> World:
        """What a pass sees."""
        servers = [self.listed(name) for name in self.nodes]
        slots = [one for name in self.nodes for one in self.slots(name)]
        seen = world(servers, slots, flavors=self.flavors, now=self.now)
        return World(seen.now, seen.clouds, seen.slots, Demand(tuple(self.waiting())))

    def listed(self, name: str) -> Server:
        """The server of a node."""
        return server(name, VmState.ACTIVE, self.nodes[name].flavor)

    def slots(self, name: str) -> list[Slot]:
        """Its ads, once it has joined."""
        node = self.nodes[name]
        if node.born >= self.now:
            return []
        since = self.now - node.idle_since
        common = {"flavor": node.flavor, "idle_for": NOW - self.now + since, "heard_ago": NOW - self.now}
        state = "Drained" if node.drained else "Unclaimed"
        found = [slot(name, state, free=node.free(), **common)]  # type: ignore[arg-type]
        for number, (request, _) in enumerate(node.running):
            more = {"kind": "Dynamic", "name": f"slot1_{number}@{name}", "free": request, **common}
            found.append(slot(name, "Claimed", "Busy", **more))  # type: ignore[arg-type]
        return found

    def one_pass(self) -> None:
        """Decide, and do it."""
        seen = self.see()
        self.memory = remember(self.memory, seen, self.settings)
        for action in plan(seen, self.memory, self.settings).actions:
            if isinstance(action, Create):
                self.nodes[f"n{self.chance.getrandbits(48):x}"] = Startd(action.flavor, self.now, idle_since=self.now)
            elif isinstance(action, Drain):
                self.nodes[action.node.id].drained = True
            elif isinstance(action, Undrain):
                self.nodes[action.node.id].drained = False
            elif isinstance(action, Delete):
                self.killed += len(self.nodes.pop(action.node.id).running)

    def negotiate(self) -> None:
        """Jobs end and others start, in no certain order."""
        for node in self.nodes.values():
            left = [(request, ends) for request, ends in node.running if ends > self.now]
            if len(left) < len(node.running):
                node.running, node.idle_since = left, self.now
        takers = [node for node in self.nodes.values() if not node.drained and node.born < self.now]
        for request in self.chance.sample(list(self.queue), len(self.queue)):
            for node in self.chance.sample(takers, len(takers)):
                jobs = min(self.queue[request], node.free().holds(request))
                node.running += [(request, self.now + self.chance.choice((60.0, 200.0)))] * jobs
                node.idle_since = self.now if jobs else node.idle_since
                self.queue[request] -= jobs
