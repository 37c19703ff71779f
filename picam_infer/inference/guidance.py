"""What to tell the person in front of the camera when the network cannot name what it sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from picam_infer.core import Pixels

# Shares of the square's side, of its area and of full brightness; measured on frames with digits of known size.
_EMPTY = 0.008
"""Less outline than this is not a digit."""
_SMALL, _LARGE = 0.33, 0.97
_CROWDED = 0.4
"""More outline than this is a room, not a sheet."""
_DARK = 0.2
_MOVED = 0.6
_STEADY_S = 0.7
"""Advice comes up, and goes, when it has been the same for this long; words that flicker cannot be read."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a picture of outlines shows, told from its simplest figures."""

    brightness: float
    """Mean of the square before its outlines were taken, 0…1."""
    outline: float
    """Share of the square that is outline, 0…1."""
    size: float
    """The longer side of what encloses all outlines, in sides of the square; 0: there are none."""
    moved: float
    """How little outline stayed where it was in the picture before, 0…1."""


def measure(outline: Pixels, grey: Pixels, before: Pixels | None) -> Sight:
    """Return the figures of outlines (H, W) uint8, of the grey square they come from, and of the outlines before."""
    total = float(cv2.norm(outline, cv2.NORM_L1))
    _, _, width, height = cv2.boundingRect(outline)
    moved = 0.0
    if before is not None and total:
        both = total + float(cv2.norm(before, cv2.NORM_L1))
        moved = float(cv2.norm(outline, before, cv2.NORM_L1)) / both
    return Sight(
        brightness=float(cv2.mean(grey)[0]) / 255,
        outline=total / 255 / outline.size,
        size=max(width / outline.shape[1], height / outline.shape[0]),
        moved=moved,
    )


def advice(sight: Sight) -> str:
    """Return what helps, in a few words; empty when nothing simple does."""
    if sight.outline < _EMPTY:
        return "more light" if sight.brightness < _DARK else "hold it in the box"
    if sight.outline > _CROWDED:
        return ""
    if sight.moved > _MOVED:
        return "hold it still"
    if sight.size < _SMALL:
        return "hold it closer: fill the box"
    if sight.size > _LARGE:
        return "hold it farther away"
    return "more light" if sight.brightness < _DARK else ""


class Guide:
    """Keeps advice from flickering."""

    def __init__(self) -> None:
        self._shown = ""
        self._next = ""
        self._since_s = 0.0

    def __call__(self, sight: Sight | None, known: bool, now_s: float) -> str:
        """Return the advice to show at a moment of a steady clock; what is known needs none, nor does a photo model."""
        wanted = "" if known or sight is None else advice(sight)
        if known or sight is None:
            self._shown = ""
        if wanted != self._next:
            self._next, self._since_s = wanted, now_s
        if now_s - self._since_s >= _STEADY_S:
            self._shown = wanted
        return self._shown
