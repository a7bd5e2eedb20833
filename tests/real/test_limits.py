"""Limits that bind on a real pool: lowered ones, budgets, and those of a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lab.jobs import wait_until
from lab.stand import Finished, Stand
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY, assert_every_job_ended_well

DEAR = {**TINY, "price": 0.5}


def cron_expression(moment: datetime) -> str:
    """For this minute of each day."""
    return f"{moment.minute} {moment.hour} * * *"


def reasons(done: Finished) -> set[tuple[str, str]]:
    """The verbs of what was done, each with the code of its reason."""
    return {(action["verb"], action["reason"]["code"]) for action in done.data["actions"]}


def shrink_to_one(stand: Stand) -> list[Finished]:
    """Pass after pass until one node is left; gives the passes. The negotiator is frozen: jobs wait, nodes are idle."""
    passes: list[Finished] = []

    def is_done() -> bool:
        passes.append(stand.reconcile())
        return len(stand.nodes()) == 1

    wait_until(is_done, 60, "one node to be left")
    return passes


def test_lowered_limits_take_idle_nodes_though_jobs_wait_and_none_comes_back(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"nodes_min": 3, "idle_timeout": 3600})
    stand.reconcile_until("create")
    stand.wait_for_nodes(3)
    stand.pool.freeze("negotiator")
    cluster = stand.pool.submit(count=3, memory=200, seconds=1)
    stand.configure(nodes_min=0, nodes_max=1)
    passes = shrink_to_one(stand)
    assert {verb for done in passes for verb in done.verbs()} == {"drain", "delete"}
    assert "nodes-max" in passes[0].held(), "and the jobs are told what they wait for"
    stand.pool.thaw("negotiator")
    wait_until(lambda: not stand.pool.queue(f"ClusterId == {cluster}"), 60, "the jobs to end on what is left")
    assert_every_job_ended_well(stand, 3)


def test_budgets_bind_and_say_so(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(DEAR,), scaling={"cost_per_hour": 1.2, "idle_timeout": 3600})
    stand.pool.submit(count=4, memory=200, seconds=3600)
    done = stand.reconcile_until("create")
    assert (done.verbs(), done.held()) == (["create", "create"], {"cost-per-hour"})
    stand.wait_for_nodes(2)
    stand.configure(cost_per_hour=None, cost_per_month=1.6)
    done = stand.reconcile_until("create")
    assert (done.verbs(), "cost-per-month" in done.held()) == (["create"], True)
    stand.configure(cost_per_month=None)
    assert stand.reconcile_until("create").verbs() == ["create"]


def test_a_window_brings_its_own_limits_and_its_end_takes_them_away(make_stand: MakeStand) -> None:
    stand = make_stand(flavors=(DEAR,), scaling={"nodes_max": 1, "idle_timeout": 3600})
    now = datetime.now(UTC)
    begin, end = (cron_expression(now + timedelta(hours=hours)) for hours in (-1, 1))
    stand.configure(windows=[{"name": "now", "start": begin, "end": end, "nodes_max": 3, "nodes_min": 3}])
    assert reasons(stand.reconcile_until("create")) == {("create", "nodes-min")}
    stand.wait_for_nodes(3)
    stand.pool.freeze("negotiator")
    stand.pool.submit(count=3, memory=200, seconds=1)
    assert stand.reconcile().verbs() == []
    stand.configure(windows=[{"name": "past", "start": end, "end": begin, "nodes_max": 3, "nodes_min": 3}])
    assert ("drain", "nodes-max") in reasons(stand.reconcile_until("drain"))
    shrink_to_one(stand)
