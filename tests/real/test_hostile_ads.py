"""Ads that hold whatever an advertiser can put into them: by a real startd, and made by hand. No crash, no escape
sequence on anybody's terminal, no harm to other nodes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lab.jobs import wait_until
from lab.stand import Finished, Stand
from tests.conftest import MakeStand
from tests.real.test_queue import ask, ids_of, memory_of, states
from tests.real.test_scaling import GPU, TINY, assert_every_job_ended_well
from tests.real.test_strangers import EXECUTE, start_foreign_node

HUGE = "x" * 100_000
# Deeper than HTCondor's bindings read.
DEEP = "{ " * 300 + "1" + " }" * 300
FORGED_LINE = "2000-01-01 00:00:00 error: all is lost"

# What a pass reads, as far as a startd's configuration can set it. A value is an expression.
HOSTILE = {
    "Huge": f'"{HUGE}"',
    "Deep": DEEP,
    "EhosPool": '"lab"',
    "EhosCloud": f'"\\033[31m{HUGE}"',
    "EhosFlavor": "undefined",
    "TotalSlotCpus": 'real("NaN")',
    "TotalSlotMemory": 'real("INF")',
    "TotalSlotDisk": "-1",
    "TotalSlotGPUs": DEEP,
    "GPUs": "Huge",
    "DrainReason": '"\\033[2J\\033]0;gone\\007"',
    "Draining": '"true"',
    "NumDynamicSlotsTime": 'real("-INF")',
    "EnteredCurrentActivity": "1e300",
    "Offline": "error",
    "AuthenticatedIdentity": '"node-somebody@labpool"',
}


def configuration(attributes: dict[str, str]) -> str:
    """The lines of a node's configuration that advertise these."""
    names = f"STARTD_ATTRS = $(STARTD_ATTRS) {' '.join(attributes)}"
    return "".join(f"\n      {line}" for line in [*(f"{key} = {value}" for key, value in attributes.items()), names])


def assert_is_fit_for_a_terminal(done: Finished) -> None:
    assert [letter for letter in done.out + done.err if not (letter.isprintable() or letter == "\n")] == []
    assert [line for line in done.err.splitlines() if line.startswith(FORGED_LINE)] == []


def test_a_real_startd_that_advertises_what_it_can_does_no_harm(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 1, "idle_timeout": 3600})
    stand.reconcile()
    stand.wait_for_nodes(1)
    (node,) = stand.nodes()
    template = stand.directory / "hostile.yaml"
    last = "      RunBenchmarks = False"
    text = EXECUTE.read_text()
    text = (
        text.replace(last, last + configuration(HOSTILE))
        .replace('EhosPool = "{pool}"', "")
        .replace('EhosCloud = "{cloud}"', "")
    )
    template.write_text(text)
    foreign = start_foreign_node(stand, "hostile-1", template=template)
    try:
        (advertised,) = stand.pool.machines(["EhosPool", "Huge"], 'EhosNode == "hostile-1"')
        assert (advertised["EhosPool"], len(advertised["Huge"])) == ("lab", len(HUGE))
        stand.pool.submit(count=2, memory=200, seconds=1)
        for options in (("-vv",), ("-vv", "--dry-run")):
            done = stand.reconcile(*options)
            assert (done.code, set(done.verbs()) <= {"create"}) == (0, True)
            assert "unreadable-ad" in done.held()
            assert [one["condor_state"] for one in done.data["nodes"] if one["node"] == node] in (["idle"], ["busy"])
            assert_is_fit_for_a_terminal(done)
        text_of_plan = stand.start_pass("-vv", "--dry-run").communicate(timeout=120)
        assert_is_fit_for_a_terminal(Finished(0, *text_of_plan))
        assert node in stand.nodes()
        assert [server.node for server in foreign.servers()] == ["hostile-1"]
        wait_until(lambda: not stand.pool.queue(), 60, "the jobs to end")
        assert_every_job_ended_well(stand, 2)
    finally:
        for server in foreign.servers():
            foreign.delete(server)


def advertise(stand: Stand, command: str, ads: Iterable[dict[str, str]]) -> None:
    """Send these ads, with the rights of the one who makes the passes."""
    for ad in ads:
        path = stand.pool.jobs_directory / "hostile.ad"
        path.write_text("".join(f"{name} = {value}\n" for name, value in ad.items()))
        stand.pool.run_checked("condor_advertise", command, str(path))


def test_ads_made_by_hand_do_no_harm(make_stand: MakeStand) -> None:
    """A thousand doubles of our node's slots, names with control characters, 10 MB of text, ads of no machine."""
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 1, "idle_timeout": 0})
    stand.reconcile()
    stand.wait_for_nodes(1)
    (node,) = stand.nodes()
    ours = {"EhosNode": f'"{node}"', "EhosPool": '"lab"', "EhosCloud": '"here"'}
    slot = {"MyType": '"Machine"', "MyAddress": '"<127.0.0.1:9>"', "State": '"Unclaimed"', "Activity": '"Idle"'}
    ads = [
        {**slot, "Name": f'"\\n{FORGED_LINE}\\033[2J"', "Machine": '"\\033[2J"', "EhosPool": '"lab"', "EhosNode": DEEP},
        {**slot, "Name": f'"a@{HUGE}"', "Machine": f'"{HUGE}"', "Cpus": "1e308", "Memory": 'real("NaN")'},
        {**slot, "Name": '"big@x"', "Text": f'"{HUGE * 100}"', "State": f'"{HUGE * 100}"'},
        {**slot, "Name": '"minus@x"', "Cpus": "-1", "Memory": "-9223372036854775808", "Disk": 'real("-INF")'},
        {**slot, "Name": '"deep@x"', "Cpus": DEEP, "State": DEEP, "PartitionableSlot": DEEP},
        *({**slot, **ours, "Name": f'"slot{number}@{node}.nodes.ehos"'} for number in range(2, 12)),
    ]
    advertise(stand, "UPDATE_STARTD_AD", ads)
    assert len(stand.pool.machines(["Name"])) > 10
    stand.pool.submit(count=1, memory=200, seconds=5, extra={"requirements": "TARGET.Name =!= undefined"})
    wait_until(lambda: len(stand.pool.queue("JobStatus == 2")) == 1, 30, "the job to run")
    stand.configure(nodes_min=0)
    for _ in range(2):
        done = stand.reconcile("-vv")
        assert (done.code, done.verbs()) == (0, [])
        assert {held["subject"] for held in done.data["held"] if held["reason"]["code"] == "unreadable-ad"} == {
            "big@x",
            "deep@x",
        }
        assert_is_fit_for_a_terminal(done)
    wait_until(lambda: not stand.pool.queue(), 60, "the job to end")
    assert_every_job_ended_well(stand, 1)


def test_a_schedd_s_ad_with_control_characters_is_no_more_than_silent(make_stand: MakeStand) -> None:
    stand = make_stand(condor={"query_timeout": 15})
    name = f"x\\n{FORGED_LINE}\\033[2J@lab"
    ad = {
        "MyType": '"Scheduler"',
        "Name": f'"{name}"',
        "Machine": '"x"',
        "MyAddress": '"<127.0.0.1:9>"',
        "ScheddIpAddr": '"<127.0.0.1:9>"',
        "CondorVersion": '"$CondorVersion: 23.9.6 2024-08-08 $"',
    }
    advertise(stand, "UPDATE_SCHEDD_AD", [ad])
    done = stand.reconcile("-vv")
    assert (done.code, len(done.data["silent"])) == (0, 1)
    assert_is_fit_for_a_terminal(done)


@pytest.mark.parametrize(
    "lines",
    [
        {"request_gpus": DEEP},
        {"requirements": f"size({DEEP}) == 1"},
        {"request_cpus": f'size("{HUGE * 100}")'},
        {"request_memory": 'real("NaN")'},
    ],
    ids=["deep-gpus", "deep-requirements", "10-MB-cpus", "NaN-memory"],
)
def test_a_user_s_job_that_cannot_be_read_is_that_user_s_trouble_alone(
    make_stand: MakeStand, lines: dict[str, str]
) -> None:
    """It made the whole schedd look silent: no node for anybody, and none retired."""
    stand = make_stand(flavors=(TINY, GPU), scaling={"nodes_max": 2})
    stand.pool.submit(memory=200, seconds=600, extra=lines)
    stand.pool.submit(user="bob", count=2, memory=200, seconds=1)
    done = stand.reconcile("-vv")
    assert (done.code, done.verbs(), done.data["silent"]) == (0, ["create", "create"], {})
    assert "unreadable-request" in done.held()
    assert sum(row["idle"] for row in done.data["demand"]) == 2
    wait_until(lambda: not stand.pool.queue('Owner == "bob"'), 60, "bob's jobs to end")
    stand.configure(idle_timeout=0)
    assert set(stand.reconcile_until("drain").data["silent"]) == set()


@pytest.mark.parametrize(
    "lines", [{"request_gpus": DEEP}, {"requirements": f"size({DEEP}) == 1"}], ids=["gpus", "requirements"]
)
def test_a_job_that_cannot_be_read_leaves_the_rules_for_others_as_they_are(
    make_stand: MakeStand, lines: dict[str, str]
) -> None:
    """Running jobs count to their caps, and what the negotiator has asked for counts as asked for."""
    stand = make_stand(flavors=(TINY,), scaling={"nodes_max": 1})
    stand.pool.submit(user="bob", count=3, memory=200, seconds=600)
    stand.reconcile()
    wait_until(lambda: states(stand) == {1: 2, 2: 1}, 60, "one job to run")
    wait_until(lambda: ids_of(stand) == {True: 2}, 60, "the negotiator to have asked for the others")
    stand.pool.kill("negotiator")
    stand.pool.submit(memory=200, extra=lines)
    stand.pool.submit(user="bob", count=4, memory=300)
    for rules, waiting, told in (
        ({}, {200: 2, 300: 4}, {}),
        ({"caps": {"bob": 3}}, {200: 1, 300: 1}, {"capped": 4}),
        ({"negotiated_only": True}, {200: 2}, {"not-negotiated": 4}),
    ):
        demand = ask(stand, ("RequestGPUs",), **rules)
        assert {part.count for part in demand.unreadable} == {1}
        assert memory_of(demand) == waiting
        assert {part.code: part.count for part in demand.unserved} == told
        assert demand.silent == {}
