"""What the person in front of the camera is told."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.core import Frame
from picam_infer.inference.guidance import Guide, Sight, advice
from picam_infer.inference.preprocess import EdgesChain
from picam_infer.models.bundle import Edges, Input
from picam_infer.training import glyphs, render


def seen(size: float, bright: float = 200, ink: float = 40, position: tuple[float, float] = (0, 0)) -> list[Frame]:
    """The same scene twice: a digit of a size (shares of the box; 0: none) on paper of a brightness."""
    rng = np.random.default_rng(3)
    image = np.full((480, 640, 3), bright, np.uint8)
    lines = glyphs.digit_strokes(3, rng) if size else None
    image = render.draw_scene(
        640, 480, lines, position, 0, rng, size=size or 0.5, ink=(int(ink),) * 3, background=image
    )
    return [Frame(image, "bgr", 640, 480, monotonic_s=0, captured=0, seq=seq) for seq in range(2)]


def beside(frames: list[Frame], *bars: tuple[int, int, int, int]) -> list[Frame]:
    """The same with dark bars (x, y, width, height in pixels of the box), as a sheet's edge or the next word."""
    for frame in frames:
        for x, y, width, height in bars:
            frame.data[144 + y : 144 + y + height, 224 + x : 224 + x + width] = 60
    return frames


def told(*frames: Frame) -> str:
    chain = EdgesChain(Edges(), Input(shape=(1, 28, 28, 1)))
    for frame in frames:
        chain(frame)
    assert chain.sight is not None
    return advice(chain.sight())


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (seen(0), "hold it in the box"),
        (seen(0, bright=25), "more light"),
        (seen(0.6), ""),
        (seen(0.2), "hold it closer: fill the box"),
        (seen(1.2), "hold it farther away"),
        (seen(0.5, bright=60, ink=30), "more light"),
        (beside(seen(0), (0, 0, 60, 192)), "hold it in the box"),
        (beside(seen(0.2), (0, 0, 30, 192)), "hold it closer: fill the box"),
        (beside(seen(0.2), (0, 176, 192, 16), (150, 0, 20, 40)), "hold it closer: fill the box"),
        (seen(1.6), "hold it farther away"),
        (seen(0.6)[:1] + seen(0.6, position=(0.25, 0.1))[:1], "hold it still"),
    ],
    ids=[
        "empty",
        "dark",
        "well",
        "small",
        "large",
        "dim",
        "an edge",
        "small by an edge",
        "small among words",
        "huge",
        "moving",
    ],
)
def test_advice_fits_what_is_in_the_box(frames: list[Frame], words: str) -> None:
    assert told(*frames) == words


def test_a_room_gets_no_advice() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 255, (40, 53, 3)).astype(np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST)
    assert told(*[Frame(noise, "bgr", 640, 480, monotonic_s=0, captured=0, seq=i) for i in range(2)]) == ""


SMALL = Sight(brightness=0.7, contrast=0.1, outline=0.05, size=0.2, moved=0.0)
NOTHING = Sight(brightness=0.7, contrast=0.1, outline=0.0, size=0.0, moved=0.0)


def test_advice_waits_until_it_is_steady_and_goes_at_once_with_a_name() -> None:
    guide = Guide()
    assert guide(SMALL, False, 10.0) == ""
    assert guide(SMALL, False, 10.5) == ""
    assert guide(SMALL, False, 10.8) == "hold it closer: fill the box"
    assert guide(NOTHING, False, 10.9) == "hold it closer: fill the box"
    assert guide(SMALL, False, 11.0) == "hold it closer: fill the box"
    assert guide(SMALL, True, 11.1) == ""
    assert guide(SMALL, False, 11.2) == ""


def test_a_photo_model_gets_none() -> None:
    guide = Guide()
    assert [guide(None, False, now_s) for now_s in (0.0, 1.0, 2.0)] == ["", "", ""]
