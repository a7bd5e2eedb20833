"""Where jobs race drains: a pool of partitionable and of static slots, a Pool whose looks the world moves on after, and
breakages of the product that a race must see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from ehoslite import act
from ehoslite.act import Hands
from ehoslite.actions import Delete, Outcome
from ehoslite.errors import AlreadyDraining
from ehoslite.model import Node, Slot
from ehoslite.nodes import DRAIN_REASON
from ehoslite.pool import Pool
from lab.release import Release
from lab.stand import CHECKOUT, Stand

ONE_SLOT = {"name": "one", "cpus": 1, "memory": "256 MB", "disk": "1 GB"}
TWO_SLOTS = {"name": "two", "cpus": 2, "memory": "512 MB", "disk": "2 GB"}
STATIC = """
  - path: /etc/condor/config.d/60-static.conf
    content: |
      NUM_SLOTS_TYPE_1 = 2
      SLOT_TYPE_1 = cpus=1
      SLOT_TYPE_1_PARTITIONABLE = False
      NUM_SLOTS = 2
runcmd:"""
QUICK_POOL = """
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 0
NEGOTIATOR_MIN_INTERVAL = 0
SCHEDD_INTERVAL = 2
"""


class Look(Protocol):
    """What happens right after a look at nodes that are about to be deleted."""

    def __call__(self, seen: dict[str, tuple[Slot, ...]], nodes: list[Node]) -> None: ...


class RacedPool(Pool):
    """The real pool; the world moves on right after the last look at nodes that are about to be deleted."""

    after_look: Look
    before: set[str]  # the nodes that turned out to drain already

    def drain(self, node: Node) -> None:
        """As ever."""
        try:
            super().drain(node)
        except AlreadyDraining:
            self.before.add(node.id)
            raise

    def slots_of(self, nodes: Iterable[Node]) -> dict[str, tuple[Slot, ...]]:
        """As ever."""
        looked_at = list(nodes)
        seen = super().slots_of(looked_at)
        self.after_look(seen, looked_at)
        return seen


def _drain_unchecked(self: Pool, node: Node) -> None:
    self._drain_tool("-graceful", "-reason", DRAIN_REASON, node.machine)


def _delete_blindly(action: Delete, _seen: Any, hands: Hands) -> Outcome:
    for server in action.node.servers:
        hands.clouds[server.cloud].delete(server)
    return Outcome(action, action.node.id)


@contextmanager
def _nothing_broken() -> Iterator[None]:
    yield


# Breakages of the product that a race must see, or it could see nothing.
MUTATIONS: dict[str, Callable[[], Any]] = {
    "": _nothing_broken,
    "unchecked-drain": lambda: patch.object(Pool, "drain", _drain_unchecked),
    "blind-delete": lambda: patch.object(act, "_delete_one", _delete_blindly),
}


def raced_stand(folder: Path, release: Release, nodes_max: int = 8) -> Stand:
    """A stand of two clouds, one of partitionable and one of static slots, whose nodes are retired once idle."""
    template = folder / "static.yaml"
    text = (CHECKOUT / "cloud-init" / "execute.yaml").read_text()
    template.write_text(text.replace("\nruncmd:", STATIC))
    cloud = {"type": "local", "release": str(release.prefix)}
    stand = Stand(
        folder,
        release,
        clouds={
            "parted": {**cloud, "directory": str(folder / "parted"), "flavors": [ONE_SLOT, TWO_SLOTS]},
            "static": {
                **cloud,
                "directory": str(folder / "static"),
                "flavors": [TWO_SLOTS],
                "template": str(template),
            },
        },
        scaling={"nodes_max": nodes_max, "idle_timeout": 0, "node_allocation": "round-robin"},
    )
    stand.pool.extra = QUICK_POOL
    return stand
