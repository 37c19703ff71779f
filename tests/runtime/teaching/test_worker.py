"""Twin of `picam_infer.runtime.teaching.worker`: requests in turn, steps in between, nobody left waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from makers import until

from picam_infer.core import Busy, UsageError
from picam_infer.runtime.teaching.worker import Worker


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def worker(done: list[str]) -> Iterator[Worker]:
    def step() -> float:
        done.append("step")
        return 0.01

    made = Worker(step, lambda: done.append("end"))
    yield made
    made.close(10)


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_it_answers_in_turn_and_steps_in_between(worker: Worker, done: list[str]) -> None:
    assert [worker.ask(lambda number=number: number * number) for number in range(3)] == [0, 1, 4]  # type: ignore[misc]
    until(lambda: done.count("step") > 5)


def test_the_caller_gets_the_error_and_the_thread_continues(worker: Worker) -> None:
    with pytest.raises(UsageError, match="no such class"):
        worker.ask(raising(UsageError("no such class")))
    with pytest.raises(ZeroDivisionError):
        worker.ask(raising(ZeroDivisionError()))
    assert worker.ask(lambda: "still here") == "still here"


def test_waits_are_cancelled_and_the_work_is_done_all_the_same(worker: Worker, done: list[str]) -> None:
    began, go_on, told = threading.Event(), threading.Event(), []

    def work() -> None:
        began.set()
        go_on.wait(10)
        done.append("work")

    def visitor() -> None:
        with pytest.raises(Busy):
            worker.ask(work)
        told.append("Busy")

    waiting = threading.Thread(target=visitor)
    waiting.start()
    assert began.wait(10)
    worker.cancel_waits()
    waiting.join(10)
    assert told == ["Busy"] and "work" not in done
    go_on.set()
    until(lambda: "work" in done)


def test_the_end_comes_last_and_nothing_is_taken_after_it(worker: Worker, done: list[str]) -> None:
    worker.ask(lambda: None)
    worker.close(10)
    assert done[-1] == "end" and done.count("end") == 1
    with pytest.raises(Busy, match="stopping"):
        worker.ask(lambda: None)
