"""A plan in the making: what is decided so far, and what room quotas and limits still leave. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ehoslite import policies
from ehoslite.actions import Action, Cost, Create, HoldBack, Reason
from ehoslite.allowance import Allowance, Amounts, amounts_of, limits_of
from ehoslite.booting import keys_of
from ehoslite.carving import left_beside, side_by_side
from ehoslite.choosing import Basket, Waiting
from ehoslite.memory import Boots, Memory
from ehoslite.model import CloudView, CondorState, Flavor, Node, Room, Shape, Slot, World
from ehoslite.nodes import startds, whole_of
from ehoslite.packing import Packing, Rank, Space
from ehoslite.resources import UNLIMITED, Resources
from ehoslite.settings import Settings
from ehoslite.spending import spent_this_month
from ehoslite.windows import month_of

# A node that boots and is of no known size may hold all jobs that wait: not knowing is not zero (law 5). It is known,
# or given up, within its time to boot.
ANY_SIZE = Resources(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED)


@dataclass
class Draft:
    """What growing.py and shrinking.py write into. `settings` are those that hold now. `wanted_back` holds draining
    nodes to be kept though no job was packed onto them, `new` counts nodes to be made by cloud, `new_unused` those of
    them that are for no job; `beyond` names nodes that our own limits have no place for; `short` are the jobs that a
    limit leaves without a node, and `room_for` the flavors that will be made for them when what goes is gone."""

    world: World
    settings: Settings
    nodes: tuple[Node, ...]
    memory: Memory = field(default_factory=Memory)
    actions: list[Action] = field(default_factory=list)
    held: list[HoldBack] = field(default_factory=list)
    wanted_back: dict[str, Reason] = field(default_factory=dict)
    new: Counter[str] = field(default_factory=Counter)
    new_unused: int = 0
    new_free_cores: float = 0.0
    beyond: set[str] = field(default_factory=set)
    short: list[Waiting] = field(default_factory=list)
    room_for: list[Flavor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.world.now
        self.flavors = {(one.cloud, one.name): one for cloud in self.world.clouds for one in cloud.flavors}
        self.nodes = tuple(replace(node, boot_allowed=self._boot_allowed(node)) for node in self.nodes)
        self.counted = [node for node in self.nodes if policies.counts_to_limits(node, self.world)]
        self.clouds = [cloud for cloud in self.world.clouds if not cloud.fault]
        self.joining = {node.id for node in self.nodes if self._joins(node)}
        self.startds = startds(self.world)
        self.packing = Packing(spaces(self.nodes, self.world, self.joining, self.flavors))
        self.packing.close({node.id for node in self.nodes if self.drains_for_ever(node)})
        self.spent = spent_this_month(self.memory, self.now, self.settings.scaling.time_zone)
        self._each: dict[tuple[str, str], Amounts] = {key: amounts_of(one) for key, one in self.flavors.items()}
        self.amounts = {node.id: self._amounts(node) for node in self.counted}
        self.tried = Counter(
            key for node in self.counted if policies.is_booting(node, self.now) for key in self._keys(node)
        )
        self.allowance = self._allowance()

    def _joins(self, node: Node) -> bool:
        """Whether it is not in the collector, and is expected to be soon."""
        return policies.is_booting(node, self.now) or policies.comes_back(node, self.world, self.settings)

    def _keys(self, node: Node) -> tuple[str, ...]:
        flavor = self.flavors.get((node.cloud, node.flavor))
        return keys_of(flavor) if flavor else ()

    def _boot_allowed(self, node: Node) -> float:
        boots = self.memory.boots
        entries = [boots[key] for key in self._keys(node)[:1] if key in boots]
        return policies.boot_allowed(entries[0].times if entries else (), self.settings)

    def _allowance(self) -> Allowance:
        total = Amounts()
        for amounts in self.amounts.values():
            total = total.less(amounts, -1)
        limits = limits_of(self.settings.scaling, self.spent)
        rooms = {cloud.name: self._room(cloud) for cloud in self.clouds}
        return Allowance(limits, total, rooms, self._trials(), Counter(node.cloud for node in self.counted))

    def _trials(self) -> dict[str, int]:
        """How often what has failed in a row may be tried: not at all for a while, then one at a time. One bad flavor
        does not stop its cloud."""
        trials: dict[str, int] = {}
        for flavor in self.flavors.values():
            own, whole = (self.memory.boots.get(key, Boots(key)) for key in keys_of(flavor))
            most = self.settings.scaling.boot_failures
            for entry, on_trial in (own, own.failures >= most), (whole, whole.failures >= 2 * most):
                if (entry is own or on_trial) and self.now < policies.backs_off_until(entry, self.settings):
                    trials[entry.key] = 0
                elif on_trial:
                    trials[entry.key] = max(0, 1 - self.tried[entry.key])
        return trials

    def _amounts(self, node: Node) -> Amounts:
        """What a node takes of our limits: by its flavor, as its cloud tells or last told; else by its ads, and at the
        highest price of its cloud, for not knowing is not zero."""
        each = self._each.get((node.cloud, node.flavor))
        if each is None:
            each = self._amounts_unoffered(node)
        return each if len(node.servers) < 2 else each.times(len(node.servers))

    def _amounts_unoffered(self, node: Node) -> Amounts:
        known = self.memory.flavors.get(f"{node.cloud}/{node.flavor}")
        if known:
            return Amounts(1, known.cores, known.memory, known.price, known.price)
        offered = self.settings.clouds[node.cloud].flavors if node.cloud in self.settings.clouds else ()
        price = max((choice.price for choice in offered), default=0.0)
        totals = [slot.total for slot in node.slots if slot.kind != "Dynamic"]
        return Amounts(1, sum(one.cpus for one in totals), sum(one.memory for one in totals), price, price)

    def _room(self, cloud: CloudView) -> Room:
        """The cloud's quota less what is only intended there and so not yet in the cloud's own count."""
        room = cloud.room
        flavors = {flavor.name: flavor for flavor in cloud.flavors}
        for node in self.counted:
            if node.cloud == cloud.name and not node.servers and node.flavor in flavors:
                room = room.less(flavors[node.flavor])
        return room

    def cost(self) -> Cost:
        """What the nodes cost, before anything is done."""
        scaling = self.settings.scaling
        month = month_of(self.now, scaling.time_zone)
        return Cost(self.allowance.total.hour, scaling.cost_per_hour, month, self.spent, scaling.cost_per_month)

    def hold(self, subject: str | Shape, code: str, text: str) -> None:
        """Say what is not done, and why."""
        shape = subject if isinstance(subject, Shape) else None
        self.held.append(HoldBack(str(subject), Reason(code, text), shape))

    def basket(self) -> Basket:
        """An empty one for new nodes, with what may still be made."""
        scaling = self.settings.scaling
        draw = f"{scaling.random_seed}/{self.now:.0f}"
        return Basket(self.allowance.copy(), scaling.node_allocation, draw)

    def adopt(self, basket: Basket) -> None:
        """Decide for the nodes of this basket, for jobs."""
        self.allowance = basket.allowance
        self.new_free_cores += sum(
            free.cores_of_use(flavor.resources) * nodes for (flavor, free), nodes in basket.rooms.items()
        )
        for one in basket.bought:
            text = f"no room for {idle_jobs(one.jobs)} of {one.shape}"
            self.actions += [Create(one.flavor, Reason("demand", text)) for _ in range(one.nodes)]
            self.new[one.flavor.cloud] += one.nodes
            self.tried.update(dict.fromkeys(keys_of(one.flavor), one.nodes))

    def create_unused(self, flavor: Flavor, reason: Reason) -> None:
        """Decide for a node that is for no job."""
        self._create_one(flavor, reason, flavor.resources)
        self.new_unused += 1

    def create_tried(self, flavor: Flavor, waiting: Waiting, reason: Reason) -> None:
        """Decide for a node that may turn out to be for these jobs: as many of them as it holds are put onto it."""
        shape, count = waiting
        jobs = min(count, side_by_side(flavor.resources, shape.request))
        self._create_one(flavor, reason, left_beside(flavor.resources, shape.request, jobs))

    def _create_one(self, flavor: Flavor, reason: Reason, free: Resources) -> None:
        self.allowance.take(flavor, 1)
        self.actions.append(Create(flavor, reason))
        self.new[flavor.cloud] += 1
        self.tried.update(keys_of(flavor))
        self.new_free_cores += free.cores_of_use(flavor.resources)

    def take_back(self, reason: Reason, clouds: Collection[str] | None = None) -> Node | None:
        """Decide to take one draining node back, in these clouds; None if there is none. What differs from what would
        be made today is let go, and nothing is taken back that has part in a limit which is exceeded."""
        over = self.allowance.left.overdrawn()
        for node in self.counted:
            in_place = clouds is None or node.cloud in clouds
            is_free = policies.can_be_taken_back(node) and not self.is_kept(node) and not self.drifted(node)
            if not (in_place and is_free) or self.shares_machine(node):
                continue
            if any(getattr(self.amounts[node.id], name) > 0 for name in over):
                continue
            if not self._takes_room(node.cloud, self.amounts[node.id], self.allowance):
                self.wanted_back[node.id] = reason
                return node
        return None

    def would_take_room(self, flavor: Flavor) -> bool:
        """Whether a new node of this flavor would take room that is being made for jobs."""
        if not self.room_for or self.allowance.allows(flavor) < 1:
            return False
        with_it = self.allowance.copy()
        with_it.take(flavor, 1)
        return self._takes_room(flavor.cloud, amounts_of(flavor), with_it)

    def _takes_room(self, cloud: str, amounts: Amounts, with_it: Allowance) -> bool:
        """Whether a node of these amounts, which is counted already, has part in a limit that leaves too little for
        what room is being made for."""
        for one in self.room_for:
            lacking = with_it.left.lacking(amounts_of(one))
            if any(getattr(amounts, name) > 0 for name in lacking):
                return True
            if one.cloud == cloud and with_it.rooms[cloud].holds(one) < 1:
                return True
        return False

    def shares_machine(self, node: Node) -> bool:
        """Whether another startd has the same Machine."""
        return bool(self.startds[node.machine] - {node.id})

    def drains_for_ever(self, node: Node) -> bool:
        """Whether it drains and is left as it is, as another startd has its Machine."""
        return policies.can_be_taken_back(node) and self.shares_machine(node)

    def drifted(self, node: Node) -> bool:
        """Whether it is made of something else than a new one of its flavor would be."""
        offered = {cloud.name for cloud in self.clouds}
        return policies.has_drifted(node, self.flavors.get((node.cloud, node.flavor)), offered)

    def names(self) -> list[str]:
        """The names of the clouds that answered."""
        return [cloud.name for cloud in self.clouds]

    def reserve(self) -> tuple[float, float]:
        """How many free cores are to be kept ready for a load like this, and how many there are or will be."""
        if not policies.has_reserve(self.settings):
            return 0.0, 0.0
        free = self.free_cores()
        whole = sum(self._offered_cores(node) for node in self.counted if self._may_serve(node))
        back = sum(self._offered_cores(node) for node in self.counted if node.id in self.wanted_back)
        new = sum(action.flavor.resources.cpus for action in self.actions if isinstance(action, Create))
        return policies.reserve_wanted(whole + back + new - free, self.settings), free

    def free_cores(self) -> float:
        """Cores of our nodes that are or will be free and of use, after what was packed onto them."""
        ours = {
            node.id: whole_of(node)
            for node in self.counted
            if self._may_serve(node) and node.id not in self.wanted_back
        }
        return (
            self.packing.free_cores(ours)
            + self.new_free_cores
            + sum(node.resources.cpus for node in self.counted if node.id in self.wanted_back)
        )

    def _offered_cores(self, node: Node) -> float:
        """The cores that its startd offers, which may be fewer than quotas and limits count."""
        return node.resources.cpus or self.amounts[node.id].cores

    def _may_serve(self, node: Node) -> bool:
        serves = policies.is_serving(node) and node.id not in self.beyond
        return serves or node.id in self.joining or self.packing.used[node.id] > 0

    def is_kept(self, node: Node) -> bool:
        """Whether jobs were packed onto it, or the minimum or the spare wants it back."""
        return node.id in self.wanted_back or self.packing.used[node.id] > 0

    def count_alive(self, cloud: str = "") -> int:
        """Nodes that serve, boot, come back or are to be made; in this cloud, or in all."""
        return (self.new[cloud] if cloud else self.new.total()) + sum(
            policies.is_serving(node) or node.id in self.joining or self.is_kept(node)
            for node in self.counted
            if not cloud or node.cloud == cloud
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
        return self.count_unused() + joining + self.new_unused + len(self.wanted_back)


def spaces(
    nodes: Iterable[Node], world: World, joining: Collection[str], flavors: Mapping[tuple[str, str], Flavor]
) -> list[Space]:
    """All room that jobs may be packed onto, ours and foreign; `joining` names the nodes that boot or come back."""
    ours = {slot.name for node in nodes for slot in node.slots}
    found = [
        _space(Rank.PARTLY_USED, slot, slot.name, slot.ilk)
        for slot in world.slots
        if slot.name not in ours and has_room(slot)
    ]
    for node in nodes:
        flavor = flavors.get((node.cloud, node.flavor))
        ilk = flavor.ilk if flavor else 0
        if policies.is_serving(node):
            rank = Rank.EMPTY if node.condor_state is CondorState.IDLE else Rank.PARTLY_USED
            found += [_space(rank, slot, node.id, slot.ilk) for slot in node.slots if has_room(slot)]
        elif node.id in joining:
            found.append(Space(Rank.BOOTING, node.resources if node.resources.cpus else ANY_SIZE, node.id, ilk))
        elif policies.can_be_taken_back(node):  # its START is gone until it is, so its flavor speaks
            found += [_space(Rank.DRAINING, slot, node.id, ilk) for slot in node.slots if slot.kind != "Dynamic"]
    return found


def _space(rank: Rank, slot: Slot, owner: str, ilk: int) -> Space:
    return Space(rank, slot.free, owner, ilk, whole=slot.kind == "Static")


def has_room(slot: Slot) -> bool:
    """An unclaimed slot that takes jobs. A draining one still shows free cpus: that is no capacity."""
    return slot.accepts_jobs and not slot.draining and slot.state == "Unclaimed" and slot.kind != "Dynamic"


def idle_jobs(count: int) -> str:
    """The count, in words."""
    return f"{count} idle job" if count == 1 else f"{count} idle jobs"
