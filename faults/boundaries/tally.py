"""What a run counts, and how it says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

# What must not happen, in the words of the report; each is counted and told with where it was seen.
WRONGS = (
    "jobs killed",
    "servers orphaned",
    "servers doubled",
    "limits exceeded",
    "passes crashed",
    "state files unusable",
    "too many acting passes",
    "never calm",
    "boundaries missed",
)


@dataclass(frozen=True)
class Boundary:
    """Where a pass is broken: in which scenario, at which effect, before, after, late or stop; at its nth call."""

    scenario: str
    effect: str
    when: str
    nth: int = 1

    def __str__(self) -> str:
        number = f" (number {self.nth})" if self.nth > 1 else ""
        return f"{self.scenario}: {self.when} {self.effect}{number}"


@dataclass
class Tally:
    """Counts of one run; `where` is what is being played."""

    killed: list[Boundary] = field(default_factory=list)
    breakages: list[str] = field(default_factory=list)
    passes: int = 0
    real: int = 0
    jobs: int = 0
    wrongs: list[tuple[str, str]] = field(default_factory=list)
    where: str = ""

    def note(self, wrong: str, what: str) -> None:
        """Something happened that must not. A finding that lasts is told once for each scenario."""
        told = (wrong, f"{self.where}: {what}")
        if told not in self.wrongs:
            self.wrongs.append(told)

    def count(self, wrong: str) -> int:
        """How often it was seen."""
        return sum(one == wrong for one, _ in self.wrongs)

    def lines(self) -> Iterator[str]:
        """The report, `name: value` each."""
        for boundary in self.killed:
            yield f"killed at: {boundary}"
        for breakage in self.breakages:
            yield f"broken by: {breakage}"
        yield f"effect boundaries killed at: {len({(boundary.effect, boundary.when) for boundary in self.killed})}"
        yield f"passes: {self.passes}"
        yield f"passes as processes: {self.real}"
        yield f"kills: {len(self.killed)}"
        for name, count in sorted(Counter(boundary.effect for boundary in self.killed).items()):
            yield f"killed {name}: {count}"
        yield f"jobs run: {self.jobs}"
        for wrong in WRONGS:
            yield f"{wrong}: {self.count(wrong)}"
