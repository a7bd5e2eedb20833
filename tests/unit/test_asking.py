"""Questions are asked in children, side by side, and none outlives its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ehoslite import asking
from ehoslite.asking import Unanswered, ask, ask_all

# Far above what a question takes here, however busy the machine.
PATIENCE = 60.0
# What a hanging question is given.
SHORT = 0.5


@pytest.fixture(autouse=True)
def no_child_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither a running child nor one that was not waited for, and no descriptor."""
    start, pids = asking._start, []  # noqa: SLF001

    def remember(question: asking.Question) -> tuple[BaseProcess, Connection]:
        child, ear = start(question)
        pids.append(child.pid)
        return child, ear

    monkeypatch.setattr(asking, "_start", remember)
    before = count_descriptors()
    yield
    assert count_descriptors() == before
    for pid in pids:
        assert pid is not None
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def hang() -> NoReturn:
    while True:
        time.sleep(3600)


def hang_deaf() -> NoReturn:
    """As HTCondor's bindings do: no signal handler of Python's runs before they return."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    hang()


def fail() -> NoReturn:
    raise ValueError("a text\nof two   lines")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    hang()


def test_answers_come_by_name() -> None:
    assert ask_all({"a": lambda: 1, "b": lambda: {"x": [None, "y"]}}, PATIENCE) == {"a": 1, "b": {"x": [None, "y"]}}
    assert ask(lambda: "c", PATIENCE) == "c"
    assert ask_all({}, PATIENCE) == {}


def test_questions_are_asked_in_children_and_change_nothing_here() -> None:
    assert ask(os.getpid, PATIENCE) != os.getpid()
    ask(lambda: os.environ.update(ASKED="yes"), PATIENCE)
    assert "ASKED" not in os.environ


def test_questions_are_asked_side_by_side() -> None:
    """Each waits until the other has begun; one after the other, neither would come back."""
    (here, there), (back, forth) = os.pipe(), os.pipe()

    def meet(say: int, hear: int) -> Callable[[], bytes]:
        return lambda: (os.write(say, b"x"), os.read(hear, 1))[1]

    try:
        assert ask_all({"a": meet(there, back), "b": meet(forth, here)}, PATIENCE) == {"a": b"x", "b": b"x"}
    finally:
        for end in (here, there, back, forth):
            os.close(end)


def test_exception_becomes_unanswered() -> None:
    answers = ask_all({"a": fail, "b": lambda: 2}, PATIENCE)
    assert isinstance(answers["a"], Unanswered)
    assert str(answers["a"]) == "ValueError: a text of two lines"
    assert answers["b"] == 2
    with pytest.raises(Unanswered, match="ValueError: a text of two lines"):
        ask(fail, PATIENCE)


def test_endless_exception_is_cut() -> None:
    def complain() -> NoReturn:
        raise ValueError("x" * 10_000)

    with pytest.raises(Unanswered) as caught:
        ask(complain, PATIENCE)
    assert len(str(caught.value)) == 300


@pytest.mark.parametrize("question", [hang, hang_deaf])
def test_question_that_hangs_is_killed_and_the_others_are_answered(question: Callable[[], Any]) -> None:
    answers = ask_all({"a": question, "b": lambda: 2}, SHORT)
    assert str(answers["a"]) == "no answer within 0.5 s"
    assert isinstance(answers["a"], Unanswered)


def test_answer_beside_a_hanging_question_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is over only when the answer has been heard."""
    heard: list[Any] = []

    def listen(ears: Any, _left: float) -> Any:
        heard.extend(wait(ears, PATIENCE))
        return heard

    monkeypatch.setattr("ehoslite.asking.time", SimpleNamespace(monotonic=lambda: 1000.0 if heard else 0.0))
    monkeypatch.setattr("ehoslite.asking.wait", listen)
    answers = ask_all({"a": hang, "b": lambda: 2}, SHORT)
    assert isinstance(answers["a"], Unanswered)
    assert answers["b"] == 2


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_is_no_answer(timeout: float) -> None:
    assert isinstance(ask_all({"a": hang}, timeout)["a"], Unanswered)


@pytest.mark.parametrize("question", [die, lambda: os._exit(0), sys.exit])
def test_child_that_dies_is_noticed_at_once(question: Callable[[], Any]) -> None:
    with pytest.raises(Unanswered, match="the question's process died"):
        ask(question, PATIENCE)


def test_large_answers_come_whole() -> None:
    answers = ask_all({name: lambda: b"x" * 10_000_000 for name in "ab"}, PATIENCE)
    assert [len(answer) for answer in answers.values()] == [10_000_000, 10_000_000]


def test_answer_that_cannot_be_sent_is_unanswered_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unanswered, match="lambda"):
        ask(lambda: lambda: 1, PATIENCE)
    assert capfd.readouterr() == ("", "")


def test_machine_without_room_for_a_child_fails_that_question_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    start = asking._start  # noqa: SLF001
    begun: list[BaseProcess] = []

    def refuse_the_second(question: Any) -> Any:
        if len(begun) == 1:
            begun.append(begun[0])
            raise BlockingIOError(11, "Resource temporarily unavailable")
        child, ear = start(question)
        begun.append(child)
        return child, ear

    monkeypatch.setattr(asking, "_start", refuse_the_second)
    answers = ask_all({"a": lambda: 1, "b": lambda: 2, "c": lambda: 3}, PATIENCE)
    assert str(answers["b"]) == "could not be asked: Resource temporarily unavailable"
    assert (answers["a"], answers["c"]) == (1, 3)


def test_children_are_killed_when_the_pass_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the deadline's alarm; the fixture looks for what is left."""

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("ehoslite.asking.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ask_all({"a": hang, "b": hang_deaf}, PATIENCE)


def test_child_ends_quietly_when_nobody_listens_any_more(tmp_path: Path) -> None:
    """The pass was killed meanwhile: nothing stays, and nothing goes into cron's mail."""
    program = (
        "import os, sys, time\n"
        "from ehoslite.asking import ask\n"
        "def slow():\n"
        "    while os.getppid() == parent: time.sleep(0.01)\n"
        "    return b'x' * 10_000_000\n"
        "parent = os.getpid()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    parent = os.getpid()\n"
        "    import multiprocessing.connection\n"
        "    import ehoslite.asking\n"
        "    ehoslite.asking.wait = lambda *_: os._exit(0)\n"
        "    ask(slow, 60)\n"
        "os.waitpid(pid, 0)\n"
    )
    with (tmp_path / "said").open("wb") as said:
        done = subprocess.run([sys.executable, "-c", program], stdout=said, stderr=said, check=False, timeout=PATIENCE)
    assert done.returncode == 0
    wait_until_closed(tmp_path / "said")
    assert (tmp_path / "said").read_text() == ""


def wait_until_closed(file: Path) -> None:
    """Until no process has the file open any more; one that does not let go is killed and fails the test."""
    until = time.monotonic() + PATIENCE
    while holders := [process for process in Path("/proc").glob("[0-9]*") if is_open_in(process, file)]:
        if time.monotonic() > until:
            for process in holders:
                os.kill(int(process.name), signal.SIGKILL)
            pytest.fail(f"{file} is still open in {holders}")
        time.sleep(0.02)


def is_open_in(process: Path, file: Path) -> bool:
    try:
        return any(entry.readlink() == file for entry in (process / "fd").iterdir())
    except OSError:
        return False
