"""How long it takes to judge 300 shapes on 30 flavors and on 10,000 slots."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from ehoslite.matching import Matching
from ehoslite.matchmaking import match
from ehoslite.model import Flavor
from ehoslite.resources import Resources
from ehoslite.wouldbe import write_attributes

SHAPES, FLAVORS, SLOTS = 300, 30, 10_000
AUTOMATIC = (
    '(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX") && (TARGET.Disk >= RequestDisk)'
    " && (TARGET.Memory >= RequestMemory) && (TARGET.HasFileTransfer)"
)
CLAUSES = (
    "true",
    "TARGET.HasDocker",
    'TARGET.Site == "north"',
    "TARGET.OpSysMajorVer >= 12",
    "TARGET.Software =?= MY.W",
)


class Slots:
    """A collector with slots that differ in what is free, and of which some differ in what they offer."""

    def __init__(self, chance: random.Random) -> None:
        import classad2

        common = {"Arch": "X86_64", "OpSys": "LINUX", "HasFileTransfer": True, "Start": True, "OpSysMajorVer": 12}
        self.ads = [
            classad2.ClassAd(
                {
                    **common,
                    "Name": f"slot1@n{number}",
                    "Memory": chance.randint(0, 64_000),
                    "Disk": chance.randint(0, 10**8),
                    "HasDocker": number % 2 == 0,
                    "Site": ("north", "south")[number % 4 == 0],
                }
            )
            for number in range(SLOTS)
        ]

    def query(self, *_arguments: Any) -> list[Any]:
        """All of them."""
        return self.ads


def rows() -> Iterator[tuple[str, str]]:
    """CPU seconds of one matching; what HTCondor's queries cost stands in the rows on the queue."""
    chance = random.Random(1)  # noqa: S311 - the same world at each run
    shapes = tuple(
        write_attributes(
            {
                "RequestCpus": str(chance.choice((1, 2, 4, 8))),
                "RequestMemory": str(chance.randint(100, 16_000)),
                "RequestDisk": str(chance.randint(10, 10**6)),
                "W": f'"s{number % 10}"',
                "Requirements": f"{chance.choice(CLAUSES)} && {AUTOMATIC}",
            }
        )
        for number in range(SHAPES)
    )
    flavors = tuple(
        Flavor(f"c{number % 4}", f"f{number}", Resources(2 ** (number % 6), 2000 * 2 ** (number % 6), 10**8))
        for number in range(FLAVORS)
    )
    slots = Slots(chance)
    began = time.process_time()
    matched = match(slots, Matching(shapes, flavors, {}, patience=600.0))
    spent = time.process_time() - began
    yield f"matching {SHAPES} shapes with {FLAVORS} flavors and {SLOTS:,} slots: CPU", f"{spent:.2f} s"
    yield "kinds of slot that came of it", str(len(set(matched.slots.values())))
