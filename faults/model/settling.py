"""What must come of any history once everything works again: as if nothing had happened."""

from __future__ import annotations

from ehoslite.actions import Pass
from ehoslite.record import Record
from faults.model.histories import Play
from faults.model.things import LawBroken

# A lost node is replaced after lost_timeout (50 min), its successor boots, serves jobs of an hour, is idle, drains: all
# of that may come to a node twice.
PATIENCE = 8 * 3600.0
CALM = 3


def settle(play: Play) -> None:
    """Heal the world and let passes go on, a minute apart, until they have nothing to do. Raises LawBroken."""
    play.heal()
    until, calm = play.world.now + PATIENCE, 0
    while calm < CALM:
        if play.world.now > until:
            raise complaint(play)
        done = play.run_pass()
        is_calm = done is not None and not done.plan.actions and not faults_of(play)
        calm = calm + 1 if is_calm else 0
        play.world.advance(60.0 if done is None or done.plan.actions else 110.0)
    check_memory(play)


def faults_of(play: Play) -> list[tuple[str, str]]:
    """What is still wrong with the world, by law."""
    world, faults = play.world, []
    waiting = [job for job in world.jobs if job.state != "done"]
    if waiting:
        faults.append(("queue", f"{len(waiting)} jobs are not done, the first is {waiting[0].state}"))
    ours = world.ours()
    wanted = max(play.scaling.nodes_min, play.scaling.nodes_spare)
    if len(ours) != wanted:
        faults.append(("orphan", f"{len(ours)} servers for an empty queue, {wanted} are wanted"))
    faults += [("orphan", f"{vm.node} does not serve ({vm.status})") for vm in ours if vm.machine is None]
    boots = Record(play.settings.record, world.now, keep=False).memory().boots
    if not any(entry.failures for entry in boots.values()):  # none goes while boots of the new kind fail
        faults += [("drift", f"{vm.node} is made of {vm.image}") for vm in ours if vm.image != world.image]
    nodes = {vm.node for vm in ours}
    faults += [
        ("orphan", f"a port of {node} is left")
        for ports in world.ports.values()
        for node in ports.values()
        if node not in nodes
    ]
    return faults


def complaint(play: Play) -> LawBroken:
    """What is wrong with a world that does not come to rest."""
    wrong = faults_of(play)
    law, text = wrong[0] if wrong else ("unrest", "passes go on acting")
    done = play.run_pass()
    return LawBroken(law, f"{text}; the next pass: {tell(done)}")


def tell(done: Pass | None) -> str:
    """A pass in a few words."""
    if done is None:
        return "ended early"
    acts = [f"{one.verb} {one.subject} ({one.reason.code})" for one in done.plan.actions]
    held = [f"held {one.subject} ({one.reason.code})" for one in done.plan.held]
    return ", ".join([*acts, *held]) or "does nothing"


def check_memory(play: Play) -> None:
    """The state file speaks of what there is, and of nothing else. Raises LawBroken."""
    memory = Record(play.settings.record, play.world.now, keep=False).memory()
    nodes = {vm.node for vm in play.world.ours()}
    if strange := {*memory.nodes, *memory.intents} - nodes:
        raise LawBroken("orphan", f"the memory keeps {sorted(strange)}")
