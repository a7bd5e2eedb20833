"""A pass ends within its time: every wait asks what is left, and a watchdog ends what does not."""

from __future__ import annotations

import faulthandler
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from ehoslite.errors import DeadlinePassed

# After the deadline, for what runs in threads and notices late; then the process is ended with a trace.
GRACE = 15.0


class Deadline:
    """Raises DeadlinePassed in the main thread when the time is over; ends the process if even that does not help."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.until = clock() + seconds

    def remaining(self) -> float:
        """The seconds that are left; below 0 when the time is over."""
        return self.until - self.clock()

    def __enter__(self) -> Self:
        faulthandler.dump_traceback_later(self.seconds + GRACE, exit=True)
        signal.signal(signal.SIGALRM, self._over)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()

    def _over(self, _signal: int, _frame: FrameType | None) -> None:
        raise DeadlinePassed(f"the pass did not end within its deadline of {self.seconds:.0f} s; the next one goes on")
