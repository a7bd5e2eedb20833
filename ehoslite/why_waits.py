"""What a job waits for, by the plan of a dry run: boots, what the next pass would do, and what holds that back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ehoslite import policies
from ehoslite.actions import Action, Create, Drain, HoldBack, Undrain
from ehoslite.ads import UNREADABLE, number, read_demand, text
from ehoslite.look import Look
from ehoslite.model import Flavor, Node, Shape
from ehoslite.serving import capping, whose_are_capped

# Hold-backs of jobs that are packed onto a node that boots.
BOOTS = {"waits-for-boot", "tried-out"}

# Hold-backs by limits of our own.
LIMITS = {"nodes-max", "cores-max", "memory-max", "cost-per-hour", "cost-per-month"}

ROOM = "nothing that ehoslite knows of: there is room for it, and the negotiator will start it"
NOT_COUNTED = "the next pass: it was not yet among the idle jobs that this one counted"


def waiting_lines(schedd: str, job: Mapping[str, Any], shape: Shape, look: Look) -> list[str]:
    """Boots that are under way, what the next pass would do, and what it holds back."""
    now = look.world.now
    held = [hold for hold in look.plan.held if concerns(hold, schedd, job, shape, look)]
    lines = [*_boots(shape, look), *_acts(shape, look)]
    lines += [f"{hold.reason.text} [{hold.reason.code}]" for hold in with_windows(held, look)]
    if why := text(job, "LastRejMatchReason").strip():
        lines.append(f"the negotiator, which said {now - number(job, 'LastRejMatchTime', now):.0f} s ago: {why}")
    return lines or [ROOM if shape.count else NOT_COUNTED]


def with_windows(held: list[HoldBack], look: Look) -> list[HoldBack]:
    """These hold-backs, and which windows are open where a limit is among them: the file may name another one."""
    bound = any(hold.reason.code in LIMITS for hold in held)
    return held + [hold for hold in look.plan.held if bound and hold.reason.code == "window"]


def _boots(shape: Shape, look: Look) -> Iterator[str]:
    """The boots on which the plan counts for jobs such as these, and maybe for others."""
    now, fitting = look.world.now, _fitting(shape, look)
    for node in look.plan.nodes if _codes(shape, look) & BOOTS else ():
        place = f"{node.cloud}/{node.flavor}"
        if place in fitting and policies.is_booting(node, now) and look.plan.packed.get(node.id):
            yield f"the boot of node {node.id} ({place}), for {now - node.created:.0f} s so far; others may come first"


def _acts(shape: Shape, look: Look) -> Iterator[str]:
    """What the next pass would do, each once. Nothing is done for jobs that do not count."""
    acts = [action for action in look.plan.actions if shape.count and _serves(action, shape, look)]
    for verb, subject, reason in dict.fromkeys((action.verb, action.subject, action.reason) for action in acts):
        first = "" if f" of {shape}" in reason.text else " (other jobs may come first)"
        yield f"the next pass, which would {verb} {subject}{first}: {reason.text} [{reason.code}]"


def _serves(action: Action, shape: Shape, look: Look) -> bool:
    """Whether it makes room where such a job may run. Jobs go onto what is left of a node that was made for larger
    ones, so whose node it is does not matter."""
    match action, action.reason.code:
        case Create(), "demand":
            return action.subject in _fitting(shape, look)
        case Create(), "tried-out":
            return action.subject in {_name(flavor) for flavor in _flavors(look) if flavor.ilk in shape.tries}
        case Undrain(node=node), "demand":
            return _may_run_on(node, shape, look)
        case Drain(), "make-room":
            return bool(_codes(shape, look) & {*LIMITS, "quota"})
    return False


def _may_run_on(node: Node, shape: Shape, look: Look) -> bool:
    """Whether a drained node that is taken back has room for such a job; of one whose flavor is offered no more nobody
    knows what runs there, and it is tried."""
    ilk = next((one.ilk for one in _flavors(look) if _name(one) == f"{node.cloud}/{node.flavor}"), 0)
    return shape.takes(ilk) and any(slot.free.fits(shape.request) for slot in node.slots)


def _codes(shape: Shape, look: Look) -> set[str]:
    """Under which codes jobs of this shape are held back."""
    return {hold.reason.code for hold in look.plan.held if hold.shape is not None and _same(hold.shape, shape)}


def _same(one: Shape, other: Shape) -> bool:
    return (one.request, one.ad) == (other.request, other.ad)


def _flavors(look: Look) -> list[Flavor]:
    return [flavor for cloud in look.world.clouds for flavor in cloud.flavors]


def _name(flavor: Flavor) -> str:
    """As subjects have it."""
    return f"{flavor.cloud}/{flavor.name}"


def _fitting(shape: Shape, look: Look) -> set[str]:
    """The flavors on which it runs, or may run."""
    return {_name(one) for one in _flavors(look) if shape.takes(one.ilk) and one.resources.fits(shape.request)}


def concerns(hold: HoldBack, schedd: str, job: Mapping[str, Any], shape: Shape, look: Look) -> bool:
    """Whether a hold-back is about this job: its shape, its owner or group, its schedd, or where it could run."""
    if hold.shape is not None:
        return _same(hold.shape, shape)
    match hold.reason.code:
        case "cloud-silent":
            return True
        case "schedd-silent":
            return hold.subject == schedd
        case "boots-fail":
            return hold.subject in _fitting(shape, look)
        case "not-matched":
            return shape.runs_on is None
        case "not-negotiated":
            return not number(job, "AutoClusterId")
        case "capped":
            return hold.subject in {whose_are_capped(name, look.caps) for name in capping(job, look.caps)}
        case "unreadable-request":
            return hold.subject == _unreadable_of(text(job, "Owner"))
    return False


def _unreadable_of(owner: str) -> str:
    """How the jobs of this owner are spoken of when one of them cannot be read: then none of them counts."""
    return next((odd.what for odd in read_demand({"": [{"JobCount": 1, UNREADABLE: owner}]}).unreadable), "")
