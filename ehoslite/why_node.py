"""`ehoslite why node`: what is known of a node, what the next pass would do with it and why, and what passes did to it.

It looks as a pass looks and takes its reasons from the plan of a dry run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ehoslite import policies
from ehoslite.actions import HoldBack, Reason
from ehoslite.deadline import Deadline
from ehoslite.draft import idle_jobs
from ehoslite.errors import EXIT_ACTION_FAILED, EXIT_FINE, EhosError
from ehoslite.look import Look, passive_lines, take_look
from ehoslite.model import CondorState, Node, VmState
from ehoslite.pool import Pool
from ehoslite.record import Record
from ehoslite.report import printable
from ehoslite.settings import Settings
from ehoslite.status import ago
from ehoslite.windows import in_force

# How many of the last passes that did something to a node are told.
PASSES = 8


def tell_node(settings: Settings, now: float, name: str) -> int:
    """Print all that is known of the nodes of this name; gives the exit code, 1 when there is none."""
    with Deadline(settings.deadline) as deadline:
        pool = Pool(settings.condor, deadline.remaining, settings.demand)
        look = take_look(pool, settings, now, deadline.remaining)
        found = find_nodes(look.plan.nodes, name)
        jobs = _jobs_on(pool, found)
    passes = Record(settings.record, now, keep=False).passes()
    parts = [[*node_lines(node, look, settings), jobs[node.id], *past_lines(node.id, passes, now)] for node in found]
    if not found:
        past = past_lines(name, passes, now)
        parts = [[f"there is no node {name}: no cloud that answers, no ad and no memory has it", *past]]
    print(printable("\n".join([*passive_lines(look), "\n\n".join("\n".join(lines) for lines in parts)])))
    return EXIT_FINE if found else EXIT_ACTION_FAILED


def find_nodes(nodes: Sequence[Node], name: str) -> list[Node]:
    """Those with this node id, Machine, slot or server id; else those whose node id ends with it."""
    if not name:
        return []
    named = [
        node
        for node in nodes
        if name in {node.id, node.machine, *(slot.name for slot in node.slots), *(server.id for server in node.servers)}
    ]
    return named or [node for node in nodes if node.id.endswith(name)]


def node_lines(node: Node, look: Look, settings: Settings) -> Iterator[str]:
    """Its server, its startd, and what the next pass would do."""
    now = look.world.now
    whose = "made by a pass that is remembered" if node.created_here else "whose creation is not remembered"
    yield f"node {node.id}: {node.cloud or 'no cloud'}/{node.flavor or 'no flavor'}, {whose}"
    for server in node.servers:
        fault = f": {server.fault}" if server.fault else ""
        yield f"  server {server.id}: {server.status or server.vm_state}, created {ago(now - server.created)}{fault}"
    if not node.servers:
        yield "  server: no cloud that answers lists one"
    yield f"  startd: {startd_text(node, now, settings)}"
    for slot in node.slots:
        yield f"    {slot.name}: {slot.state}/{slot.activity}, {slot.free} free"
    if has_drifted(node, look):
        yield "  it differs from what would be made today (image, flavor, template or options)"
    yield "what the next pass would do:"
    yield from (f"  {line}" for line in plan_lines(node, look, settings))


def has_drifted(node: Node, look: Look) -> bool:
    """Whether it is made of something else than a new one of its flavor would be."""
    clouds = {cloud.name: cloud for cloud in look.world.clouds if not cloud.fault}
    offered = clouds[node.cloud].flavors if node.cloud in clouds else ()
    return policies.has_drifted(node, next((one for one in offered if one.name == node.flavor), None), clouds)


def startd_text(node: Node, now: float, settings: Settings) -> str:
    """In which state its startd is, since when, and how long that may last."""
    if node.condor_state is CondorState.ABSENT:
        allowed = policies.silence_allowed(node, settings)
        return f"has not joined the pool for {policies.silent_for(node, now):.0f} s; it is given {allowed:.0f} s"
    if node.condor_state is CondorState.LOST:
        allowed = policies.silence_allowed(node, settings)
        return f"silent for {policies.silent_for(node, now):.0f} s; a job may run for {allowed:.0f} s of that"
    since = f" for {now - node.idle_since:.0f} s" if node.condor_state is CondorState.IDLE and node.idle_since else ""
    ours = " by ehoslite" if node.drained_by_us else ""
    return f"{node.condor_state}{ours}{since}, heard of {now - node.heard:.0f} s ago as {node.machine}"


def plan_lines(node: Node, look: Look, settings: Settings) -> list[str]:
    """The plan's actions on it, or what holds them back."""
    acts = [one for one in look.plan.actions if one.subject == node.id]
    lines = [f"{one.verb}: {one.reason.text} [{one.reason.code}]" for one in acts]
    held = [one.reason for one in look.plan.held if one.subject == node.id or _is_silence_of(node.cloud, one)]
    if not lines and not held and is_unneeded(node, look):
        held = why_kept(node, look, settings)
    lines += [f"not yet: {reason.text} [{reason.code}]" for reason in held]
    return lines or [f"nothing: {why_nothing(node, look, settings)}"]


def _is_silence_of(cloud: str, hold: HoldBack) -> bool:
    return hold.reason.code == "cloud-silent" and hold.subject == cloud


def is_unneeded(node: Node, look: Look) -> bool:
    """Whether it is among the idle nodes of which the plan tells how many are kept."""
    is_idle = node.condor_state is CondorState.IDLE and node.vm_state is VmState.ACTIVE
    return is_idle and not look.plan.packed.get(node.id)


def why_kept(node: Node, look: Look, settings: Settings) -> list[Reason]:
    """What the plan says of idle nodes such as this one."""
    now = look.world.now
    due = policies.idle_too_long(node, now, replace(settings, scaling=in_force(settings.scaling, now)[0]))
    drifted = has_drifted(node, look)
    codes = {"kept"} if due else {"idle-timeout"}
    codes |= {"schedd-silent", "collector-young"} if due or drifted else set()
    codes |= {"drift", "no-successor", "boots-fail"} if drifted else set()
    return [one.reason for one in look.plan.held if one.subject in {"retire", "drift"} and one.reason.code in codes]


def why_nothing(node: Node, look: Look, settings: Settings) -> str:
    """Why nothing happens to a node of which the plan says nothing."""
    if jobs := look.plan.packed.get(node.id):
        return f"there is room on it for {idle_jobs(jobs)}"
    if node.vm_state is VmState.DELETING or (
        node.condor_state is CondorState.IDLE and node.vm_state is not VmState.ACTIVE
    ):
        return f"its server is {node.vm_state}"
    match node.condor_state:
        case CondorState.IDLE:
            return f"it has not been idle for {in_force(settings.scaling, look.world.now)[0].idle_timeout:.0f} s"
        case CondorState.BUSY:
            return "it does what it is there for"
        case CondorState.DRAINING | CondorState.DRAINED:
            return "it drains"
    return "it is waited for"


def past_lines(name: str, passes: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """What passes have done to the node of this id, else to those whose id ends so, the last ones, as far as the
    history goes back."""
    every = [(one["at"], act) for one in passes for act in one.get("actions", ())]
    done = [(at, act) for at, act in every if act.get("node") == name]
    done = done or [(at, act) for at, act in every if name and str(act.get("node", "")).endswith(name)]
    if not done:
        return ["no pass in the history did anything to it"]
    return ["what passes did to it:", *(f"  {ago(now - at)}: {_told(act, name)}" for at, act in done[-PASSES:])]


def _told(act: Mapping[str, Any], name: str) -> str:
    which = "" if act["node"] == name else f" {act['node']}"
    return f"{act['verb']}{which} [{act['code']}]{', ' + act['error'] if act.get('error') else ''}"


def _jobs_on(pool: Pool, nodes: Sequence[Node]) -> dict[str, str]:
    """For each node what the schedds say."""
    if not nodes:
        return {}
    try:
        known = pool.jobs_on(nodes)
    except EhosError as error:
        return {node.id: f"its jobs are not known: {error}" for node in nodes}
    return {
        node.id: f"{known[node.id]} runs on it" if node.id in known else "no schedd runs a job on it" for node in nodes
    }
