"""The scenarios of the local cloud: what a pass has to do when it is killed, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from secrets import token_hex

from ehoslite.clouds.local import Trial
from ehoslite.model import Server, VmState
from faults.boundaries import effects as these
from faults.boundaries.effects import Effect
from faults.boundaries.haste import FRESH, STARTING
from faults.boundaries.play import ACTING, Play
from faults.boundaries.sight import LocalSight
from faults.boundaries.tally import Boundary, Tally
from lab.jobs import wait_until
from lab.release import Release
from lab.stand import Stand

# The node of the long job and two more.
MOST = 3
TINY = {"name": "tiny", "cpus": 1, "memory": "256 MB", "disk": "1 GB"}
SCALING = {"nodes_max": MOST, "idle_timeout": 3600, "boot_timeout": 60, "intent_timeout": 1}
KEEP, LET_GO = 3600, 0  # idle_timeout

Scenario = Callable[[Play, Boundary], None]


@contextmanager
def open_play(directory: Path, release: Release, tally: Tally, mutation: str = "") -> Iterator[Play]:
    """A stand with a long job at work. At the end its servers are deleted, whether they say whose they are or not."""
    with Stand(directory, release, flavors=(TINY,), scaling=SCALING) as stand:
        play = Play(stand, LocalSight(directory / "nodes"), tally, mutation)
        try:
            play.start_long_job()
            yield play
        finally:
            for seen in play.sight.servers():
                stand.cloud().delete(Server("here", seen.id, seen.node, "", VmState.UNKNOWN, 0.0))


def looking(play: Play, boundary: Boundary) -> None:
    """Nothing is to be done."""
    if play.kill(boundary):
        play.calm(acting=0)


def losing(play: Play, boundary: Boundary) -> None:
    """The state file cannot be read."""
    play.stand.state.write_bytes(b"\0" * 64)
    play.damaged += 1
    play.kill(boundary)
    play.calm(acting=0)


def creating(play: Play, boundary: Boundary) -> None:
    """Two jobs wait, and there is room for two nodes."""
    retire_all(play)
    play.submit(MOST - 1)
    play.kill(boundary)
    play.calm(play.jobs_are_done, ACTING)


def creating_with_key(play: Play, boundary: Boundary) -> None:
    """The same where the nodes' tokens are made with the pool's own key."""
    condor = play.stand.document["condor"]
    condor.update({"token_source": "create", "token_key": str(play.stand.pool.key_copy_for_client())})
    creating(play, boundary)
    condor.update({"token_source": "fetch", "token_key": None})
    play.configure()


def draining(play: Play, boundary: Boundary) -> None:
    """Two nodes have been idle for too long."""
    have_idle(play)
    play.configure(idle_timeout=LET_GO)
    play.kill(boundary, play.patience)
    retire_all(play, ACTING)


def deleting(play: Play, boundary: Boundary) -> None:
    """Two nodes are drained."""
    have_drained(play)
    play.kill(boundary, play.patience)
    retire_all(play, ACTING)


def undraining(play: Play, boundary: Boundary) -> None:
    """Two nodes are drained, and two jobs come."""
    have_drained(play)
    play.configure(idle_timeout=KEEP)
    play.submit(2)
    play.kill(boundary)
    play.calm(play.jobs_are_done, ACTING)


def replacing(play: Play, boundary: Boundary) -> None:
    """A build has failed."""
    retire_all(play)
    play.stand.cloud().try_out(Trial(fail_build=1))
    play.submit(1)
    play.pass_healthily()
    play.kill(boundary)
    play.calm(play.jobs_are_done, ACTING)


def forgetting(play: Play, boundary: Boundary) -> None:
    """Somebody has deleted the servers of idle nodes; their ads are still there."""
    have_idle(play)
    cloud = play.stand.cloud()
    for server in cloud.servers():
        if server.node != play.runner:
            cloud.delete(server)
    play.kill(boundary, FRESH + play.patience)
    play.calm(acting=MOST - 1)  # each when its own ads are old enough


def sweeping(play: Play, boundary: Boundary) -> None:
    """A folder that a kill has left half-removed lies about."""
    folder = play.stand.directory / "nodes" / f".gone-{token_hex(16)}"
    folder.mkdir()
    (folder / "server.json").write_text(json.dumps({"pool": "lab", "node": "ehos-lab-0000dead"}))
    play.kill(boundary, STARTING + play.patience)
    play.calm(acting=1)


def retire_all(play: Play, acting: int | None = None) -> None:
    """Until the node of the long job is alone."""
    play.configure(idle_timeout=LET_GO)
    play.calm(lambda: {server.node for server in play.sight.servers()} == {play.runner}, acting)
    play.configure(idle_timeout=KEEP)


def have_idle(play: Play) -> None:
    """Two idle nodes beside the one of the long job."""
    play.configure(idle_timeout=KEEP)

    def idle() -> bool:
        if play.jobs_are_done() and len(play.sight.servers()) < MOST:
            play.submit(MOST - 1)  # again, where one node has run them all
            return False
        return play.jobs_are_done() and play.claims() == 1

    play.calm(idle)


def have_drained(play: Play) -> None:
    """Two nodes that are drained and still there."""

    def drain_both() -> bool:
        have_idle(play)
        play.configure(idle_timeout=LET_GO)
        done = play.pass_healthily()
        if done is None or [action.verb for action in done.plan.actions] != ["drain"] * (MOST - 1):
            retire_all(play)  # one that was asked alone goes, and all is set up anew
            return False
        wait_until(drained, play.patience, "two nodes to be drained")
        return True

    def drained() -> bool:
        return len(play.stand.pool.machines(["State"], 'State == "Drained"')) == MOST - 1

    wait_until(drain_both, play.patience, "two nodes to be asked to drain")


SCENARIOS: Mapping[str, Scenario] = {
    "looking": looking,
    "losing the state file": losing,
    "creating": creating,
    "creating with the key": creating_with_key,
    "draining": draining,
    "deleting": deleting,
    "undraining": undraining,
    "replacing": replacing,
    "forgetting": forgetting,
    "sweeping": sweeping,
}


def _both(scenario: str, *effects: Effect, nth: int = 1) -> Iterator[Boundary]:
    for effect in effects:
        for when in ("before", "after"):
            yield Boundary(scenario, effect.name, when, nth)


def boundaries() -> list[Boundary]:
    """All of them, in an order in which what one scenario leaves is what the next one needs."""
    create, delete = these.LOCAL_CREATE[0].name, these.LOCAL_DELETE[0].name
    first, rename = these.STATE[0], these.STATE[3]  # the last write of a pass: all is still the old one, all is new
    growing = [
        *_both("creating", *these.STATE, *these.MATCH, *these.PARAMETERS, *these.TOKEN_FETCH, *these.LOCAL_CREATE),
        *_both("creating", these.LOCAL_CREATE[0], first, rename, nth=2),
        Boundary("creating", create, "late"),
        Boundary("creating", create, "late", 2),
        *_both("creating with the key", *these.TOKEN_CREATE),
        *_both(
            "replacing",
            *these.LAST_LOOK,
            *these.LAST_QUESTION,
            these.LOCAL_DELETE[0],
            these.INVALIDATE[0],
            these.LOCAL_CREATE[0],
        ),
    ]
    shrinking = [
        *_both("draining", *these.DRAIN, first, rename),
        *_both("draining", these.DRAIN[0], nth=2),
        Boundary("draining", these.DRAIN[0].name, "late"),
        *_both("deleting", *these.LAST_LOOK, *these.LOCAL_DELETE, *these.INVALIDATE, first, rename),
        Boundary("deleting", delete, "late"),
        *_both("undraining", *these.UNDRAIN),
        Boundary("undraining", these.UNDRAIN[0].name, "late"),
        *_both("forgetting", *these.INVALIDATE),
    ]
    own = (*these.LOCK, *these.UNLOCK, *these.READ, *these.STATE)
    still = [
        *_both("looking", *own, *these.LEASE, *these.LOOK, *these.LOCAL_LOOK),
        *_both("losing the state file", *these.SET_ASIDE),
        *_both("sweeping", *these.LOCAL_SWEEP),
    ]
    return still + [one for pair in zip_longest(growing, shrinking) for one in pair if one]
