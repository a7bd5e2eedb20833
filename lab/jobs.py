"""Submit jobs to a lab pool, and read its queue, history and machines through HTCondor's own tools."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.release import LabError, Release

Ad = dict[str, Any]
TOOL_SECONDS = 30.0
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.1, 2.0
PATIENCE = 4


def wait_until(
    condition: Callable[[], bool], seconds: float, what: str, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait until `condition` holds, asking ten times a second, or where asking is work (a pass, a listing) half of the
    time: what is waited for needs the machine, too. Raises LabError, naming `what`, when it does not come to hold.

    `seconds` is ample on a quiet machine; one that runs other things too is given PATIENCE times as long.
    """
    asked = time.monotonic()
    deadline = asked + seconds * PATIENCE
    while not condition():
        now = time.monotonic()
        if now > deadline:
            raise LabError(f"waited {seconds * PATIENCE:g} s in vain for: {what}")
        sleep(min(LONGEST_POLL_SECONDS, max(POLL_SECONDS, now - asked)))
        asked = time.monotonic()


class PoolTools:
    """What one does with a running pool by command line, as one of its clients."""

    release: Release
    schedd_names: list[str]
    jobs_directory: Path

    def client(self, name: str) -> Path:
        """Return the CONDOR_CONFIG file of a client."""
        raise NotImplementedError

    def environment(self, user: str) -> dict[str, str]:
        """Return the environment in which HTCondor's programs act as the client `user`."""
        return {**self.release.environment(), "CONDOR_CONFIG": str(self.client(user))}

    def run(
        self, program: str, *arguments: str, user: str = "scaler", text: str = "", seconds: float = TOOL_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run one of HTCondor's programs as a client, `text` on its standard input; the caller judges its exit code.

        Raises LabError if it does not end within `seconds`.
        """
        try:
            return subprocess.run(
                [str(self.release.program(program)), *arguments],
                env=self.environment(user),
                cwd=self.jobs_directory,
                input=text,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{program} {' '.join(arguments)} as {user} did not end within {seconds:g} s") from error

    def run_checked(
        self, program: str, *arguments: str, user: str = "scaler", text: str = "", seconds: float = TOOL_SECONDS
    ) -> str:
        """Do as run() does and return the standard output; raises LabError, with the error text, on a failure."""
        done = self.run(program, *arguments, user=user, text=text, seconds=seconds)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise LabError(f"{program} {' '.join(arguments)} as {user} ended with {done.returncode}: {said}")
        return done.stdout

    def submit(
        self,
        *,
        user: str = "alice",
        count: int = 1,
        cpus: int = 1,
        memory: int = 128,
        disk: int = 1024,
        gpus: int = 0,
        seconds: float = 5,
        schedd: str | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> int:
        """Submit `count` jobs that sleep `seconds`, and return their cluster's number.

        `memory` is in MiB, `disk` in KiB; `schedd` defaults to the first. `extra` holds further lines of the submit
        description, which replace those of the same name; an empty value leaves the line out.
        """
        lines = {
            "universe": "vanilla",
            "executable": "/bin/sleep",
            "transfer_executable": "false",
            "arguments": f"{seconds:g}",
            "initialdir": str(self.jobs_directory),
            "should_transfer_files": "YES",
            "transfer_output_files": '""',
            "request_cpus": str(cpus),
            "request_memory": str(memory),
            "request_disk": str(disk),
            "request_gpus": str(gpus) if gpus else "",
            **(extra or {}),
        }
        description = "".join(f"{name} = {value}\n" for name, value in lines.items() if value) + f"queue {count}\n"
        said = self.run_checked(
            "condor_submit", "-terse", "-name", schedd or self.schedd_names[0], user=user, text=description
        )
        cluster = re.match(r"(\d+)\.", said)
        if not cluster:
            raise LabError(f"condor_submit gave no cluster number but: {said!r}")
        return int(cluster[1])

    def queue(
        self,
        constraint: str | None = None,
        attributes: Sequence[str] = (),
        schedd: str | None = None,
        user: str = "reader",
    ) -> list[Ad]:
        """Return the jobs in the queue of one schedd or of all; expressions come as text like "/Expr(...)/"."""
        options = ["-allusers"] + (["-constraint", constraint] if constraint else [])
        return self.read_jobs("condor_q", options, attributes, schedd, user)

    def history(
        self,
        constraint: str | None = None,
        attributes: Sequence[str] = (),
        schedd: str | None = None,
        user: str = "reader",
    ) -> list[Ad]:
        """Return the jobs that have left the queue of one schedd or of all, the youngest first."""
        options = ["-constraint", constraint] if constraint else []
        return self.read_jobs("condor_history", options, attributes, schedd, user)

    def read_jobs(
        self, program: str, options: Sequence[str], attributes: Sequence[str], schedd: str | None, user: str
    ) -> list[Ad]:
        """Return the job ads that `program` shows of one schedd or of all."""
        found: list[Ad] = []
        for name in [schedd] if schedd else self.schedd_names:
            found += self.read_ads(program, "-name", name, *options, attributes=attributes, user=user)
        return found

    def machines(self, attributes: Sequence[str] = (), constraint: str | None = None, user: str = "reader") -> list[Ad]:
        """Return the slot ads in the collector."""
        options = ["-constraint", constraint] if constraint else []
        return self.read_ads("condor_status", *options, attributes=attributes, user=user)

    def read_ads(self, program: str, *options: str, attributes: Sequence[str], user: str) -> list[Ad]:
        """Return the ads that a program prints with -json; raises LabError on a failure."""
        chosen = ["-attributes", ",".join(attributes)] if attributes else []
        said = self.run_checked(program, *options, "-json", *chosen, user=user)
        # No ad at all is printed as nothing, which is not JSON.
        ads: list[Ad] = json.loads(said) if said.strip() else []
        return ads
