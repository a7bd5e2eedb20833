"""Real passes over a pretend world, broken in every way: no law is, and every deliberate breakage is seen.

The long run: `python -m faults model --passes 20000`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.model.breaking import EFFECTS
from faults.model.events import EVENTS
from faults.model.histories import USUAL, History, Reach, Step, at_play
from faults.model.mutations import MUTATIONS
from faults.model.running import IN_MAIN_THREAD, WRITES, Tally, play, run

SHORT = 2000
BOUND = 2500
NUMBERS = st.integers(0, 11)
EVENT = st.sampled_from([name for name in EVENTS if name != "second_pass"])
STEPS = st.one_of(
    st.just(Step("pass")),
    st.builds(Step, EVENT, NUMBERS, NUMBERS),
    st.builds(Step, st.just("kill"), NUMBERS, NUMBERS, st.sampled_from(EFFECTS), st.booleans()),
    st.builds(Step, st.just("full"), NUMBERS, NUMBERS, st.sampled_from(WRITES)),
    st.builds(Step, st.just("alarm"), NUMBERS, NUMBERS, st.sampled_from(IN_MAIN_THREAD), st.booleans()),
    st.builds(Step, st.sampled_from(sorted(EVENTS)), NUMBERS, NUMBERS, st.sampled_from(EFFECTS), st.booleans()),
)
HISTORIES = st.builds(
    History, st.integers(0, 2**32 - 1), st.integers(0, 359), st.lists(STEPS, max_size=25).map(tuple), st.just(USUAL)
)


def play_out(*steps: Step, shape: int = 0, seed: int = 1, reach: Reach = USUAL) -> None:
    """Play these steps to the end. Raises LawBroken."""
    if broken := play(History(seed, shape, steps, reach), Tally()):
        raise broken


def test_no_law_is_broken_in_a_short_run() -> None:
    tally = run(SHORT, seed=1)
    assert [f"{broken}\n{history}" for history, broken in tally.broken] == []
    assert tally.passes >= SHORT
    assert tally.kills.total() > 20
    assert tally.counts["jobs run"] > 50
    assert tally.counts["drains"] > 20
    assert tally.counts["during a pass: land"] > 0


@given(HISTORIES)
@settings(max_examples=20)
def test_no_law_is_broken_in_what_hypothesis_thinks_of(history: History) -> None:
    """A failing one is shrunk to the few steps that matter."""
    play_out(*history.steps, shape=history.shape, seed=history.seed)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_deliberate_breakage_is_caught(name: str) -> None:
    mutation = MUTATIONS[name]
    with mutation.swap():
        tally = run(BOUND, 1, mutation.reach, laws=mutation.laws, motif=mutation.motif)
    assert [broken.law for _, broken in tally.broken], f"{name}: not seen in {tally.passes} passes"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("effect", ["cloud.create", "state.open", "state.fsync", "state.rename", "state.folder"])
def test_nothing_is_done_after_a_kill(effect: str, after: bool) -> None:
    steps = (Step("submit", 3, 7), Step("submit", 3, 7), Step("kill", on=effect, after=after))
    with at_play(History(1, 0, steps)) as world:
        for step in steps:
            world.do(step)
        assert world.run_pass() is None
        made = dict(world.effects.made)
        assert world.effects.kills.total() == 1
        assert made.get("cloud.create", 0) <= 1
        written = effect in {"cloud.create", "state.folder"} or (effect, after) == ("state.rename", True)
        assert world.state.exists() == written


def test_a_history_plays_the_same_twice() -> None:
    first, second = run(150, seed=3), run(150, seed=3)
    assert replace(first, broken=[]) == replace(second, broken=[])


BUSY = (Step("submit", 3, 7), Step("pass"), Step("wait", 3), Step("pass"))
MENDED: dict[str, tuple[int, int, tuple[Step, ...], Reach]] = {
    "the clock jumps ahead by an hour while a job runs": (
        1,
        0,
        (*BUSY, Step("skew", 5), Step("pass")),
        Reach(skews=True),
    ),
    "a job sleeps in a suspended server whose ads do not show it": (
        2379207439,
        197,
        (
            Step("pass", 9),
            Step("wait", 4),
            Step("submit", 9),
            Step("lay_hands_on", 0, 9, "state.fsync", after=True),
            Step("pass"),
        ),
        USUAL,
    ),
    "a lost node comes back between the plan and the last look": (
        2676070442,
        296,
        (
            Step("pass", 10),
            Step("wait", 6),
            Step("silence"),
            Step("cut"),
            Step("submit", 0, 7),
            Step("pass", 1),
            Step("wait", 7),
        ),
        USUAL,
    ),
    "a restarted collector does not know every schedd": (
        2127877499,
        230,
        (
            Step("pass"),
            Step("wait", 3),
            Step("pass"),
            Step("restart_collector"),
            Step("submit"),
            Step("pass"),
            Step("wait", 1),
        ),
        USUAL,
    ),
    "a pass dies that has lost a reply, and the server is listed minutes later": (
        1,
        4,
        (
            Step("trouble", 5, 3),
            Step("submit", 3, 7),
            Step("kill", on="cloud.create", after=True),
            Step("pass"),
            *(Step("wait", 1), Step("pass")) * 2,
        ),
        USUAL,
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_this_harness_has_found_stays_mended(name: str) -> None:
    seed, shape, steps, reach = MENDED[name]
    play_out(*steps, shape=shape, seed=seed, reach=reach)


def test_a_cloud_that_lists_half_its_servers_and_says_nothing() -> None:
    part = Step("trouble", 1)
    steps = (Step("submit", 0, 7), Step("pass"), part, Step("wait", 1), Step("pass"))
    play_out(*steps, shape=230, seed=3268308804)


def test_a_creation_that_shows_after_minutes() -> None:
    late, jobs = Step("trouble", 5, 3), Step("submit", 3, 6)
    pause = (Step("wait", 1), Step("pass"))
    play_out(late, jobs, jobs, jobs, Step("pass"), *pause * 5, reach=Reach(latest=300.0))
