"""The pretend world: virtual time, servers that boot, startds that report, schedds, a collector, a negotiator."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from ehoslite.model import Flavor
from ehoslite.resources import Resources
from faults.model.things import LEASE, NEVER, REPORTS, Job, LawBroken, Machine, Vm

POOL = "model"
START = 1_700_000_000.0
# A collector drops an ad that was not renewed at its next cleaning after 15 minutes: 15 to 30 minutes.
ADS_LAST = 1500.0
# A schedd reports every 5 minutes (SCHEDD_INTERVAL).
SCHEDD_REPORTS = 300.0
# A server whose reply was lost is waited for so long: five times intent_timeout.
WAITED_FOR = 300.0
SIZES = {"small": Resources(1, 2000, 10_000_000), "large": Resources(4, 8000, 40_000_000)}
PRICES = {"small": 1.0, "large": 4.0}


class World:
    """The truth. What a pass sees of it goes by cloud.py and pool.py; what it may never do to it stands in laws.py."""

    def __init__(self, seed: int, clouds: int = 1, schedds: int = 2, nodes_max: int = 4) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a pretend world, the same at each play
        self.now = START
        self.skew = 0.0  # how far the clock of the pass is off
        self.image = "image-0"  # what clouds make servers of
        self.lag = 2.0  # how long a report takes to the collector
        self.nodes_max = nodes_max
        self.clouds = [f"c{number}" for number in range(clouds)]
        self.vms: list[Vm] = []
        self.machines: list[Machine] = [Machine("foreign.elsewhere", Resources(1, 1000, 10_000_000))]
        self.machines.append(Machine("other.nodes", SIZES["small"], "ehos-other-1", "other", "c0"))
        self.jobs: list[Job] = []
        self.schedds = {f"schedd{number}": True for number in range(schedds)}  # whether it answers
        self.known_from = dict.fromkeys(self.schedds, 0.0)  # when the collector has its ad (again)
        self.collector: dict[str, tuple[float, list[dict[str, Any]]]] = {}
        self.collector_since = START - 7200
        self.collector_answers = True
        self.ports: dict[str, dict[str, str]] = {name: {} for name in self.clouds}  # port id -> node
        self.last_look = START  # when the pass at work last asked for the nodes that it will delete
        self.heard_at_look: dict[str, float] = {}  # and when the collector had heard each machine then
        self.unheard: set[str] = set()  # the schedds whose jobs the pass at work has not been told
        self.counts: Counter[str] = Counter()
        self.advance(120)

    def flavors(self, cloud: str) -> tuple[Flavor, ...]:
        """What each cloud offers."""
        return tuple(Flavor(cloud, name, size, PRICES[name], made_of=self.image) for name, size in SIZES.items())

    def ours(self) -> list[Vm]:
        """Our servers that exist."""
        return [vm for vm in self.vms if vm.pool == POOL]

    def machine(self, name: str) -> Machine | None:
        """The machine of this name."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def vm_of(self, machine: Machine) -> Vm | None:
        """The server on which this machine lives, None for one that is no server of any cloud here."""
        return next((vm for vm in self.vms if vm.machine is machine), None)

    def nodes(self) -> list[Machine]:
        """The machines of our nodes, in an order that does not change."""
        return [machine for machine in self.machines if machine.pool == POOL]

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        until, slice_ = self.now + seconds, 20.0 if seconds <= 1200 else 60.0
        while self.now < until:
            self.now = min(until, self.now + slice_)
            self.happen()

    def happen(self) -> None:
        """All that is due now."""
        for vm in list(self.vms):
            self._boot(vm)
        for job in self.jobs:
            if job.returns <= self.now:
                self.requeue(job)
        for machine in self.machines:
            self._run(machine)
        self.negotiate()
        for machine in self.machines:
            self._report(machine)
        for name in [name for name, (heard, _) in self.collector.items() if self.now - heard > ADS_LAST]:
            del self.collector[name]
        self.check_numbers()

    def _boot(self, vm: Vm) -> None:
        if vm.gone_at <= self.now:
            self.remove(vm)
        elif vm.status == "BUILD" and self.now >= vm.active_at:
            vm.status = "ERROR" if vm.fails else "ACTIVE"
            vm.fault = "No valid host was found" if vm.fails else ""
            vm.changed = self.now
        if vm.status == "ACTIVE" and vm.machine is None and self.now >= vm.joins_at and not vm.deleting:
            vm.machine = Machine(f"{vm.node}.nodes", SIZES[vm.flavor], vm.node, vm.pool, vm.cloud)
            vm.machine.idle_since = self.now
            self.machines.append(vm.machine)

    def _run(self, machine: Machine) -> None:
        """Jobs end; a schedd that has not heard a machine for the lease runs its jobs elsewhere."""
        if self.now - machine.cut_since > LEASE:
            for job in list(machine.running):
                self.requeue(job)
            machine.running.clear()
        if not machine.is_reached(self.now):
            return
        for job in [job for job in machine.running if job.ends <= self.now]:
            job.state, job.ends = "done", NEVER
            machine.running.remove(job)
            self.counts["jobs run"] += 1
            machine.dirty, machine.idle_since = True, self.now

    def requeue(self, job: Job) -> None:
        """Its schedd has given up the claim: the job waits again."""
        job.state, job.ends, job.returns = "idle", NEVER, NEVER

    def negotiate(self) -> None:
        """Start idle jobs wherever a known startd takes them. The startd decides by its own state, not by its ad."""
        heard = {name for name, answers in self.schedds.items() if answers and self.known_from[name] <= self.now}
        waiting = [job for job in self.jobs if job.state == "idle" and job.schedd in heard]
        if not waiting:
            return
        takers = [m for m in self.machines if self._is_offered(m) and m.is_reached(self.now) and not m.draining]
        self.chance.shuffle(takers)
        for job in waiting:
            for machine in takers:
                if machine.free().holds(job.request):
                    self.start(job, machine)
                    break

    def _is_offered(self, machine: Machine) -> bool:
        """Whether the collector has an ad of it that takes jobs."""
        ads = self.collector.get(machine.name)
        return ads is not None and "DrainReason" not in ads[1][0]

    def start(self, job: Job, machine: Machine) -> None:
        """The job runs there."""
        job.state, job.ends, job.began = "running", self.now + job.seconds, self.now
        machine.running.append(job)
        machine.dirty, machine.idle_since = True, self.now

    def _report(self, machine: Machine) -> None:
        if machine.is_reached(self.now) and (machine.dirty or self.now - machine.spoken >= REPORTS):
            machine.dirty, machine.spoken = False, self.now
            machine.on_its_way.append((self.now + self.lag, machine.ads(self.now)))
        while machine.on_its_way and machine.on_its_way[0][0] <= self.now:
            arrived, ads = machine.on_its_way.pop(0)
            self.collector[machine.name] = (arrived, ads)

    def remove(self, vm: Vm) -> None:
        """The server is no more; what ran on it is missed by its schedd when the lease has run out."""
        self.vms.remove(vm)
        if vm.machine is not None:
            self.stop(vm.machine)
            self.machines.remove(vm.machine)

    def stop(self, machine: Machine) -> None:
        """The machine loses power."""
        for job in machine.running:
            job.returns, job.ends = self.now + LEASE, NEVER
        machine.running.clear()
        machine.on_its_way.clear()

    def restart(self, machine: Machine, seconds: float) -> None:
        """Its startd starts anew: its jobs wait again, its drain is forgotten (measured, HTCondor 23.9.6)."""
        for job in machine.running:
            self.requeue(job)
        machine.running.clear()
        machine.draining, machine.drains, machine.up_at = "", 0, self.now + seconds
        machine.dirty, machine.idle_since = True, self.now + seconds

    def restart_collector(self) -> None:
        """It knows nothing; startds and schedds report again at their own pace."""
        self.collector.clear()
        self.collector_since = self.now
        for machine in self.machines:
            machine.on_its_way.clear()
            machine.spoken = self.now - self.chance.uniform(0, REPORTS)
        for name in self.schedds:
            self.known_from[name] = self.now + self.chance.uniform(0, SCHEDD_REPORTS)

    def check_numbers(self) -> None:
        """Never more of our servers than nodes_max, never two for one node. One whose reply was lost, and that no
        whole listing has shown for so long, is not counted: that is not promised (docs/reliability.md)."""
        ours = self.ours()
        for vm in ours:
            vm.given_up = vm.given_up or (vm.unclear and self.now - vm.made > WAITED_FOR)
        counted = [vm for vm in ours if not vm.given_up]
        if len(counted) > self.nodes_max:
            raise LawBroken("limits", f"{len(counted)} servers, nodes_max is {self.nodes_max}")
        if len({vm.node for vm in ours}) < len(ours):
            raise LawBroken("doubled", "two servers carry the same node id")
