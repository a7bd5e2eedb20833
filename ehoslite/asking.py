"""Puts questions to HTCondor in child processes that can be killed.

HTCondor's bindings hold the interpreter lock while they wait for a daemon: one that hangs would block the whole pass
for 20 s (a schedd) or 60 s (the collector), beyond any time-out of ours (measured with htcondor 25.14.1).
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

Question = Callable[[], Any]


class Unanswered(Exception):
    """The daemon did not answer in time, or refused; the text says which."""


def ask_all(questions: Mapping[str, Question], timeout: float) -> dict[str, Any]:
    """The answers by name, each asked in a child of its own, side by side; an Unanswered stands for a failed one.

    All of it takes no longer than `timeout` seconds.
    """
    until = time.monotonic() + timeout
    asked: dict[str, tuple[BaseProcess, Connection]] = {}
    unasked: dict[str, Any] = {}
    try:
        for name, question in questions.items():
            try:
                asked[name] = _start(question)
            except OSError as error:  # no process or descriptor to be had; the others are asked all the same
                unasked[name] = Unanswered(f"could not be asked: {error.strerror}")
        return _gather(asked, until, timeout) | unasked
    finally:
        for child, ear in asked.values():
            child.kill()
            child.join()
            child.close()
            ear.close()


def ask(question: Question, timeout: float) -> Any:
    """One answer. Raises Unanswered."""
    answer = ask_all({"": question}, timeout)[""]
    if isinstance(answer, Unanswered):
        raise answer
    return answer


def _start(question: Question) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("fork")
    ear, mouth = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(question, mouth, ear), daemon=True)
    child.start()
    mouth.close()
    return child, ear


def _answer(question: Question, mouth: Connection, ear: Connection) -> None:
    ear.close()  # else a long answer would wait for ever on this very process when the asking one was killed
    try:
        answer = ForkingPickler.dumps(question())
    except Exception as error:
        answer = ForkingPickler.dumps(Unanswered(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]))
    with suppress(BrokenPipeError):  # nobody listens any more
        mouth.send_bytes(answer)


def _gather(asked: Mapping[str, tuple[BaseProcess, Connection]], until: float, timeout: float) -> dict[str, Any]:
    answers: dict[str, Any] = {name: Unanswered(f"no answer within {timeout:.1f} s") for name in asked}
    waiting = {name: ear for name, (_, ear) in asked.items()}
    while waiting and (left := until - time.monotonic()) > 0:
        spoken = wait(list(waiting.values()), left)
        for name in [name for name, ear in waiting.items() if ear in spoken]:
            try:
                answers[name] = waiting.pop(name).recv()
            except (EOFError, OSError):
                answers[name] = Unanswered("the question's process died")
    return answers
