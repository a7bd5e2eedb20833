"""Packs idle jobs, in counts, onto the room that there is: free slots, then booting and draining nodes. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import ceil

from ehoslite.carving import left_beside, side_by_side
from ehoslite.model import Shape
from ehoslite.resources import UNLIMITED, Resources


class Rank(IntEnum):
    """Which room is filled first: what runs, then what boots, then what can be taken back. What must be made comes
    after all of them (choosing.py)."""

    PARTLY_USED = 0
    EMPTY = 1
    BOOTING = 2
    DRAINING = 3


@dataclass(frozen=True, slots=True)
class Space:
    """Room on one slot or node. `owner` is the node id, or the name of a foreign slot; `ilk` says what runs there
    (Shape.runs_on); a `whole` one goes to one job, however small: a static slot."""

    rank: Rank
    free: Resources
    owner: str
    ilk: int = 0
    whole: bool = False


# Rooms that are equal: rank, free, ilk, whole.
Group = tuple[Rank, Resources, int, bool]


def dominant_share(request: Resources, largest: Resources) -> float:
    """The largest share that a request takes of any resource of the largest room (dominant resource)."""
    return max((want / have if have > 0 else want) for have, want in largest.against(request))


def largest_first(shapes: Iterable[Shape], rooms: Iterable[Resources]) -> list[Shape]:
    """Shapes in the order in which they are packed onto these rooms; it does not depend on the order in which they
    came."""
    sizes = {astuple(room) for room in rooms} or {(1, 1024, 1048576, 1)}
    largest = Resources(*(max(amounts) for amounts in zip(*sizes, strict=True)))
    return sorted(
        shapes, key=lambda shape: (-dominant_share(shape.request, largest), shape.request, shape.requirements, shape.ad)
    )


def astuple(resources: Resources) -> tuple[float, float, float, float]:
    """The four amounts; dataclasses.astuple copies deeply and costs ten times as much."""
    return resources.cpus, resources.memory, resources.disk, resources.gpus


class Packing:
    """Rooms that fill up. Equal rooms are one group, so the cost grows with distinct rooms and shapes, not with nodes
    and jobs. Within a rank the tightest room is filled first (depth first: it leaves whole nodes idle, to be retired).
    """

    def __init__(self, spaces: Iterable[Space]) -> None:
        self.used: Counter[str] = Counter()  # jobs placed, by owner
        self._groups: defaultdict[Group, list[str]] = defaultdict(list)
        for space in spaces:
            self.add(space)

    def add(self, space: Space) -> None:
        """One more room."""
        self._groups[space.rank, space.free, space.ilk, space.whole].append(space.owner)

    def close(self, owners: Collection[str]) -> None:
        """Put nothing onto the rooms of these owners."""
        left = {group: [one for one in ours if one not in owners] for group, ours in self._groups.items()}
        self._groups = defaultdict(list, {group: ours for group, ours in left.items() if ours})

    def rooms(self) -> list[Resources]:
        """The sizes of room that there are, as far as they are known."""
        return list({free for _, free, *_ in self._groups if free.cpus < UNLIMITED})

    def free_cores(self, owners: Mapping[str, Resources]) -> float:
        """The cores of use that are left on the rooms of these owners, given with what they have in all; none on those
        of which that is not known."""
        return sum(
            free.cores_of_use(owners[owner])
            for (_, free, *_), group in self._groups.items()
            if free.cpus
            for owner in group
            if owner in owners and owners[owner].cpus
        )

    def place(self, request: Resources, count: int, runs: Callable[[int], bool] = lambda _ilk: True) -> Counter[Rank]:
        """Place up to `count` jobs where their shape runs; gives how many found room in each rank."""
        placed: Counter[Rank] = Counter()
        for group in sorted(self._groups):
            rank, free, ilk, whole = group
            left = count - placed.total()
            times = (int(free.fits(request)) if whole else side_by_side(free, request)) if runs(ilk) else 0
            if not left or not times:
                continue
            owners = self._groups.pop(group)
            placed[rank] += self._fill(group, owners, request, times, left)
        return placed

    def _fill(self, group: Group, owners: list[str], request: Resources, times: int, count: int) -> int:
        """Fill this group's rooms one after the other; what is left of each joins the group of its new size."""
        rank, free, ilk, whole = group
        touched = min(len(owners), ceil(count / times))
        if owners[touched:]:
            self._groups[group] = owners[touched:]
        left, rest = count, left_beside(free, request, times)
        for owner in owners[:touched]:
            jobs = min(times, left)
            left -= jobs
            self.used[owner] += jobs
            if not whole:
                room = rest if jobs == times else left_beside(free, request, jobs)
                self._groups[rank, room, ilk, whole].append(owner)
        return count - left
