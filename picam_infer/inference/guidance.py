"""What to tell the person in front of the camera when the network cannot name what it sees."""

from __future__ import annotations

import cv2
import msgspec

from picam_infer.core import Pixels

# Shares of the square's side, of its area and of full brightness; measured on photographed digits of known size.
_EMPTY = 0.008
"""Less outline than this cannot be a digit."""
_SMALL, _SPAN = 0.36, 0.8
_CROWDED = 0.4
"""More outline than this is a room, not a sheet."""
_DARK, _DIM, _WRITTEN = 0.2, 0.35, 0.1
"""Below the first it is dark; below the second as well, unless the square is as even as an empty one."""
_MOVED = 0.6
_EXTREMES = (min, min, max, max)
_LIT = 64
"""A pixel brighter than this is outline."""
_STEADY_S = 0.7
"""Advice appears, and disappears, when it has been the same for this long, so that it does not flicker."""


class Sight(msgspec.Struct, frozen=True):
    """What a picture of outlines shows, in a few simple figures."""

    brightness: float
    """Mean of the square before its outlines were taken, 0…1."""
    contrast: float
    """Standard deviation of the same, in means."""
    outline: float
    """Share of the square that is outline, 0…1."""
    size: float
    """The longer side of the thing as a share of the square's; 1 if it reaches the border, 0 if there is none."""
    moved: float
    """The share of outline that has moved since the previous picture, 0…1."""


def measure(outline: Pixels, grey: Pixels, before: Pixels | None) -> Sight:
    """Return the figures of outlines (H, W) uint8, of the grey square they come from, and of the outlines before."""
    total = float(cv2.norm(outline, cv2.NORM_L1))
    moved = 0.0
    if before is not None and total:
        both = total + float(cv2.norm(before, cv2.NORM_L1))
        moved = float(cv2.norm(outline, before, cv2.NORM_L1)) / both
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    return Sight(
        brightness=mean / 255,
        contrast=deviation / max(mean, 1.0),
        outline=total / 255 / outline.size,
        size=_size(outline),
        moved=moved,
    )


def _size(outline: Pixels) -> float:
    """Return how large the thing is: of what keeps off the border the largest, unless something larger lies around it.

    What only touches the border, as the sheet's edge and the next word do, is not it; unless all of it together spans
    the square.
    """
    high, wide = outline.shape
    lit = cv2.threshold(outline, _LIT, 1, cv2.THRESH_BINARY)[1]
    thing, size, others = (wide / 2, high / 2, wide / 2, high / 2), 0.0, []
    for x, y, width, height in cv2.connectedComponentsWithStats(lit)[2][1:, :4].tolist():
        box, side = (x, y, x + width, y + height), max(width / wide, height / high)
        if x == 0 or y == 0 or x + width == wide or y + height == high:
            others.append(box)
        elif side > size:
            thing, size = box, side
    around = any(o[0] <= thing[0] and o[1] <= thing[1] and o[2] >= thing[2] and o[3] >= thing[3] for o in others)
    if not size and others:
        left, top, right, bottom = (
            pick(sides) for pick, sides in zip(_EXTREMES, zip(*others, strict=True), strict=True)
        )
        around = around or (right - left >= _SPAN * wide and bottom - top >= _SPAN * high)
    return 1.0 if around else size


def advice(sight: Sight) -> str:
    """Return what helps, in a few words; empty when nothing simple does."""
    dark = sight.brightness < (_DIM if sight.contrast > _WRITTEN else _DARK)
    if sight.outline < _EMPTY:
        return "more light" if dark else "hold it in the box"
    if sight.outline > _CROWDED:
        return ""
    if sight.moved > _MOVED:
        return "hold it still"
    if sight.size == 0:
        return "hold it in the box"
    if sight.size < _SMALL:
        return "hold it closer: fill the box"
    if sight.size == 1:
        return "hold it farther away"
    return "more light" if sight.brightness < _DARK else ""


class Guide:
    """Keeps advice from flickering."""

    def __init__(self) -> None:
        self._shown = ""
        self._next = ""
        self._since_s = 0.0

    def __call__(self, sight: Sight | None, known: bool, now_s: float) -> str:
        """Return the advice to show now (on a steady clock); a recognised thing needs none, nor does a photo model."""
        wanted = "" if known or sight is None else advice(sight)
        if known or sight is None:
            self._shown = ""
        if wanted != self._next:
            self._next, self._since_s = wanted, now_s
        if now_s - self._since_s >= _STEADY_S:
            self._shown = wanted
        return self._shown
