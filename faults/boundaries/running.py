"""Runs the boundaries of one cloud, and prints what came of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

from faults.boundaries import local, openstack
from faults.boundaries.breakages import BREAKAGES
from faults.boundaries.haste import hastened
from faults.boundaries.mutations import MUTATIONS
from faults.boundaries.play import Play
from faults.boundaries.tally import Tally
from lab.openstack import OpenStackLab
from lab.openstack_stand import guest_command
from lab.pool import temporary_directory
from lab.release import LabError, find_or_build

Step = tuple[str, Callable[[], None]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m faults boundaries`."""
    parser.add_argument("--cloud", choices=["local", "openstack"], default="local")
    parser.add_argument("--rounds", type=int, default=1, help="how often all of it is played")
    parser.add_argument("--mutation", choices=list(MUTATIONS), default="", help="break the product on purpose")
    parser.add_argument("--only", default="", help="what has this text in its name")


def main(options: argparse.Namespace) -> int:
    """Play all, telling how it goes on standard error; gives 1 when anything happened that must not."""
    tally, started = Tally(), time.monotonic()
    with open_play(options.cloud, tally, options.mutation) as play:
        for _ in range(options.rounds):
            play_all(play, steps_of(options.cloud, play), options.only)
        play.check_history()
    for line in tally.lines():
        print(line)
    print(f"seconds: {time.monotonic() - started:.0f}")
    for wrong, what in tally.wrongs:
        print(f"\n{wrong}: {what}", file=sys.stderr)
    return 1 if tally.wrongs else 0


@contextmanager
def open_play(cloud: str, tally: Tally, mutation: str = "") -> Iterator[Play]:
    """A stand on this cloud with a long job at work. The healthy passes, too, are the mutated product's."""
    release = find_or_build()
    with ExitStack() as stack:
        stack.enter_context(hastened())
        stack.enter_context(MUTATIONS.get(mutation, nullcontext)())
        directory = stack.enter_context(temporary_directory())
        if cloud == "local":
            yield stack.enter_context(local.open_play(directory, release, tally, mutation))
            return
        clouds = stack.enter_context(temporary_directory())
        lab = stack.enter_context(OpenStackLab(clouds / "alpha", guest_command=guest_command(release)))
        yield stack.enter_context(openstack.open_play(directory, release, lab, tally, mutation))


def steps_of(cloud: str, play: Play) -> list[Step]:
    """What is played on this cloud, by name."""
    module = openstack if cloud == "openstack" else local
    steps: list[Step] = [(str(one), partial(module.SCENARIOS[one.scenario], play, one)) for one in module.boundaries()]
    more = openstack.BREAKAGES if cloud == "openstack" else BREAKAGES
    return steps + [(name, partial(break_once, play, name, breakage)) for name, breakage in more.items()]


def break_once(play: Play, name: str, breakage: Callable[[Play], None]) -> None:
    """Play a breakage that is no kill."""
    play.tally.breakages.append(name)
    breakage(play)


def play_all(play: Play, steps: Collection[Step], only: str = "") -> None:
    """Each step; one that cannot be played to its end is noted, and the next one goes on from there."""
    for number, (name, step) in enumerate(steps, start=1):
        if only not in name:
            continue
        play.tally.where, before, started = name, len(play.tally.wrongs), time.monotonic()
        try:
            step()
        except LabError as error:
            play.tally.note("never calm", str(error))
        wrong = f" WRONG: {play.tally.wrongs[before:]}" if len(play.tally.wrongs) > before else ""
        spent = time.monotonic() - started
        print(f"{number}/{len(steps)} {name}: {spent:.1f} s{wrong}", file=sys.stderr, flush=True)
