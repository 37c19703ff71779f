"""The overlay's pieces, drawn once and blended into each picture: labels on their plates, boxes, the inset."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import msgspec
import numpy as np

from picam_infer.core import Overlay, Pixels
from picam_infer.imaging.region import Box
from picam_infer.outputs.text import Colour, coverage, write

PLATE: Colour = (24, 20, 18)
_SHINES_THROUGH = 0.25
"""How much of the picture a plate lets through."""


class Strip(msgspec.Struct, frozen=True, eq=False):
    """One ready piece. It may reach over the picture's edges."""

    x: int
    y: int
    ink: Pixels
    """What it adds, BGR (H, W, 3)."""
    through: Pixels | None = None
    """How much of the picture it lets through, (H, W, 3), 255: all; None: nothing."""

    def within(self, height: int, width: int) -> Strip | None:
        """Return the part of it that lies on a picture; None: none does."""
        x, y = max(0, self.x), max(0, self.y)
        wide = min(width, self.x + self.ink.shape[1]) - x
        high = min(height, self.y + self.ink.shape[0]) - y
        if wide <= 0 or high <= 0:
            return None
        mine = np.s_[y - self.y : y - self.y + high, x - self.x : x - self.x + wide]
        return Strip(x, y, self.ink[mine], None if self.through is None else self.through[mine])

    @property
    def place(self) -> Box:
        """Where it lies."""
        return Box(self.x, self.y, self.ink.shape[1], self.ink.shape[0])

    def blended(self, part: Pixels) -> Pixels:
        """Return what its part of the picture would become; nothing is drawn."""
        if self.through is None:
            return self.ink
        seen = cv2.multiply(part, self.through, scale=1 / 255)
        blended: Pixels = cv2.add(seen, self.ink, dst=seen)
        return blended


class Layer:
    """Strips for pictures of one size, the lower ones first."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        """Of the picture: rows, columns."""
        self._strips: list[Strip] = []
        self._laid: list[Overlay | tuple[Strip, Box, bool]] = []
        """What lies the same over any picture; else the strip, its place, and whether it lies on others."""
        self.inset: int | None = None
        """Which strip shows what the network saw, if one does: the only one that changes with every picture."""

    def with_inset(self, ink: Pixels) -> Layer:
        """Return the same layer with another picture, BGR of the same size, for its inset."""
        assert self.inset is not None
        made = Layer(*self.shape)
        made._strips, made._laid, made.inset = self._strips.copy(), self._laid.copy(), self.inset
        strip = made._strips[self.inset] = msgspec.structs.replace(self._strips[self.inset], ink=ink)
        made._laid[self.inset] = Overlay(strip.x, strip.y, ink)
        return made

    @property
    def inset_shape(self) -> tuple[int, ...]:
        """Rows and columns of the inset; (): there is none."""
        return () if self.inset is None else self._strips[self.inset].ink.shape[:2]

    def add_inset(self, ink: Pixels, x: int, y: int) -> None:
        """Lay what the network saw, BGR (H, W, 3), over the picture."""
        before = len(self._strips)
        self.add((Strip(0, 0, ink),), x, y)
        if len(self._strips) > before and self._strips[before].ink.shape == ink.shape:  # else it is drawn anew
            self.inset = before

    def add(self, strips: Iterable[Strip], x: int, y: int) -> None:
        """Lay strips over the picture, their origin at x, y; what is outside it is cut off."""
        for strip in strips:
            lying = Strip(strip.x + x, strip.y + y, strip.ink, strip.through).within(*self.shape)
            if lying is not None:
                at = lying.place
                on_others = any(_overlap(at, other.place) for other in self._strips)
                self._laid.append(Overlay(at.x, at.y, lying.ink) if lying.through is None else (lying, at, on_others))
                self._strips.append(lying)

    def draw(self, image: Pixels) -> None:
        """Draw them on BGR (H, W, 3)."""
        for strip in self._strips:
            part = cut(image, strip.place)
            part[:] = strip.blended(part)

    def overlays(self, image: Pixels) -> list[Overlay]:
        """Return what drawing them would make of BGR (H, W, 3), which stays as it is."""
        laid: list[Overlay] = []
        for piece in self._laid:
            if isinstance(piece, Overlay):
                laid.append(piece)
                continue
            strip, at, on_others = piece
            part = cut(image, at)
            laid.append(Overlay(at.x, at.y, strip.blended(_with(part, at, laid) if on_others else part)))
        return laid


def cut(image: Pixels, at: Box) -> Pixels:
    """Return a part of a picture, as a view."""
    return image[at.y : at.y + at.height, at.x : at.x + at.width]


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def _with(part: Pixels, at: Box, laid: Iterable[Overlay]) -> Pixels:
    """Return the part with what lies on it already; the same object when that is nothing."""
    shown = part
    for x, y, pixels in laid:
        left, top = max(at.x, x), max(at.y, y)
        right, bottom = min(at.x + at.width, x + pixels.shape[1]), min(at.y + at.height, y + pixels.shape[0])
        if left < right and top < bottom:
            shown = part.copy() if shown is part else shown
            shown[top - at.y : bottom - at.y, left - at.x : right - at.x] = pixels[
                top - y : bottom - y, left - x : right - x
            ]
    return shown


@lru_cache(maxsize=32)
def line(text: str, size: int, colour: Colour, width: int, height: int) -> tuple[Strip, ...]:
    """Return one line of text, `size` pixels high, on a dark plate of width×height pixels."""
    pad = max(2, size // 3)
    ink = np.full((height, width, 3), [round(c * (1 - _SHINES_THROUGH)) for c in PLATE], np.uint8)
    through = np.full((height, width, 3), round(255 * _SHINES_THROUGH), np.uint8)
    write(ink, text, (pad, pad // 2), size, colour)
    covered = coverage(text, size)
    under = through[pad // 2 : pad // 2 + covered.shape[0], pad : pad + covered.shape[1]]
    bare = 255 - covered[: under.shape[0], : under.shape[1], None]
    under[:] = under.astype(np.uint16) * bare // 255
    return (Strip(0, 0, ink, through),)


@lru_cache(maxsize=16)
def box(width: int, height: int, thick: int, colour: Colour) -> tuple[Strip, ...]:
    """Return the lines around a box whose corner is the origin: coloured between black, for any background."""
    half = thick // 2 + 1
    canvas = _framed(width, height, thick, colour)
    side = 2 * half + 1
    if min(canvas.shape[:2]) <= 2 * side:
        return (Strip(-half, -half, canvas),)
    edges = (
        (0, side, 0, canvas.shape[1]),
        (canvas.shape[0] - side, canvas.shape[0], 0, canvas.shape[1]),
        (side, canvas.shape[0] - side, 0, side),
        (side, canvas.shape[0] - side, canvas.shape[1] - side, canvas.shape[1]),
    )
    return tuple(
        Strip(left - half, top - half, canvas[top:bottom, left:right].copy()) for top, bottom, left, right in edges
    )


def _framed(width: int, height: int, thick: int, colour: Colour) -> Pixels:
    """Return a box of width×height pixels with its lines, which reach as far outwards as inwards."""
    half = thick // 2 + 1
    canvas = np.zeros((height + 2 * half, width + 2 * half, 3), np.uint8)
    for ring in range(1, 2 * half):
        cv2.rectangle(canvas, (ring, ring), (canvas.shape[1] - 1 - ring, canvas.shape[0] - 1 - ring), colour, 1)
    return canvas
