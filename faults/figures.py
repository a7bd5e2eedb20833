"""Runs every layer anew and writes what came of it into docs/reliability.md (`make faults`)."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from faults.boundaries.tally import WRONGS
from faults.model.laws import LAWS
from faults.model.mutations import MUTATIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
LINE = re.compile(r"(killed .+|[^:]+): +(\d+)")

# The layers, each with the words that run it, in lanes: the model only computes, the others mostly wait for daemons.
LANES: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {
        "the model": ("model", "--passes", "20000"),
        "the model, with clocks that jump": ("model", "--passes", "20000", "--seed", "2", "--skews"),
    },
    {
        "real HTCondor, local cloud, killed at every effect": ("boundaries", "--cloud", "local"),
        "real HTCondor, jobs racing drains": ("race", "--decisions", "1000"),
    },
    {"real HTCondor, real OpenStack, killed at every effect": ("boundaries", "--cloud", "openstack")},
)
COLUMNS = ("passes", "kills", "effect boundaries killed at", "drain decisions", "jobs run")
ZEROS = ("jobs killed", "servers orphaned", "servers doubled", "limits exceeded")
# What else must not happen, in one column: every other figure that makes a layer fail.
OTHERS = (*(wrong for wrong in WRONGS if wrong not in ZEROS), "other laws broken", "jobs lost")


@dataclass(frozen=True)
class Layer:
    """What one layer printed, how long it took in seconds, and its exit code."""

    name: str
    figures: Mapping[str, int]
    seconds: float
    code: int


def add_arguments(layers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The subcommand `all`."""
    parser = layers.add_parser("all", help="every layer, one after the other; writes docs/reliability.md")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write the figures into")
    parser.set_defaults(run=run_all)


def run_all(options: argparse.Namespace) -> int:
    """Run the lanes side by side and write the page; gives 1 when one of them has failed."""
    with ThreadPoolExecutor(len(LANES)) as lanes:
        played = [layer for lane in lanes.map(play_all, LANES) for layer in lane]
    page: Path = options.page
    page.write_text(fill(page.read_text(), played))
    print("\n".join(table(played)))
    return 1 if any(layer.code for layer in played) else 0


def play_all(layers: Mapping[str, tuple[str, ...]]) -> list[Layer]:
    """These layers, one after the other."""
    return [play(name, words) for name, words in layers.items()]


def play(name: str, words: Iterable[str]) -> Layer:
    """Run one layer in a process of its own, showing what it prints behind its name."""
    began, printed = time.monotonic(), []
    with subprocess.Popen([sys.executable, "-m", "faults", *words], stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            print(f"{name}: {line}", end="", flush=True)
            printed.append(line)
    return Layer(name, read(printed), time.monotonic() - began, running.returncode)


def read(printed: Iterable[str]) -> dict[str, int]:
    """The figures among the lines `name: number`."""
    found = (LINE.fullmatch(line.strip()) for line in printed)
    return {match[1]: int(match[2]) for match in found if match}


def fill(page: str, played: Iterable[Layer]) -> str:
    """The page with the figures and the list of breakages between its marks."""
    page = _between(page, "figures", "\n".join(table(list(played))))
    return _between(page, "mutations", "\n".join(breakages()))


def breakages() -> Iterator[str]:
    """The deliberate breakages, by the law that each is seen to break."""
    for law, text in LAWS.items():
        names = [name for name, mutation in MUTATIONS.items() if law in mutation.laws]
        yield f"- {text[0].upper()}{text[1:]}: " + "; ".join(f"*{name}*" for name in names) + "."


def _between(page: str, mark: str, text: str) -> str:
    pattern = re.compile(rf"(<!-- {mark}:[^\n]*-->\n).*?(<!-- end of {mark} -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)


def table(played: list[Layer]) -> Iterator[str]:
    """The table, and below it the boundaries by name."""
    names = (*COLUMNS, *ZEROS)
    yield f"| layer | {' | '.join(names)} | other faults | minutes |"
    yield f"| --- |{' ---: |' * (len(names) + 2)}"
    for layer in played:
        cells = [f"{layer.figures[name]:,}" if name in layer.figures else "" for name in names]
        others = sum(layer.figures.get(name, 0) for name in OTHERS)
        yield f"| {layer.name} | {' | '.join(cells)} | {others} | {layer.seconds / 60:.0f} |"
    yield ""
    yield "Other faults: a pass that crashed, more passes that act than three, no calm at the end, a kill that could"
    yield "not be made, a state file that got unusable, a job that was lost, any other law broken."
    yield ""
    yield "Killed at these effects, before or after them, so many times:"
    for layer in played:
        kills = {
            key.removeprefix("killed "): count for key, count in layer.figures.items() if key.startswith("killed ")
        }
        if kills:
            yield ""
            yield f"- {layer.name}: " + ", ".join(f"{name} {count}" for name, count in sorted(kills.items())) + "."
