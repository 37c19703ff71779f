"""Grounds, rules and creases are there, and of real strength."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from picam_infer.inference.ruled_lines import without_ruled_lines
from picam_infer.training import paper

SIDE = 144


@pytest.mark.parametrize("kind", paper.GROUNDS)
def test_every_ground_has_its_size_and_a_paper_like_grey(kind: str) -> None:
    for seed in range(5):
        grey = paper.GROUNDS[kind]((120, 160), SIDE, 200.0, np.random.default_rng(seed))
        assert grey.shape == (120, 160) and np.isfinite(grey).all()
        assert (10 if kind == "blackboard" else 60) < float(np.median(grey)) < 250


def test_napkins_are_rougher_than_sheets_and_sheets_than_plain_paper() -> None:
    def roughness(kind: str) -> float:
        found = [paper.GROUNDS[kind]((SIDE, SIDE), SIDE, 200.0, np.random.default_rng(s)) for s in range(20)]
        return float(np.mean([np.abs(np.diff(grey, axis=1)).mean() for grey in found]))

    assert roughness("napkin") > roughness("sheet") > roughness("plain")


def test_rules_are_as_dark_as_printed_ones_and_mostly_taken_out_again() -> None:
    darkest, gone = [], []
    for seed in range(60):
        grey = np.full((SIDE, SIDE), 220, np.float32)
        paper.rule(grey, SIDE, np.random.default_rng(seed))
        ruled = np.clip(grey, 0, 255).astype(np.uint8)
        if ruled.min() < 190:
            darkest.append(ruled.min() / 220)
            gone.append((without_ruled_lines(ruled) < 190).mean() < 0.2 * (ruled < 190).mean())
    assert 0.4 < min(darkest) < 0.6
    assert np.mean(gone) > 0.5


def test_most_rules_run_through_and_some_stop_beside_the_digit_at_either_side() -> None:
    left = right = through = 0
    for seed in range(200):
        grey = np.full((SIDE, SIDE), 220, np.float32)
        paper.rule(grey, SIDE, np.random.default_rng(seed))
        count, _, boxes, _ = cv2.connectedComponentsWithStats((grey < 205).astype(np.uint8))
        for x, _, width, _, _ in boxes[1:count]:
            if width > SIDE // 3:
                left += x > 2
                right += x + width < SIDE - 2
                through += width == SIDE
    assert min(left, right) > 15
    assert through > left + right


def test_a_fold_parts_light_and_shade() -> None:
    steps = []
    for seed in range(20):
        grey = np.full((SIDE, SIDE), 200, np.float32)
        paper.fold(grey, SIDE, np.random.default_rng(seed))
        steps.append(float(np.ptp(grey)))
    assert 10 < np.median(steps) < 120


def test_the_same_seed_gives_the_same_ground() -> None:
    def draw() -> np.ndarray:
        return paper.napkin((80, 90), SIDE, 210.0, np.random.default_rng(4))

    assert np.array_equal(draw(), draw())
