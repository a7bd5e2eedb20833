"""The demo's screen: a table that changes in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

COLOURS = {"idle": "yellow", "busy": "green", "absent": "cyan", "draining": "magenta", "drained": "magenta"}
BAR = 40


class Screen:
    """Shows passes as they come; what was done scrolls by above the table."""

    def __init__(self) -> None:
        self.console = Console()
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def show(self, data: dict[str, Any], jobs: list[dict[str, Any]], done: int) -> None:
        """One pass: its actions as lines, then the nodes and the queue."""
        for line, count in Counter(_action(action) for action in data["actions"]).items():
            self.say(line if count == 1 else f"{line} (x{count})")
        states = Counter(node["condor_state"] for node in data["nodes"])
        waiting = sum(job["JobStatus"] == 1 for job in jobs)
        running = len(jobs) - waiting
        if self.live:
            self.live.update(Group(_nodes(data), _queue(waiting, running, done)), refresh=True)
        else:
            nodes = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
            self.say(f"nodes: {nodes:40} jobs: {waiting:3} idle, {running:3} running, {done:3} done")

    def finish(self, summary: list[tuple[str, str]], faults: list[str], seconds: float) -> None:
        """The end of the story."""
        table = Table(title=f"the demo took {seconds:.0f} s", show_header=False, title_justify="left")
        for name, value in summary:
            table.add_row(name, value)
        self.console.print(table)
        for fault in faults:
            self.console.print(Text(f"does not hold: {fault}", style="bold red"))
        self.console.print(Text("all of it holds" if not faults else "the demo failed", style="bold"))


def _action(action: dict[str, Any]) -> str:
    what = f"  {action['verb']} {action['subject']}: {action['reason']['text']}"
    return what if action["result"] == "done" else f"{what} - {action['result']}: {action['error']}"


def _nodes(data: dict[str, Any]) -> Table:
    table = Table("node", "flavor", "vm_state", "condor_state", "for", title_justify="left")
    for node in data["nodes"]:
        state = Text(node["condor_state"], style=COLOURS.get(node["condor_state"], "red"))
        since = node["idle_since"] or node["first_seen"]
        table.add_row(node["node"], node["flavor"], node["vm_state"], state, f"{max(0, time.time() - since):.0f} s")
    return table


def _queue(waiting: int, running: int, done: int) -> Text:
    total = max(1, waiting + running + done)
    bar = Text()
    for count, style in ((done, "green"), (running, "blue"), (waiting, "bright_black")):
        bar.append("█" * round(BAR * count / total), style=style)
    return bar.append(f"  {done} done, {running} running, {waiting} idle")
