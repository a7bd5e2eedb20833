"""`ehoslite why`: where a job fits and where not, what it waits for, and which jobs get no node. For a ticket.

It looks as a pass looks and takes its reasons from the plan of a dry run, so it tells what the pass would tell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ehoslite.actions import Create
from ehoslite.ads import number, read_demand, text
from ehoslite.asking import Unanswered
from ehoslite.carving import side_by_side
from ehoslite.deadline import Deadline
from ehoslite.errors import EXIT_ACTION_FAILED, EXIT_FINE, Fault, FixConfiguration
from ehoslite.look import Look, passive_lines, take_look
from ehoslite.model import Flavor, Shape, World
from ehoslite.observe import evaluate
from ehoslite.pool import Pool
from ehoslite.report import printable
from ehoslite.samples import Misfit
from ehoslite.schedds import UNIVERSES
from ehoslite.settings import Settings
from ehoslite.why_waits import waiting_lines, with_windows

STATUS = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held", 6: "transferring output", 7: "suspended"}

# Of how many slots a line names examples, and how many lines there are of slots.
EXAMPLES, LINES = 3, 8

# Subjects of hold-backs that no job waits for.
NOT_DEMAND = {"retire", "drift", "windows", "nodes-min", "nodes-spare", "reserve"}

# Hold-backs that speak of demand that does get its node.
SERVED = {"waits-for-boot"}

# What fails, and on which slots.
Slots = Sequence[tuple[tuple[str, ...], list[str]]]


def tell_job(settings: Settings, now: float, name: str, schedd: str) -> int:
    """Print why this job (CLUSTER or CLUSTER.PROC) waits; gives the exit code, 1 when no schedd has it."""
    cluster, proc = read_id(name)
    with Deadline(settings.deadline) as deadline:
        pool = Pool(settings.condor, deadline.remaining, settings.demand)
        look = take_look(pool, settings, now, deadline.remaining)
        known = pool.slots()[2]
        answers = pool.find_job({one: ad for one, ad in known.items() if schedd in {"", one}}, cluster, proc)
        told = [line for one, answer in answers.items() for line in _answer_lines(one, answer, pool, look)]
    found = any(not isinstance(answer, Unanswered) for answer in answers.values())
    told += [] if found else [_missing(name, schedd, known)]
    print(printable("\n".join([*passive_lines(look), *told])))
    return EXIT_FINE if found else EXIT_ACTION_FAILED


def _missing(name: str, schedd: str, known: Collection[str]) -> str:
    if schedd and schedd not in known:
        return f"no collector knows a schedd {schedd}, so none was asked; it knows {', '.join(sorted(known)) or 'none'}"
    return f"no schedd that answers has a job {name} in its queue{f' (asked: {schedd})' if schedd else ''}"


def tell_unserved(settings: Settings, now: float) -> int:
    """Print which idle jobs get no node now, and why; gives the exit code."""
    with Deadline(settings.deadline) as deadline:
        pool = Pool(settings.condor, deadline.remaining, settings.demand)
        look = take_look(pool, settings, now, deadline.remaining)
    print(printable("\n".join([*passive_lines(look), *unserved_lines(look)])))
    return EXIT_FINE


def _answer_lines(schedd: str, answer: Any, pool: Pool, look: Look) -> list[str]:
    if isinstance(answer, Unanswered):
        return [f"schedd {schedd}: {answer}; whether it has the job is not known"]
    shape, judged = find_shape(pool, look, answer)
    slots = pool.explain(shape.ad) if shape and _waits(answer) else []
    return job_lines(schedd, answer, shape, slots, judged)


def read_id(name: str) -> tuple[int, int | None]:
    """Cluster and process of a job's name. Raises FixConfiguration."""
    given = re.fullmatch(r"(\d{1,9})(?:\.(\d{1,9}))?", name)
    if not given:
        raise FixConfiguration([Fault(name, "", "is no job; write CLUSTER.PROC, as condor_q shows it, or CLUSTER")])
    return int(given[1]), int(given[2]) if given[2] else None


def find_shape(pool: Pool, look: Look, job: Mapping[str, Any]) -> tuple[Shape | None, Look]:
    """The shape that this job is of, None if its requests come to no numbers; and the look with the World whose ilks
    it speaks of. One that does not count (it has just come, or is not served) is judged alone, in a World of its own,
    as a shape of no jobs."""
    read = read_demand({"": [job]}).shapes
    if not read:
        return None, look
    for shape in look.world.demand.shapes:
        if (shape.request, shape.ad) == (read[0].request, read[0].ad):
            return shape, look
    alone = replace(look.world, demand=replace(look.world.demand, shapes=read), unmatched="")
    judged = evaluate(pool, alone, look.memory)
    return replace(judged.demand.shapes[0], count=0), replace(look, world=judged)


def _waits(job: Mapping[str, Any]) -> bool:
    return job.get("JobStatus") == 1 and job.get("JobUniverse") in UNIVERSES


def job_lines(schedd: str, job: Mapping[str, Any], shape: Shape | None, slots: Slots, look: Look) -> list[str]:
    """All that is known of why the job waits."""
    now = look.world.now
    status = STATUS.get(int(number(job, "JobStatus")), "in an unknown state")
    since = max(0.0, now - number(job, "EnteredCurrentStatus", number(job, "QDate", now)))
    name = f"{number(job, 'ClusterId'):.0f}.{number(job, 'ProcId'):.0f}"
    lines = [f"job {name} of {text(job, 'Owner')} at {schedd}: {status} for {since:.0f} s"]
    if job.get("JobUniverse") not in UNIVERSES:
        return [*lines, "  it runs beside its schedd and needs no node (a DAG, a local or a grid job)"]
    if job.get("JobStatus") != 1:
        more = text(job, "HoldReason") if job.get("JobStatus") == 5 else text(job, "RemoteHost")
        return [*lines, *([f"  {more}"] if more else [])]
    if shape is None:
        return [
            *lines,
            "  what it requests comes to no number, so the negotiator cannot place it either: see `why not`",
        ]
    lines += [f"  it asks for {shape}", f"  Requirements: {shape.requirements}", ""]
    lines += ["where it could run on a new node:", *(f"  {line}" for line in flavor_lines(shape, look.world)), ""]
    lines += ["on the slots that there are:", *(f"  {line}" for line in slot_lines(slots)), ""]
    return [*lines, "what it waits for:", *(f"  {line}" for line in waiting_lines(schedd, job, shape, look))]


def flavor_lines(shape: Shape, world: World) -> Iterator[str]:
    """What is to be said of each flavor, and of each cloud that does not answer; first, if Requirements were not
    evaluated."""
    if shape.runs_on is None and world.unmatched:
        yield f"Requirements are not evaluated, amounts alone decide: {world.unmatched}"
    misfits = {misfit.flavor: misfit for misfit in shape.misfits}
    for cloud in world.clouds:
        if cloud.fault:
            yield f"{cloud.name}: does not answer: {cloud.fault}"
        for flavor in () if cloud.fault else cloud.flavors:
            name = f"{cloud.name}/{flavor.name}"
            yield f"{name}: {_verdict(shape, flavor, misfits.get(name))}"


def _verdict(shape: Shape, flavor: Flavor, misfit: Misfit | None) -> str:
    clauses = " && ".join(misfit.clauses) if misfit else ""
    if not flavor.resources.holds(shape.request):
        return f"too small: it has {flavor.resources}, too few {', '.join(flavor.resources.lacking(shape.request))}"
    if shape.runs(flavor.ilk):
        return f"yes, {side_by_side(flavor.resources, shape.request)} side by side"
    if flavor.ilk in shape.tries:
        return f"not known until a node of it has been seen: {clauses}"
    if misfit and not misfit.surely:
        return f"not known, though a node of it is there: {clauses}"
    return f"no: {clauses}"


def slot_lines(slots: Slots) -> list[str]:
    """The slots by what fails there; those on which it could start come first."""
    if not slots:
        return ["there are none"]
    lines = []
    for clauses, names in slots[:LINES]:
        some = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
        lines.append(f"{len(names)} of them: {'no: ' + ' && '.join(clauses) if clauses else 'yes'} ({some})")
    rest = sum(len(names) for _, names in slots[LINES:])
    return lines + ([f"{rest} more, for other reasons"] if rest else [])


def about_nodes(look: Look) -> set[str]:
    """The subjects of hold-backs that concern nodes that there are, or are to be without demand for them."""
    return {*NOT_DEMAND, *(node.id for node in look.plan.nodes), *(slot.name for slot in look.world.slots)}


def unserved_lines(look: Look) -> list[str]:
    """What is held back of the demand."""
    idle = sum(shape.count for shape in look.world.demand.shapes)
    nodes = about_nodes(look)
    held = with_windows([hold for hold in look.plan.held if hold.subject not in nodes], look)
    made = sum(isinstance(action, Create) for action in look.plan.actions)
    lines = [f"idle jobs: {idle} in {len(look.world.demand.shapes)} shapes; the next pass would create {made} nodes"]
    reasons = [hold.reason for hold in held]
    waiting = [f"{one.text} [{one.code}]" for one in reasons if one.code not in SERVED]
    served = [f"  {one.text} [{one.code}]" for one in reasons if one.code in SERVED]
    lines += (
        ["", *waiting]
        if waiting
        else ["every job has room, a node that boots, or one that the next pass makes or takes back"]
    )
    return [*lines, *(["", "being served:", *served] if served else [])]
