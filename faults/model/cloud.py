"""A pretend cloud: the Cloud interface over the truth of the world, with everything that clouds do wrong."""

from __future__ import annotations

from dataclasses import dataclass

from ehoslite.errors import ActionFailed, CloudUnreachable, NoCapacity, Unclear
from ehoslite.model import Flavor, Leftover, Room, Server
from faults.model.breaking import Effects, Killed
from faults.model.laws import check_delete, check_remove
from faults.model.things import NEVER, Vm
from faults.model.world import POOL, SIZES, World

# How long a server takes to become active, and its startd to join, where nothing is wrong.
BUILDS, JOINS = 30.0, 90.0
# The request of a killed pass shows within intent_timeout (60 s); one that a lost reply hid within five times that.
ON_ITS_WAY = 50.0
INSTANCES, CORES, MEMORY = 8, 20, 60_000


@dataclass
class Trouble:
    """What is wrong with a cloud now: flags, and how many of the next calls go wrong."""

    down: bool = False
    part: bool = False  # lists half of its servers and says nothing
    full: bool = False
    lost_replies: int = 0  # creations that are made, and said to be unclear
    unmade: int = 0  # creations that are not made, and said to be unclear
    late: int = 0  # creations that are said to be unclear, and are listed only `late_by` seconds later
    late_by: float = 0.0
    failing_builds: int = 0
    never_joining: int = 0
    slow_boots: int = 0
    failing_deletes: int = 0
    slow_deletes: int = 0

    def delay(self, seconds: float) -> None:
        """The next creation is listed so much later."""
        self.late, self.late_by = 1, seconds


class PretendCloud:
    """One cloud. `floating` ones make a port for each node, which outlives its server until it is removed."""

    def __init__(self, name: str, world: World, effects: Effects, *, floating: bool = False) -> None:
        self.name = name
        self.world = world
        self.effects = effects
        self.floating = floating
        self.trouble = Trouble()

    def mend(self) -> None:
        """It works from now on."""
        self.trouble = Trouble()

    def _answer(self) -> None:
        if self.trouble.down:
            raise CloudUnreachable("the API does not answer")

    def _here(self) -> list[Vm]:
        return [vm for vm in self.world.vms if vm.cloud == self.name]

    def flavors(self) -> tuple[Flavor, ...]:
        """The sizes."""
        self._answer()
        return self.effects.around("cloud.flavors", lambda: self.world.flavors(self.name))

    def servers(self) -> tuple[Server, ...]:
        """The servers with our tag, as far as this cloud lists them now."""
        self._answer()
        return self.effects.around("cloud.servers", self._list)

    def _list(self) -> tuple[Server, ...]:
        listed = [vm for vm in self._here() if self.is_tagged(vm) and vm.listed_from <= self.world.now]
        if self.trouble.part:
            listed = listed[::2] if int(self.world.now) % 2 else listed[1::2]
        else:
            for vm in listed:
                vm.unclear = False
        return tuple(vm.as_listed() for vm in listed)

    def is_tagged(self, vm: Vm) -> bool:
        """Whether it carries our tag."""
        return vm.pool == POOL

    def exists(self, server: str) -> bool:
        """Whether this server exists, asked for by its id. Raises CloudUnreachable."""
        self._answer()
        return self.effects.around("cloud.exists", lambda: any(vm.id == server for vm in self._here()))

    def console(self, server: Server) -> str:
        """The same for all."""
        self._answer()
        return self.effects.around("cloud.console", lambda: f"the console of {server.id}")

    def room(self) -> Room:
        """What is left of the quota."""
        self._answer()
        return self.effects.around("cloud.room", self._room)

    def _room(self) -> Room:
        here = self._here()
        sizes = [SIZES[vm.flavor] for vm in here]
        room = Room(INSTANCES - len(here), CORES - sum(size.cpus for size in sizes), MEMORY)
        return Room(0, 0, 0) if self.trouble.full else room

    def leftovers(self) -> tuple[Leftover, ...]:
        """The ports."""
        self._answer()
        return self.effects.around("cloud.leftovers", self._leftovers)

    def _leftovers(self) -> tuple[Leftover, ...]:
        ports, used = self.world.ports[self.name], {vm.node for vm in self._here()}
        return tuple(Leftover(self.name, "port", port, node, in_use=node in used) for port, node in ports.items())

    def remove(self, leftover: Leftover) -> None:
        """Remove a port; what used it has no network any more."""
        self._answer()

        def do() -> None:
            check_remove(self.world, leftover)
            self.world.ports[self.name].pop(leftover.id, None)

        self.effects.around("cloud.remove", do)

    def create(self, node: str, flavor: str, user_data: str) -> str:
        """Make a server, or not, and say so, or not."""
        if node not in user_data:
            raise ActionFailed("the user data does not name the node")
        self._answer()
        if self.floating:
            self.effects.around("cloud.port", lambda: self._make_port(node))
        try:
            return self.effects.around("cloud.create", lambda: self._create(node, flavor))
        except Killed:
            self._arrive_after_all(node, flavor)
            raise

    def _arrive_after_all(self, node: str, flavor: str) -> None:
        """The request of a killed pass is on its way already, and is carried out."""
        is_made = any(vm.node == node for vm in self._here())
        if self.trouble.late and not is_made and self._room().holds(Flavor(self.name, flavor, SIZES[flavor])):
            self._make(node, flavor).listed_from = self.world.now + min(self.trouble.late_by, ON_ITS_WAY)

    def _make_port(self, node: str) -> None:
        self.world.ports[self.name][f"port-{len(self.world.counts)}-{node}"] = node

    def _create(self, node: str, flavor: str) -> str:
        trouble = self.trouble
        if self._room().holds(Flavor(self.name, flavor, SIZES[flavor])) < 1:
            raise NoCapacity("the quota allows none")
        if trouble.unmade:
            trouble.unmade -= 1
            raise Unclear("the gateway gave up")
        vm = self._make(node, flavor)
        if trouble.late:
            trouble.late -= 1
            vm.listed_from, vm.unclear = self.world.now + trouble.late_by, True
            raise Unclear("the reply was lost")
        if trouble.lost_replies:
            trouble.lost_replies -= 1
            vm.unclear = True
            raise Unclear("the reply was lost")
        return vm.id

    def _make(self, node: str, flavor: str, pool: str = POOL) -> Vm:
        world, trouble = self.world, self.trouble
        world.counts["servers made"] += 1
        slow = 4.0 if trouble.slow_boots else 1.0
        active = world.now + BUILDS * slow
        name = f"id-{world.counts['servers made']}"
        vm = Vm(name, self.name, node, pool, flavor, world.now, active, active + JOINS * slow, image=world.image)
        trouble.slow_boots = max(0, trouble.slow_boots - 1)
        if trouble.failing_builds:
            trouble.failing_builds, vm.fails = trouble.failing_builds - 1, True
        elif trouble.never_joining:
            trouble.never_joining, vm.joins_at = trouble.never_joining - 1, NEVER
        world.vms.append(vm)
        world.check_numbers()
        return vm

    def make_foreign(self) -> None:
        """Somebody else makes a server here."""
        if self._room().instances > INSTANCES // 2 and self._room().cores >= CORES // 2:
            self._make(f"other-{self.world.chance.getrandbits(16):x}", "small", "other")

    def delete(self, server: Server) -> None:
        """Delete a server, at once or in a while."""
        self._answer()
        self.effects.around("cloud.delete", lambda: self._delete(server))

    def _delete(self, server: Server) -> None:
        vm = next((vm for vm in self._here() if vm.id == server.id), None)
        if vm is None:
            return
        check_delete(self.world, vm)
        if self.trouble.failing_deletes:
            self.trouble.failing_deletes -= 1
            raise ActionFailed("the cloud failed to delete it")
        self.world.counts["servers deleted"] += 1
        if self.trouble.slow_deletes:
            self.trouble.slow_deletes -= 1
            vm.deleting, vm.gone_at, vm.changed = True, self.world.now + 240, self.world.now
            if vm.machine is not None:
                vm.machine.frozen = True
        else:
            self.world.remove(vm)
