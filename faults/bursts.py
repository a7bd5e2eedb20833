"""Bursts of jobs of every kind that a drain might hurt, and what HTCondor itself says of them afterwards."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lab.configuration import give_to_daemons
from lab.pool import LabPool

# What goes through the file transfer of such a job, there and back; long enough on the way to be met by a drain.
SANDBOX_BYTES = 4_000_000
# After which nothing is written to an output any more.
OUTPUT_SECONDS = 300.0
MOST_AT_ONCE = 4
DURATIONS = (0.0, 0.0, 0.0, 0.2, 1.0, 2.0)

# From HTCondor's condor_event.h; no job of a race comes to any of them.
BAD_EVENTS = {4: "evicted", 7: "shadow exception", 9: "aborted", 12: "held", 22: "disconnected", 24: "not reconnected"}
EXECUTED = 1
EVENT = re.compile(r"^(\d{3}) \((\d+)\.(\d+)\.\d+\)", re.MULTILINE)
JUDGED = ("ClusterId", "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "NumJobStarts", "NumShadowStarts")
VACATED = ("LastVacateTime", "NumVacates", "NumVacatesByReason", "NumSystemHolds")

Job = tuple[int, int]


@dataclass
class Verdict:
    """What became of the jobs: those that ran to their end once and well, and what is wrong with each of the others."""

    finished: int = 0
    killed: dict[Job, str] = field(default_factory=dict)
    lost: list[Job] = field(default_factory=list)


class Bursts:
    """Submits bursts to a pool and remembers each of their jobs. Those that are `doomed` forbid retirement and last for
    seconds, so that a broken product has something to kill."""

    def __init__(self, pool: LabPool, chance: random.Random, *, doomed: bool = False) -> None:
        self.pool = pool
        self.chance = chance
        self.doomed = doomed
        self.sizes: dict[int, int] = {}
        self.kinds: Counter[str] = Counter()
        self.log = pool.jobs_directory / "race.log"
        self.read = 0
        self.executed: set[Job] = set()
        self.bad: dict[Job, str] = {}
        self.input = pool.jobs_directory / "input"
        self.outputs = pool.jobs_directory / "outputs"
        self.input.write_bytes(chance.randbytes(SANDBOX_BYTES))
        self.outputs.mkdir()
        give_to_daemons(self.outputs)

    @property
    def submitted(self) -> int:
        """How many jobs there have been."""
        return sum(self.sizes.values())

    def submit(self) -> int:
        """Submit some jobs of one kind that chance chooses; gives their cluster's number."""
        kinds = {"plain": self._plain, "in transfer": self._in_transfer, "claim kept": self._claim_kept}
        kind = self.chance.choice(list(kinds))
        lines, seconds = dict(kinds[kind]()), self.chance.choice(DURATIONS)
        if forbid := self.doomed or self.chance.random() < 0.3:
            lines["+MaxJobRetirementTime"] = "0"
        count, user = self.chance.randint(1, MOST_AT_ONCE), self.chance.choice(("alice", "bob"))
        if self.doomed:
            seconds = 5.0
        if kind == "in transfer":
            lines["arguments"] = f"\"-c 'sleep {seconds:g}; cp input output'\""
        cluster = self.pool.submit(user=user, count=count, memory=100, seconds=seconds, extra=lines)
        self.sizes[cluster] = count
        self.kinds[kind] += count
        self.kinds["retirement forbidden"] += count * forbid
        return cluster

    def _plain(self) -> Mapping[str, str]:
        return {"log": str(self.log)}

    def _claim_kept(self) -> Mapping[str, str]:
        """The schedd keeps the claim for a while after the last job: the slot is Claimed/Idle."""
        return {"log": str(self.log), "keep_claim_idle": "1"}

    def _in_transfer(self) -> Mapping[str, str]:
        for old in self.outputs.iterdir():
            if time.time() - old.stat().st_mtime > OUTPUT_SECONDS:
                old.unlink()
        return {
            "log": str(self.log),
            "executable": "/bin/sh",
            "transfer_input_files": str(self.input),
            "transfer_output_files": "output",
            "transfer_output_remaps": f'"output={self.outputs}/$(Cluster).$(Process)"',
        }

    def hear(self) -> dict[Job, str]:
        """Read on in the event log; gives every job that something bad has happened to so far."""
        for code, job in self._events():
            if code in BAD_EVENTS:
                self.bad.setdefault(job, BAD_EVENTS[code])
            if code == EXECUTED and job in self.executed:
                self.bad.setdefault(job, "started again")
            elif code == EXECUTED:
                self.executed.add(job)
        return self.bad

    def _events(self) -> Iterator[tuple[int, Job]]:
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            file.seek(self.read)
            new = file.read()
        whole = new[: new.rfind(b"\n...\n") + 5] if b"\n...\n" in new else b""
        self.read += len(whole)
        for code, cluster, process in EVENT.findall(whole.decode(errors="replace")):
            yield int(code), (int(cluster), int(process))

    def events_of(self, job: Job) -> str:
        """What the event log says of a job."""
        events = self.log.read_text(errors="replace").split("\n...\n")
        return "\n".join(event for event in events if f" ({job[0]:03}.{job[1]:03}." in event)

    def judge(self) -> Verdict:
        """What the schedd's history, its queue and the event log say of every job."""
        verdict = Verdict(killed=dict(self.hear()))
        seen: set[Job] = set()
        for ad in self.pool.history(attributes=(*JUDGED, *VACATED)):
            job = (ad["ClusterId"], ad["ProcId"])
            seen.add(job)
            wrong = [f"{name} {ad[name]}" for name in VACATED if ad.get(name)]
            ended = [ad.get(name) for name in JUDGED[2:]]
            if ended != [4, 0, False, 1, 1]:
                wrong.append(", ".join(f"{name} {value}" for name, value in zip(JUDGED[2:], ended, strict=True)))
            if wrong:
                verdict.killed[job] = "; ".join([*verdict.killed.get(job, "").split("; "), *wrong]).removeprefix("; ")
            verdict.finished += not wrong
        queued = {(ad["ClusterId"], ad["ProcId"]) for ad in self.pool.queue(attributes=JUDGED[:2])}
        every = {(cluster, process) for cluster, count in self.sizes.items() for process in range(count)}
        verdict.lost = sorted(every - seen - queued)
        return verdict
