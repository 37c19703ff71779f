"""Whether anything moves, judged from the few pixels that the network sees: a still scene needs fewer inferences."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.core import Pixels
from picam_infer.models.bundle import Chain, Edges

# Means over cells, so that a dim webcam's noise is not movement; measured on noise of 12 grey levels and small objects.
_PHOTO_CELLS, _PHOTO_LEVELS = 28, 8
_EDGES_CELLS, _EDGES_LEVELS = 14, 80


class Stillness:
    """Compares each input with the last one that moved, so that slow changes add up. One thread uses it."""

    def __init__(self, after_s: float, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`after_s`: how long nothing must have moved; `per_s`: how often a still scene is asked about."""
        self._after_s = after_s
        self._every_s = 1 / per_s
        self._clock = clock
        self._reference: npt.NDArray[np.int16] | None = None
        self._moved_s = self._asked_s = clock()

    def skips(self, pixels: Pixels, chain: Chain) -> bool:
        """Tell whether an input (H, W, C) uint8 of a chain need not be asked about."""
        now_s, cells = self._clock(), _cells(pixels, chain)
        if self._moved(cells, chain):
            self._reference, self._moved_s = cells, now_s
        elif now_s - self._moved_s >= self._after_s and now_s - self._asked_s < self._every_s:
            return True
        self._asked_s = now_s
        return False

    def forget(self) -> None:
        """Treat the next input as movement."""
        self._reference = None

    def _moved(self, cells: npt.NDArray[np.int16], chain: Chain) -> bool:
        before = self._reference
        if before is None or before.shape != cells.shape:
            return True
        limit = _EDGES_LEVELS if isinstance(chain, Edges) else _PHOTO_LEVELS
        return int(np.abs(cells - before).max()) > limit


def _cells(pixels: Pixels, chain: Chain) -> npt.NDArray[np.int16]:
    most = _EDGES_CELLS if isinstance(chain, Edges) else _PHOTO_CELLS
    size = (min(most, pixels.shape[1]), min(most, pixels.shape[0]))
    cells: npt.NDArray[np.int16] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.int16)
    return cells
