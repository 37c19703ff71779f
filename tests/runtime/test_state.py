"""Mailboxes, rates, losses and changes."""

from __future__ import annotations

import threading
import time

import pytest

from picam_infer.config import Decide
from picam_infer.models.bundle import Photo
from picam_infer.runtime.state import Change, Histogram, Latest, Rate, State, Tuning
from picam_infer.runtime.status_text import per_second


def make_state() -> State:
    return State(Tuning(Photo(), Decide()))


def test_newest_wins_and_what_is_skipped_is_counted() -> None:
    box: Latest[int] = Latest()
    for item in (1, 2, 3):
        box.put(item)
    assert box.take(0) == 3
    assert box.take(0) is None
    assert box.skipped == 2


def test_looking_does_not_take() -> None:
    box: Latest[str] = Latest()
    assert box.peek() is None
    box.put("a")
    assert box.peek() == (1, "a")
    assert box.peek(after=1) is None
    assert box.take(0) == "a"
    assert box.peek() == (1, "a")


def test_a_file_is_handed_over_without_loss() -> None:
    box: Latest[int] = Latest()
    got: list[int] = []

    def reader() -> None:
        while len(got) < 200:
            item = box.take(5)
            assert item is not None
            got.append(item)

    thread = threading.Thread(target=reader)
    thread.start()
    for item in range(200):
        assert box.put_when_taken(item, 5)
    thread.join(5)
    assert got == list(range(200))
    assert box.skipped == 0


def test_put_when_taken_gives_up_when_nobody_takes() -> None:
    box: Latest[int] = Latest()
    assert box.put_when_taken(1, 0)
    assert not box.put_when_taken(2, 0.01)
    assert not box.idle
    assert box.take(0) == 1
    assert box.idle


def test_close_wakes_those_who_wait() -> None:
    box: Latest[int] = Latest()
    woken = threading.Event()

    def wait() -> None:
        assert box.take(60) is None
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    box.close()
    assert woken.wait(5)
    thread.join(5)


def test_clear_forgets() -> None:
    box: Latest[int] = Latest()
    box.put(1)
    box.clear()
    assert box.peek() is None
    assert box.take(0) is None


def test_rate_of_a_steady_and_of_a_stalled_source() -> None:
    rate = Rate(window_s=2)
    for i in range(60):
        rate.tick(i / 30)
    assert abs(rate.per_second(59 / 30) - 30) < 0.6
    assert rate.per_second(59 / 30 + 1) < 22
    assert rate.per_second(59 / 30 + 5) == 0
    assert rate.total == 60


@pytest.mark.parametrize(
    ("times_s", "now_s", "rate_per_s"),
    [([], 1, 0), ([1], 1, 0.5), ([0, 10], 10, 0.1), ([0, 10], 14, 0.1), ([0, 10], 18, 1 / 10), ([0, 10], 25, 1 / 15),
     ([0, 10], 31, 0), ([0, 1.5], 1.5, 1 / 1.5), ([0, 20, 20.04], 20.04, 25)],
)  # fmt: skip
def test_the_rate_of_events_rarer_than_the_window_is_not_zero(
    times_s: list[float], now_s: float, rate_per_s: float
) -> None:
    rate = Rate(window_s=2)
    for time_s in times_s:
        rate.tick(time_s)
    assert rate.per_second(now_s) == pytest.approx(rate_per_s)


@pytest.mark.parametrize(("gap_s", "words"), [(0.04, "25"), (1.0, "1"), (1.6, "0.6"), (25.0, "0.04")])
def test_a_rate_below_one_is_written_as_such(gap_s: float, words: str) -> None:
    rate = Rate()
    now_s = time.monotonic()
    rate.tick(now_s - gap_s)
    rate.tick(now_s)
    assert per_second(rate) == words


def test_histogram() -> None:
    histogram = Histogram()
    for duration_s in (0.0001, 0.0009, 0.3, 99):
        histogram.add(duration_s)
    assert sum(histogram.counts) == 4
    assert histogram.counts[0] == 1
    assert histogram.counts[1] == 1
    assert histogram.counts[-1] == 1


def test_a_loss_is_announced_once() -> None:
    state = make_state()
    heard: list[Change] = []
    state.listen(heard.append)
    before_s = time.monotonic()
    assert state.health.mark_down("camera", "unplugged", "plug it in")
    assert not state.health.mark_down("camera", "unplugged", "plug it in")
    assert [loss.part for loss in state.health.problems] == ["camera"]
    assert state.health.mark_up("camera") is not None
    assert state.health.mark_up("camera") is None
    assert [change.kind for change in heard] == ["lost", "found"]
    assert state.health.losses == {"camera": 1}
    assert 0 < state.health.lost_s("camera") < time.monotonic() - before_s


def test_a_new_reason_keeps_the_time_of_the_loss() -> None:
    state = make_state()
    state.health.mark_down("camera", "no picture")
    since = state.health.problems[0].since
    state.health.mark_down("camera", "unplugged")
    assert state.health.problems[0].since == since
    assert state.health.problems[0].what == "unplugged"
    assert state.health.losses == {"camera": 1}


def test_tuning_is_replaced_as_a_whole() -> None:
    state = make_state()
    before = state.tuning
    state.tune(decide=Decide(threshold=0.9))
    assert state.tuning.decide.threshold == 0.9
    assert state.tuning.preprocess is before.preprocess
    assert before.decide.threshold == 0.6


def test_listeners_can_leave() -> None:
    state = make_state()
    heard: list[Change] = []
    leave = state.listen(heard.append)
    leave()
    state.health.mark_down("camera", "x")
    assert not heard
    assert [change.kind for change in state.history] == ["lost"]
