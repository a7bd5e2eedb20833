"""Deliberate breakages of the product, each of which a run must see: the proof of the harness.

`python -m faults boundaries --mutation NAME` ends with exit code 1. What sees them:
no intents first             limits exceeded: a creation that is carried out after its pass was killed
delete before drain          jobs killed: a job that starts between the plan and the drain
tag left out                 servers orphaned: the cloud has one that no pass lists
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from ehoslite import act
from ehoslite.actions import Drain, Outcome
from ehoslite.clouds.local import LocalCloud
from ehoslite.clouds.openstack import OpenStack
from ehoslite.memory import Memory
from ehoslite.model import Slot
from ehoslite.record import Record

SAVE, DRAIN = Record.save, act._drain_or_undrain  # noqa: SLF001
MAKE_FOLDER, REQUEST = LocalCloud._make_folder, OpenStack.request  # noqa: SLF001


def _save_the_end_alone(self: Record, memory: Memory, finished: Any = None, now: float = 0.0) -> None:
    if finished:
        SAVE(self, memory, finished, now)


def _delete_first(action: Any, seen: Sequence[Slot], hands: act.Hands) -> Outcome:
    if isinstance(action, Drain):
        for server in action.node.servers:
            hands.clouds[server.cloud].delete(server)
    return DRAIN(action, seen, hands)


def _make_untagged(self: LocalCloud, tags: Mapping[str, Any], *arguments: Any) -> Any:
    return MAKE_FOLDER(self, {**tags, "pool": ""}, *arguments)


def _request_untagged(self: OpenStack, *arguments: Any) -> dict[str, Any]:
    body = REQUEST(self, *arguments)
    body["server"].update(tags=[], metadata={})
    return body


def _leave_tag_out() -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(patch.object(LocalCloud, "_make_folder", _make_untagged))
    stack.enter_context(patch.object(OpenStack, "request", _request_untagged))
    return stack


# Each breaks the product until it is left.
MUTATIONS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "no intents first": lambda: patch.object(Record, "save", _save_the_end_alone),
    "delete before drain": lambda: patch.object(act, "_drain_or_undrain", _delete_first),
    "tag left out": _leave_tag_out,
}
