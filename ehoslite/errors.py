"""What can go wrong, named for the caller's next move; each error carries the exit code of a pass that it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_FINE = 0
EXIT_ACTION_FAILED = 1
EXIT_FIX_CONFIGURATION = 2
EXIT_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h: cron and systemd (SuccessExitStatus=75) may read it as "not now"


class EhosError(Exception):
    """Anything that ehoslite reports to a person as one sentence: what, where, what to do."""

    exit_code = EXIT_ACTION_FAILED


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a configuration: where it stands, its path in the document, and what is allowed."""

    where: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}: {self.what}" if self.path else f"{self.where}: {self.what}"


class FixConfiguration(EhosError):
    """A person must change the configuration; every fault found is in `faults`."""

    exit_code = EXIT_FIX_CONFIGURATION

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class TryLater(EhosError):
    """Nothing is wrong with the request; the world does not allow it now. The next pass tries again."""

    exit_code = EXIT_TRY_LATER


class AlreadyRunning(TryLater):
    """Another pass holds the lock."""


class PoolUnreachable(TryLater):
    """The collector did not answer, or refused us: nothing is known of the pool, so nothing is decided."""


class DeadlinePassed(TryLater):
    """The pass ran out of its own time; what was not done is left to the next pass."""


class CloudFault(EhosError):
    """Something that a cloud answered, or did not; `code` names it (docs/reasons.md)."""

    code: str

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code or type(self).code


class CloudUnreachable(CloudFault):
    """The cloud did not answer or answered in part: no decision about its nodes in this pass. Codes: unreachable,
    timeout, unauthorized, throttled, server-error, misconfigured, partial."""

    code = "unreachable"


class NoCapacity(CloudFault):
    """The cloud refused a creation for want of quota: try another cloud or flavor."""

    code = "quota"


class BadRequest(CloudFault):
    """The cloud understood a creation and refused it: a configuration error there, which repeating does not mend."""

    code = "bad-request"


class Gone(CloudFault):
    """What was asked for does not exist (any more)."""

    code = "gone"


class Unclear(CloudFault):
    """A creation may have been carried out or not: the reply was lost, or the cloud failed half-way. Never repeated
    blind; the next listing tells."""

    code = "unclear"


class NotIdle(EhosError):
    """The startd judged that it is not idle: a normal outcome, look again in the next pass."""


class AlreadyDraining(EhosError):
    """The startd drains already: what was asked for is under way."""


class DrainOver(EhosError):
    """The drain that was to be cancelled is over, or another has taken its place: look again in the next pass."""


class ActionFailed(EhosError):
    """One action did not succeed; the others go on."""


class NotRecorded(TryLater):
    """The memory cannot be written: a full or read-only disk. Without intents nothing is created."""
