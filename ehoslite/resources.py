"""Amounts of machine, in the units of model.py, and how often one fits into another. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# More than any quota.
UNLIMITED = 10**15


@dataclass(frozen=True, slots=True, order=True)
class Resources:
    """An amount of machine: what a job requests, what a slot has free, what a flavor gives."""

    cpus: float = 0
    memory: float = 0
    disk: float = 0
    gpus: float = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(mine + its for mine, its in self.against(other)))

    def __sub__(self, other: Resources) -> Resources:
        return Resources(*(mine - its for mine, its in self.against(other)))

    def __mul__(self, times: int) -> Resources:
        return Resources(self.cpus * times, self.memory * times, self.disk * times, self.gpus * times)

    def holds(self, request: Resources) -> int:
        """How many requests fit side by side into this room."""
        times = UNLIMITED
        for have, want in self.against(request):
            if want > 0:
                fitting = int(have // want) if have > 0 else 0
                times = fitting if fitting < times else times  # a plan asks this 100,000 times: min() is slow
        return times

    def fits(self, request: Resources) -> bool:
        """Whether this room holds one such request."""
        return (
            (request.cpus <= self.cpus or request.cpus <= 0)
            and (request.memory <= self.memory or request.memory <= 0)
            and (request.disk <= self.disk or request.disk <= 0)
            and (request.gpus <= self.gpus or request.gpus <= 0)
        )

    def cores_of_use(self, whole: Resources) -> float:
        """How many cores of this room have their share of the memory and disk of the `whole` slot beside them. To the
        nearest core: startds round up what they cut out for a job."""
        shares = [have / of for have, of in ((self.memory, whole.memory), (self.disk, whole.disk)) if of > 0]
        return max(0.0, min([self.cpus, *(int(whole.cpus * share + 0.5) for share in shares if whole.cpus > 0)]))

    def lacking(self, request: Resources) -> list[str]:
        """The names of the resources of which `request` wants more than there is."""
        names = ("cpus", "memory", "disk", "gpus")
        return [name for name, (have, want) in zip(names, self.against(request), strict=True) if want > have]

    def against(self, request: Resources) -> tuple[tuple[float, float], ...]:
        """Pairs of (have, want), a pair for each resource."""
        return (
            (self.cpus, request.cpus),
            (self.memory, request.memory),
            (self.disk, request.disk),
            (self.gpus, request.gpus),
        )

    def __str__(self) -> str:
        disk = f"{self.disk / 1048576:.3g} GB" if self.disk >= 1048576 else f"{self.disk / 1024:.3g} MB"
        text = f"{self.cpus:g} cpus, {self.memory:g} MB memory, {disk} disk"
        return f"{text}, {self.gpus:g} gpus" if self.gpus else text
