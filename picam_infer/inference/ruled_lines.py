"""Removes the printed lines of ruled and squared paper from a grey picture, so that Canny does not see them."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.core import Pixels

# All lengths in pixels of the square that the `edges` chain works on (144 px): a line is thinner than _KERNEL_PX.
_STRIP_PX = 12
_KERNEL_PX = 7
_HALF_PX = 3
_BAND = np.arange(-_HALF_PX, _HALF_PX + 1)[:, None]
_BORDER_PX = 3
_TURN_PX = 2
"""How far a line may climb or fall from strip to strip: 9.5 degrees."""
_TURNS = np.ones((1, 2 * _TURN_PX + 1), np.uint8)
_DARKER = 14
"""The least number of grey levels by which a line is darker than its paper; Canny ignores fainter ones, too."""
_LEAST_SEEN = 0.75
"""The share of its strips in which a line must show; in the others a digit may lie over it."""
_INK = 1.3
"""Pixels are lightened by at most this many times the line's darkness: darker ink that crosses it stays dark."""
_STRAIGHT = 0.03
"""How much better it has to be to turn by a pixel than to go straight on."""
_NEVER = -1e3


def without_ruled_lines(grey: Pixels) -> Pixels:
    """Return a square grey picture (S, S) uint8 without the thin dark lines that run from border to border.

    Lines may lie within ten degrees of the picture's sides and be bent. What crosses them stays: a column of ink is
    longer than a line is thick. A picture without such lines is returned as it is, after a look at its borders.
    """
    left_to_right, top_to_bottom = _dark_at_borders(grey)
    across = _without_horizontal(grey) if left_to_right else grey
    if across is not grey:
        _, top_to_bottom = _dark_at_borders(across)
    if not top_to_bottom:
        return across
    down = np.ascontiguousarray(across.T)
    cleared = _without_horizontal(down)
    return across if cleared is down else np.ascontiguousarray(cleared.T)


def _without_horizontal(grey: Pixels) -> Pixels:
    filled, dark = _thin_and_dark(grey)
    lines = _trace(dark)
    if not lines:
        return grey
    cleared = grey.copy()
    columns = np.arange(grey.shape[1])
    for line in lines:
        at = np.clip(line + _BAND, 0, grey.shape[0] - 1) * grey.shape[1] + columns
        darkness = float(np.median(dark.take(at).max(axis=0)))
        lit = np.minimum(grey.take(at) + np.float32(_INK * darkness), filled.take(at))
        cleared.put(at, lit.astype(np.uint8))
    return cleared


def _thin_and_dark(grey: Pixels) -> tuple[Pixels, Pixels]:
    """Return the picture with thin dark horizontal things filled in, and how much darker they are."""
    filled = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((_KERNEL_PX, 1), np.uint8))
    return filled, cv2.subtract(filled, grey)


def _dark_at_borders(grey: Pixels) -> tuple[bool, bool]:
    """Whether lines may run from the left border to the right one, and from the top to the bottom.

    All four are looked at together: most pictures have no lines, and so many small calls would cost more than the rest.
    """
    wide = _BORDER_PX
    borders = np.empty((grey.shape[0], 4, wide), np.uint8)
    borders[:, 0], borders[:, 1], borders[:, 2], borders[:, 3] = (
        grey[:, :wide],
        grey[:, -wide:],
        grey[:wide].T,
        grey[-wide:].T,
    )
    dark = _thin_and_dark(borders.reshape(-1, 4 * wide))[1]
    rows = cv2.reduce(dark.reshape(-1, wide), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F).reshape(-1, 4)
    left, right, top, bottom = (cv2.reduce(rows, 0, cv2.REDUCE_MAX)[0] >= _DARKER * wide).tolist()
    return left and right, top and bottom


def _trace(dark: Pixels) -> list[np.ndarray]:
    """Follow lines from the left to the right border: return a row for each column, best line first.

    Dynamic programming over strips of columns: for each row the best line that gets there from the left.
    """
    height, width = dark.shape
    strips = round(width / _STRIP_PX)
    mean = cv2.resize(dark, (strips, height), interpolation=cv2.INTER_AREA).T.astype(np.float32)
    mean -= np.partition(mean, height // 2)[:, height // 2, None]  # grain is dark in places, and everywhere
    seen = np.clip(mean / _DARKER, 0, 1)
    starts, ends = _border_rows(dark[:, :_BORDER_PX]), _border_rows(dark[:, -_BORDER_PX:])
    reach = np.where(starts, seen[0], np.float32(_NEVER))[None]
    reaches = [reach]
    for strip in range(1, strips):
        reach = cv2.dilate(reach, _TURNS) + seen[strip]
        reaches.append(reach)
    found = np.flatnonzero((reach[0] >= _LEAST_SEEN * strips) & ends)
    best_first = found[np.argsort(-reach[0, found], kind="stable")]
    return [_rows(_middles(path, mean), width) for path in _walk_back(best_first, reaches)]


def _border_rows(border: Pixels) -> np.ndarray:
    """Which rows, give or take a line's thickness, are dark at a border."""
    rows = cv2.reduce(border, 1, cv2.REDUCE_AVG)
    return np.asarray(cv2.dilate(rows, np.ones((_KERNEL_PX, 1), np.uint8))[:, 0] >= _DARKER)


def _walk_back(ends: np.ndarray, reaches: list[np.ndarray]) -> list[list[int]]:
    """The lines that come to these rows at the right border, best first, as a row for each strip from the left."""
    paths: list[list[int]] = []
    for end in ends:
        if any(abs(int(end) - path[-1]) <= _KERNEL_PX // 2 + 1 for path in paths):
            continue
        path = [int(end)]
        for reach in reversed(reaches[:-1]):
            row = path[-1]
            near = reach[0, max(row - _TURN_PX, 0) : row + _TURN_PX + 1]
            middle = min(row, _TURN_PX)  # straight on, unless a turn brings more
            path.append(row if near[middle] >= near.max() - _STRAIGHT else row - middle + int(near.argmax()))
        paths.append(path[::-1])
    return paths


def _middles(path: list[int], mean: np.ndarray) -> np.ndarray:
    """The path moved to the middle of the line's thickness: any row of a dark line is as good as another on the way."""
    rows = np.clip(np.array(path) + _BAND, 0, mean.shape[1] - 1)
    weights = np.maximum(mean[np.arange(len(path)), rows], 1e-3)
    return np.asarray((weights * rows).sum(axis=0) / weights.sum(axis=0))


def _rows(middles: np.ndarray, width: int) -> np.ndarray:
    """A row for each column, from one for each strip; straight on at the ends."""
    known = np.concatenate([[2 * middles[0] - middles[1]], middles, [2 * middles[-1] - middles[-2]]])
    at = (np.arange(len(known)) - 0.5) * width / len(middles) - 0.5
    return np.asarray(np.round(np.interp(np.arange(width), at, known)).astype(int))
