"""Teaching with the keyboard alone: the real lesson, network and pictures, and a display that a test types on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import jpeg_frame, make_bundle, until
from show_camera import sheet

from picam_infer.config import Config, DisplaySettings
from picam_infer.core import Overlay, Pixels, Prediction, Result
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Photo
from picam_infer.outputs import annotate
from picam_infer.outputs.display.screen import Screen
from picam_infer.outputs.strips import Layer
from picam_infer.runtime.model_choice import Switch
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State
from picam_infer.runtime.status_text import status_text
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.teaching.keys import TeachingKeys
from picam_infer.runtime.teaching.served_round import ServedRound
from picam_infer.runtime.viewer import Viewer


class Typewriter:
    """A display with a keyboard."""

    name, desktop, typing, size = "typewriter", False, False, (640, 480)

    def __init__(self) -> None:
        self.pressed: list[str] = []
        self.down: set[str] = set()
        self.lines: list[tuple[int, str]] = []
        """What is written over the picture, and how far down."""

    @property
    def said(self) -> str:
        return "\n".join(text for _, text in self.lines)

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        pass

    def keys(self) -> list[str]:
        pressed, self.pressed = self.pressed, []
        return pressed

    def held(self) -> frozenset[str]:
        return frozenset(self.down)

    def close(self) -> None:
        pass


class Desk:
    """A viewer in a thread, a camera that shows a sheet of paper, and somebody at the keyboard."""

    def __init__(self, state: State) -> None:
        self.display = Typewriter()
        self.scene = sheet("nothing")
        self.used: list[Switch] = []
        self.state = state
        self.teaching = Teaching(self._switch)
        screen = Screen(Config(display=DisplaySettings(kind="none")), patient=True)
        screen.use(self.display)
        self.viewer = Viewer(screen, self.state, RuntimeSettings(self.state), self.teaching)
        self.steps = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _switch(self, switch: Switch) -> Future[None]:
        done: Future[None] = Future()
        self.used.append(switch)
        done.set_result(None)
        return done

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.03):
            number += 1
            self.state.frames.put(jpeg_frame(self.scene(number), number))
            self.viewer.step()
            self.steps += 1

    def wait(self) -> None:
        """Let the viewer take what was pressed, and show what came of it."""
        until_step = self.steps + 3
        until(lambda: self.steps >= until_step)

    def press(self, *keys: str) -> None:
        self.display.pressed += keys
        until(lambda: not self.display.pressed)

    def record(self, digit: str, sign: str, name: str) -> None:
        """Hold a digit down while something is shown, then type what it is."""
        self.scene = sheet(sign)
        before = sum(self.counts.values())
        self.display.down.add(digit)
        self.press(digit)
        until(lambda: sum(self.counts.values()) >= before + 8)
        self.press(digit, digit)  # as a keyboard repeats
        self.display.down.discard(digit)
        until(lambda: self.teaching.status()["recording"] is None)
        self.press(*name, "enter")
        until(lambda: name in self.counts)

    @property
    def counts(self) -> dict[str, int]:
        return {one["label"]: one["pictures"] for one in self.teaching.status().get("classes", ())}

    @property
    def live(self) -> str | None:
        live = self.teaching.status().get("live")
        return live["label"] if live else None


@pytest.fixture
def desk(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(state)
    layer, panel = annotate.layer, annotate.panel

    def begun(*given: Any) -> Layer:
        made.display.lines = []
        return layer(*given)

    def written(over: Layer, text: str, at: tuple[int, int], size: int, colour: Any) -> None:
        made.display.lines = [*made.display.lines, (at[1], _plain(text))]
        panel(over, text, at, size, colour)

    monkeypatch.setattr(annotate, "layer", begun)
    monkeypatch.setattr(annotate, "panel", written)
    with made.teaching.following(ServedRound(made.state, Config, None)):
        yield made
    made.close()
    made.teaching.close()


def test_two_signs_are_taught_named_corrected_and_used(desk: Desk) -> None:
    desk.press("t")
    until(lambda: desk.teaching.status()["stage"] == "open", 60)
    desk.record("1", "circle", "ring")
    desk.record("2", "cross", "plus")
    assert list(desk.counts) == ["ring", "plus"] and not desk.viewer.quit
    assert "is being taught" in status_text_of(desk)
    desk.scene = sheet("circle")
    until(lambda: desk.live == "ring", 60)
    desk.scene = sheet("cross")
    until(lambda: desk.live == "plus", 40)
    before = desk.counts["plus"]
    desk.display.down.add("2")
    desk.press("2")
    until(lambda: desk.counts["plus"] > before)
    desk.display.down.discard("2")
    until(lambda: desk.teaching.status()["recording"] is None and not desk.teaching.status()["waiting"])
    desk.press("backspace")
    until(lambda: desk.counts["plus"] == before)
    desk.press("enter")
    until(lambda: desk.used, 60)
    assert {"ring", "plus"} <= set(bundles.load(desk.used[0].model).labels)
    until(lambda: "“taught” is in use now" in desk.display.said)
    desk.press("esc")  # as somebody who has not seen that teaching is over
    desk.wait()
    assert not desk.viewer.quit


def test_the_screen_shows_the_lessons_answer_and_region_not_the_running_models(desk: Desk, tmp_path: Path) -> None:
    desk.state.run_model(make_bundle(tmp_path / "photos", ("cat", "zebra")))
    desk.state.tune(Photo())
    desk.state.results.put(answer("zebra"))
    desk.wait()
    assert "zebra  97 %" in desk.display.said
    desk.press("t")
    until(lambda: desk.teaching.status()["stage"] == "open", 60)
    desk.record("1", "circle", "ring")
    desk.record("2", "cross", "plus")
    desk.scene = sheet("circle")
    until(lambda: desk.live == "ring", 60)
    desk.state.results.put(answer("zebra"))
    until(lambda: "ring  " in desk.display.said)
    assert "zebra" not in desk.display.said and "sees" not in desk.display.said
    seen = desk.teaching.seen()
    assert seen and seen.chain == bundles.load("digits").card.preprocess and seen.input_image is not None
    assert desk.state.tuning.preprocess != seen.chain, "the running model looks elsewhere"
    words = [(top, text) for top, text in desk.display.lines if "record" in text]
    assert words and min(top for top, _ in words) > 400, "the keys stand at the bottom, out of the way"


def answer(label: str) -> Result:
    """Return an answer of the running model."""
    now, shown = (time.time(), time.monotonic()), np.zeros((8, 8, 3), np.uint8)
    return Result(1, *now, label, 0.975, (Prediction(label, 0.975),), "openvino:CPU", 1, 2, shown)


def status_text_of(desk: Desk) -> str:
    return status_text(desk.state)


def test_letters_are_letters_while_a_name_is_typed(desk: Desk) -> None:
    desk.press("t")
    until(lambda: desk.teaching.status()["stage"] == "open", 60)
    desk.record("1", "circle", "qn p1f")
    assert not desk.viewer.quit and desk.state.share.now is None
    desk.press("q", "backspace", "esc")
    desk.press("x", "esc", "esc")
    until(lambda: desk.teaching.status()["recording"] is None)
    desk.press("q")
    until(lambda: desk.viewer.quit)


def test_a_name_is_typed_on_the_screen_and_a_digit_without_a_class_makes_the_next(desk: Desk) -> None:
    keys = TeachingKeys(desk.teaching)
    keys.begin()
    until(lambda: desk.teaching.status()["stage"] == "open", 60)
    assert "hold 1" in keys.words()
    keys.press("7")
    until(lambda: keys.held(frozenset("7")) or desk.counts, 30)
    assert list(desk.counts) == ["class 1"], "there is no seventh without a sixth"
    keys.held(frozenset())
    for letter in ("s", "o", "c", "k", "space", "1"):
        keys.press(letter)
    assert "sock 1▏" in _plain(keys.words())
    keys.press("enter")
    until(lambda: list(desk.counts) == ["sock 1"])
    keys.leave()
    assert not keys.active


def test_letters_rename_no_class_until_a_number_is_pressed(desk: Desk) -> None:
    desk.press("t")
    until(lambda: desk.teaching.status()["stage"] == "open")
    desk.record("1", "circle", "circle")
    desk.press("esc", "t")
    until(lambda: "hold for a new class" in desk.display.said)
    desk.press("h", "i")
    until(lambda: "press a number first" in desk.display.said)
    assert "1 circle" in desk.display.said
    desk.press("1", "r", "o", "enter")
    until(lambda: "ro" in desk.counts)


def test_without_a_picture_nothing_is_taught(desk: Desk, tmp_path: Path) -> None:
    desk.state.health.mark_down("camera", "unplugged", "plug it in")
    desk.press("t", "q")
    until(lambda: desk.viewer.quit)
    assert desk.teaching.status()["stage"] == "closed"


def test_a_class_may_be_made_while_the_text_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    teaching, classes = Teaching(lambda wish: None), []

    def status() -> dict[str, object]:
        classes.append({"label": f"class {len(classes) + 1}", "pictures": 1})
        return {"stage": "open", "name": "taught", "classes": list(classes)}

    monkeypatch.setattr(teaching, "status", status)
    keys = TeachingKeys(teaching)
    keys.active = True
    assert "1   class 1 · 1 picture" in _plain(keys.words())


def _plain(text: str) -> str:
    return text.translate({0x2068: None, 0x2069: None})
