"""Whether anything moves, judged from a few pixels of what the network sees: a still scene needs fewer inferences."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.core import Pixels
from picam_infer.models.bundle import Chain, Edges

# Means over cells, so that a dim webcam's noise is not movement; measured on noise of 12 grey levels and small objects.
_PHOTO_LEVELS = 8
_EDGES_CELLS, _EDGES_LEVELS = 14, 80
GLANCE_PX = 28
"""Cells per row for detecting movement in photos, and for deciding whether any scene is worth a closer look."""
_Cells = npt.NDArray[np.int16]


class Stillness:
    """Compares each input with the last one that moved, so that slow changes add up. One thread uses it."""

    def __init__(self, after_s: float, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`after_s`: how long nothing must have moved; `per_s`: how often a still scene is asked about."""
        self._after_s = after_s
        self._every_s = 1 / per_s
        self._clock = clock
        self._reference: _Cells | None = None
        self._glanced: _Cells | None = None
        self._moved_s = self._asked_s = clock()

    def rests(self, glance: Callable[[], Pixels]) -> bool:
        """Tell whether a still scene looks unchanged, so that not even the network's input needs to be computed.

        `glance` gives a few pixels, (H, W) or (H, W, C) uint8, of what the network looks at; asked only if it matters.
        """
        now_s = self._clock()
        if now_s - self._moved_s < self._after_s or now_s - self._asked_s >= self._every_s:
            return False
        before, self._glanced = self._glanced, _cells(glance(), GLANCE_PX)
        if before is None or _differ(self._glanced, before) > _PHOTO_LEVELS:
            return False
        self._glanced = before  # slow changes add up
        return True

    def skips(self, pixels: Pixels, chain: Chain) -> bool:
        """Tell whether the network need not be asked about an input (H, W, C) uint8 of a chain."""
        now_s, cells = self._clock(), _cells(pixels, _EDGES_CELLS if isinstance(chain, Edges) else GLANCE_PX)
        if self._moved(cells, chain):
            self._reference, self._glanced, self._moved_s = cells, None, now_s
        elif now_s - self._moved_s >= self._after_s and now_s - self._asked_s < self._every_s:
            return True
        self._asked_s = now_s
        return False

    def forget(self) -> None:
        """Treat the next input as movement."""
        self._reference = self._glanced = None

    def _moved(self, cells: _Cells, chain: Chain) -> bool:
        limit = _EDGES_LEVELS if isinstance(chain, Edges) else _PHOTO_LEVELS
        return self._reference is None or _differ(cells, self._reference) > limit


def _differ(cells: _Cells, before: _Cells) -> float:
    """Return the largest difference of two pictures in grey levels; infinite if they are of different sizes."""
    return float(np.abs(cells - before).max()) if cells.shape == before.shape else math.inf


def _cells(pixels: Pixels, most: int) -> _Cells:
    size = (min(most, pixels.shape[1]), min(most, pixels.shape[0]))
    cells: _Cells = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.int16)
    return cells
