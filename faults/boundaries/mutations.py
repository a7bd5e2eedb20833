"""Deliberate breakages of the product, each of which a run must see: the proof of the harness.

`python -m faults boundaries --mutation NAME` ends with exit code 1. What sees them:
no intents first             limits exceeded: a creation that is carried out after its pass was killed
delete before drain          jobs killed: a job that starts between the plan and the drain
tag left out                 servers orphaned: the cloud has one that no pass lists
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ehoslite import act
from ehoslite.actions import Drain, Outcome
from ehoslite.clouds.local import LocalCloud
from ehoslite.clouds.openstack import OpenStack
from ehoslite.memory import Memory
from ehoslite.record import Record


def leave_intents_out() -> None:
    """Write the memory at the end of a pass only."""
    save = Record.save

    def save_the_end_alone(self: Record, memory: Memory, finished: Any = None, now: float = 0.0) -> None:
        if finished:
            save(self, memory, finished, now)

    Record.save = save_the_end_alone  # type: ignore[method-assign]


def delete_before_draining() -> None:
    """Delete an idle node's server, and drain it then."""
    drain_or_undrain = act._drain_or_undrain  # noqa: SLF001

    def delete_first(action: Any, hands: act.Hands) -> Outcome:
        if isinstance(action, Drain):
            for server in action.node.servers:
                hands.clouds[server.cloud].delete(server)
        return drain_or_undrain(action, hands)

    act._drain_or_undrain = delete_first  # noqa: SLF001


def leave_tag_out() -> None:
    """Make servers that do not say whose they are."""
    make_folder, request = LocalCloud._make_folder, OpenStack.request  # noqa: SLF001

    def make_untagged(self: LocalCloud, *arguments: Any) -> Any:
        return make_folder(LocalCloud(self.name, self.settings, ""), *arguments)

    def request_untagged(self: OpenStack, *arguments: Any) -> dict[str, Any]:
        body = request(self, *arguments)
        body["server"].update(tags=[], metadata={})
        return body

    LocalCloud._make_folder = make_untagged  # type: ignore[method-assign,assignment]  # noqa: SLF001
    OpenStack.request = request_untagged  # type: ignore[method-assign,assignment]


MUTATIONS: Mapping[str, Callable[[], None]] = {
    "no intents first": leave_intents_out,
    "delete before drain": delete_before_draining,
    "tag left out": leave_tag_out,
}
