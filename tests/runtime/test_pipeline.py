"""The loops, with sources and engines that misbehave as real ones do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from makers import jpeg_frame, picture

from picam_infer.config import Decide
from picam_infer.core import BadFrame, Disconnected, Frame, NotYet, PicamError, Result
from picam_infer.imaging import decode
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.guidance import Sight
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.stillness import Stillness
from picam_infer.models.bundle import Photo
from picam_infer.platform import udev
from picam_infer.runtime import liveness
from picam_infer.runtime import pipeline as pipelines
from picam_infer.runtime.camera_controls import Control
from picam_infer.runtime.exchange import Exchange
from picam_infer.runtime.liveness import STALE_S
from picam_infer.runtime.pace import Pace
from picam_infer.runtime.pipeline import Pipeline, PipelineSetup
from picam_infer.runtime.state import State, Tuning
from picam_infer.runtime.status_text import status_text

FRAME = jpeg_frame(picture(200))


class ListSource:
    """Delivers what it is given: frames, exceptions to raise, or callables to call."""

    description = "a list"

    def __init__(self, items: Iterable[object], live: bool = False) -> None:
        self.live = live
        self._items = iter(items)
        self.closed = False

    def read(self) -> Frame | None:
        item = next(self._items, None)
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item()
            return self.read()
        return item  # type: ignore[return-value]

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Answers (0.1, 0.9) after `before` was called."""

    telemetry = None

    def __init__(self, before: Callable[[], None] = lambda: None, name: str = "fake", depth: int = 1) -> None:
        self.name, self.depth = name, depth
        self.most = 0
        self._before = before
        self._under_way = 0

    def submit(self, input_image: np.ndarray) -> None:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        assert self._under_way <= self.depth

    def collect(self) -> np.ndarray:
        self._before()
        self._under_way -= 1
        return np.array([0.1, 0.9], np.float32)

    def close(self) -> None:
        pass


class Preprocess:
    def __call__(self, frame: Frame) -> np.ndarray:
        if frame.seq < 0:
            raise BadFrame
        return np.zeros((2, 2, 3), np.uint8)


def frames(count: int, start: int = 0) -> Iterator[Frame]:
    for seq in range(start, start + count):
        now = time.monotonic()
        yield Frame(FRAME.data, "jpeg", 320, 240, now, time.time(), seq)


class Running:
    def __init__(
        self,
        sources: Iterable[object],
        engines: Iterable[object],
        controls: Any = None,
        preprocess: Callable[[], Preprocess] = Preprocess,
        every_s: float = 0.0,
        stillness: Stillness | None = None,
        labels: Sequence[str] = ("a", "b"),
    ) -> None:
        self.results: list[Result] = []
        self.enough = threading.Condition()
        source_queue, engine_queue = iter(sources), iter(engines)
        self.state = State(Tuning(Photo(), Decide(), controls or {}))
        postprocessor = Postprocessor(labels)
        self.pipeline = Pipeline(
            self.state,
            PipelineSetup(
                lambda: self._next(source_queue),
                lambda stopping: Classifier(
                    self._next(engine_queue), lambda chain: preprocess(), postprocessor, Photo(), stillness=stillness
                ),
                self._got,
                every_s=every_s,
            ),
        )
        self.pipeline.start()

    def _next(self, queue: Iterator[object]) -> object:
        item = next(queue, None) or Disconnected("nothing more", "")
        if isinstance(item, Exception):
            raise item
        return item

    def _got(self, result: Result) -> None:
        with self.enough:
            self.results.append(result)
            self.enough.notify_all()

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 10) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, "waited in vain"
            with self.enough:
                self.enough.wait(0.01)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(
        sources: Iterable[object],
        engines: Iterable[object],
        controls: Any = None,
        preprocess: Callable[[], Preprocess] = Preprocess,
        every_s: float = 0.0,
        labels: Sequence[str] = ("a", "b"),
    ) -> Running:
        made.append(Running(sources, engines, controls, preprocess, every_s, labels=labels))
        return made[-1]

    yield start
    for running in made:
        running.pipeline.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "USUAL_S", (0.01,))


def test_a_file_is_played_in_full(run: Callable[..., Running]) -> None:
    source = ListSource(frames(300))
    running = run([source], [FakeEngine()])
    assert running.pipeline.finished.wait(10)
    assert [r.seq for r in running.results] == list(range(300))
    assert running.state.frames.skipped == 0
    assert running.results[0].label == "b"
    running.wait_for(lambda: source.closed)


def test_an_empty_file_ends_at_once(run: Callable[..., Running]) -> None:
    running = run([ListSource([])], [FakeEngine()])
    assert running.pipeline.finished.wait(10)
    assert not running.results


def test_a_slow_engine_gets_the_newest_of_a_live_source(run: Callable[..., Running]) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        go_on.wait(10)

    def until_busy() -> None:
        busy.wait(10)

    source = ListSource([*frames(1), until_busy, *frames(50, 1), go_on.set], live=True)
    running = run([source], [FakeEngine(slow)])
    running.wait_for(lambda: len(running.results) == 2)
    assert [r.seq for r in running.results] == [0, 50]
    assert running.state.frames.skipped == 49


def test_a_camera_leaves_the_processor_to_the_loading_of_the_model(run: Callable[..., Running]) -> None:
    loaded = threading.Event()
    read: list[float] = []

    def camera() -> Iterator[Frame]:
        for frame in frames(10**9):
            read.append(time.monotonic())
            yield frame

    def slow_to_load() -> Iterator[FakeEngine]:
        loaded.wait(10)
        yield FakeEngine()

    running = run([ListSource(camera(), live=True)], slow_to_load())
    running.wait_for(lambda: len(read) >= 3)
    assert read[2] - read[0] > 0.3, "read as often as it has pictures"
    assert running.state.frames.number >= 2, "they are shown meanwhile"
    loaded.set()
    running.wait_for(lambda: running.results and len(read) > 1000)


def test_two_requests_are_kept_under_way(run: Callable[..., Running]) -> None:
    engine = FakeEngine(depth=2)
    running = run([ListSource(frames(50))], [engine])
    assert running.pipeline.finished.wait(10)
    assert [r.seq for r in running.results] == list(range(50))


def test_damaged_frames_are_counted_and_skipped(run: Callable[..., Running]) -> None:
    items = [*frames(2), BadFrame(), *frames(1, -1), *frames(2, 2)]
    running = run([ListSource(items)], [FakeEngine()])
    assert running.pipeline.finished.wait(10)
    assert [r.seq for r in running.results] == [0, 1, 2, 3]
    assert running.state.stats.bad_frames == 2


def test_a_lost_camera_is_opened_again(run: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gone = Disconnected("the camera was unplugged", "plug it in")
    hold = threading.Event()
    back = ListSource(chain(frames(3, 10), [hold.wait]), live=True)
    sources = [ListSource([*frames(3), gone], live=True), gone, gone, back]
    running = run(sources, [FakeEngine()])
    running.wait_for(lambda: running.results and running.results[-1].seq == 12)
    hold.set()
    messages = [r.message for r in caplog.records if "camera" in r.message]
    assert messages[0] == "camera lost: the camera was unplugged; plug it in"
    assert len([m for m in messages if "lost" in m]) == 1, "one line a loss, however often it is tried"
    assert len([m for m in messages if "camera is back" in m]) == 1
    assert running.state.health.losses["camera"] == 1


def test_while_udev_sets_devices_up_nothing_is_reported_lost(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "queue").touch()
    monkeypatch.setattr(udev, "RUN", tmp_path)
    missing, hold = Disconnected("no camera is plugged in", "plug in a USB webcam"), threading.Event()
    running = run([missing, missing, ListSource(chain(frames(3), [hold.wait]), live=True)], [FakeEngine()])
    running.wait_for(lambda: running.state.settling)
    assert "setting its devices up" in status_text(running.state)
    running.wait_for(lambda: running.results)
    hold.set()
    assert not running.state.settling
    assert not running.state.health.losses.get("camera")
    assert not [r.message for r in caplog.records if "lost" in r.message or "plug in" in r.message]


def test_a_camera_that_goes_while_udev_works_is_lost_at_once(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "queue").touch()
    monkeypatch.setattr(udev, "RUN", tmp_path)
    running = run([ListSource([*frames(1), Disconnected("the camera is unplugged", "")], live=True)], [FakeEngine()])
    running.wait_for(lambda: running.state.health.problems)
    assert running.state.health.problems[0].what == "the camera is unplugged"


def test_a_lost_camera_clears_its_result(run: Callable[..., Running]) -> None:
    proceed = threading.Event()
    running = run([ListSource([*frames(1), proceed.wait, Disconnected("gone", "")], live=True)], [FakeEngine()])
    running.wait_for(lambda: running.results)
    assert running.state.results.peek() is not None
    proceed.set()
    running.wait_for(lambda: running.state.health.problems)
    assert running.state.results.peek() is None


def test_a_silent_camera_is_lost_after_two_seconds(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "STALE_S", 0.05)
    thaw = threading.Event()
    end = threading.Event()
    items = chain(frames(1), [thaw.wait], frames(1, 5), [end.wait])
    running = run([ListSource(items, live=True)], [FakeEngine()])
    running.wait_for(lambda: running.results)
    running.wait_for(lambda: running.pipeline.watch() or running.state.health.problems)
    assert "no picture for" in running.state.health.problems[0].what
    thaw.set()
    running.wait_for(lambda: running.results[-1].seq == 5)
    end.set()


def test_a_camera_whose_driver_never_answers_is_stuck(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a kernel that lost a thread while a camera was unplugged: only a new process brings it back."""
    monkeypatch.setattr(pipelines, "STALE_S", 0.05)
    back, end = threading.Event(), threading.Event()
    items = chain(frames(1), [back.wait], frames(1, 5), [end.wait])
    running = run([ListSource(items, live=True)], [FakeEngine()])
    running.wait_for(lambda: running.results)
    running.wait_for(lambda: running.pipeline.watch() or running.state.health.problems)
    assert not running.pipeline.stuck, "a silent camera is not: it may come back"
    monkeypatch.setattr(pipelines, "STUCK_S", 0.1)
    running.wait_for(lambda: running.pipeline.stuck)
    running.pipeline.watch()
    assert "driver has not answered" in running.state.health.problems[0].what
    back.set()
    running.wait_for(lambda: not running.state.health.problems and running.results[-1].seq == 5)
    end.set()


def test_a_lost_engine_is_opened_again_and_the_camera_goes_on(run: Callable[..., Running]) -> None:
    calls = [0]

    def fail_at_third() -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise Disconnected("the stick is gone", "plug it in")

    running = run(
        [ListSource(frames(10))],
        [FakeEngine(fail_at_third, "one"), Disconnected("not yet", ""), FakeEngine(name="two")],
    )
    assert running.pipeline.finished.wait(10)
    assert [r.engine for r in running.results] == ["one"] * 2 + ["two"] * 7
    assert running.state.health.problems == ()
    assert running.state.health.losses == {"engine": 1}


def test_an_unexpected_error_reaches_the_main_loop(run: Callable[..., Running]) -> None:
    running = run([ListSource([ZeroDivisionError("bug")])], [FakeEngine()])
    assert running.pipeline.finished.wait(10)
    assert isinstance(running.pipeline.failure, ZeroDivisionError)


def test_stop_does_not_wait_for_a_stuck_driver(run: Callable[..., Running]) -> None:
    forever, stuck = threading.Event(), threading.Event()

    def driver() -> None:
        stuck.set()
        forever.wait()

    running = run([ListSource([*frames(1), driver], live=True)], [FakeEngine()])
    running.wait_for(lambda: running.results and stuck.is_set())
    assert not running.pipeline.stop(patience_s=0.2), "and it comes back at all"
    forever.set()


def test_label_changes_are_announced_once(run: Callable[..., Running]) -> None:
    running = run([ListSource(frames(20))], [FakeEngine()])
    assert running.pipeline.finished.wait(10)
    changes = [c for c in running.state.history if c.kind == "label"]
    assert [(c.previous, c.label) for c in changes] == [(None, "b")]
    assert running.state.stats.label_changes == 1
    assert sum(running.state.stats.latency["fake"].counts) == 20


class Adjusted(ListSource):
    """A camera with one control, which is slow to read."""

    def __init__(self, items: Iterable[object], log: list[object]) -> None:
        super().__init__(items, live=True)
        self.knob = Control("gain", "Gain", "integer", 0, 255, 1, 64, 64)
        self._log = log

    def controls(self) -> list[Control]:
        return [self.knob]

    def set_control(self, control: Control, value: int | float) -> None:
        self._log.append((id(self), value))
        if value == 13:
            raise OSError(5, "Input/output error")
        self.knob = msgspec.structs.replace(self.knob, value=value)


def slowly(count: int) -> Iterator[object]:
    for frame in frames(count):
        yield lambda: time.sleep(0.005)
        yield frame


def test_the_cameras_settings_are_set_again_after_every_reconnect_and_live(run: Callable[..., Running]) -> None:
    log: list[object] = []
    first = Adjusted(chain(slowly(3), [Disconnected("unplugged", "")]), log)
    second = Adjusted(slowly(5000), log)
    running = run([first, second], [FakeEngine()], {"gain": 100})
    running.wait_for(lambda: (id(second), 100) in log)
    assert log == [(id(first), 100), (id(second), 100)]
    running.state.tune(controls={"gain": 120})
    report = running.state.camera.ask(5)
    assert report is not None and report.camera == "a list" and report.asked == {"gain": 120}
    assert report.controls[0].value == 120
    second.knob = msgspec.structs.replace(second.knob, value=7)  # as an automatic mode does
    again = running.state.camera.ask(5)
    assert again is not None and again.controls[0].value == 7 and log[2:] == [(id(second), 120)]


def test_a_refused_setting_is_logged_once_and_the_stream_goes_on(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    log: list[object] = []
    sources = [Adjusted(chain(slowly(2), [Disconnected("unplugged", "")]), log) for _ in range(3)]
    running = run([*sources, Adjusted(slowly(5000), log)], [FakeEngine()], {"gain": 13, "gian": 1})
    running.wait_for(lambda: len(log) == 4)
    running.wait_for(lambda: running.state.results.peek())
    warned = [record.message for record in caplog.records if "capture.controls" in record.message]
    assert len(warned) == 2 and any("refuses 13 (Input/output error)" in line for line in warned)
    assert any("gian: a list has no such control; did you mean gain?" in line for line in warned)


def test_a_source_without_settings_says_so_once(run: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    running = run([ListSource(frames(5))], [FakeEngine()], {"gain": 13, "focus": 1})
    assert running.pipeline.finished.wait(10) and len(running.results) == 5
    (line,) = [record.message for record in caplog.records if "capture.controls" in record.message]
    assert "a list has no controls that can be set" in line


# -- slow and useless sources -----------------------------------------------


def test_a_slow_source_neither_flaps_nor_starves_the_watchdog(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [time.monotonic()]
    for module in (pipelines, liveness):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    turn, end = threading.Semaphore(0), threading.Event()
    ticks = chain.from_iterable([lambda: turn.acquire(timeout=20), NotYet(), frame] for frame in frames(5))
    running = run([ListSource(chain(ticks, [end.wait]), live=True)], [FakeEngine()])
    pace_s = 1.5 * STALE_S

    def give_one() -> None:
        wanted = len(running.results) + 1
        turn.release()
        running.wait_for(lambda: len(running.results) == wanted and running.pipeline.resting)

    give_one()
    now_s[0] += pace_s
    give_one()
    for _ in range(3):
        for _ in range(8):  # twice the usual limit, and less than three times its pace
            now_s[0] += STALE_S / 4
            running.pipeline.watch()
            assert running.state.health.problems == () and running.pipeline.resting
        give_one()
    now_s[0] += 2 * STALE_S * 3 + 0.1  # three times the longest of its gaps
    running.pipeline.watch()
    assert [problem.part for problem in running.state.health.problems] == ["camera"]
    assert not running.pipeline.resting
    end.set()


class Stream(ListSource):
    """A network camera."""

    patience_s = 5.0
    silence = Disconnected("sends no pictures", "")
    other_pictures = ""


def test_a_stream_that_resumes_at_once_is_not_lost_and_logged_once(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    end = threading.Event()
    broken = [Stream([*frames(3, 10 * n), Disconnected("it has stopped", "look at it")], live=True) for n in range(12)]
    running = run([*broken, Stream(chain(frames(1, 999), [end.wait]), live=True)], [FakeEngine()])
    running.wait_for(lambda: running.results and running.results[-1].seq == 999)
    assert "camera" not in running.state.health.losses and running.state.health.problems == ()
    told = [r.message for r in caplog.records if "stopped" in r.message or "back" in r.message]
    assert told == ["camera: it has stopped again and again, and resumes each time; look at it"]
    end.set()


def test_a_stream_that_does_not_come_back_is_lost(run: Callable[..., Running]) -> None:
    gone = Disconnected("nothing listens there", "")
    running = run([Stream([*frames(3), Disconnected("it has stopped", "")], live=True), gone, gone], [FakeEngine()])
    running.wait_for(lambda: running.state.health.problems)
    assert running.state.health.problems[0].what == "nothing listens there"


def test_while_an_engine_hangs_nothing_rests(run: Callable[..., Running]) -> None:
    hang, inside = threading.Event(), threading.Event()

    def stuck() -> None:
        inside.set()
        hang.wait(10)

    running = run([ListSource(chain(frames(1), [hang.wait]), live=True)], [FakeEngine(stuck)])
    assert inside.wait(10)
    assert not running.pipeline.resting
    hang.set()
    running.wait_for(lambda: running.results)


def test_pictures_that_cannot_be_decoded_mark_the_camera_down(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "STALE_S", 0.5)
    bad, seen, end = replace(FRAME, seq=-1), threading.Event(), threading.Event()

    def until_seen() -> Iterator[object]:
        while not seen.wait(0.01):
            yield bad

    running = run([ListSource(chain(until_seen(), frames(3), [end.wait]), live=True)], [FakeEngine()])
    running.wait_for(lambda: running.pipeline.watch() or running.state.health.problems)
    assert "can be decoded" in running.state.health.problems[0].what
    seen.set()
    running.wait_for(lambda: running.results)
    running.wait_for(lambda: not running.state.health.problems)
    assert running.state.health.losses == {"camera": 1}, "a picture that came is not yet one that is of use"
    end.set()


def test_damage_inside_a_picture_is_counted(run: Callable[..., Running]) -> None:
    class Decoding(Preprocess):
        def __call__(self, frame: Frame) -> np.ndarray:
            return np.asarray(decode.bgr(frame))

    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    whole = jpeg_frame(noise)
    data = whole.data.copy()
    data[data.size // 2 : data.size // 2 + 3] = [0xFF, 0xE3, 7]
    running = run([ListSource([whole, replace(whole, data=data), whole])], [FakeEngine()], preprocess=Decoding)
    assert running.pipeline.finished.wait(10)
    assert (running.state.stats.flawed, running.state.stats.bad_frames, len(running.results)) == (1, 0, 3)


def test_a_live_source_is_judged_no_more_often_than_wanted_and_shown_in_full(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, more, resting = [100.0], threading.Semaphore(0), []
    monkeypatch.setattr(pipelines, "Pace", lambda per_s: Pace(per_s, lambda: now_s[0]))
    bursts = (chain([lambda: more.acquire(timeout=10)], frames(20, 20 * burst)) for burst in range(4))
    running = run([ListSource(chain(frames(1), *bursts), live=True)], [FakeEngine()], every_s=60.0)
    for judged in range(1, 5):
        running.wait_for(lambda judged=judged: len(running.results) == judged)
        running.wait_for(lambda: running.pipeline.resting)
        more.release()
        running.wait_for(lambda judged=judged: running.state.frames.number == 1 + 20 * judged)
        resting.append(running.pipeline.resting)
        assert len(running.results) == judged, "all of them are shown, none is judged before its time"
        now_s[0] += 60.0
    running.wait_for(lambda: len(running.results) == 5)
    assert [result.seq for result in running.results] == [0, 19, 39, 59, 79], "the newest, not one that has waited"
    assert all(resting), "pictures that wait for their time are nothing to hurry about"


def test_between_two_inferences_nothing_is_wrong() -> None:
    running = Running([ListSource(endless(), live=True)], [FakeEngine()], every_s=60.0)
    try:
        running.wait_for(lambda: running.results and running.state.frames.number > 10)
        running.wait_for(lambda: running.pipeline.resting and not running.state.frames.idle)
        assert running.state.patience_s >= 60
        assert len(running.results) == 1
    finally:
        assert running.pipeline.stop()


def test_every_picture_of_a_file_is_judged_at_once() -> None:
    running = Running([ListSource(frames(50))], [FakeEngine()], every_s=60.0)
    assert running.pipeline.finished.wait(10)
    assert [result.seq for result in running.results] == list(range(50))
    running.pipeline.stop()


def level(value: list[int]) -> Callable[[], Callable[[Frame], np.ndarray]]:
    """Return a preprocessor's maker, whose networks see a grey that a test changes."""
    return lambda: lambda frame: np.full((28, 28, 3), value[0], np.uint8)


def test_a_still_scene_is_left_alone_and_what_moves_is_judged_at_once() -> None:
    value = [90]
    running = Running(
        [ListSource(endless(), live=True)],
        [FakeEngine()],
        preprocess=level(value),
        stillness=Stillness(after_s=0.0, per_s=1e-3),
    )
    try:
        running.wait_for(lambda: running.results and running.state.stats.frames.total > 50)
        assert len(running.results) == 1
        for judged in range(2, 6):
            value[0] += 20
            running.wait_for(lambda judged=judged: len(running.results) == judged)
        assert running.pipeline.failure is None
    finally:
        assert running.pipeline.stop()


def test_every_picture_of_a_file_is_judged_however_still_it_is() -> None:
    running = Running(
        [ListSource(frames(50))], [FakeEngine()], preprocess=level([90]), stillness=Stillness(after_s=0.0, per_s=1e-3)
    )
    assert running.pipeline.finished.wait(10)
    assert len(running.results) == 50
    running.pipeline.stop()


def endless() -> Iterator[object]:
    for frame in frames(10_000):
        yield lambda: time.sleep(0.005)
        yield frame


class Scripted(FakeEngine):
    """Answers "a" and "b" as told, then repeats the last one for ever."""

    def __init__(self, answers: str) -> None:
        super().__init__()
        self._answers = chain(answers, iter(lambda: answers[-1], ""))

    def collect(self) -> np.ndarray:
        super().collect()
        return np.array([0.9, 0.1] if next(self._answers) == "a" else [0.1, 0.9], np.float32)


def one_by_one(number_of: int, apart_s: float, answered: Callable[[], int]) -> Iterator[object]:
    """Frames with time stamps so far apart, each delivered after the answer to the one before."""
    began_s = time.monotonic()
    for number, frame in enumerate(frames(number_of)):
        while answered() < number:
            time.sleep(0.001)
        yield replace(frame, monotonic_s=began_s + number * apart_s)


@pytest.mark.parametrize(
    ("live", "apart_s", "shown"),
    [(True, 0.05, "aaaaaaaab"), (True, 1.0, "aabbabbbb"), (False, 0.05, "aabbabbbb")],
    ids=["camera", "slow camera", "files"],
)
def test_a_cameras_label_changes_after_four_equal_answers_and_a_files_at_once(
    run: Callable[..., Running], live: bool, apart_s: float, shown: str
) -> None:
    made: list[Running] = []
    source = ListSource(one_by_one(9, apart_s, lambda: len(made[0].results) if made else 0), live=live)
    made.append(run([source], [Scripted("aabbabbbb")]))
    made[0].wait_for(lambda: len(made[0].results) == 9)
    assert "".join(result.label or "?" for result in made[0].results) == shown


class Sighted(Preprocess):
    """Sees a thing that is too small."""

    sight = staticmethod(lambda: Sight(brightness=0.7, contrast=0.1, outline=0.05, size=0.2, moved=0.0))


class Unsure(FakeEngine):
    said = (0.5, 0.5)

    def collect(self) -> np.ndarray:
        super().collect()
        return np.array(self.said, np.float32)


class Strange(Unsure):
    said = (0.004, 0.001)


@pytest.mark.parametrize(("engine", "words"), [(Unsure, "sees unknown (most like a, 50 %)"), (Strange, "sees unknown")])
def test_an_unknown_first_picture_is_logged_once(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture, engine: type[Unsure], words: str
) -> None:
    caplog.set_level("INFO")
    running = run([ListSource(endless(), live=True)], [engine()])
    running.wait_for(lambda: len(running.results) >= 5)
    assert [record.getMessage() for record in caplog.records if "sees" in record.getMessage()] == [words]
    assert running.state.stats.label_changes == 0


def test_a_class_called_unknown_is_told_from_what_is_unknown(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    running = run([ListSource(endless(), live=True)], [Unsure()], labels=("Unknown", "b"))
    running.wait_for(lambda: len(running.results) >= 5)
    said = [record.getMessage() for record in caplog.records if "sees" in record.getMessage()]
    assert said == ["sees unknown (the class Unknown reaches 50 %)"]


def test_advice_is_worked_out_a_few_times_a_second(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Sight] = []

    class Looked(Sighted):
        sight = staticmethod(lambda: looks.append(Sighted.sight()) or looks[-1])

    monkeypatch.setattr(pipelines, "LOOK_S", 600.0)
    running = run([ListSource(endless(), live=True)], [Unsure()], preprocess=Looked)
    running.wait_for(lambda: len(running.results) >= 5)
    assert len(looks) == 1


def test_an_unknown_thing_comes_with_advice(run: Callable[..., Running]) -> None:
    running = run([ListSource(endless(), live=True)], [Unsure()], preprocess=Sighted)
    running.wait_for(lambda: running.state.advice)
    assert running.state.as_json()["advice"] == "hold it closer: fill the box"


# -- another model while the loops go on ------------------------------------------------------------------------------


class Other(FakeEngine):
    """Another model's engine: it answers (0.8, 0.2), and notes what became of it."""

    def __init__(self, name: str = "other", depth: int = 1) -> None:
        super().__init__(name=name, depth=depth)
        self.closed = threading.Event()

    def collect(self) -> np.ndarray:
        super().collect()
        return np.array([0.8, 0.2], np.float32)

    def close(self) -> None:
        self.closed.set()


def live_source() -> ListSource:
    """A camera that always has another picture."""
    return ListSource((time.sleep(0.002) or frame for frame in frames(1_000_000)), live=True)  # type: ignore[func-returns-value]


def exchange(
    running: Running, opener: Callable[[], Other], taken: Callable[[], None] = lambda: None, **more: Any
) -> Exchange:
    def open_classifier(stopping: threading.Event) -> Classifier:
        return Classifier(opener(), lambda chain: Preprocess(), Postprocessor(["c", "d"]), Photo())

    made = Exchange(open_classifier, np.zeros((2, 2, 3), np.uint8), taken, **more)
    running.pipeline.exchange(made)
    return made


@pytest.mark.parametrize("depth", [1, 2])
def test_a_model_is_exchanged_between_two_pictures(run: Callable[..., Running], depth: int) -> None:
    old, new, opening, go_on = Other("old", depth), Other("new", depth), threading.Event(), threading.Event()
    source = live_source()
    running = run([source], [old])
    running.wait_for(lambda: len(running.results) > 3)

    def slowly() -> Other:
        opening.set()
        go_on.wait(10)
        return new

    told: list[str] = []
    made = exchange(running, slowly, lambda: told.append(running.state.engine))
    assert opening.wait(10)
    seen = len(running.results)
    running.wait_for(lambda: len(running.results) > seen + 3)  # the old one goes on meanwhile
    assert not old.closed.is_set() and not told
    go_on.set()
    running.wait_for(lambda: running.results[-1].engine == "new")
    assert made.over.is_set() and made.failure is None and told == ["old"] and old.closed.is_set()
    engines = [result.engine for result in running.results]
    assert engines == sorted(engines, reverse=True), "no answer of the old one after one of the new one"
    assert {result.top[0].label for result in running.results} == {"a", "c"}
    assert {result.label for result in running.results} == {"a", "c"}, "the new one's first answer counts, as any first"
    assert not source.closed


def test_a_model_that_cannot_be_opened_changes_nothing(run: Callable[..., Running]) -> None:
    old = Other("old")
    running = run([live_source()], [old])

    def fails() -> Other:
        raise PicamError("it is broken", "mend it")

    made = exchange(running, fails)
    assert made.over.wait(10) and str(made.failure).startswith("it is broken")
    seen = len(running.results)
    running.wait_for(lambda: len(running.results) > seen + 3)
    assert running.results[-1].engine == "old" and not old.closed.is_set()
    exchange(running, lambda: Other("new"))  # and the next one comes
    running.wait_for(lambda: running.results[-1].engine == "new")


def test_two_models_for_one_device_follow_each_other(run: Callable[..., Running]) -> None:
    old, opened_after = Other("old", 2), []
    running = run([live_source()], [old])
    running.wait_for(lambda: running.results)

    def opener() -> Other:
        opened_after.append(old.closed.is_set())
        return Other("new", 2)

    exchange(running, opener, beside=False)
    running.wait_for(lambda: running.results[-1].engine == "new")
    assert opened_after == [True]


def test_a_model_ends_the_wait_for_an_engine_that_is_lost(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "USUAL_S", (60.0,))
    running = run([live_source()], [Disconnected("the server is gone", "start it")])
    running.wait_for(lambda: running.state.health.down("engine"))
    exchange(running, lambda: Other("new"))
    running.wait_for(lambda: running.results and running.results[-1].engine == "new")
    assert not running.state.health.down("engine")


def test_the_end_leaves_no_model_open(run: Callable[..., Running]) -> None:
    new, opening, go_on = Other("new"), threading.Event(), threading.Event()
    running = run([live_source()], [Other("old")])
    running.wait_for(lambda: running.results)

    def slowly() -> Other:
        opening.set()
        go_on.wait(10)
        return new

    exchange(running, slowly)
    assert opening.wait(10)
    assert running.pipeline.stop()
    go_on.set()
    assert new.closed.wait(10)
