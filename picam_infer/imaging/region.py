"""The part that a network looks at: where it is in the picture, in shares and in pixels. Computed only here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from picam_infer.core import Flip

Share = Annotated[float, Meta(gt=0, le=1)]
Unit = Annotated[float, Meta(ge=0, le=1)]
SMALLEST = 0.05
"""The smallest region that keys can set, as a share of the picture's height."""


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part anywhere in the upright picture (after rotation and flip); its proportions are the network's business.

    A region that would reach beyond an edge is moved inwards, so any numbers suit any picture. A square part in
    pixels: side = min(round(size · height), width, height), left = floor(x · width − side / 2) from 0 to width − side,
    top likewise with y and height.
    """

    x: Unit
    """Its middle, as a share of the picture's width from the left."""
    y: Unit
    """Its middle, as a share of the picture's height from the top."""
    size: Share
    """Its height, as a share of the picture's; where the picture is too narrow for it, both sides shrink."""


Roi = Share | Region
"""A share of the picture's height alone means a part in the middle."""

Aspect = float | None
"""Width over height of the part: 1 for a square; None: the picture's own."""


class Turned(Protocol):
    """Describes how a camera's picture is turned the right way up: a frame, or the capture settings."""

    @property
    def rotate(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270."""

    @property
    def flip(self) -> Flip:
        """After the rotation."""


class Box(NamedTuple):
    """A rectangle in pixels; x, y is its top left corner."""

    x: int
    y: int
    width: int
    height: int


def of(roi: Roi) -> Region:
    """Return the region that `preprocess.roi` means."""
    return roi if isinstance(roi, Region) else Region(0.5, 0.5, roi)


def simplest(region: Mapping[str, float]) -> Mapping[str, float] | float:
    """Return a region as a person would write it: if centred, just its size."""
    return region["size"] if region["x"] == region["y"] == 0.5 else region


@lru_cache(maxsize=64)  # called several times per frame, nearly always for the same region
def box(roi: Roi, width: int, height: int, aspect: Aspect = 1.0) -> Box:
    """Return the part of an upright picture of `width` x `height` pixels, wholly inside it."""
    region = of(roi)
    proportions = width / height if aspect is None else aspect
    tall = min(region.size * height, width / proportions)
    wide, high = (max(1, min(max(2, round(n)), m)) for n, m in ((tall * proportions, width), (tall, height)))
    # Slightly more: 0.29 * 100 is a little less than 29 and would come out a pixel short.
    left = math.floor(region.x * width - wide / 2 + 1e-6)
    top = math.floor(region.y * height - high / 2 + 1e-6)
    return Box(min(max(left, 0), width - wide), min(max(top, 0), height - high), wide, high)


def upright_size(turned: Turned, width: int, height: int) -> tuple[int, int]:
    """Return the width and height that a camera's picture has once it is turned the right way up."""
    return (height, width) if turned.rotate in (90, 270) else (width, height)


def raw_box(roi: Roi, turned: Turned, width: int, height: int, aspect: Aspect = 1.0) -> Box:
    """Return the same part as it lies in the camera's own picture, before rotation and flip.

    `width` and `height` are that picture's pixels, which are fewer than the frame's when it was decoded reduced.
    """
    wide, high = upright_size(turned, width, height)
    x, y, across, down = box(roi, wide, high, aspect)
    if turned.flip in ("horizontal", "both"):
        x = wide - x - across
    if turned.flip in ("vertical", "both"):
        y = high - y - down
    if turned.rotate == 90:
        return Box(y, wide - x - across, down, across)
    if turned.rotate == 180:
        return Box(wide - x - across, high - y - down, across, down)
    return Box(high - y - down, x, down, across) if turned.rotate == 270 else Box(x, y, across, down)


def moved(
    roi: Roi, width: int, height: int, right: float = 0.0, down: float = 0.0, larger: float = 0.0, aspect: Aspect = 1.0
) -> Roi:
    """Return the region moved and enlarged by shares of the picture's height, wholly inside the picture.

    In the middle it is a plain share of the height again.
    """
    proportions = width / height if aspect is None else aspect
    region, widest = of(roi), min(width / height / proportions, 1.0)
    size = round(min(max(min(region.size, widest) + larger, SMALLEST), widest), 4)
    x = _inside(region.x, size * proportions * height / width, right * height / width)
    y = _inside(region.y, size, down)
    return size if (x, y) == (0.5, 0.5) else Region(x, y, size)


def _inside(at: float, side: float, by: float) -> float:
    """Return the middle moved `by` from where it is drawn, which may lie further in than its numbers say."""
    least = min(side / 2, 0.5)
    now = min(max(at, least), 1 - least)
    return round(min(max(now + by, least), 1 - least), 4)
