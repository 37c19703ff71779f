"""The `edges` chain: the same drawing gives the same network input at every camera size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.inference.preprocess import edges
from picam_infer.training import glyphs

CANNY = (90.0, 30.0)
SIDES = (144, 192, 216, 288, 432)


def drawing(side: int, digit: int, seed: int) -> np.ndarray:
    """The same digit in ink on paper, drawn at 864 px and brought to `side` as a camera's pixels would."""
    paper = np.full((864, 864), 205, np.uint8)
    lines = [
        np.round((s * 500 + 182) * 16).astype(np.int32)
        for s in glyphs.digit_strokes(digit, np.random.default_rng(seed))
    ]
    cv2.polylines(paper, lines, False, 60, 44, cv2.LINE_AA, 4)
    return cv2.resize(cv2.GaussianBlur(paper, (0, 0), 2), (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("digit", range(10))
def test_the_same_drawing_gives_the_same_input_at_every_size(side: int, digit: int) -> None:
    one, other = edges(drawing(288, digit, digit), CANNY), edges(drawing(side, digit, digit), CANNY)
    assert one.shape == (28, 28)
    assert one.dtype == np.uint8
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.93
    assert abs(int(one.sum()) - int(other.sum())) < 0.1 * one.sum()


@pytest.mark.parametrize("side", SIDES)
def test_flat_and_softly_lit_paper_has_no_edges(side: int) -> None:
    slope = np.linspace(90, 220, side)[None].repeat(side, 0).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 3, (side, side))
    assert not edges(slope, CANNY).any()
    assert not edges(np.clip(slope + noise, 0, 255).astype(np.uint8), CANNY).any()


def test_higher_thresholds_show_less() -> None:
    crop = drawing(192, 8, 1)
    faint = cv2.addWeighted(crop, 0.25, np.full_like(crop, 150), 0.75, 0)
    assert edges(faint, (30.0, 10.0)).sum() > edges(faint, (400.0, 300.0)).sum() == 0


def test_the_crop_is_left_as_it_was() -> None:
    crop = drawing(144, 2, 0)
    before = crop.copy()
    edges(crop, CANNY)
    assert np.array_equal(crop, before)
