"""The overlay and status screens: pure, readable on any background, any size, any script."""

from __future__ import annotations

import numpy as np
import pytest

from picam_infer.core import Prediction, Result
from picam_infer.outputs import annotate

SIZES = [(160, 120), (320, 240), (640, 480), (1280, 720), (1920, 1080), (480, 640), (2, 2)]
LOOK = annotate.Annotation(
    (10, 10, 40, 40), "30 fps · 1 ms", "a notice that is longer than one line of a small picture", True
)


def result(label: str | None, score: float = 0.98, channels: int = 1) -> Result:
    input_image = np.full((28, 28, channels), 200, np.uint8)
    return Result(1, 0, 0, label, score, (Prediction(label or "x", score),), "openvino:CPU", 1.0, 2.0, input_image)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("label", ["7", None, "a very long label indeed, longer than any picture is wide " * 3])
def test_it_fits_any_size(width: int, height: int, label: str | None) -> None:
    image = np.full((height, width, 3), 128, np.uint8)
    assert annotate.draw(image, result(label), LOOK) is image
    assert image.shape == (height, width, 3)


@pytest.mark.parametrize("background", [0, 60, 128, 200, 255])
def test_the_label_stands_out_on_any_background(background: int) -> None:
    image = np.full((480, 640, 3), background, np.uint8)
    annotate.draw(image, result("7"), annotate.Annotation())
    text = image[:60, :120].reshape(-1, 3).astype(int)
    green, plate = np.array(annotate.KNOWN), np.median(text, 0)
    assert (np.abs(text - green).sum(1) < 40).sum() > 100, "the letters are there"
    assert np.abs(plate - green).sum() > 150, "and so is their dark plate"


def test_unknown_is_a_question_mark_in_another_colour() -> None:
    known, unknown = (np.full((480, 640, 3), 90, np.uint8) for _ in range(2))
    annotate.draw(known, result("?"), annotate.Annotation())
    annotate.draw(unknown, result(None), annotate.Annotation())
    assert not np.array_equal(known, unknown)
    assert (np.abs(unknown.astype(int) - annotate.UNKNOWN).sum(2) < 40).any()


def test_the_inset_shows_what_the_network_sees_at_the_bottom_right() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    annotate.draw(image, result("7"), annotate.Annotation(inset=True))
    assert (image[380:460, 540:620] == 200).mean() > 0.8
    without = np.zeros((480, 640, 3), np.uint8)
    annotate.draw(without, result("7"), annotate.Annotation(inset=False))
    assert not without[380:460, 540:620].any()


def test_colour_patches_keep_their_colours() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    red = result("x", channels=3)
    assert red.input_image is not None
    red.input_image[:] = (0, 0, 255)  # BGR
    annotate.draw(image, red, annotate.Annotation())
    assert (image[400:450, 560:600] == (0, 0, 255)).all()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_status_screens_fit_any_size(width: int, height: int) -> None:
    image = annotate.status_screen(width, height, "camera lost", "it was unplugged " * 9, "plug it in", "since noon")
    assert image.shape == (height, width, 3)


def test_a_status_screen_says_all_it_is_given() -> None:
    short = annotate.status_screen(1280, 720, "camera lost")
    longer = annotate.status_screen(1280, 720, "camera lost", "unplugged")
    longest = annotate.status_screen(1280, 720, "camera lost", "unplugged", "plug it in")
    lit = [(image.max(2) > 128).sum() for image in (short, longer, longest)]
    assert lit[0] < lit[1] < lit[2]


def answer(*top: Prediction) -> Result:
    return Result(1, 0, 0, top[0].label, top[0].score, top, "openvino:CPU", 1.0, 2.0)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What is written on plates, with where they begin from the top."""
    found: list[tuple[int, str]] = []
    panel = annotate.panel

    def record(image: np.ndarray, text: str, at: tuple[int, int], size: int, colour: annotate.Colour) -> None:
        found.append((at[1], text.translate({0x2068: None, 0x2069: None})))
        panel(image, text, at, size, colour)

    monkeypatch.setattr(annotate, "panel", record)
    return found


def test_values_are_shown_as_such_and_never_in_percent(written: list[tuple[int, str]]) -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    annotate.draw(image, answer(Prediction("output", 2.0, "°"), Prediction("y", -0.5, "")), annotate.Annotation())
    assert [text for _, text in written] == ["output: 2.00 °", "y: -0.50"]


def test_every_class_that_applies_has_a_line_and_the_notice_stands_below(written: list[tuple[int, str]]) -> None:
    named = [Prediction(f"class {at}", 0.9, named=True) for at in range(3)]
    image = np.full((720, 1280, 3), 128, np.uint8)
    annotate.draw(image, answer(*named, Prediction("x", 0.1, named=False)), annotate.Annotation(notice="a notice"))
    assert [text for _, text in written] == ["class 0  90 %", "class 1  90 %", "class 2  90 %", "a notice"]
    assert np.all(np.diff([top for top, _ in written]) > 20)


def test_no_class_that_applies_is_unknown_and_many_leave_room_for_the_picture(written: list[tuple[int, str]]) -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    annotate.draw(image, answer(Prediction("x", 0.1, named=False)), annotate.Annotation())
    assert [text for _, text in written] == ["?"]
    written.clear()
    annotate.draw(
        image, answer(*[Prediction(f"class {at}", 0.9, named=True) for at in range(90)]), annotate.Annotation()
    )
    assert "more" in written[-1][1] and len(written) < 15
    assert np.all(image[300:] == 128), "the lower half is the picture's"
