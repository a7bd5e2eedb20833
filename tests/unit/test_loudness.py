"""What a pass says without -v, and so what cron mails."""

from __future__ import annotations

import logging

import pytest

from ehoslite import report
from ehoslite.actions import Delete, Outcome, Pass, Plan, Reason
from ehoslite.model import CondorState, Node, VmState
from ehoslite.resources import Resources
from tests.unit.worlds import server, settings, world

BOOTED = Node("n1", "here", "small", VmState.ACTIVE, CondorState.ABSENT, Resources(), (server("n1"),))


@pytest.mark.parametrize(
    ("error", "harmless", "said"),
    [("", False, ["WARNING"]), ("job 1.0 runs on it", True, []), ("the cloud refuses", False, ["ERROR"])],
    ids=["done", "kept for a job", "failed"],
)
def test_a_failed_boot_is_said_when_it_goes(
    error: str, harmless: bool, said: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is kept, minute by minute, until a job there has ended is not."""
    monkeypatch.setattr(report.log, "propagate", True)
    outcome = Outcome(Delete(BOOTED, Reason("boot-timeout", "it has not joined")), "n1", error, harmless=harmless)
    with caplog.at_level(logging.WARNING, "ehoslite"):
        report.tell(Pass(world(), Plan((outcome.action,)), (outcome,)), settings(), dry_run=False, as_json=False)
    assert [record.levelname for record in caplog.records] == said
