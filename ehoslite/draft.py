"""A plan in the making: what is decided so far, and what room quotas and limits still leave. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ehoslite import policies
from ehoslite.actions import Action, Create, HoldBack, Reason
from ehoslite.booting import keys_of
from ehoslite.memory import Boots
from ehoslite.model import UNLIMITED, CloudView, CondorState, Flavor, Node, Resources, Room, Slot, World
from ehoslite.packing import Packing, Rank, Space
from ehoslite.settings import Settings


@dataclass
class Draft:
    """What growing.py and shrinking.py write into. `wanted_back` holds draining nodes to be kept though no job was
    packed onto them, `new` the names under which nodes to be made stand in the packing."""

    world: World
    settings: Settings
    nodes: tuple[Node, ...]
    boots: Mapping[str, Boots] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    held: list[HoldBack] = field(default_factory=list)
    wanted_back: dict[str, Reason] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.world.now
        self.flavors = {(one.cloud, one.name): one for cloud in self.world.clouds for one in cloud.flavors}
        self.nodes = tuple(replace(node, boot_allowed=self._boot_allowed(node)) for node in self.nodes)
        self.counted = [node for node in self.nodes if policies.counts_to_limits(node, self.world)]
        self.clouds = [cloud for cloud in self.world.clouds if not cloud.fault]
        self.rooms = {cloud.name: self._room(cloud) for cloud in self.clouds}
        self.nodes_left = self.settings.scaling.nodes_max - sum(max(1, len(node.servers)) for node in self.counted)
        self.nodes_in = Counter(node.cloud for node in self.counted)
        self.joining = {node.id for node in self.nodes if self._joins(node)}
        self.packing = Packing(spaces(self.nodes, self.world, self.joining, self.flavors))
        self.tried = Counter(
            key for node in self.counted if policies.is_booting(node, self.now) for key in self._keys(node)
        )

    def _joins(self, node: Node) -> bool:
        """Whether it is not in the collector, and is expected to be soon."""
        return policies.is_booting(node, self.now) or policies.comes_back(node, self.world, self.settings)

    def _keys(self, node: Node) -> tuple[str, ...]:
        flavor = self.flavors.get((node.cloud, node.flavor))
        return keys_of(flavor) if flavor else ()

    def _boot_allowed(self, node: Node) -> float:
        entries = [self.boots[key] for key in self._keys(node)[:1] if key in self.boots]
        return policies.boot_allowed(entries[0].times if entries else (), self.settings)

    def trusted(self, flavor: Flavor) -> int:
        """How many nodes of this flavor may be made, after what its boots and its cloud's have taught."""
        allowed = UNLIMITED
        own, whole = (self.boots.get(key, Boots(key)) for key in keys_of(flavor))
        most = self.settings.scaling.boot_failures
        for entry, on_trial in (own, own.failures >= most), (whole, whole.failures >= 2 * most):
            waits = entry is own or on_trial  # one bad flavor does not stop its cloud
            if waits and self.now < policies.backs_off_until(entry, self.settings):
                return 0
            if on_trial:
                allowed = min(allowed, max(0, 1 - self.tried[entry.key]))
        return allowed

    def _room(self, cloud: CloudView) -> Room:
        """The cloud's quota less what is only intended there and so not yet in the cloud's own count."""
        room = cloud.room
        flavors = {flavor.name: flavor for flavor in cloud.flavors}
        for node in self.counted:
            if node.cloud == cloud.name and not node.servers and node.flavor in flavors:
                room = room.less(flavors[node.flavor])
        return room

    def hold(self, subject: str, code: str, text: str) -> None:
        """Say what is not done, and why."""
        self.held.append(HoldBack(subject, Reason(code, text)))

    def create(self, flavor: Flavor, servers: int, reason: Reason) -> None:
        """Make so many nodes of this flavor; their room is there for packing at once."""
        self.nodes_left -= servers
        self.nodes_in[flavor.cloud] += servers
        self.rooms[flavor.cloud] = self.rooms[flavor.cloud].less(flavor, servers)
        self.tried.update(dict.fromkeys(keys_of(flavor), servers))
        for _ in range(servers):
            owner = f"new node {len(self.new) + 1}"
            self.new.append(owner)
            self.packing.add(Space(Rank.NEW, flavor.resources, owner, flavor.ilk))
            self.actions.append(Create(flavor, reason))

    def choose(
        self, request: Resources, count: int, suits: Callable[[Flavor], bool] = lambda _flavor: True
    ) -> tuple[Flavor, int] | None:
        """A flavor for so many jobs, of those that suit them, and how many nodes of it limits and quotas allow, in the
        cloud whose turn it is. None when no cloud allows any."""
        allocation = self.settings.scaling.node_allocation
        draw = f"{self.settings.scaling.random_seed}/{self.now:.0f}/{len(self.new)}"
        for cloud in policies.cloud_order(allocation, self.clouds, self.nodes_in, request, draw):
            room = self.rooms[cloud.name]
            room = Room(min(room.instances, self.nodes_left), room.cores, room.memory)
            fitting = policies.fitting_flavors(request, filter(suits, cloud.flavors))
            if chosen := policies.choose_flavor(request, count, fitting, room, self.trusted):
                return chosen[0], 1 if policies.one_at_a_time(allocation) else chosen[1]
        return None

    def is_kept(self, node: Node) -> bool:
        """Whether jobs were packed onto it, or the minimum or the spare wants it back."""
        return node.id in self.wanted_back or self.packing.used[node.id] > 0

    def count_alive(self) -> int:
        """Nodes that serve, boot, come back or are to be made."""
        return len(self.new) + sum(
            policies.is_serving(node) or node.id in self.joining or self.is_kept(node) for node in self.counted
        )

    def count_unused(self) -> int:
        """Nodes that take jobs now and that nothing was packed onto."""
        return sum(
            policies.is_serving(node) and node.condor_state is CondorState.IDLE and not self.packing.used[node.id]
            for node in self.counted
        )

    def count_unused_soon(self) -> int:
        """The same, with those that boot, come back or are to be made."""
        joining = sum(node.id in self.joining and not self.packing.used[node.id] for node in self.counted)
        new = sum(not self.packing.used[owner] for owner in self.new)
        return self.count_unused() + joining + new + len(self.wanted_back)


def spaces(
    nodes: Iterable[Node], world: World, joining: Collection[str], flavors: Mapping[tuple[str, str], Flavor]
) -> list[Space]:
    """All room that jobs may be packed onto, ours and foreign; `joining` names the nodes that boot or come back."""
    ours = {slot.name for node in nodes for slot in node.slots}
    found = [
        Space(Rank.PARTLY_USED, slot.free, slot.name, slot.ilk)
        for slot in world.slots
        if slot.name not in ours and has_room(slot)
    ]
    for node in nodes:
        flavor = flavors.get((node.cloud, node.flavor))
        ilk = flavor.ilk if flavor else 0
        if policies.is_serving(node):
            rank = Rank.EMPTY if node.condor_state is CondorState.IDLE else Rank.PARTLY_USED
            found += [Space(rank, slot.free, node.id, slot.ilk) for slot in node.slots if has_room(slot)]
        elif node.id in joining:
            found.append(Space(Rank.BOOTING, node.resources, node.id, ilk))
        elif policies.can_be_taken_back(node):  # its START is gone until it is, so its flavor speaks
            found += [Space(Rank.DRAINING, slot.free, node.id, ilk) for slot in node.slots if slot.kind != "Dynamic"]
    return found


def has_room(slot: Slot) -> bool:
    """An unclaimed slot that takes jobs. A draining one still shows free cpus: that is no capacity."""
    return slot.accepts_jobs and not slot.draining and slot.state == "Unclaimed" and slot.kind != "Dynamic"


def idle_jobs(count: int) -> str:
    """The count, in words."""
    return f"{count} idle job" if count == 1 else f"{count} idle jobs"
