"""The oracle: what a pass may never do to the world, and what the world must have come to afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehoslite.nodes import DRAIN_REASON, FRESH
from faults.model.things import LawBroken, Machine, Vm
from faults.model.world import POOL

if TYPE_CHECKING:
    from ehoslite.model import Leftover
    from faults.model.world import World

LAWS = {
    "killed": "no running job dies by our hand",
    "foreign": "hands off what is not ours",
    "limits": "never more servers than nodes_max",
    "doubled": "never two servers for one node",
    "blind": "no node is retired while a schedd's jobs are not known",
    "cut off": "nothing is removed that a living server needs",
    "lock": "one pass at a time",
    "crashed": "a pass ends with an exit code, never with a trace",
    "orphan": "every server of ours is listed and serves, or goes",
    "queue": "the queue is served",
    "drift": "a node that differs from what would be made today is replaced",
    "unrest": "a further pass has nothing to do",
    "secret": "no node's token is in the state file, or in what a pass says",
}

# How the tokens of nodes begin.
TOKEN = "a.b.c"  # noqa: S105 - as good as none


def check_delete(world: World, vm: Vm) -> None:
    """At each delete. A job whose schedd has given up the claim is not killed by it: it waits, or runs elsewhere. One
    that began after the last question, to its startd or its schedd, could not be known: it is counted, not judged."""
    if vm.pool != POOL:
        raise LawBroken("foreign", f"the server of {vm.node} is deleted")
    asked = max(world.last_look, vm.machine.asked_at if vm.machine is not None else 0.0)
    jobs = [job for job in vm.runs_jobs() if job.began <= asked]
    world.counts["jobs begun after the last question before a delete"] += len(vm.runs_jobs()) - len(jobs)
    if vm.machine is not None and not vm.deleting and takes_jobs(world, vm.machine):
        raise LawBroken("killed", f"{vm.node} is deleted while its startd speaks, takes jobs and was not drained")
    if jobs:
        raise LawBroken("killed", f"{vm.node} is deleted while job {jobs[0].number} runs on it ({vm.status})")
    world.counts["deletes judged"] += 1


def takes_jobs(world: World, machine: Machine) -> bool:
    """Whether a job may start there at any moment, as the last look could tell: its ads were new then."""
    heard = world.heard_at_look.get(machine.name, 0.0)
    return machine.is_reached(world.now) and not machine.draining and world.last_look - heard <= FRESH


def check_drain(world: World, machine: Machine) -> None:
    """At each drain that the startd accepts."""
    if machine.pool != POOL:
        raise LawBroken("foreign", f"{machine.name} is drained")
    if any(job.fragile for job in machine.running):
        raise LawBroken("killed", f"{machine.name} is drained while a job runs that forbids retirement")
    waiting = {job.schedd for job in world.jobs if job.state == "idle" and machine.total.holds(job.request)}
    if unheard := sorted(waiting & world.unheard):
        raise LawBroken("blind", f"{machine.name} is drained while {unheard[0]} was not heard and has jobs for it")


def check_undrain(machine: Machine) -> None:
    """At each cancelled drain."""
    if machine.draining and (machine.pool != POOL or not machine.draining.startswith(DRAIN_REASON)):
        raise LawBroken("foreign", f"somebody else's drain of {machine.name} is cancelled")


def check_secrets(kept: str, said: str) -> None:
    """After each pass, or what a kill has left of it: its state file, and the report."""
    for what, text in (("the state file", kept), ("what a pass says", said)):
        if TOKEN in text:
            raise LawBroken("secret", f"a token is in {what}")


def check_remove(world: World, leftover: Leftover) -> None:
    """At each removal of a port."""
    if any(vm.node == leftover.node and not vm.deleting for vm in world.vms):
        raise LawBroken("cut off", f"the port of {leftover.node} is removed while its server lives")
