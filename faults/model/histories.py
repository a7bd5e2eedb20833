"""Histories: lists of small steps that can be drawn by chance or by hypothesis, played, shrunk and replayed."""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import reconcile
from ehoslite import report
from ehoslite.act import Hands
from ehoslite.actions import Pass
from ehoslite.errors import AlreadyRunning, DeadlinePassed, EhosError
from ehoslite.options import Place, Seconds
from ehoslite.record import Record, lock
from ehoslite.settings import CondorSettings, LocalCloudSettings, RecordSettings, ScalingSettings, Settings
from faults.model.breaking import Break, Effects, Killed, effects_of_the_state_file
from faults.model.cloud import PretendCloud
from faults.model.events import EVENTS
from faults.model.laws import check_secrets
from faults.model.pool import PretendPool
from faults.model.things import NEVER, LawBroken
from faults.model.world import POOL, World

DEADLINE = 50.0
TEMPLATE = "#cloud-config\nhostname: {node}\nruncmd:\n- [join, '{collector}', '{token}']\n"


@dataclass(frozen=True)
class Step:
    """Something that happens: at once, or (with `on`) at the next effect of that name, before or after it."""

    kind: str
    a: int = 0
    b: int = 0
    on: str = ""
    after: bool = False


@dataclass(frozen=True)
class Reach:
    """How far troubles go: how many seconds late a cloud may deliver a creation that it left unclear, whether it may
    list a part of its servers, whether the clock of the passes may jump. Each default is what ehoslite stands."""

    latest: float = 300.0
    parts: bool = True
    skews: bool = False


USUAL = Reach()


@dataclass(frozen=True)
class History:
    """A whole history: `seed` for what chance decides in it, `shape` for its configuration."""

    seed: int
    shape: int
    steps: tuple[Step, ...]
    reach: Reach = USUAL


def scaling_of(shape: int) -> ScalingSettings:
    """The configuration of a history."""
    return ScalingSettings(
        nodes_min=(0, 0, 1)[shape % 3],
        nodes_max=(4, 2, 6)[shape // 3 % 3],
        nodes_spare=(0, 0, 1)[shape // 9 % 3],
        idle_timeout=Seconds((120, 300)[shape % 2]),
        node_allocation=("fill-first", "round-robin", "random", "cheapest")[shape // 2 % 4],
    )


class Play:
    """One history at play."""

    def __init__(self, history: History, folder: Path) -> None:
        shape = history.shape
        self.scaling = scaling_of(shape)
        self.world = World(history.seed, 1 + shape % 2, 1 + shape // 4 % 2, self.scaling.nodes_max)
        self.effects = Effects(self.world)
        floating = bool(shape // 5 % 2)
        self.clouds = [PretendCloud(name, self.world, self.effects, floating=floating) for name in self.world.clouds]
        self.folder, self.state, self.older = folder, folder / "state.json", "{}"
        self.reach = history.reach
        self.remembers = True  # whether the state file is as the last pass left it
        template = folder / "execute.yaml"
        template.write_text(TEMPLATE)
        clouds = {name: LocalCloudSettings(Place(folder), template=Place(template)) for name in self.world.clouds}
        state = RecordSettings(Place(self.state), retention_passes=5)
        self.settings = Settings(POOL, clouds, Seconds(DEADLINE), scaling=self.scaling, record=state)
        self.pool = PretendPool(CondorSettings(), self.world, self.effects)
        self.passes = 0

    def do(self, step: Step) -> None:
        """Let this step happen, or arm it. Raises LawBroken."""
        if step.on:
            self.effects.armed.append(Break(step.kind, step.on, step.after, lambda: self._happen(step)))
        elif step.kind == "pass":
            self.run_pass()
        elif step.kind in EVENTS:
            EVENTS[step.kind](self, step.a, step.b)

    def _happen(self, step: Step) -> None:
        if step.kind == "kill":
            self.effects.kill(f"{step.on} {'after' if step.after else 'before'}")
        elif step.kind == "full":
            raise OSError(errno.ENOSPC if step.a % 2 else errno.EROFS, "no space left" if step.a % 2 else "read-only")
        elif step.kind == "alarm":
            raise DeadlinePassed("the pass did not end within its deadline")
        else:
            EVENTS[step.kind](self, step.a, step.b)

    def run_pass(self) -> Pass | None:
        """One real pass as reconcile.main makes it; None for one that ended early. Raises LawBroken."""
        self.passes += 1
        done = self._run_or_end_early()
        kept = self.state.read_text(errors="replace") if self.state.exists() else ""
        check_secrets(kept, f"{report.as_data(done, self.settings, dry_run=False)}" if done else "")
        return done

    def _run_or_end_early(self) -> Pass | None:
        self.effects.dead, self.effects.at_work = False, True
        try:
            return self._run()
        except (Killed, EhosError):
            return None
        except LawBroken:
            raise
        except Exception as error:
            raise LawBroken("crashed", f"{type(error).__name__}: {error}") from error
        finally:
            self.effects.at_work, self.effects.dead = False, False

    def _run(self) -> Pass:
        began, now = self.world.now, self.world.now + self.world.skew
        with lock(self.settings.record):
            record = Record(self.settings.record, now)
            clouds = {cloud.name: cloud for cloud in self.clouds}
            hands = Hands(
                self.settings, self.pool, clouds, self.world.chance, lambda: DEADLINE - (self.world.now - began)
            )
            with report.failure_into(record, now):
                done = reconcile.reconcile(hands, record, now)
            self.remembers = True
            return done

    def run_second(self) -> None:
        """A second pass at the same time. Raises LawBroken where it is let in."""
        if not self.effects.at_work:
            return
        try:
            with lock(self.settings.record):
                raise LawBroken("lock", "a second pass was let in while one is at work")
        except AlreadyRunning:
            self.world.counts["second passes refused"] += 1

    def heal(self) -> None:
        """Everything works from now on; what was broken by then stays broken."""
        world = self.world
        self.effects.armed.clear()
        world.skew, world.lag, world.collector_answers = 0.0, 2.0, True
        world.schedds = dict.fromkeys(world.schedds, True)
        for cloud in self.clouds:
            cloud.mend()
        for vm in world.ours():
            if vm.status == "RESCUE":
                vm.status = "SHUTOFF"
        for machine in world.machines:
            if not machine.frozen:
                machine.cut_since, machine.dirty = NEVER, True
            if machine.draining.startswith("an admin"):
                machine.drain("")


@contextmanager
def at_play(history: History) -> Iterator[Play]:
    """A play in a folder of its own, in memory where there is such a place; quiet."""
    memory = Path("/dev/shm")  # noqa: S108 - only where a folder is made with a name of its own
    place = memory if memory.is_dir() else None
    logger = logging.getLogger("ehoslite")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="ehoslite-model-", dir=place) as name:
            play = Play(history, Path(name))
            with effects_of_the_state_file(play.effects, play.folder):
                yield play
    finally:
        logger.setLevel(before)
