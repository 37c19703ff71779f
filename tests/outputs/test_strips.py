"""The overlay's ready pieces: laid over a picture they give what drawing gives, and the picture stays as it is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from makers import jpeg_frame, picture

from picam_infer.config import Decide, DisplaySettings
from picam_infer.core import Prediction, Result
from picam_infer.imaging.letterbox import Letterbox, laid_over
from picam_infer.models.bundle import Edges
from picam_infer.outputs import annotate
from picam_infer.outputs.annotator import Annotator
from picam_infer.outputs.strips import Layer
from picam_infer.runtime.state import State, Tuning

LOOK = annotate.Annotation((10, 5, 300, 300), "30 fps", "a notice over the box's line", True)


def result(label: str = "7", score: float = 0.98) -> Result:
    input_image = np.full((28, 28, 1), 200, np.uint8)
    return Result(1, 0, 0, label, score, (Prediction(label, score),), "openvino:CPU", 1.0, 2.0, input_image)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (64, 48), (2, 2)])
def test_overlays_are_what_drawing_gives_and_touch_nothing(size: tuple[int, int]) -> None:
    image = noise(*size)
    before = image.copy()
    layer = annotate.layer(*size, result(), LOOK)
    overlays = layer.overlays(image)
    assert np.array_equal(image, before)
    drawn = annotate.draw(image.copy(), result(), LOOK)
    assert np.array_equal(laid_over(before, overlays), drawn)
    assert len(overlays) > 5 or size == (2, 2)


@pytest.mark.parametrize("screen", [(480, 640), (600, 800), (200, 640)])
def test_a_screen_of_any_size_gets_the_picture_and_its_overlays(screen: tuple[int, int]) -> None:
    image = cv2.GaussianBlur(noise(480, 640), (9, 9), 0)
    overlays = annotate.layer(480, 640, result(), LOOK).overlays(image)
    shown, expected = (np.zeros((*screen, 4), np.uint8) for _ in range(2))
    Letterbox().draw(image, shown, True, overlays)
    Letterbox().draw(laid_over(image, overlays), expected, True)
    assert np.array_equal(shown, expected)


def test_the_overlay_is_redrawn_only_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(Tuning(Edges(), Decide()))
    annotator = Annotator(state, DisplaySettings(stats=False), state.stats.shown)
    drawn: list[Layer] = []
    layer = annotate.layer
    monkeypatch.setattr(annotate, "layer", lambda *given: drawn.append(layer(*given)) or drawn[-1])
    frame = jpeg_frame(picture(90, 640, 480))
    newest = replace(result(), monotonic_s=frame.monotonic_s)
    state.results.put(newest)
    for _ in range(5):
        annotator.draw(frame)
    assert len(drawn) == 1
    state.results.put(replace(newest, seq=2))
    annotator.draw(frame)
    assert len(drawn) == 1, "the same answer to another frame"
    state.results.put(replace(newest, label="3"))
    before = annotator.draw(frame)
    black = replace(newest, label="3", input_image=np.zeros((28, 28, 1), np.uint8))
    state.results.put(black)
    after = annotator.draw(frame)
    assert len(drawn) == 2, "of another input the inset alone is drawn anew"
    assert not np.array_equal(before, after)
    fresh = Annotator(state, DisplaySettings(stats=False), state.stats.shown)
    assert np.array_equal(after, fresh.draw(frame)), "and the picture is what drawing all of it gives"
    state.results.put(replace(black, input_image=np.zeros((28, 14, 1), np.uint8)))
    assert annotator.draw(frame) is not None
    assert len(drawn) == 4, "an input of other proportions has another place"
