"""What there is in the pretend world: jobs, servers, and the startds on them. Times in epoch seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ehoslite.model import Server, VmState
from ehoslite.resources import Resources

# HTCondor's JOB_DEFAULT_LEASE_DURATION: a schedd waits so long for a startd that it does not hear.
LEASE = 2400.0
# The interval of reports in our execute template (UPDATE_INTERVAL).
REPORTS = 60.0
NEVER = float("inf")


class LawBroken(Exception):
    """The pass did what it must never do, or did not mend what it must; `law` names it (laws.py)."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


@dataclass(eq=False)
class Job:
    """A job. `state` is idle, running or done; `fragile` ones forbid retirement (+MaxJobRetirementTime = 0)."""

    number: int
    schedd: str
    request: Resources
    seconds: float
    fragile: bool = False
    state: str = "idle"
    ends: float = NEVER
    began: float = 0.0
    returns: float = NEVER  # when its schedd gives up the claim on a machine that is no more


@dataclass(eq=False)
class Machine:
    """A startd and what runs under it. `draining` is the reason of its drain, empty while it takes jobs."""

    name: str
    total: Resources
    node: str = ""
    pool: str = ""
    cloud: str = ""
    running: list[Job] = field(default_factory=list)
    draining: str = ""
    drains: int = 0  # since its startd started: the number of its last drain
    asked_at: float = 0.0  # when it was last asked to drain: from then on it takes no job, or has said that it has one
    up_at: float = 0.0
    cut_since: float = NEVER
    idle_since: float = 0.0
    dirty: bool = True
    spoken: float = 0.0
    frozen: bool = False  # its server is suspended
    on_its_way: list[tuple[float, list[dict[str, Any]]]] = field(default_factory=list)

    def free(self) -> Resources:
        """What its running jobs leave."""
        left = self.total
        for job in self.running:
            left = left - job.request
        return left

    def is_reached(self, now: float) -> bool:
        """Whether its startd runs and the network lets it be talked to."""
        return now >= self.up_at and self.cut_since == NEVER and not self.frozen

    def slot_states(self) -> list[str]:
        """The State of each slot, as the startd itself knows it: that of the partitionable slot first."""
        return ["Drained" if self.draining else "Unclaimed", *("Claimed" for _ in self.running)]

    def ads(self, now: float) -> list[dict[str, Any]]:
        """Its slot ads as it sends them now."""
        state = "Drained" if self.draining else "Unclaimed"
        activity = "Retiring" if self.draining and self.running else "Idle"
        ads = [self._ad(f"slot1@{self.name}", state, activity, self.free(), now) | {"PartitionableSlot": True}]
        for job in self.running:
            busy = "Retiring" if self.draining else "Busy"
            one = self._ad(f"slot1_{job.number}@{self.name}", "Claimed", busy, job.request, now)
            ads.append(one | {"DynamicSlot": True})
        return ads

    def _ad(self, name: str, state: str, activity: str, free: Resources, now: float) -> dict[str, Any]:
        ad = {
            "Name": name,
            "Machine": self.name,
            "State": state,
            "Activity": activity,
            "Cpus": free.cpus,
            "Memory": free.memory,
            "Disk": free.disk,
            "TotalSlotCpus": self.total.cpus,
            "TotalSlotMemory": self.total.memory,
            "TotalSlotDisk": self.total.disk,
            "Start": True,
            "NumDynamicSlotsTime": self.idle_since,
            "EnteredCurrentState": self.idle_since,
            "MyCurrentTime": now,
        }
        if self.node:
            ad |= {"EhosNode": self.node, "EhosPool": self.pool, "EhosCloud": self.cloud}
        return ad | (self._drain() if self.draining else {})

    def _drain(self) -> dict[str, object]:
        return {"Draining": True, "DrainReason": self.draining, "DrainingRequestId": str(self.drains)}

    def drain(self, reason: str) -> None:
        """Begin a drain, or end it where there is no reason."""
        self.drains += bool(reason)
        self.draining, self.dirty = reason, True


STATES = {
    "BUILD": VmState.BOOTING,
    "ACTIVE": VmState.ACTIVE,
    "ERROR": VmState.ERROR,
    "SHUTOFF": VmState.STOPPED,
    "SUSPENDED": VmState.STOPPED,
    "RESCUE": VmState.UNKNOWN,
}


@dataclass(eq=False)
class Vm:
    """A server in truth, ours or not. `listed_from` is when its cloud begins to list it."""

    id: str
    cloud: str
    node: str
    pool: str
    flavor: str
    made: float
    active_at: float
    joins_at: float
    status: str = "BUILD"
    fault: str = ""
    fails: bool = False
    listed_from: float = 0.0
    deleting: bool = False
    gone_at: float = NEVER
    changed: float = 0.0
    machine: Machine | None = None
    image: str = ""
    unclear: bool = False  # its creation's reply was lost, and no whole listing has shown it yet
    given_up: bool = False  # and that for longer than it is waited for

    def as_listed(self) -> Server:
        """As its cloud tells it."""
        state = VmState.DELETING if self.deleting else STATES[self.status]
        told = (self.fault, self.status, self.changed, self.image)
        return Server(self.cloud, self.id, self.node, self.flavor, state, self.made, *told)

    def runs_jobs(self) -> list[Job]:
        """The jobs that run on it and whose schedds hold the claim."""
        return list(self.machine.running) if self.machine is not None else []
