"""Printed lines go, ink stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.inference.preprocess import edges
from picam_infer.inference.ruled_lines import without_ruled_lines

PAPER, RULE, INK = 200, 110, 40


def paper(*lines: tuple[float, float, float, float], thick: int = 2, tone: int = RULE) -> np.ndarray:
    """A sheet of 144 px with lines between shares of its side."""
    grey = np.full((144, 144), PAPER, np.uint8)
    for x1, y1, x2, y2 in lines:
        ends = [(round(x * 143), round(y * 143)) for x, y in ((x1, y1), (x2, y2))]
        cv2.line(grey, ends[0], ends[1], tone, thick, cv2.LINE_AA)
    return grey


LEVEL = [(0, y, 1, y) for y in (0.15, 0.45, 0.8)]
PLUMB = [(x, 0, x, 1) for x in (0.2, 0.5, 0.9)]


@pytest.mark.parametrize(
    "lines",
    [LEVEL, PLUMB, LEVEL + PLUMB, [(0, 0.2, 1, 0.3)], [(0, 0.9, 1, 0.8)], [(0.3, 0, 0.38, 1)]],
    ids=["lines", "columns", "squares", "falling", "rising", "leaning"],
)
@pytest.mark.parametrize("thick", [1, 2, 3])
def test_lines_from_border_to_border_are_gone(lines: list[tuple[float, float, float, float]], thick: int) -> None:
    cleared = without_ruled_lines(paper(*lines, thick=thick))
    assert int(cleared.min()) > (PAPER + RULE) / 2 - 20
    assert not edges(paper(*lines, thick=thick), (90, 30)).any()


def test_a_bent_line_is_gone() -> None:
    grey = paper()
    x = np.arange(144)
    points = np.stack([x, 70 + 6 * np.sin(np.pi * x / 143)], 1)
    cv2.polylines(grey, [np.round(points * 16).astype(np.int32)], False, RULE, 2, cv2.LINE_AA, 4)
    assert int(without_ruled_lines(grey).min()) > PAPER - 25


@pytest.mark.parametrize("crossing", [(0.5, 0.2, 0.5, 0.8), (0.3, 0.2, 0.7, 0.8)], ids=["upright", "slanting"])
def test_ink_that_crosses_a_line_stays_whole(crossing: tuple[float, float, float, float]) -> None:
    ink = paper(crossing, thick=5, tone=INK)
    cleared = without_ruled_lines(np.minimum(ink, paper(*LEVEL)))
    core = cv2.erode((ink < 60).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert int(cleared[core].max()) < (INK + PAPER) / 2 + 60
    assert int(cleared[~cv2.dilate((ink < 190).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)].min()) > 170
    joined = cv2.connectedComponents((cleared < 170).astype(np.uint8))[0] - 1
    assert joined == 1


@pytest.mark.parametrize(
    "grey",
    [
        paper(),
        paper((0.1, 0.2, 0.9, 0.2)),
        paper((0, 0.2, 0.7, 0.2)),
        paper((0.5, 0.04, 0.5, 0.96)),
        paper((0, 0.5, 1, 0.5), thick=14),
        paper((0, 0, 1, 1)),
    ],
    ids=["bare", "a seven's bar", "ends in the middle", "a large one", "a broad bar", "a diagonal"],
)
def test_everything_else_stays(grey: np.ndarray) -> None:
    assert without_ruled_lines(grey) is grey


def test_a_sheets_edge_stays() -> None:
    grey = paper()
    grey[100:] = 60
    assert np.array_equal(without_ruled_lines(grey), grey)


def test_grain_leaves_no_outline_and_a_stroke_does() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 9, (144, 144))
    assert not edges(np.clip(paper() + noise, 0, 255).astype(np.uint8), (90, 30)).any()
    assert edges(np.clip(paper((0.5, 0.2, 0.5, 0.8), tone=INK) + noise, 0, 255).astype(np.uint8), (90, 30)).any()
