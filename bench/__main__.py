"""Runs benchmarks and prints a table: `python -m bench [plan] [matching] [queue] [million] [openstack]`; without names
all but `million`, which takes half an hour."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

Row = tuple[str, str]


def plan_rows() -> Iterator[Row]:
    """The plan over a large world."""
    from bench.planning import rows

    yield from rows()


def matching_rows() -> Iterator[Row]:
    """Judging shapes on flavors and slots."""
    from bench.matching import rows

    yield from rows()


def queue_rows() -> Iterator[Row]:
    """A pass over 100,000 jobs on the real schedd of the lab, beside bare queries."""
    from bench.queue import rows

    yield from rows(100_000)


def million_rows() -> Iterator[Row]:
    """The same over a million jobs."""
    from bench.queue import rows

    yield from rows(1_000_000)


def openstack_rows() -> Iterator[Row]:
    """Listing and creating on the real OpenStack of the lab, beside bare calls."""
    from bench.openstack import rows

    yield from rows()


BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "plan": plan_rows,
    "matching": matching_rows,
    "queue": queue_rows,
    "million": million_rows,
    "openstack": openstack_rows,
}


def main() -> int:
    """Run the named benchmarks, all but the longest without names."""
    names = sys.argv[1:] or [name for name in BENCHMARKS if name != "million"]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        for what, figure in BENCHMARKS[name]():
            print(f"{what:72} {figure}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
