"""`python -m faults model [--passes N] [--seed S]`: plays histories until so many passes are made; prints counts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from faults.model.histories import USUAL
from faults.model.running import kill_everywhere, lines, run, shrink


def main() -> int:
    """Run the layer that is named; gives 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    layers = parser.add_subparsers(dest="layer", required=True)
    model = layers.add_parser("model", help="many thousand passes over a pretend world in virtual time")
    model.add_argument("--passes", type=int, default=20_000)
    model.add_argument("--seed", type=int, default=1)
    model.add_argument("--skews", action="store_true", help="the clock of the passes may jump")
    model.add_argument("--give-up", type=int, default=1, help="stop after so many broken laws")
    options = parser.parse_args()
    reach = replace(USUAL, skews=options.skews)
    tally = run(options.passes, options.seed, reach, options.give_up)
    if not tally.broken:
        kill_everywhere(tally, options.seed, reach)
    for line in lines(tally):
        print(line)
    for history, broken in tally.broken:
        print(f"\n{broken}\n{shrink(history, broken.law)}")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
