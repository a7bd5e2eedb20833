"""The table of docs/reliability.md: read from what the layers print, written between the page's marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from faults.boundaries import tally as boundaries
from faults.figures import COLUMNS, OTHERS, PAGE, ZEROS, Layer, fill, read
from faults.model import running as histories
from faults.model.laws import LAWS
from faults.model.mutations import MUTATIONS
from faults.model.running import lines
from faults.race import Counts

PRINTED = [
    "histories: 3\n",
    "passes: 20102\n",
    "killed cloud.create before: 7\n",
    "killed local: create: 5\n",
    "jobs killed: 0\n",
    "noise\n",
    "a: b: 2\n",
]


def test_figures_are_read_from_lines_of_a_name_and_a_number() -> None:
    assert read(PRINTED) == {
        "histories": 3,
        "passes": 20102,
        "killed cloud.create before": 7,
        "killed local: create": 5,
        "jobs killed": 0,
    }


def test_the_page_is_filled_between_its_marks_and_nowhere_else() -> None:
    played = [Layer("the model", read(PRINTED), 125.0, 0)]
    page = fill(PAGE.read_text(), played)
    assert "| the model | 20,102 |" in page
    assert "cloud.create before 7, local: create 5." in page
    assert page == fill(page, played)
    assert page.splitlines()[0] == PAGE.read_text().splitlines()[0]
    assert "## What is not promised" in page


def test_what_else_went_wrong_has_a_column() -> None:
    wrong = {"jobs killed": 0, "never calm": 2, "jobs lost": 1, "boundaries missed": 4}
    assert "| the race |  |  |  |  |  | 0 |  |  |  | 7 | 2 |" in fill(
        PAGE.read_text(), [Layer("the race", wrong, 125, 1)]
    )


def test_every_layer_that_fails_shows_why() -> None:
    told = {name for printing in PRINTING.values() for name in read(printing())}
    assert set(OTHERS) - {"boundaries missed"} <= told


PRINTING: dict[str, Callable[[], Iterator[str]]] = {
    "model": lambda: lines(histories.Tally()),
    "boundaries": lambda: boundaries.Tally().lines(),
    "race": lambda: Counts().lines(),
}


@pytest.mark.parametrize("layer", PRINTING)
def test_every_layer_tells_the_four_figures_that_must_be_zero(layer: str) -> None:
    assert ZEROS == ("jobs killed", "servers orphaned", "servers doubled", "limits exceeded")
    told = read(PRINTING[layer]())
    assert [told.get(name) for name in (*ZEROS, "passes")] == [0] * 5


def test_every_law_has_a_breakage_that_the_page_names() -> None:
    page = fill(PAGE.read_text(), [])
    assert page.count("\n- ") >= len(LAWS)
    for law, text in LAWS.items():
        names = [name for name, mutation in MUTATIONS.items() if law in mutation.laws]
        assert names, law
        assert all(f"*{name}*" in page for name in names), text


def test_every_column_is_told_by_some_layer() -> None:
    told = {name for printing in PRINTING.values() for name in read(printing())}
    assert set(COLUMNS) <= told
