"""Telling slow, silent and useless sources apart."""

from __future__ import annotations

import time

import pytest

from picam_infer.core import Disconnected, Frame
from picam_infer.runtime import liveness
from picam_infer.runtime.liveness import Liveness, SilenceLimit


class Camera:
    live = True
    description = "a camera"

    def read(self) -> Frame | None:
        return None

    def close(self) -> None:
        pass


class NetworkCamera(Camera):
    patience_s = 15.0
    silence = Disconnected("rtsp://cam sends no pictures", "check the network")
    other_pictures = "choose another quality"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(liveness, "time", clock)
    return clock


def test_a_pace_is_three_times_the_longest_of_its_last_gaps() -> None:
    limit = SilenceLimit(2.0, unknown_s=15.0)
    assert limit.limit_s == 15.0
    limit.arrived(100.0)
    assert limit.limit_s == 15.0, "one picture is not a pace"
    limit.arrived(102.5)
    assert limit.limit_s == 7.5
    for number in range(5):
        limit.arrived(102.6 + number / 10)
    assert limit.limit_s == 7.5, "bursts do not make it fast"
    for number in range(20):
        limit.arrived(104 + number / 10)
    assert limit.limit_s == 2.0, "what it kept last counts"


def opened(source: Camera) -> Liveness:
    life = Liveness()
    life.opened(source, 2.0)
    return life


def test_a_webcam_is_lost_after_two_seconds_and_told_to_be_replugged(clock: Clock) -> None:
    life = opened(Camera())
    clock.now_s += 1.9
    assert life.complaint() is None
    clock.now_s += 0.2
    loss = life.complaint()
    assert loss is not None and "no picture for 2 s" in loss.message and "replug" in loss.hint


@pytest.mark.parametrize("gap_s", [2.5, 20.0, 300.0])
def test_a_slow_source_keeps_its_own_pace(clock: Clock, gap_s: float) -> None:
    life = opened(NetworkCamera())
    life.arrived(clock.now_s)
    for _ in range(5):
        clock.now_s += gap_s
        life.arrived(clock.now_s)
        clock.now_s += 1.9 * gap_s
        assert life.complaint() is None
        life.arrived(clock.now_s)
    clock.now_s += 6 * gap_s
    loss = life.complaint()
    assert loss is not None and "sends no pictures" in loss.message and "plug" not in loss.hint


@pytest.mark.parametrize(("source", "remedy"), [(Camera(), "cable"), (NetworkCamera(), "quality")])
def test_only_damaged_pictures_are_reported_with_one_reason(clock: Clock, source: Camera, remedy: str) -> None:
    life = opened(source)
    said = set()
    for number in range(100):
        clock.now_s += 0.3
        life.damaged(f"frame {number} is truncated")
        said.add(str(life.complaint()))
    said.discard("None")
    assert len(said) == 1
    assert "all its pictures are damaged (frame 0 is truncated)" in min(said) and remedy in min(said)
    life.arrived(clock.now_s)
    assert life.complaint() is None


def test_pictures_that_arrive_but_cannot_be_decoded_are_reported(clock: Clock) -> None:
    life = opened(Camera())
    for number in range(30):
        clock.now_s += 0.1
        life.arrived(clock.now_s)
        life.undecodable(f"frame {number} cannot be decoded")
    loss = life.complaint()
    assert loss is not None and "none of its pictures can be decoded (frame 0 cannot be decoded)" in loss.message
    life.decoded()
    assert life.complaint() is None


def test_a_file_is_never_silent(clock: Clock) -> None:
    source = Camera()
    source.live = False
    life = opened(source)
    clock.now_s += 1000
    assert life.complaint() is None


def test_a_source_that_is_gone_tells_whether_it_ever_gave_a_picture() -> None:
    life = opened(Camera())
    assert not life.gone()
    life.opened(Camera(), 2.0)
    life.arrived(time.monotonic())
    assert life.gone() and life.complaint() is None and not life.gone()
