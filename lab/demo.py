"""`make demo`: a real pool, 60 jobs of six shapes, passes every few seconds until the pool is back at its minimum.

Exits non-zero when a job was lost or killed, a node was left over, or nothing was said of the jobs that fit nowhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.pool import temporary_directory
from lab.release import Release, find_or_build
from lab.show import Screen
from lab.stand import LARGE, SMALL, Stand

# count, then what condor_submit is told.
SHAPES: tuple[tuple[int, dict[str, Any]], ...] = (
    (45, {"cpus": 1, "memory": 512, "seconds": 6}),
    (6, {"cpus": 2, "memory": 1024, "seconds": 8}),
    (3, {"cpus": 4, "memory": 2048, "seconds": 10}),
    (4, {"cpus": 1, "memory": 3000, "seconds": 6}),
)
# These fit no flavor: one is too large for all, the Requirements of the other hold on none.
IMPOSSIBLE: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {"cpus": 64, "memory": 1024, "seconds": 1}),
    (1, {"cpus": 1, "memory": 512, "seconds": 1, "extra": {"requirements": 'TARGET.EhosFlavor == "huge"'}}),
)
WHY_IMPOSSIBLE = ("no-flavor-fits", "requirements-fail")
JOBS = sum(count for count, _ in SHAPES + IMPOSSIBLE)
POSSIBLE = sum(count for count, _ in SHAPES)
# Beside the stand's own, cheap by the core: one with more memory by the core.
ROOMY = {"name": "roomy", "cpus": 2, "memory": "8 GB", "disk": "8 GB", "price": 0.22}
NODES_MIN = 1
SCALING = {"nodes_min": NODES_MIN, "nodes_max": 9, "idle_timeout": 6, "boot_timeout": 60}
EVERY = 3.0
LONGEST = 240.0


@dataclass
class Story:
    """What the demo has seen, pass by pass."""

    passes: int = 0
    failures: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    most: int = 0
    node_seconds: float = 0.0
    flavors: Counter[str] = field(default_factory=Counter)
    impossible: dict[str, str] = field(default_factory=dict)
    last: float = 0.0

    def add(self, data: dict[str, Any], now: float) -> None:
        """One more pass."""
        self.passes += 1
        self.node_seconds += len(data["nodes"]) * (now - self.last if self.last else 0.0)
        self.last = now
        self.most = max(self.most, len(data["nodes"]))
        for action in data["actions"]:
            name = f"{action['verb']} {action['subject']}"
            if action["result"] == "failed":
                self.failures.append(f"{name}: {action['error']}")
            elif action["result"] == "done" and action["verb"] == "create":
                self.made.add(action["node"])
                self.flavors[action["subject"]] += 1
            elif action["result"] == "done" and action["verb"] == "delete":
                self.retired.add(action["node"])
        for held in data["held"]:
            if held["reason"]["code"] in WHY_IMPOSSIBLE:
                self.impossible[held["reason"]["code"]] = held["reason"]["text"]


def main(clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep) -> int:
    """Run the demo; gives the exit code."""
    began = clock()
    release = find_or_build()
    with temporary_directory() as folder, open_stand(folder, release) as stand, Screen() as screen:
        clouds = " and ".join(stand.document["clouds"])
        screen.say(f"HTCondor runs, with nodes on {clouds}; {JOBS} jobs of {len(SHAPES + IMPOSSIBLE)} shapes wait")
        for count, shape in SHAPES + IMPOSSIBLE:
            stand.pool.submit(count=count, **shape)
        story = run_passes(stand, screen, clock, sleep)
        history = stand.pool.history(
            attributes=["ExitCode", "NumJobStarts", "QDate", "JobCurrentStartDate", "NumVacates", "JobStatus"]
        )
        leftover = [node for node in stand.nodes() if node in story.retired]
        summary, faults = judge(story, history, stand.nodes(), leftover)
    screen.finish(summary, faults, clock() - began)
    return 1 if faults else 0


@contextmanager
def open_stand(folder: Path, release: Release) -> Iterator[Stand]:
    """The stand that $CLOUD names: nodes as local processes (local, the default), or as servers of two real
    OpenStack clouds, of which the first is soon full (openstack)."""
    cloud = os.environ.get("CLOUD", "local")
    if cloud == "local":
        with Stand(folder, release, scaling=SCALING, flavors=(SMALL, ROOMY, LARGE)) as stand:
            yield stand
    elif cloud == "openstack":
        from lab.openstack import OpenStackLab
        from lab.openstack_stand import OpenStackStand, guest_command

        print("two OpenStack clouds come up; the first time this takes some minutes", flush=True)
        guest = guest_command(release)
        with (
            OpenStackLab(folder / "alpha", name="alpha", guest_command=guest, quotas={"instances": 4}) as alpha,
            OpenStackLab(folder / "beta", name="beta", guest_command=guest) as beta,
            OpenStackStand(folder, release, (alpha, beta), scaling=SCALING) as stand,
        ):
            yield stand
    else:
        raise SystemExit(f"CLOUD={cloud}: it must be local or openstack")


def run_passes(stand: Stand, screen: Screen, clock: Callable[[], float], sleep: Callable[[float], None]) -> Story:
    """Pass after pass, until the queue holds only the impossible jobs and the pool is at its minimum."""
    story, until = Story(), clock() + LONGEST
    while clock() < until:
        begun = clock()
        done = stand.reconcile()
        if done.code not in (0, 75):
            story.failures.append(done.err.strip() or f"a pass ended with exit code {done.code}")
        if done.code == 0:
            data = done.data
            story.add(data, begun)
            jobs = stand.pool.queue(attributes=["JobStatus", "RequestCpus"])
            screen.show(data, jobs, JOBS - len(jobs))
            if len(jobs) == JOBS - POSSIBLE and len(data["nodes"]) == NODES_MIN and not data["actions"]:
                return story
        sleep(max(0.0, EVERY - (clock() - begun)))
    story.failures.append(f"the pool was not back at its minimum within {LONGEST:.0f} s")
    return story


def judge(
    story: Story, history: list[dict[str, Any]], nodes: dict[str, str], leftover: list[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The summary, and what does not hold of what the demo promises."""
    good = [job for job in history if job.get("JobStatus") == 4 and job.get("ExitCode") == 0]
    killed = [job for job in history if job.get("NumJobStarts", 1) > 1 or job.get("NumVacates", 0) > 0]
    waits = [job["JobCurrentStartDate"] - job["QDate"] for job in good]
    faults = list(story.failures)
    faults += [] if len(good) == POSSIBLE else [f"{len(good)} of {POSSIBLE} jobs ended well"]
    faults += [f"{len(killed)} jobs were started more than once"] if killed else []
    faults += [f"{len(leftover)} retired nodes still exist"] if leftover else []
    faults += [] if len(nodes) == NODES_MIN else [f"{len(nodes)} nodes are left, not {NODES_MIN}"]
    faults += [] if story.most > NODES_MIN else ["the pool never grew"]
    faults += [
        f"nothing was said of the impossible job: {code}" for code in WHY_IMPOSSIBLE if code not in story.impossible
    ]
    faults += [] if len(story.flavors) > 1 else ["one flavor was chosen for all shapes"]
    summary = [
        ("jobs done", f"{len(good)} of {POSSIBLE} that can run"),
        ("jobs killed by us", str(len(killed))),
        ("nodes made", f"{len(story.made)}, at most {story.most} at a time"),
        ("of these flavors", ", ".join(f"{count} {name}" for name, count in sorted(story.flavors.items()))),
        ("nodes retired", f"{len(story.retired)}; left: {len(nodes)} (nodes_min {NODES_MIN})"),
        ("mean wait of a job", f"{sum(waits) / max(1, len(waits)):.1f} s"),
        ("node-seconds used", f"{story.node_seconds:.0f}"),
        ("passes", str(story.passes)),
        *(("an impossible job", text) for text in story.impossible.values()),
    ]
    return summary, faults


if __name__ == "__main__":
    sys.exit(main())
