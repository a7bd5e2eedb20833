"""The part of the plan that takes nodes away that are drained, broken or gone. A running job is never its price."""

from __future__ import annotations

import re
from dataclasses import replace

from ehoslite import policies
from ehoslite.actions import Delete, Drain, Forget, Reason, Sweep, Undrain
from ehoslite.draft import Draft, idle_jobs
from ehoslite.model import CondorState, Node, VmState

# In the fault of a server: Nova's and Cinder's words ("Quota exceeded for ...", "... exceeds available quota").
QUOTA = re.compile(r"quota.*exceeded|exceed.*quota", re.IGNORECASE)


def take_back_or_delete_drained(draft: Draft) -> None:
    """Undrain what jobs or the minimum want; delete what was drained by us and is wanted no more."""
    for node in draft.counted:
        if node.condor_state not in {CondorState.DRAINED, CondorState.DRAINING}:
            continue
        if not node.drained_by_us:
            draft.hold(node.id, "drained-by-other", f"{node.id} is being drained by somebody else: left alone")
        elif node.vm_state is VmState.ACTIVE and is_ambiguous(draft, node):
            continue  # a drain and its end go by that name, and so does the question before a delete
        elif policies.can_be_taken_back(node) and draft.is_kept(node):
            fitting = Reason("demand", f"there is room on it for {idle_jobs(draft.packing.used[node.id])}")
            draft.actions.append(Undrain(node, draft.wanted_back.get(node.id, fitting)))
        elif node.condor_state is CondorState.DRAINED and node.vm_state is VmState.ACTIVE:
            why = "it is beyond our limits" if node.id in draft.beyond else "nothing waits for it"
            draft.actions.append(Delete(node, Reason("drained", f"it is drained and idle, and {why}"), drained=True))


def replace_broken(draft: Draft) -> None:
    """Delete what failed, stopped, never joined or was lost; forget the ads of what is gone."""
    for node in draft.nodes:
        if policies.is_ghost(node, draft.world):
            text = "no cloud lists its server any more; its ads are invalidated"
            draft.actions.append(Forget(node, Reason("server-gone", text)))
        elif node.servers and (reason := why_broken(draft, node)):
            delete_broken(draft, node, reason)
        elif len(node.servers) > 1:
            delete_doubles(draft, node)
        elif node.servers and node.vm_state is VmState.UNKNOWN:
            status = node.servers[0].status or "of no known state"
            draft.hold(node.id, "vm-unknown", f"the server of {node.id} is {status}: left alone")
        elif not node.servers and node.slots and not policies.is_of_silent_cloud(node, draft.world):
            text = f"no cloud lists a server of {node.id}, but its startd was heard {draft.now - node.heard:.0f} s ago"
            draft.hold(node.id, "no-server", f"{text}: left alone while it speaks")


def delete_doubles(draft: Draft, node: Node) -> None:
    """Several servers with one node's tag, which no pass makes: a proxy that repeats requests might, or a person. They
    call themselves the same, so once one has joined nobody can tell which of them runs jobs."""
    text = f"{len(node.servers)} servers carry its tag"
    if node.condor_state is CondorState.ABSENT and node.created_here:
        surplus = replace(node, servers=node.servers[1:])
        draft.actions.append(Delete(surplus, Reason("duplicate", f"{text}; the oldest stays")))
    else:
        ids = ", ".join(server.id for server in node.servers)
        draft.hold(node.id, "duplicate", f"{text} ({ids}): delete by hand those that no job runs on")


def sweep_leftovers(draft: Draft) -> None:
    """Remove what was made for nodes that are no more: ports and floating IPs cost quota. A node that a listing leaves
    out and that the memory has lost looks like one that is no more; what a server has is therefore kept."""
    known = {node.id for node in draft.nodes}
    for cloud in draft.clouds:
        for leftover in cloud.leftovers:
            if leftover.node not in known and not leftover.in_use:
                reason = Reason("leftover", f"it was made for {leftover.node}, which is no more")
                draft.actions.append(Sweep(leftover, reason))


def why_broken(draft: Draft, node: Node) -> Reason | None:
    """The reason to replace a node, if there is one."""
    if node.vm_state is VmState.ERROR:
        return why_in_error(node.servers[0].fault)
    if node.vm_state is VmState.STOPPED:
        return Reason("stopped", "its server is stopped")
    if node.vm_state is VmState.DELETING:
        if policies.is_going(node, draft.now, draft.settings):
            return None
        return Reason("delete-again", f"it has been deleting for {policies.deleting_for(node, draft.now):.0f} s")
    if node.vm_state is VmState.UNKNOWN or node.condor_state not in {CondorState.ABSENT, CondorState.LOST}:
        return None
    silent, allowed = policies.silent_for(node, draft.now), policies.silence_allowed(node, draft.settings)
    if silent <= allowed:
        return None
    if node.condor_state is CondorState.ABSENT and node.created_here:
        return Reason("boot-timeout", f"it has not joined the pool within {allowed:.0f} s")
    return Reason("lost", f"its startd has been silent for {silent:.0f} s")


def why_in_error(fault: str) -> Reason:
    """What an error of a server means, by what the cloud says of it: Nova answers a creation before it looks for a
    host, and counts once more afterwards what of the quota is used."""
    if "no valid host" in fault.lower():
        return Reason("no-valid-host", f"no host takes it: {fault}")
    if QUOTA.search(fault):
        return Reason("build-quota", f"others have used up the quota meanwhile: {fault}")
    return Reason("build-failed", f"it is in error: {fault or 'the cloud gives no reason'}")


def delete_broken(draft: Draft, node: Node, reason: Reason) -> None:
    """Delete it, unless a job may still run on it; where its startd still takes jobs, it is drained first."""
    if node.vm_state is not VmState.DELETING and draft.world.demand.silent:
        text = f"{node.id}: {reason.text}, but not all schedds have answered, and one may run a job on it"
        draft.hold(node.id, "schedd-silent", text)
    elif may_run(node) and policies.collector_is_young(draft.world, draft.settings):
        text = f"{node.id}: {reason.text}, but the collector has just started and is not believed yet"
        draft.hold(node.id, "collector-young", text)
    elif policies.may_hold_a_job(node, draft.now, draft.settings):
        draft.hold(node.id, "claimed", f"{node.id}: {reason.text}, but a schedd may still hold a claim on it")
    elif node.vm_state is VmState.ERROR and node.condor_state not in {CondorState.ABSENT, CondorState.LOST}:
        drain_before_delete(draft, node, reason)
    else:
        draft.actions.append(Delete(node, reason))


def may_run(node: Node) -> bool:
    """Whether its startd may be at work, heard or not: it has joined, or its server may be up. Of one in error whose
    past is not known, because the state file was lost, nobody can tell when the error came."""
    if node.joined > 0 or (node.vm_state is VmState.ERROR and not node.created_here):
        return True
    return node.vm_state not in {VmState.ERROR, VmState.STOPPED, VmState.DELETING}


def drain_before_delete(draft: Draft, node: Node, reason: Reason) -> None:
    """A startd that speaks from a server in error is asked: it may take a job at any time."""
    if node.condor_state is CondorState.DRAINED:
        draft.actions.append(Delete(node, reason, drained=True))
    elif node.condor_state is CondorState.DRAINING:
        draft.hold(node.id, "drains", f"{node.id}: {reason.text}; its startd drains, and then it goes")
    elif not is_ambiguous(draft, node):
        draft.actions.append(Drain(node, reason))


def is_ambiguous(draft: Draft, node: Node) -> bool:
    """Whether another startd has the same Machine, which is then said: a drain goes by that name, and might hit the
    other."""
    shared = draft.shares_machine(node)
    if shared:
        text = f"another startd also calls itself {node.machine}: {node.id} is left as it is"
        draft.hold(node.id, "ambiguous-machine", text)
    return shared
