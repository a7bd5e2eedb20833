"""What may happen to the world and to a pass: one small function each, told how by two small numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ehoslite.resources import Resources
from faults.model.things import NEVER, Job, Vm

if TYPE_CHECKING:
    from faults.model.histories import Play

Thing = TypeVar("Thing")
REQUESTS = (Resources(1, 100, 1000), Resources(1, 1900, 1000), Resources(2, 1000, 1000), Resources(4, 4000, 1000))
SECONDS = (30.0, 300.0, 900.0, 3600.0)
MOST_JOBS = 8
WAITS = (20.0, 60.0, 60.0, 180.0, 400.0, 1000.0, 3100.0, 20_000.0)
SKEWS = (0.0, 120.0, -120.0, 1000.0, -1000.0, 3700.0, -3700.0, 90_000.0)
LAGS = (0.5, 2.0, 10.0, 55.0)


def pick(things: Sequence[Thing], number: int) -> list[Thing]:
    """One of them, or none where there are none."""
    return [things[number % len(things)]] if things else []


def submit(play: Play, a: int, b: int) -> None:
    """Some jobs of a shape; no more than the pool can serve within settling's patience."""
    world = play.world
    if sum(job.state != "done" for job in world.jobs) >= MOST_JOBS:
        return
    for _ in range(1 + b // 2 % 4):
        schedd = f"schedd{(a + b) % len(world.schedds)}"
        job = Job(len(world.jobs), schedd, REQUESTS[a % 4], SECONDS[b % 4], fragile=a >= 4)
        world.jobs.append(job)


def land(play: Play, a: int, b: int) -> None:
    """Jobs come and are matched at once."""
    submit(play, a, b)
    play.world.negotiate()


def wait(play: Play, a: int, _b: int) -> None:
    play.world.advance(WAITS[a % len(WAITS)])


def hurry(play: Play, _a: int, _b: int) -> None:
    """The call takes long: a third of the pass's time is gone."""
    for _ in range(6):
        play.world.advance(3)


def cut(play: Play, a: int, b: int) -> None:
    """The network to a node, or to all of them, breaks."""
    for machine in pick(play.world.nodes(), a) if b % 4 else play.world.nodes():
        machine.cut_since = min(machine.cut_since, play.world.now)


def heal(play: Play, _a: int, _b: int) -> None:
    """The networks work again."""
    for machine in play.world.machines:
        if not machine.frozen:
            machine.cut_since, machine.dirty = NEVER, True


def restart(play: Play, a: int, b: int) -> None:
    """A startd or a master restarts."""
    for machine in pick(play.world.nodes(), a):
        play.world.restart(machine, (3.0, 10.0, 40.0)[b % 3])


def restart_collector(play: Play, _a: int, _b: int) -> None:
    play.world.restart_collector()


def stop_collector(play: Play, a: int, _b: int) -> None:
    play.world.collector_answers = bool(a % 2)


def silence(play: Play, a: int, b: int) -> None:
    """A schedd hangs, or answers again."""
    play.world.schedds[f"schedd{a % len(play.world.schedds)}"] = bool(b % 2)


def lag(play: Play, a: int, _b: int) -> None:
    play.world.lag = LAGS[a % len(LAGS)]


def skew(play: Play, a: int, _b: int) -> None:
    """The clock of the passes jumps."""
    if play.reach.skews:
        play.world.skew = SKEWS[a % len(SKEWS)]


def trouble(play: Play, a: int, b: int) -> None:
    """A cloud gets worse, in one of many ways."""
    now = play.clouds[b % len(play.clouds)].trouble
    ways: tuple[Callable[[], None], ...] = (
        lambda: setattr(now, "down", play.remembers),
        lambda: setattr(now, "part", play.reach.parts and play.remembers),
        lambda: setattr(now, "full", True),
        lambda: setattr(now, "lost_replies", 2),
        lambda: setattr(now, "unmade", 2),
        lambda: now.delay(play.reach.latest * (b % 4) / 4),
        lambda: setattr(now, "failing_builds", 2),
        lambda: setattr(now, "never_joining", 1),
        lambda: setattr(now, "slow_boots", 2),
        lambda: setattr(now, "failing_deletes", 2),
        lambda: setattr(now, "slow_deletes", 3),
    )
    ways[a % len(ways)]()


def mend(play: Play, _a: int, b: int) -> None:
    """A cloud works again."""
    play.clouds[b % len(play.clouds)].mend()


def lay_hands_on(play: Play, a: int, b: int) -> None:
    """Somebody deletes, stops, reboots, suspends, resumes or rescues a server of ours by hand."""
    for vm in pick(play.world.ours(), a):
        ways: tuple[Callable[[Play, Vm], None], ...] = (_delete, _stop, _reboot, _suspend, _resume, _rescue)
        ways[b % len(ways)](play, vm)


def _delete(play: Play, vm: Vm) -> None:
    play.world.remove(vm)


def _stop(play: Play, vm: Vm) -> None:
    _set(play, vm, "SHUTOFF")
    if vm.machine is not None:
        play.world.stop(vm.machine)
        play.world.machines.remove(vm.machine)
        vm.machine = None


def _reboot(play: Play, vm: Vm) -> None:
    if vm.machine is not None and vm.status == "ACTIVE":
        play.world.restart(vm.machine, 60)


def _suspend(play: Play, vm: Vm) -> None:
    if vm.status == "ACTIVE":
        _set(play, vm, "SUSPENDED")
        if vm.machine is not None:
            vm.machine.frozen, vm.machine.cut_since = True, min(vm.machine.cut_since, play.world.now)


def _resume(play: Play, vm: Vm) -> None:
    if vm.status in {"SUSPENDED", "RESCUE"}:
        _set(play, vm, "ACTIVE")
        if vm.machine is not None:
            vm.machine.frozen, vm.machine.cut_since, vm.machine.dirty = False, NEVER, True


def _rescue(play: Play, vm: Vm) -> None:
    if vm.status == "ACTIVE":
        _set(play, vm, "RESCUE")
        if vm.machine is not None:
            play.world.restart(vm.machine, 0)
            vm.machine.frozen, vm.machine.cut_since = True, play.world.now


def _set(play: Play, vm: Vm, status: str) -> None:
    vm.status, vm.changed = status, play.world.now


def change_image(play: Play, _a: int, b: int) -> None:
    """The administrator publishes another image, perhaps one that there was before."""
    play.world.image = f"image-{b % 3}"


def drain_by_hand(play: Play, a: int, b: int) -> None:
    """An administrator drains a node, ours or not, or takes that back."""
    for machine in pick([*play.world.nodes(), *play.world.machines[:2]], a):
        if b % 2 and not machine.draining:
            machine.drain("an administrator looks at it")
        elif machine.draining.startswith("an admin"):
            machine.drain("")


def make_foreign(play: Play, _a: int, b: int) -> None:
    play.clouds[b % len(play.clouds)].make_foreign()


def damage(play: Play, a: int, b: int) -> None:
    """The state file is lost, cut, garbled, older, or of another version; not while a server is there that no listing
    shows: then nothing at all knows of it."""
    file = play.state
    ways: tuple[Callable[[], object], ...] = (
        lambda: file.unlink(missing_ok=True),
        lambda: file.write_bytes(file.read_bytes()[: b * 40]),
        lambda: file.write_bytes(b"\0" * 64),
        lambda: file.write_text(json.dumps({"format": {"1": {"version": 99}}})),
        lambda: file.write_text(play.older),
        lambda: file.write_text(json.dumps({"nodes": {"1": {"node": 7}, "2": {}}, "intents": {"1": {"at": "x"}}})),
    )
    hidden = any(cloud.trouble.down or cloud.trouble.part for cloud in play.clouds)
    if file.exists() and not hidden and all(vm.listed_from <= play.world.now for vm in play.world.ours()):
        play.remembers = False
        ways[a % len(ways)]()


def keep_copy(play: Play, _a: int, _b: int) -> None:
    """A backup of the state file is made; `damage` may put it back."""
    if play.state.exists():
        play.older = play.state.read_text()


def second_pass(play: Play, _a: int, _b: int) -> None:
    """Another pass is started while one is at work."""
    play.run_second()


EVENTS: dict[str, Callable[[Play, int, int], None]] = {
    name.__name__: name
    for name in (
        submit,
        land,
        wait,
        hurry,
        cut,
        heal,
        restart,
        restart_collector,
        stop_collector,
        silence,
        lag,
        skew,
        trouble,
        mend,
        lay_hands_on,
        change_image,
        drain_by_hand,
        make_foreign,
        damage,
        keep_copy,
        second_pass,
    )
}
