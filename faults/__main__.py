"""`python -m faults LAYER [options]`: breaks ehoslite on purpose; prints counts, and fails when a law was broken."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from faults import figures, race
from faults.boundaries import running as boundaries
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
    model.set_defaults(run=play_model)
    broken = layers.add_parser("boundaries", help="whole passes on real stacks, killed at every effect")
    boundaries.add_options(broken)
    broken.set_defaults(run=boundaries.main)
    race.add_arguments(layers)
    figures.add_arguments(layers)
    options = parser.parse_args()
    return int(options.run(options))


def play_model(options: argparse.Namespace) -> int:
    """Play histories until so many passes are made and each effect was killed at; gives 1 when a law was broken."""
    reach = replace(USUAL, skews=options.skews)
    tally = run(options.passes, options.seed, reach, options.give_up)
    missed = kill_everywhere(tally, options.seed, reach) if not tally.broken else []
    for line in (*lines(tally), f"boundaries missed: {len(missed)}", *missed):
        print(line)
    for history, broken in tally.broken:
        print(f"\n{broken}\n{shrink(history, broken.law)}")
    return 1 if tally.broken or missed else 0


if __name__ == "__main__":
    sys.exit(main())
