"""Pausing: who wins, until when, who is told, and what the loops and the service do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from makers import jpeg_frame, picture, until

from picam_infer import config
from picam_infer.config import Decide
from picam_infer.core import Disconnected, Frame
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.models.bundle import Photo
from picam_infer.outputs.annotator import status_screen
from picam_infer.runtime.pause import Pause
from picam_infer.runtime.pipeline import Pipeline, PipelineSetup
from picam_infer.runtime.schedule import Schedule
from picam_infer.runtime.state import Change, State, Tuning
from picam_infer.runtime.status_text import status_text

OFFICE = '{days: mon-fri, hours: "08:00-17:30"}'


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).timestamp()

    def __call__(self) -> float:
        return self.now


def schedule(*entries: str) -> Schedule:
    return Schedule(config.parse(f"schedule: [{', '.join(entries)}]").schedule)


def test_without_a_schedule_a_pause_lasts_until_somebody_ends_it() -> None:
    clock = Clock("2026-11-26 12:00")
    pause = Pause(clock=clock)
    told: list[str] = []
    pause.tell = told.append
    pause.set(True, "page")
    pause.set(True, "mqtt")
    clock.set("2026-12-26 12:00")
    pause.tick()
    assert pause.now is not None and pause.now.until is None and pause.now.by == "mqtt"
    pause.set(False, "signal")
    pause.set(False, "page")
    assert pause.now is None and told == ["page", "signal"], "told of changes only"


def test_the_schedule_pauses_and_resumes() -> None:
    clock = Clock("2026-11-26 17:29")
    pause = Pause(schedule(OFFICE), clock)
    told: list[str] = []
    pause.tell = told.append
    assert pause.now is None
    clock.set("2026-11-26 17:30")
    pause.tick()
    assert pause.now is not None and pause.now.by == "schedule"
    assert pause.now.until == datetime(2026, 11, 27, 8, 0).timestamp()
    clock.set("2026-11-27 08:00")
    pause.tick()
    assert pause.now is None and told == ["schedule", "schedule"]


def test_a_manual_pause_wins_until_the_schedule_agrees() -> None:
    clock = Clock("2026-11-26 20:00")
    pause = Pause(schedule(OFFICE), clock)
    pause.set(False, "page")
    clock.set("2026-11-27 07:59")
    pause.tick()
    assert pause.now is None, "resumed by hand in the night"
    clock.set("2026-11-27 12:00")
    pause.tick()
    assert pause.now is None
    clock.set("2026-11-27 17:30")
    pause.tick()
    assert pause.now is not None and pause.now.by == "schedule", "the hours after it hold again"

    clock.set("2026-11-30 12:00")
    pause.tick()
    pause.set(True, "page")
    assert pause.now is not None and pause.now.until == datetime(2026, 12, 1, 8, 0).timestamp()
    clock.set("2026-11-30 17:29")
    pause.tick()
    assert pause.now is not None and pause.now.by == "page"
    clock.set("2026-11-30 17:30")
    pause.tick()
    assert pause.now is not None and pause.now.by == "schedule"
    clock.set("2026-12-01 08:00")
    pause.tick()
    assert pause.now is None


def test_a_reload_keeps_what_was_set_by_hand_and_takes_the_new_hours() -> None:
    clock = Clock("2026-11-26 12:00")
    pause = Pause(clock=clock)
    pause.set(True, "mqtt")
    pause.follow(schedule(OFFICE))
    assert pause.now is not None and pause.now.by == "mqtt"
    clock.set("2026-11-26 18:00")
    pause.follow(schedule())
    assert pause.now is not None, "still by hand"
    pause.set(False, "mqtt")
    pause.follow(schedule(OFFICE))
    assert pause.now is not None and pause.now.by == "schedule"
    pause.follow(schedule())
    assert pause.now is None


def test_setting_the_clock_is_noticed() -> None:
    clock = Clock("2000-01-01 00:00")
    pause = Pause(schedule(OFFICE), clock)
    assert pause.now is not None, "a Saturday, before the time is known"
    clock.set("2026-11-26 12:00")
    pause.tick()
    assert pause.now is None
    clock.set("2026-11-26 07:00")
    pause.tick()
    assert pause.now is not None


# -- the loops ---------------------------------------------------------------


class Camera:
    """A live source (or a file) that knows whether it is open."""

    description = "a camera"

    def __init__(self, live: bool = True) -> None:
        self.live = live
        self.open = False
        self.opened = 0
        self.seq = 0

    def __call__(self) -> Camera:
        self.open = True
        self.opened += 1
        return self

    def read(self) -> Frame | None:
        assert self.open, "read after it was closed"
        time.sleep(0.002)
        self.seq += 1
        return jpeg_frame(picture(90, 64, 48), self.seq)

    def close(self) -> None:
        self.open = False


class Counting:
    """An engine that counts."""

    name, depth, telemetry = "fake", 1, None

    def __init__(self) -> None:
        self.done = 0

    def submit(self, input_image: np.ndarray) -> None:
        self.done += 1

    def collect(self) -> np.ndarray:
        return np.array([0.1, 0.9], np.float32)

    def close(self) -> None:
        pass


class Loops:
    def __init__(self, camera: Camera, paused: bool = False) -> None:
        self.camera, self.engine = camera, Counting()
        self.state = State(Tuning(Photo(), Decide()))
        self.state.pause.set(paused, "page")
        postprocessor = Postprocessor(["a", "b"])
        input_image = np.zeros((2, 2, 3), np.uint8)
        parts = PipelineSetup(
            camera,
            lambda stopping: Classifier(self.engine, lambda chain: lambda frame: input_image, postprocessor, Photo()),
        )
        self.pipeline = Pipeline(self.state, parts)
        self.pipeline.start()


@pytest.fixture
def loops() -> Iterator[list[Loops]]:
    made: list[Loops] = []
    yield made
    for one in made:
        assert one.pipeline.stop()


def test_while_paused_the_camera_is_closed_and_the_model_rests(loops: list[Loops]) -> None:
    run = Loops(Camera())
    loops.append(run)
    heard: list[Change] = []
    run.state.listen(heard.append)
    until(lambda: run.state.results.peek())
    run.state.pause.set(True, "page")
    until(lambda: not run.camera.open and run.state.frames.idle)
    until(lambda: run.state.results.peek() is None and run.state.frames.peek() is None)
    done, frames = run.engine.done, run.state.stats.frames.total
    run.pipeline.watch()
    assert not run.state.health.problems and not run.pipeline.stuck
    assert not run.state.frames.peek(0, 0.3), "no picture comes"
    assert (run.engine.done, run.state.stats.frames.total) == (done, frames)
    run.state.pause.set(False, "page")
    until(lambda: run.state.results.peek() and run.camera.open)
    assert run.camera.opened == 2
    kinds = [change.kind for change in heard if change.kind != "label"]
    assert kinds == ["paused", "resumed"]


def test_started_paused_it_opens_no_camera(loops: list[Loops]) -> None:
    run = Loops(Camera(), paused=True)
    loops.append(run)
    assert not run.state.frames.peek(0, 0.3)
    assert run.camera.opened == 0
    run.state.pause.set(False, "page")
    until(lambda: run.state.results.peek())


def test_a_file_goes_on_where_it_was(loops: list[Loops]) -> None:
    run = Loops(Camera(live=False))
    loops.append(run)
    until(lambda: run.state.results.peek())
    run.state.pause.set(True, "page")
    before = until(lambda: run.state.frames.idle and run.camera.seq)
    run.state.pause.set(False, "page")
    until(lambda: run.camera.seq > before)
    assert run.camera.opened == 1
    assert run.state.frames.skipped == 0


def test_a_camera_that_was_lost_is_not_looked_for_meanwhile(loops: list[Loops]) -> None:
    class Gone(Camera):
        def __call__(self) -> Camera:
            self.opened += 1
            raise Disconnected("unplugged", "plug it in")

    run = Loops(Gone())
    loops.append(run)
    until(lambda: run.state.health.problems)
    run.state.pause.set(True, "page")
    words = status_screen(run.state)
    assert words is not None and words.title == "paused" and words.reason == "by the page"
    assert status_text(run.state) == "paused by the page"
    run.state.pause.set(False, "page")
    words = status_screen(run.state)
    assert words is not None and words.title == "camera lost"


def test_the_state_has_it_for_programs() -> None:
    state = State(Tuning(Photo(), Decide()))
    assert state.as_json()["paused"] is None
    state.pause.set(True, "mqtt")
    told = state.as_json()["paused"]
    assert told["by"] == "mqtt" and told["until"] is None and told["text"] == "paused by MQTT"
    assert told["reason"] == "by MQTT"
