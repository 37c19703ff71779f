"""Compares what the renderer draws with photographs, in figures: roughness of ink, grain, contrast, ruled lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from picam_infer.inference.ruled_lines import without_ruled_lines
from picam_infer.training.render import TRAIN

SIDE_PX = 144
BEFORE = replace(
    TRAIN, grounds=(("plain", 1),), ruled=0.09, fold=0.0, edge=0.05, rough=0.0, dry=0.0, retraced=0.0, hollow=0.0
)
"""The training's renderer without what photographs taught it."""
FIGURES = {
    "outline roughness": "length of the ink's outline over that of the smoothed one",
    "paper gradient p50": "grey levels a pixel, off the ink",
    "paper gradient p75": "",
    "paper gradient p90": "",
    "ink contrast": "how much darker (or lighter) than the paper, share of it",
    "line brightness": "of ruled lines from border to border, share of the paper's",
}


def figures(square: np.ndarray) -> dict[str, float]:
    """The figures of one grey square with a digit; those that it has not got are missing."""
    grey = cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    cleared = without_ruled_lines(grey)
    found: dict[str, float] = {}
    if cleared is not grey:
        on_line = cleared.astype(int) - grey > 12
        if on_line.any():
            found["line brightness"] = float(np.median(grey[on_line] / cleared[on_line].clip(1)))
    ink = _ink(cleared)
    if 20 < ink.sum() < 0.6 * ink.size:
        near = cv2.dilate(ink, np.ones((9, 9), np.uint8)).astype(bool)
        paper = float(np.median(cleared[~near])) if (~near).any() else 1.0
        found["ink contrast"] = abs(1 - float(np.median(cleared[ink.astype(bool)])) / max(paper, 1))
        found |= _grain(cleared, near)
        found |= _roughness(ink)
    return found


def _ink(grey: np.ndarray) -> np.ndarray:
    """1 where a stroke is: what differs from the light around it, joined to what differs most."""
    smooth = cv2.GaussianBlur(grey, (5, 5), 0).astype(np.float32)
    differs = np.abs(cv2.blur(smooth, (71, 71)) - smooth)
    level = max(0.4 * float(np.quantile(differs, 0.985)), 8.0)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((differs > level).astype(np.uint8))
    if count < 2:
        return np.zeros(grey.shape, np.uint8)
    return (labels == 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)


def _grain(grey: np.ndarray, near_ink: np.ndarray) -> dict[str, float]:
    steps = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    off = steps[4:-4, 4:-4][~near_ink[4:-4, 4:-4]] / 4
    if off.size < 500:
        return {}
    return {f"paper gradient p{p}": float(np.percentile(off, p)) for p in (50, 75, 90)}


def _roughness(ink: np.ndarray) -> dict[str, float]:
    big = cv2.resize(ink, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(big, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)[:, 0].astype(np.float64)
    if len(outline) < 200:
        return {}
    return {"outline roughness": _length(_smooth(outline, 4)) / _length(_smooth(outline, 16))}


def _smooth(points: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    ring = np.concatenate([points[-reach:], points, points[:reach]])
    return np.stack([np.convolve(ring[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)


def _length(points: np.ndarray) -> float:
    return float(np.hypot(*(points - np.roll(points, 1, axis=0)).T).sum())


def table(columns: dict[str, Sequence[np.ndarray]]) -> None:
    """Print the 10th, 50th and 90th percentile of each figure for each collection of squares."""
    measured = {name: [figures(square) for square in squares] for name, squares in columns.items()}
    print(f"\n{'percentiles 10, 50, 90':24}" + "".join(f"{name:>26}" for name in columns))
    for figure in FIGURES:
        cells = []
        for found in measured.values():
            values = [one[figure] for one in found if figure in one]
            shares = np.percentile(values, (10, 50, 90)) if values else []
            cells.append("  ".join(f"{value:.3f}" if value < 5 else f"{value:.1f}" for value in shares) or "–")
        print(f"{figure:24}" + "".join(f"{cell:>26}" for cell in cells))
    lined = [np.mean(["line brightness" in one for one in found]) for found in measured.values()]
    print(f"{'frames with ruled lines':24}" + "".join(f"{100 * share:24.1f} %" for share in lined))
