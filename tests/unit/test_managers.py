"""Who acts, of two managers, and what two collectors know together."""

from __future__ import annotations

from typing import Any

import pytest

from ehoslite.ads import HAD_FRESH, newest_of_each, why_passive
from ehoslite.asking import Unanswered

NOW = 1_000_000.0


def had(machine: str, active: object, heard_ago: float = 10) -> dict[str, Any]:
    return {"Machine": machine, "HadIsActive": active, "LastHeardFrom": NOW - heard_ago}


def answer(here: str, collector: str, *hads: dict[str, Any], at_work: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the collector on one machine says to a pass on `here`."""
    return {"here": here, "now": NOW, "collector": [collector], "had": list(hads), "at_work": list(at_work)}


def on_cm1(*hads: dict[str, Any], **more: Any) -> str:
    return why_passive({"cm1:9618": answer("cm1", "cm1", *hads, **more)})


@pytest.mark.parametrize("active", [True, "True", "true"])
def test_the_active_one_acts(active: object) -> None:
    assert on_cm1(had("cm1", active), had("cm2", False)) == ""


@pytest.mark.parametrize("active", [False, "False", None, 1, "", "yes"])
def test_what_is_not_true_is_not_active(active: object) -> None:
    assert on_cm1(had("cm1", active)) == "no machine is the active manager; this is cm1"


def test_a_machine_without_a_high_availability_daemon_is_passive() -> None:
    assert on_cm1() == "no machine is the active manager; this is cm1"


def test_an_old_claim_is_none() -> None:
    assert on_cm1(had("cm1", True, HAD_FRESH)) == ""
    assert on_cm1(had("cm1", True, HAD_FRESH + 1)) != ""


def test_of_two_claims_the_one_heard_last_counts() -> None:
    """The ad of a manager that was killed stays active until the collector drops it."""
    assert on_cm1(had("cm1", True, 3), had("cm2", True, 200)) == ""
    assert on_cm1(had("cm1", True, 200), had("cm2", True, 3)) == "cm2 is the active manager; this is cm1"


def test_only_the_collector_of_this_machine_says_who_is_active() -> None:
    answers = {
        "cm2:9618": answer("cm1", "cm2", had("cm1", True)),
        "cm1:9618": answer("cm1", "cm1", had("cm2", True)),
    }
    assert why_passive(answers) == "cm2 is the active manager; this is cm1"


def test_a_machine_whose_collector_is_silent_is_passive() -> None:
    answers = {"cm1:9618": Unanswered("refused"), "cm2:9618": answer("cm1", "cm2", had("cm1", True))}
    assert why_passive(answers) == ("no collector of cm1 answers, so it is not the active manager; cm1:9618: refused")


def test_a_silent_collector_elsewhere_changes_nothing() -> None:
    answers = {"cm1:9618": answer("cm1", "cm1", had("cm1", True)), "cm2:9618": Unanswered("refused")}
    assert why_passive(answers) == ""


def test_another_s_pass_is_waited_for_whichever_collector_knows_of_it() -> None:
    why = "cm1 is the active manager now; a pass of cm2 may still be at work"
    assert on_cm1(had("cm1", True), at_work=("cm2",)) == why
    answers = {
        "cm1:9618": answer("cm1", "cm1", had("cm1", True)),
        "cm2:9618": answer("cm1", "cm2", at_work=("cm2",)),
    }
    assert why_passive(answers) == why


def test_of_each_ad_the_one_heard_last() -> None:
    old, new = {"Name": "a", "LastHeardFrom": 1}, {"Name": "a", "LastHeardFrom": 2}
    other = {"Name": "b"}
    assert newest_of_each([old, other, new]) == [new, other]
    assert newest_of_each([new, other, old]) == [new, other]
    assert newest_of_each([]) == []
