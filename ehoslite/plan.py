"""World + memory + settings -> Plan: actions, each with its reason, and what is held back, with the reason. Pure.

Supply first, demand last: idle jobs are packed onto free room, booting nodes and draining nodes; only what is left over
makes new nodes, and only what nothing was packed onto may be retired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ehoslite import policies
from ehoslite.model import (
    Action,
    CloudView,
    CondorState,
    Create,
    Delete,
    Drain,
    Flavor,
    Forget,
    HoldBack,
    Memory,
    Node,
    Plan,
    Reason,
    Resources,
    Room,
    Shape,
    Slot,
    Undrain,
    VmState,
    World,
)
from ehoslite.nodes import join
from ehoslite.packing import Packing, Rank, Space, largest_first
from ehoslite.settings import Settings


def plan(world: World, memory: Memory, settings: Settings) -> Plan:
    """What this pass should do. The same world, memory and settings give the same plan, in whatever order they come."""
    draft = _Draft(world, settings, join(world, memory, settings.pool))
    draft.report_silence()
    draft.serve_demand()
    draft.keep_minimum()
    draft.keep_spare()
    draft.take_back()
    draft.replace_broken()
    draft.retire()
    return Plan(tuple(draft.actions), tuple(draft.held), draft.nodes)


@dataclass
class _Draft:
    """A plan in the making: what is decided so far, and what room the limits still leave."""

    world: World
    settings: Settings
    nodes: tuple[Node, ...]
    actions: list[Action] = field(default_factory=list)
    held: list[HoldBack] = field(default_factory=list)
    wanted_back: dict[str, Reason] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now = self.world.now
        self.counted = [node for node in self.nodes if policies.counts_to_limits(node, self.world)]
        self.clouds = [cloud for cloud in self.world.clouds if not cloud.fault]
        self.rooms = {cloud.name: self._room(cloud) for cloud in self.clouds}
        self.nodes_left = self.settings.scaling.nodes_max - len(self.counted)
        self.new: list[str] = []
        self.packing = Packing(_spaces(self.nodes, self.world, self.settings))

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

    def report_silence(self) -> None:
        """What did not answer is said; nothing is decided about it."""
        for cloud in self.world.clouds:
            if cloud.fault:
                self.hold(cloud.name, "cloud-silent", f"cloud {cloud.name}: {cloud.fault}; its nodes are left alone")
        for schedd, why in sorted(self.world.demand.silent.items()):
            self.hold(schedd, "schedd-silent", f"schedd {schedd}: {why}; its jobs are not known, so nothing is retired")
        for shape in self.world.demand.unreadable:
            self.hold(
                shape.what,
                "unreadable-request",
                f"{shape.count} idle jobs ask for {shape.what}, which comes to no number: the negotiator cannot place "
                "them either",
            )

    def serve_demand(self) -> None:
        """Pack the idle jobs, making nodes where room is missing."""
        flavors = [flavor for cloud in self.clouds for flavor in cloud.flavors]
        for shape in largest_first(self.world.demand.shapes, flavors):
            placed = self.packing.place(shape.request, shape.count)
            if placed[Rank.BOOTING]:
                text = f"{placed[Rank.BOOTING]} idle jobs of {shape} wait for nodes that boot"
                self.hold(str(shape), "waits-for-boot", text)
            left = shape.count - placed.total()
            if left:
                self._make_room(shape, left, flavors)

    def _make_room(self, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
        """New nodes for `count` jobs of a shape, in the order of the clouds, as far as limits and quotas go."""
        if not policies.fitting_flavors(shape.request, flavors):
            self._report_unfit(shape, count, flavors)
            return
        for cloud in self.clouds:
            while count > 0 and (chosen := self._choose(cloud, shape.request, count)):
                flavor, servers = chosen
                reason = Reason("demand", f"{count} idle jobs of {shape} find no room")
                self._create(flavor, servers, reason)
                count -= self.packing.place(shape.request, count).total()
        if count > 0:
            self._report_limit(str(shape), f"{count} idle jobs of {shape} wait")

    def _choose(self, cloud: CloudView, request: Resources, count: int) -> tuple[Flavor, int] | None:
        room = self.rooms[cloud.name]
        room = Room(min(room.instances, self.nodes_left), room.cores, room.memory)
        return policies.choose_flavor(request, count, policies.fitting_flavors(request, cloud.flavors), room)

    def _create(self, flavor: Flavor, servers: int, reason: Reason) -> None:
        self.nodes_left -= servers
        self.rooms[flavor.cloud] = self.rooms[flavor.cloud].less(flavor, servers)
        for _ in range(servers):
            owner = f"new node {len(self.new) + 1}"
            self.new.append(owner)
            self.packing.add(Space(Rank.NEW, flavor.resources, owner))
            self.actions.append(Create(flavor, reason))

    def _report_unfit(self, shape: Shape, count: int, flavors: Sequence[Flavor]) -> None:
        """No flavor can ever run it: say which resource is short on the largest one."""
        if not flavors:
            self.hold(str(shape), "no-flavor", f"{count} idle jobs of {shape} wait: no cloud offers a flavor now")
            return
        nearest = min(flavors, key=lambda flavor: (len(flavor.resources.lacking(shape.request)), flavor.name))
        short = ", ".join(nearest.resources.lacking(shape.request))
        text = (
            f"{count} idle jobs of {shape} get no node: no flavor is large enough; "
            f"{nearest.cloud}/{nearest.name} has {nearest.resources} and lacks {short}"
        )
        self.hold(str(shape), "no-flavor-fits", text)

    def _report_limit(self, subject: str, what: str) -> None:
        """Which limit binds: our own on nodes, or the clouds' quotas."""
        scaling = self.settings.scaling
        if self.nodes_left <= 0:
            self.hold(subject, "nodes-max", f"{what}: nodes_max {scaling.nodes_max} is reached")
        elif not self.clouds:
            self.hold(subject, "no-cloud", f"{what}: no cloud answers")
        else:
            names = ", ".join(cloud.name for cloud in self.clouds)
            self.hold(subject, "quota", f"{what}: the quota of {names} allows no node that fits")

    def alive(self) -> int:
        """Nodes that serve, boot, come back or are to be made."""
        return len(self.new) + sum(
            policies.is_serving(node)
            or policies.is_booting(node, self.now, self.settings)
            or node.id in self.wanted_back
            or self.packing.used[node.id] > 0
            for node in self.counted
        )

    def keep_minimum(self) -> None:
        """Nodes for nodes_min that the queue alone would not make."""
        minimum = self.settings.scaling.nodes_min
        self._add_nodes(minimum - self.alive(), Reason("nodes-min", f"nodes_min is {minimum}"))

    def keep_spare(self) -> None:
        """Nodes that nothing is packed onto, ready for the next jobs."""
        spare = self.settings.scaling.nodes_spare
        self._add_nodes(spare - self._unused(booting=True), Reason("nodes-spare", f"nodes_spare is {spare}"))

    def _unused(self, *, booting: bool) -> int:
        """Idle nodes without a job packed onto them; with booting ones and those made or taken back as spare."""
        idle = [
            node
            for node in self.counted
            if not self.packing.used[node.id]
            and (
                (policies.is_serving(node) and node.condor_state is CondorState.IDLE)
                or (booting and policies.is_booting(node, self.now, self.settings))
            )
        ]
        if not booting:
            return len(idle)
        return len(idle) + len(self.wanted_back) + sum(not self.packing.used[owner] for owner in self.new)

    def _add_nodes(self, count: int, reason: Reason) -> None:
        """Take draining nodes back, then make the smallest nodes that the clouds allow."""
        for node in self.counted:
            if count > 0 and policies.can_be_taken_back(node) and not self._kept(node):
                self.wanted_back[node.id] = reason
                count -= 1
        for cloud in self.clouds:
            for flavor in policies.smallest_first(cloud.flavors)[:1]:
                allowed = min(self.rooms[cloud.name].holds(flavor), self.nodes_left)
                servers = max(0, min(count, allowed))
                self._create(flavor, servers, reason)
                count -= servers
        if count > 0:
            self._report_limit(reason.code, f"{reason.text} but {count} nodes are missing")

    def _kept(self, node: Node) -> bool:
        return node.id in self.wanted_back or self.packing.used[node.id] > 0

    def take_back(self) -> None:
        """Undrain what jobs or the minimum want; delete what was drained by us and is wanted no more."""
        for node in self.counted:
            drained = node.condor_state is CondorState.DRAINED
            if node.condor_state not in {CondorState.DRAINED, CondorState.DRAINING}:
                continue
            if not node.drained_by_us:
                self.hold(node.id, "drained-by-other", f"{node.id} is being drained by somebody else: left alone")
            elif policies.can_be_taken_back(node) and self._kept(node):
                jobs = self.packing.used[node.id]
                reason = self.wanted_back.get(node.id) or Reason("demand", f"{jobs} idle jobs fit onto it")
                self.actions.append(Undrain(node, reason))
            elif drained and node.vm_state is VmState.ACTIVE:
                reason = Reason("drained", f"{node.id} is drained and idle, and nothing waits for it")
                self.actions.append(Delete(node, reason, drained=True))

    def replace_broken(self) -> None:
        """Delete what failed, stopped, never joined or was lost; forget the ads of what is gone."""
        for node in self.nodes:
            if policies.is_ghost(node, self.world):
                text = f"no cloud lists a server of {node.id} any more; its ads are invalidated"
                self.actions.append(Forget(node, Reason("server-gone", text)))
            elif node.servers and (reason := self._broken(node)):
                self._delete_broken(node, reason)

    def _broken(self, node: Node) -> Reason | None:
        server = node.servers[0]
        if node.vm_state is VmState.ERROR:
            return Reason("build-failed", f"{node.id} is in error: {server.fault or 'the cloud gives no reason'}")
        if node.vm_state is VmState.STOPPED:
            return Reason("stopped", f"the server of {node.id} is stopped")
        if node.vm_state is VmState.DELETING or node.condor_state not in {CondorState.ABSENT, CondorState.LOST}:
            return None
        silent, allowed = policies.silent_for(node, self.now), policies.silence_allowed(node, self.settings)
        if silent <= allowed:
            return None
        if node.condor_state is CondorState.ABSENT and node.created_here:
            return Reason("boot-timeout", f"{node.id} has not joined the pool within {allowed:.0f} s")
        return Reason("lost", f"the startd of {node.id} has been silent for {silent:.0f} s")

    def _delete_broken(self, node: Node, reason: Reason) -> None:
        running = node.vm_state not in {VmState.ERROR, VmState.STOPPED}
        if running and policies.collector_is_young(self.world, self.settings):
            self.hold(
                node.id, "collector-young", f"{reason.text}, but the collector has just started: not believed yet"
            )
        elif policies.may_hold_a_job(node, self.now, self.settings):
            self.hold(node.id, "claimed", f"{reason.text}, but a schedd may still hold a claim on it")
        else:
            self.actions.append(Delete(node, reason))

    def retire(self) -> None:
        """Drain idle nodes beyond what the queue, the minimum and the spare need; longest idle first."""
        scaling, over = self.settings.scaling, len(self.counted) - self.settings.scaling.nodes_max
        idle = [
            node
            for node in self.counted
            if node.condor_state is CondorState.IDLE
            and node.vm_state is VmState.ACTIVE
            and not self._kept(node)
            and self._has_its_own_machine(node)
        ]
        ready = sorted(
            (node for node in idle if over > 0 or policies.idle_too_long(node, self.now, self.settings)),
            key=lambda node: (node.idle_since, node.id),
        )
        allowed = max(0, min(self.alive() - scaling.nodes_min, self._unused(booting=False) - scaling.nodes_spare))
        if ready and self.world.demand.silent:
            self.hold("retire", "schedd-silent", f"{len(ready)} idle nodes are kept: not all schedds have answered")
            return
        for node in ready[:allowed]:
            idle_for = f"{node.id} has been idle for {self.now - node.idle_since:.0f} s"
            reason = Reason("nodes-max", f"{over} nodes too many") if over > 0 else Reason("idle-timeout", idle_for)
            self.actions.append(Drain(node, reason))
        if ready[allowed:]:
            text = f"{len(ready[allowed:])} idle nodes are kept for nodes_min {scaling.nodes_min} or nodes_spare"
            self.hold("retire", "kept", f"{text} {scaling.nodes_spare}")
        waiting = len(idle) - len(ready)
        if waiting:
            self.hold("retire", "idle-timeout", f"{waiting} idle nodes are kept until idle_timeout has passed")

    def _has_its_own_machine(self, node: Node) -> bool:
        """A drain goes by Machine: where a startd that is not this node's has the same one, it might hit the other."""
        others = {slot.node for slot in self.world.slots if slot.machine == node.machine} - {node.id}
        if others:
            text = f"another startd also calls itself {node.machine}: {node.id} is not drained"
            self.hold(node.id, "ambiguous-machine", text)
        return not others


def _spaces(nodes: Iterable[Node], world: World, settings: Settings) -> list[Space]:
    """All room that jobs may be packed onto, ours and foreign."""
    ours = {slot.name for node in nodes for slot in node.slots}
    spaces = [
        Space(Rank.PARTLY_USED, slot.free, slot.name)
        for slot in world.slots
        if slot.name not in ours and _has_room(slot)
    ]
    for node in nodes:
        if policies.is_serving(node):
            rank = Rank.EMPTY if node.condor_state is CondorState.IDLE else Rank.PARTLY_USED
            spaces += [Space(rank, slot.free, node.id) for slot in node.slots if _has_room(slot)]
        elif policies.is_booting(node, world.now, settings):
            spaces.append(Space(Rank.BOOTING, node.resources, node.id))
        elif policies.can_be_taken_back(node):
            spaces += [Space(Rank.DRAINING, slot.free, node.id) for slot in node.slots if slot.kind != "Dynamic"]
    return spaces


def _has_room(slot: Slot) -> bool:
    """An unclaimed slot that takes jobs. A draining one still shows free cpus: that is no capacity."""
    return slot.accepts_jobs and not slot.draining and slot.state == "Unclaimed" and slot.kind != "Dynamic"
