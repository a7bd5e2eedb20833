"""What is kept of a node's ad, and what it says of the next: nothing of what passes, all room free, not too long."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("htcondor2")

from ehoslite.matching import Verdict
from ehoslite.wouldbe import (
    LONGEST_ASKED,
    LONGEST_SAMPLE,
    keep_static,
    read_attributes,
    shorten,
    write_attributes,
)
from tests.unit.test_verdicts import LEARNED, RUNS, judge


def test_what_passes_is_not_kept_and_all_room_is_free() -> None:
    seen = {
        "Cpus": "1",
        "TotalSlotCpus": "4",
        "Memory": "10",
        "TotalSlotMemory": "7800",
        "State": '"Unclaimed"',
        "LoadAvg": "7.0",
        "MyAddress": '"<127.0.0.1>"',
        "LastHeardFrom": "5",
        "HasDocker": "true",
        "FileSystemDomain": '"ehos-lab-12345678.nodes.ehos"',
    }
    kept = keep_static(seen.items(), "ehos-lab-12345678", partitionable=True)
    assert kept["Cpus"] == "4"
    assert kept["Memory"] == "7800"
    assert kept["HasDocker"] == "true"
    assert kept["FileSystemDomain"] == '"ehos-lab-00000000.nodes.ehos"'
    assert not {"State", "LoadAvg", "MyAddress", "LastHeardFrom"} & set(kept)


@pytest.mark.parametrize(
    "name",
    [
        *("HardwareClass", "PrivateNetwork", "PublicNetwork", "JobClass", "RemoteStorage", "MonitoringGroup", "States"),
        *(
            "OfflineData",
            "LastImageBuild",
            "ClaimableBy",
            "ClockSpeed",
            "UpdateChannel",
            "RecentKernel",
            "DrainageSite",
        ),
    ],
)
def test_a_site_s_own_attribute_is_kept_whatever_its_name_begins_with(name: str) -> None:
    learned = keep_static({**LEARNED, name: '"yes"'}.items(), "", partitionable=True)
    assert judge(f'TARGET.{name} == "yes"', learned) == RUNS


PASSES = {"ClockMin": "30", "RecentJobStarts": "0", "MyAddress": '"<127.0.0.1>"'}


@pytest.mark.parametrize(
    ("clause", "more"),
    [
        ("TARGET.ClockMin < 480", {}),
        ("TARGET.RecentJobStarts < 5 && TARGET.HasDocker", {}),
        ("TARGET.IsFresh", {"IsFresh": "RecentJobStarts < 5"}),
        ("true", {"Start": "ClockMin < 480"}),
        ("true", {"Start": "IsNight", "IsNight": "ClockMin < 480"}),
    ],
)
def test_what_passes_is_no_certain_answer(clause: str, more: dict[str, str]) -> None:
    learned = keep_static({**LEARNED, **PASSES, **more}.items(), "", partitionable=True)
    verdict = judge(clause, learned)
    assert (verdict.runs, verdict.surely) == (False, False)
    assert judge(f"TARGET.OpSysMajorVer == 11 && {clause}", learned).surely, "the rest is certain all the same"
    assert judge("TARGET.JobStarts == 0 && TARGET.LoadAvg < 1", {**learned, "Start": "true"}) == RUNS, "on a new node"


BUSY = {
    "MachineResources": '"Cpus Memory Disk Swap licenses Tapes GPUs"',
    "Licenses": "0",
    "TotalSlotLicenses": "3",
    "TotalLicenses": "9",
    "Tapes": "1",
    "TotalTapes": "2",
    "GPUs": "0",
    "TotalSlotGPUs": "3",
    "AssignedGPUs": '"GPU-0a1,GPU-2b3, GPU-4c5"',
    "OfflineGPUs": '"GPU-4c5"',
    "AvailableGPUs": "{  }",
    "GPUs_GPU_0a1": "[ Capability = 8.0 ]",
    "GPUs_GPU_2b3": "[ Capability = 7.0 ]",
}


def test_every_resource_of_a_machine_is_free_on_the_next_one() -> None:
    kept = keep_static(BUSY.items(), "", partitionable=True)
    assert {name: kept[name] for name in ("Licenses", "Tapes", "GPUs")} == {"Licenses": "3", "Tapes": "2", "GPUs": "3"}
    assert kept["AvailableGPUs"] == "{ GPUs_GPU_0a1, GPUs_GPU_2b3 }"
    assert not {"AssignedGPUs", "OfflineGPUs", "licenses", "Swap"} & set(kept)
    static = keep_static(BUSY.items(), "", partitionable=False)
    assert (static["Licenses"], static["AvailableGPUs"]) == ("0", "{  }"), "a slot like this one has no more"


@pytest.mark.parametrize(
    ("clause", "runs"),
    [
        ("TARGET.Licenses >= RequestLicenses", True),
        ("TARGET.Tapes >= 3", False),
        ("countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs", True),
        ("countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= 2", False),
    ],
)
def test_a_busy_node_does_not_keep_jobs_from_the_next_one(clause: str, runs: bool) -> None:
    """The Requirements are as condor_submit writes them of request_licenses and require_gpus."""
    learned = keep_static({**LEARNED, **BUSY}.items(), "", partitionable=True)
    job: dict[str, Any] = {"RequestLicenses": "3", "RequestGPUs": "1", "RequireGPUs": "Capability >= 7.5"}
    assert judge(clause, learned, **job) == (RUNS if runs else Verdict(False, (clause,), True))


def test_which_gpus_there_are_is_not_certain_where_the_slot_does_not_tell() -> None:
    hidden = {name: text for name, text in BUSY.items() if name != "AssignedGPUs"}
    learned = keep_static({**LEARNED, **hidden}.items(), "", partitionable=True)
    clause = "countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= 1"
    assert judge(clause, learned, RequireGPUs="Capability >= 7.5") == Verdict(False, (clause,), False)


# An ad that is too long

LONG = {
    **LEARNED,
    "Software": f'"{"root," * 5000}"',
    "Notes": f'"{"x" * 20_001}"',
    "HasRoot": 'stringListMember("root", Software)',
    "Start": 'HasRoot && Owner isnt "mallory"',
}


def test_of_a_long_ad_the_longest_is_left_out_that_nobody_asks_for() -> None:
    texts = {"Software": LONG["Software"], "Summary": f'"{"x" * 15_000}"'}
    assert shorten({**LEARNED, **texts}, ()) == {**LEARNED, **texts, "Software": "error"}
    kept = shorten(LONG, {"hasroot"})
    assert kept == {**LONG, "Notes": "error"}, "what is asked for is made of it"
    assert shorten(LONG, ()) == kept, "its START asks for it"
    assert shorten(LEARNED, ()) == LEARNED
    assert len(write_attributes(kept)) > LONGEST_SAMPLE
    huge = {**LONG, "Software": f'"{"root," * 50_000}"'}
    assert shorten(huge, {"software"})["Software"] == "error"
    assert len(huge["Software"]) > LONGEST_ASKED


@pytest.mark.parametrize(
    "clause",
    [
        'stringListMember("root", TARGET.Software)',
        "TARGET.Software is undefined",
        "TARGET.Software isnt undefined && TARGET.Twice > 5",
        "size(TARGET.Software) < 5",
    ],
)
def test_what_was_left_out_is_no_certain_answer(clause: str) -> None:
    learned = {**LEARNED, "Software": "error", "Twice": "size(Software) * 2"}
    verdict = judge(clause, learned)
    assert (verdict.runs, verdict.surely) == (False, False)
    assert judge(f"TARGET.HasSoftware && {clause}", learned).surely, "the rest is certain all the same"
    assert judge("TARGET.OpSysMajorVer == 12", learned) == RUNS


def test_a_start_that_was_left_out_in_part_is_no_certain_answer() -> None:
    learned = LONG | {"Software": "error"}
    assert judge("true", learned, Owner='"alice"').surely is False
    assert judge("true", learned, Owner='"mallory"').surely is True


def test_attributes_are_written_and_read() -> None:
    assert read_attributes(write_attributes(LEARNED)) == LEARNED
    assert read_attributes(write_attributes({"A": '{\n   1,\n   "x  y"\n}'})) == {"A": '{ 1, "x  y" }'}
    assert read_attributes("x\n = 5\na b = 5\nA = { 1,\n") == {"A": "{ 1,"}
