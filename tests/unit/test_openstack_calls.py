"""Calls to one OpenStack side by side and after each other: how many at a time, how long each, how long between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from ehoslite.clouds.calls import LONGEST_WAIT, Calls
from ehoslite.clouds.names import Names
from ehoslite.errors import CloudUnreachable
from ehoslite.settings import OpenStackLimits
from tests.unit.answering import openstack_settings

PATIENCE = 10.0
FINE = SimpleNamespace(status_code=200, content=b"{}", json=lambda **_: {}, text="{}", headers={})


class Connection:
    """In place of the SDK's: it sees each call come to its door and be sent, and lets the test answer."""

    def __init__(self, answer: Callable[[float], Any]) -> None:
        self.answer = answer
        self.changed = Condition()
        self.arrived = self.inside = self.most = 0

    @property
    def compute(self) -> Any:
        """What sends the requests; a call comes for it before it waits for its turn."""
        with self.changed:
            self.arrived += 1
            self.changed.notify_all()
        return self

    def request(self, *_: Any, timeout: float, **__: Any) -> Any:
        """In place of the adapter's."""
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
        answer = self.answer(timeout)
        with self.changed:
            self.inside -= 1
        return answer

    def wait(self, until: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Whether this has come true."""
        with self.changed:
            return self.changed.wait_for(until, patience)


def calls_over(
    connection: Connection,
    remaining: Callable[[], float] = lambda: 60.0,
    sleep: Callable[[float], None] = lambda _: None,
    **limits: Any,
) -> Calls:
    """Calls that go by this connection."""
    made = Calls(openstack_settings(limits=OpenStackLimits(**limits)), "alpha", remaining, sleep)
    vars(made).update(_connection=connection, _region_is_clear=True)
    return made


def test_never_more_calls_at_a_time_than_allowed() -> None:
    allowed, wanted = 3, 9

    def answer(_timeout: float) -> Any:
        assert connection.wait(lambda: connection.arrived == wanted)
        assert connection.wait(lambda: connection.most >= allowed), "so many may be"
        connection.wait(lambda: connection.most > allowed, 0.05)
        return FINE

    connection = Connection(answer)
    calls = calls_over(connection, calls=allowed)
    with ThreadPoolExecutor(wanted) as threads:
        list(threads.map(lambda _: calls.get("compute", "/servers"), range(wanted)))
    assert (connection.arrived, connection.most) == (wanted, allowed)


def test_a_call_that_had_to_wait_for_its_turn_gets_what_is_left_then() -> None:
    left, timeouts = [60.0], []

    def answer(timeout: float) -> Any:
        timeouts.append(timeout)
        assert connection.wait(lambda: connection.arrived == 2)
        left[0] = 2.0
        return FINE

    connection = Connection(answer)
    calls = calls_over(connection, lambda: left[0], calls=1)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: calls.get("compute", "/servers"), range(2)))
    assert timeouts == [calls.settings.timeout, 2.0]


NOON = "Thu, 01 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("after", "date", "waited"),
    [
        ("7", NOON, 7.0),
        ("Thu, 01 Jan 2026 12:00:07 GMT", NOON, 7.0),
        ("Thursday, 01-Jan-26 12:00:07 GMT", NOON, 7.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", NOON, 0.0),
        ("Thu, 01 Jan 2026 13:00:00 GMT", NOON, None),  # longer than a pass waits
        ("Thu, 01 Jan 2026 12:00:07 GMT", "", 0.25),
        ("Thu, 01 Jan 2026 12:00:07 GMT", "noon", 0.25),
        ("Thu, 01 Jan 2026 12:00:07 -0000", NOON, 0.25),  # of no zone that anybody knows
        ("Thu, 99 Jan 2026 12:00:07 GMT", NOON, 0.25),
        ("soon", NOON, 0.25),
        ("", NOON, 0.25),
    ],
)
def test_retry_after(after: str, date: str, waited: float | None) -> None:
    """In seconds, or as a moment by the cloud's own clock."""
    headers = {name: value for name, value in (("Retry-After", after), ("Date", date)) if value}
    throttled = SimpleNamespace(status_code=429, json=dict, text="", headers=headers)
    answers, waits = [throttled, FINE], list[float]()
    calls = calls_over(Connection(lambda _: answers.pop(0)), sleep=waits.append)
    if waited is None:
        with pytest.raises(CloudUnreachable, match="429"):
            calls.get("compute", "/servers")
    else:
        assert calls.get("compute", "/servers") == {}
        assert waited <= LONGEST_WAIT
    assert waits == ([] if waited is None else [waited])


def test_what_is_forgotten_while_a_name_is_asked_for_stays_forgotten() -> None:
    """Creations side by side: one is refused while another resolves the very name that is wrong."""
    known: dict[str, Any] = {}

    def answer(_timeout: float) -> Any:
        forgetting.start()
        forgetting.join(0.05)
        return FINE

    names = Names(openstack_settings(), calls_over(Connection(answer)), known)
    forgetting = Thread(target=names.forget)
    assert names.nova_version() == (2, 1)
    forgetting.join(PATIENCE)
    assert known == {}
