"""The table of docs/reliability.md: read from what the layers print, written between the page's marks."""

from __future__ import annotations

from faults.figures import PAGE, ZEROS, Layer, fill, read

PRINTED = [
    "histories: 3\n",
    "passes: 20102\n",
    "killed cloud.create before: 7\n",
    "jobs killed: 0\n",
    "noise\n",
    "a: b: 2\n",
]


def test_figures_are_read_from_lines_of_a_name_and_a_number() -> None:
    assert read(PRINTED) == {"histories": 3, "passes": 20102, "killed cloud.create before": 7, "jobs killed": 0}


def test_the_page_is_filled_between_its_marks_and_nowhere_else() -> None:
    played = [Layer("the model", read(PRINTED), 125.0, 0)]
    page = fill(PAGE.read_text(), played)
    assert "| the model | 20,102 |" in page
    assert "cloud.create before 7." in page
    assert page == fill(page, played)
    assert page.splitlines()[0] == PAGE.read_text().splitlines()[0]
    assert "## What is not promised" in page


def test_every_layer_tells_the_four_figures_that_must_be_zero() -> None:
    assert ZEROS == ("jobs killed", "servers orphaned", "servers doubled", "limits exceeded")
    assert f"| --- |{' ---: |' * 9}" in fill(PAGE.read_text(), [])
