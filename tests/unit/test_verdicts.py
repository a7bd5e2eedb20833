"""Requirements are evaluated as the negotiator does, and the clauses that fail are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("htcondor2")

from ehoslite.matching import Verdict
from ehoslite.model import Flavor
from ehoslite.resources import Resources
from ehoslite.samples import Sample
from ehoslite.verdicts import Job, judge_offer, match_slots, parse_ad, split_clauses
from ehoslite.wouldbe import build_offer, write_attributes

FLAVOR = Flavor("here", "small", Resources(4, 8000, 10**7), recipe="r")
ASSUMED = {"Arch": '"X86_64"', "OpSys": '"LINUX"', "HasFileTransfer": "true"}
LEARNED = {
    "Arch": '"X86_64"',
    "OpSys": '"LINUX"',
    "OpSysMajorVer": "12",
    "HasDocker": "true",
    "Cpus": "4",
    "Memory": "7800",
    "Disk": "9000000",
    "Start": 'TARGET.Owner isnt "mallory"',
    "WithinResourceLimits": "TARGET.RequestCpus <= MY.Cpus && TARGET.RequestMemory <= MY.Memory",
    "Requirements": "START && (WithinResourceLimits)",
}
OWN = "here/small/r"


def judge(
    requirements: str,
    learned: dict[str, str] | None = None,
    exact: bool = True,
    made_of: str = "",
    flavor: Flavor = FLAVOR,
    **job: str,
) -> Verdict:
    """The verdict on a job of 1 cpu and the flavor, whose ad is learned, or built where there is none."""
    samples = {OWN: Sample(OWN, 0.0, write_attributes(learned), exact, made_of=made_of)} if learned else {}
    offer = build_offer(flavor, samples, ASSUMED, 0.0)
    requests = {"RequestCpus": "1", "RequestMemory": "100", "RequestDisk": "100"}
    asking = Job({**requests, "Requirements": requirements, **job})
    return judge_offer(asking.ad, parse_ad(offer.ad), offer.certain_for(asking.asks))


RUNS = Verdict(True)


# Built from the flavor: what its first node will say is known only in part


@pytest.mark.parametrize(
    "requirements",
    [
        "true",
        'TARGET.Arch == "X86_64" && TARGET.OpSys == "LINUX" && TARGET.HasFileTransfer',
        "TARGET.Memory >= RequestMemory && TARGET.TotalSlotMemory > 7000",
        'EhosFlavor == "small"',
        "TARGET.GPUs =?= undefined",
        "TARGET.LoadAvg < 0.3",
    ],
)
def test_what_is_true_of_a_built_slot(requirements: str) -> None:
    assert judge(requirements) == RUNS


@pytest.mark.parametrize(
    "clause",
    [
        "TARGET.Memory >= 8001",
        'TARGET.EhosFlavor == "large"',
        "TARGET.GPUs >= 1",
        "Missing is 7",
        "false",
        "MY.Foo > 1",
    ],
)
def test_what_is_certainly_false_of_a_built_slot(clause: str) -> None:
    assert judge(f'TARGET.Arch == "X86_64" && {clause}', Missing="8") == Verdict(False, (clause,), True)


@pytest.mark.parametrize(
    "clause", ["TARGET.HasDocker is true", "TARGET.OpSysMajorVer == 12", 'TARGET.Arch == "AARCH64"', "HasSoftware"]
)
def test_what_nobody_knows_of_a_built_slot(clause: str) -> None:
    assert judge(f"TARGET.Cpus > 0 && ({clause})") == Verdict(False, (clause,), False)


def test_one_certain_clause_is_enough() -> None:
    verdict = judge("TARGET.HasDocker && TARGET.Memory > 10000")
    assert verdict == Verdict(False, ("TARGET.HasDocker", "TARGET.Memory > 10000"), True)


def test_a_request_that_is_too_large_is_told_by_the_slots_own_limits() -> None:
    verdict = judge("true", RequestMemory="9000")
    assert not verdict.runs
    assert verdict.surely
    assert verdict.clauses == ("the node's own TARGET.RequestMemory <= MY.Memory",)


# Learned from a node of the flavor: what it did not say is not so


@pytest.mark.parametrize("clause", ["TARGET.HasSoftware is true", "TARGET.OpSysMajorVer == 11", "TARGET.Memory > 7900"])
def test_what_a_learned_slot_has_not(clause: str) -> None:
    assert judge(f"TARGET.Cpus > 0 && ({clause})", LEARNED) == Verdict(False, (clause,), True)


def test_what_a_learned_slot_has() -> None:
    assert judge("TARGET.HasDocker && TARGET.OpSysMajorVer >= 12", LEARNED) == RUNS


def test_a_sample_of_another_recipe_teaches_nothing_for_certain() -> None:
    assert judge("TARGET.OpSysMajorVer == 13", LEARNED, exact=False).surely is False


NEWER = replace(FLAVOR, made_of="image B", promises=(("HasDocker", "true"), ("Site", '"north"')))


@pytest.mark.parametrize(
    "clause", ["TARGET.OpSysMajorVer == 13", "TARGET.HasSoftware", "TARGET.GPUs >= 1", "TARGET.Memory >= 7900"]
)
def test_what_an_older_image_has_not_the_newer_one_may_have(clause: str) -> None:
    """GPUs are seen by the driver that the image has, and how much memory is left for jobs is its system's matter."""
    assert judge(clause, LEARNED, made_of="image A", flavor=NEWER) == Verdict(False, (clause,), False)
    assert judge(clause, LEARNED, made_of="image B", flavor=NEWER).surely
    assert judge(clause, LEARNED, flavor=NEWER).surely, "of which image the sample is, is not known"


def test_what_the_template_promises_is_certain_whatever_an_older_node_had() -> None:
    assert judge('TARGET.Site == "north"', LEARNED, made_of="image A", flavor=NEWER) == RUNS
    assert judge('TARGET.Site == "south"', LEARNED, made_of="image A", flavor=NEWER).surely
    assert judge("TARGET.HasDocker", LEARNED | {"HasDocker": "false"}, exact=False, flavor=NEWER) == RUNS


def test_start_is_asked_too() -> None:
    assert judge("true", LEARNED, Owner='"alice"') == RUNS
    verdict = judge("true", LEARNED, Owner='"mallory"')
    assert verdict == Verdict(False, ('the node\'s own TARGET.Owner isnt "mallory"',), True)


def test_what_start_says_is_not_hidden_behind_what_the_job_says() -> None:
    clauses = [f"TARGET.Missing{number}" for number in range(5)]
    verdict = judge(" && ".join(clauses), LEARNED, Owner='"mallory"')
    assert verdict.clauses == (*clauses[:3], 'the node\'s own TARGET.Owner isnt "mallory"')


def test_requests_that_are_expressions() -> None:
    asked = "TARGET.Memory >= RequestMemory"
    assert judge(asked, LEARNED, RequestMemory="ifThenElse(isUndefined(MemoryUsage), 7000, MemoryUsage)") == RUNS
    assert not judge(asked, LEARNED, RequestMemory="RequestCpus * 7900").runs


@pytest.mark.parametrize(
    ("requirements", "runs"),
    [
        ("TARGET.HasDocker || error", False),
        ("error || TARGET.HasDocker", False),
        ("TARGET.HasDocker || undefined", True),
        ("undefined && TARGET.HasDocker && true", False),
        ("TARGET.HasDocker && (false || true)", True),
        ("2", True),
        ("TARGET.Cpus - 4", False),
    ],
)
def test_what_the_negotiator_takes_for_true(requirements: str, runs: bool) -> None:
    """By the matrix on the real one: it inlines what the job's ad tells, which brings values to the front."""
    assert judge(requirements, LEARNED).runs is runs
    assert found(requirements, HasDocker="true", Cpus="4")["plain"] == runs


def test_the_clause_that_no_startd_takes_for_true_is_named() -> None:
    """Inlined, it would be true; startds and schedds do not inline."""
    clause = "undefined && TARGET.HasDocker && true || false"
    assert judge(f"TARGET.Cpus > 0 && ({clause})", LEARNED).clauses == (clause,)


def test_a_sibling_teaches_what_is_not_a_matter_of_size() -> None:
    key = "here/other/r"
    gpus = {"GPUs": "2", "TotalGPUs": "2", "CUDACapability": "8.0", "DetectedCpus": "64"}
    samples = {key: Sample(key, 0.0, write_attributes(LEARNED | gpus))}
    ad = build_offer(FLAVOR, samples, ASSUMED, 0.0).ad
    assert (ad["OpSysMajorVer"], ad["Memory"], ad["HasDocker"]) == ("12", "8000", "true")
    assert not set(gpus) & set(ad)
    other = {"there/other/r": Sample("there/other/r", 0.0, write_attributes(LEARNED))}
    assert "OpSysMajorVer" not in build_offer(FLAVOR, other, ASSUMED, 0.0).ad


def test_an_old_sample_is_no_more_certain() -> None:
    samples = {OWN: Sample(OWN, 0.0, write_attributes(LEARNED))}
    assert build_offer(FLAVOR, samples, ASSUMED, 86400.0).certain is None
    assert build_offer(FLAVOR, samples, ASSUMED, 86401.0).certain is not None


# Clauses


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("true", ["true"]),
        ("(a && b) && ((c))", ["a", "b", "c"]),
        ("a || b && c", ["a || b && c"]),
        ("(a || b) && c", ["a || b", "c"]),
        ('a == ")(&&" && b', ['a == ")(&&"', "b"]),
        (r'a == "\"&&" && b', [r'a == "\"&&"', "b"]),
        ("a ? b && c : d", ["a ? b && c : d"]),
        ("a =?= b && c =!= d", ["a =?= b", "c =!= d"]),
        ("member(x, {1, 2}) && (a) == (b)", ["member(x, {1, 2})", "(a) == (b)"]),
    ],
)
def test_clauses(text: str, clauses: list[str]) -> None:
    assert split_clauses(text) == tuple(clauses)


def test_expressions_that_name_each_other_end() -> None:
    verdict = judge("A", A="B", B="A")
    assert not verdict.runs


# Slots that exist


def slots(**more: str) -> list[object]:
    """Two slots of little room, one of them with Docker."""
    common = {"Memory": "10", "Disk": "5", "Start": "true", **more}
    return [
        parse_ad({**common, "Name": '"plain"'}),
        parse_ad({**common, "Name": '"docker"', "HasDocker": "true"}),
    ]


def found(*requirements: str, asked: tuple[str, ...] = (), **more: str) -> dict[str, int]:
    jobs = {n: Job({"RequestMemory": "100", "Requirements": text}) for n, text in enumerate(requirements)}
    return match_slots(jobs, slots(**more), asked)


def test_each_slot_has_a_bit_for_each_job_that_runs_there() -> None:
    assert found("TARGET.HasDocker", "true", "TARGET.HasDocker isnt true") == {"plain": 0b110, "docker": 0b011}


def test_amounts_of_slots_are_left_to_packing() -> None:
    assert found("TARGET.Memory >= RequestMemory && TARGET.Disk >= RequestDisk") == {"plain": 1, "docker": 1}
    assert found("TARGET.Memory >= 100") == {"plain": 0, "docker": 0}


@pytest.mark.parametrize(
    "requirements",
    [
        "TARGET.Memory >= RequestMemory * 2",
        "TARGET.Memory >= RequestMemory + 100 && TARGET.Disk >= RequestDisk",
        "TARGET.Memory >= RequestMemory ? TARGET.HasDocker : false",
        "!(TARGET.Memory >= RequestMemory) && TARGET.HasDocker",
    ],
)
def test_what_begins_as_a_comparison_of_amounts_is_none(requirements: str) -> None:
    assert found(requirements, Memory="150") == {"plain": 0, "docker": int("HasDocker : false" in requirements)}


@pytest.mark.parametrize(
    ("requirements", "start"),
    [("TARGET.IsRoomy", "true"), ("true", "IsRoomy"), ("TARGET.IsFit", "true"), ("true", "IsFit && true")],
)
def test_slots_that_say_the_same_by_what_differs_are_judged_each(requirements: str, start: str) -> None:
    """A startd sends an expression as it is written."""
    same = {"Start": start, "IsFit": "IsRoomy || false", "IsRoomy": "TotalSlotMemory > 4000"}
    both = [parse_ad({**same, "Name": f'"{size}"', "TotalSlotMemory": size}) for size in ("8000", "1000")]
    for ads in (both, both[::-1]):
        assert match_slots({0: Job({"Requirements": requirements})}, ads, ()) == {"8000": 1, "1000": 0}


def test_slots_judge_jobs() -> None:
    assert found("true", Start="TARGET.RequestMemory < 50") == {"plain": 0, "docker": 0}
    assert found("true", asked=("Open",), Start="Open", Open="true") == {"plain": 1, "docker": 1}
