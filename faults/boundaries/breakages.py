"""What else breaks around the passes on the local cloud: the state file, the disk, the clock, another pass, a job."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.boundaries.local import KEEP, LET_GO, MOST, have_drained, have_idle, retire_all
from faults.boundaries.play import ACTING, Play
from lab.jobs import wait_until

Breakage = Callable[[Play], None]
HOUR, DAY = 3600.0, 86400.0


# --- the state file


def _older(whole: bytes) -> bytes:
    """As a version wrote it that knew no format, no boots and less of a node."""
    data: dict[str, Any] = json.loads(whole)
    del data["format"], data["boots"], data["names"]
    for node in data["nodes"].values():
        del node["watched"], node["server"]
    return json.dumps(data).encode()


def _newer(whole: bytes) -> bytes:
    return json.dumps({**json.loads(whole), "format": {"1": {"version": 99}}}).encode()


def _senseless(whole: bytes) -> bytes:
    nodes = {"1": {"node": 7}, "2": {"node": "x", "cloud": "here", "flavor": "tiny", "first_seen": -1}}
    return json.dumps({**json.loads(whole), "nodes": nodes, "intents": {"1": {"at": "noon"}}}).encode()


# Of each damage, whether the file is set aside.
DAMAGES: Mapping[str, tuple[Callable[[bytes], bytes | None], bool]] = {
    "a state file that is gone": (lambda _: None, False),
    "an empty state file": (lambda _: b"", True),
    "a torn state file": (lambda whole: whole[: len(whole) // 2], True),
    "a state file without its end": (lambda whole: whole[:-7], True),
    "a state file of zeros": (lambda whole: bytes(len(whole)), True),
    "a state file of an older format": (_older, False),
    "a state file of a newer format": (_newer, True),
    "a state file that makes no sense": (_senseless, False),
}


def damaged(name: str) -> Breakage:
    """The state file is damaged so while two nodes boot."""
    damage, set_aside = DAMAGES[name]

    def play_it(play: Play) -> None:
        retire_all(play)
        play.submit(MOST - 1)
        play.pass_healthily()
        whole = damage(play.stand.state.read_bytes())
        play.stand.state.unlink()
        if whole is not None:
            play.stand.state.write_bytes(whole)
        play.damaged += set_aside
        play.calm(play.jobs_are_done, ACTING)

    return play_it


# --- the disk


@contextmanager
def _own_disk(play: Play) -> Iterator[Path]:
    """The state's folder as a small file system of its own."""
    folder = play.stand.state.parent
    kept, damaged_before = play.stand.state.read_bytes(), play.damaged
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", str(folder)], check=True)
    try:
        play.stand.state.write_bytes(kept)
        play.damaged = 0  # none of the files that were set aside is to be seen here
        yield folder
        kept = play.stand.state.read_bytes()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    play.stand.state.write_bytes(kept)
    play.damaged = damaged_before


def full_disk(play: Play) -> None:
    """Nothing is made that could not be written down; what is done already is done once the disk has room."""
    retire_all(play)
    with _own_disk(play) as folder:
        _fill(folder / "ballast")
        play.submit(MOST - 1)
        for _ in range(2):
            code = play.pass_broken()
            if (code, len(play.sight.servers())) != (75, 1):
                play.tally.note("limits exceeded", f"a full disk: exit code {code}, {play.sight.servers()}")
        (folder / "ballast").unlink()
        play.calm(play.jobs_are_done, ACTING)
        _fill(folder / "ballast")
        play.configure(idle_timeout=LET_GO)
        for _ in range(3):
            play.pass_broken()
        (folder / "ballast").unlink()
        retire_all(play, ACTING)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(512)):
                continue
        except OSError:
            return


def read_only_disk(play: Play) -> None:
    """A pass says so and does nothing."""
    retire_all(play)
    with _own_disk(play) as folder:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        play.submit(MOST - 1)
        code = play.pass_broken()
        if (code, len(play.sight.servers())) != (2, 1):
            play.tally.note("limits exceeded", f"a read-only disk: exit code {code}, {play.sight.servers()}")
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        play.calm(play.jobs_are_done, ACTING)


def unwritable_state(play: Play) -> None:
    """The new state file cannot be opened, whoever asks: a folder has its name."""
    retire_all(play)
    blocked = play.stand.state.with_name(".state.json.new")
    blocked.mkdir()
    play.submit(MOST - 1)
    code = play.pass_broken()
    if (code, len(play.sight.servers())) != (75, 1):
        play.tally.note("limits exceeded", f"an unwritable state: exit code {code}, {play.sight.servers()}")
    blocked.rmdir()
    play.calm(play.jobs_are_done, ACTING)


# --- the clock


def jumped(skew: float) -> Breakage:
    """Passes whose clock has jumped create, look and retire; then the clock is right again."""

    def play_it(play: Play) -> None:
        retire_all(play)
        play.submit(MOST - 1)
        for _ in range(2):
            play.pass_broken(skew=skew)
        play.calm(play.jobs_are_done)
        for _ in range(3):
            play.pass_broken(skew=skew)
        retire_all(play)

    return play_it


# --- others at work


def two_at_once(play: Play) -> None:
    """One of them works, at least; both may, one after the other."""
    retire_all(play)
    play.submit(MOST - 1)
    codes = play.pass_twice_at_once()
    if not (0 in codes and set(codes) <= {0, 75}):
        play.tally.note("passes crashed", f"two at once: {codes}")
    play.calm(play.jobs_are_done, ACTING)


def job_before_the_drain(play: Play) -> None:
    """The pass has seen idle nodes and an empty queue; then a job starts on one of them."""
    have_idle(play)
    play.configure(idle_timeout=LET_GO)
    play.stop_after("condor: query the schedds", lambda: _start_jobs(play, 2))
    play.configure(idle_timeout=KEEP)
    play.calm(play.jobs_are_done)


def job_before_the_delete(play: Play) -> None:
    """The pass has seen drained nodes and an empty queue; then the drains are forgotten, and jobs start."""
    have_drained(play)

    def forget() -> None:
        for ad in play.stand.pool.machines(["Machine"], 'State == "Drained"'):
            play.stand.pool.run_checked("condor_drain", "-cancel", str(ad["Machine"]))
        _start_jobs(play, 2)

    play.stop_after("condor: query the schedds", forget)
    play.configure(idle_timeout=KEEP)
    play.calm(play.jobs_are_done)


def _start_jobs(play: Play, count: int) -> None:
    """Jobs that the collector shows as running."""
    play.submit(count, seconds=6)
    wait_until(lambda: play.claims() == 1 + count, play.patience, f"{count} jobs to run")


def _disks() -> Mapping[str, Breakage]:
    """Those that this account can have."""
    known: dict[str, Breakage] = {"a state file that cannot be opened": unwritable_state}
    if os.geteuid() == 0:
        known |= {"a full disk": full_disk, "a read-only disk": read_only_disk}
    return known


BREAKAGES: Mapping[str, Breakage] = {
    "a job that starts between plan and drain": job_before_the_drain,
    "a job that starts between plan and delete": job_before_the_delete,
    "two passes at once": two_at_once,
    **{name: damaged(name) for name in DAMAGES},
    **_disks(),
    "a clock one hour ahead": jumped(HOUR),
    "a clock one hour behind": jumped(-HOUR),
    "a clock one day ahead": jumped(DAY),
    "a clock one day behind": jumped(-DAY),
}
