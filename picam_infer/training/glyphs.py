"""Handwriting as geometry: built-in pen strokes for 0-9, Hershey letters, and the distance fields that pens follow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Polyline = np.ndarray
"""(n, 2) float32 points, x to the right and y down; a glyph fills the unit square."""

CANVAS_PX = 112
GLYPH_PX = 80
FAR = 1.0
_LIFT_PX = 1.3
"""Side of a field, the share of it a glyph's longer side takes (as MNIST's 20 of 28 px), and "no ink near"."""

# One glyph a string, strokes split by "/", points "x,y" in percent; a point written twice is a sharp corner.
_DIGITS: dict[int, tuple[str, ...]] = {
    0: (
        "50,0 24,14 12,50 25,87 50,100 77,86 88,50 78,14 50,0",
        "58,3 32,8 14,42 22,84 46,100 72,88 86,52 76,14 52,0 40,4",
        "50,0 22,16 14,50 24,86 50,100 78,86 88,50 78,16 50,0/88,4 14,98",
        "54,0 28,14 18,48 26,88 50,100 74,86 84,50 76,16 52,0/66,32 34,70",
    ),
    1: (
        "52,0 50,100",
        "28,24 54,0 54,0 54,100",
        "30,22 52,0 52,0 52,100/28,100 76,100",
        "62,0 42,100",
        "16,36 54,0 54,0 54,100/16,100 90,100",
        "38,12 52,0 52,0 50,100/36,98 66,100",
        "8,42 60,0 60,0 46,100",
        "26,40 40,24 54,0 54,0 52,100",
        "22,20 54,0 54,0 42,100/14,98 74,96",
    ),
    2: (
        "15,22 30,4 58,0 80,18 72,45 40,75 12,100 12,100 88,98",
        "18,20 35,2 65,2 80,22 66,52 35,85 18,98 14,86 34,82 60,97 90,92",
        "14,14 45,0 80,12 76,40 14,98 14,98 86,100",
        "22,30 14,16 34,0 66,2 78,22 62,50 22,88 8,92 8,80 24,78 50,98 80,98 92,80",
        "28,30 40,4 66,2 74,20 58,50 24,90 8,100 4,88 20,80 48,92 96,96",
        "30,26 20,30 16,16 36,0 68,4 78,26 60,56 12,98 12,98 34,88 62,98 86,96 92,82 82,78",
    ),
    3: (
        "18,10 45,0 74,10 74,34 42,47 42,47 78,58 84,80 58,100 28,98 12,84",
        "15,2 80,2 80,2 44,40 44,40 78,52 82,84 50,100 15,90",
        "20,12 50,0 76,16 66,40 46,46 72,54 84,76 56,100 16,90",
        "12,8 84,0 84,0 40,38 40,38 74,50 78,84 44,100 8,90",
    ),
    4: (
        "30,0 12,58 12,58 88,58/66,26 66,100",
        "70,100 70,0 70,0 10,68 10,68 94,68",
        "18,4 16,40 28,54 74,48/80,0 74,50 70,100",
        "38,0 8,54 8,54 92,46/64,20 52,100",
        "24,4 20,46 20,46 70,44/74,14 66,100",
        "60,100 68,0 68,0 6,62 96,58",
    ),
    5: (
        "80,0 25,0 25,0 20,45 20,45 52,36 82,55 80,85 48,100 14,88",
        "26,2 20,44 20,44 56,38 82,60 76,90 44,100 14,90/26,2 84,0",
        "82,4 34,2 34,2 22,42 60,46 80,70 60,96 18,96",
        "14,0 40,12 94,14/38,12 22,46 22,46 60,44 68,66 42,90 2,98",
        "28,6 96,0/32,4 16,40 16,40 56,40 70,62 48,88 4,100",
        "96,8 38,0 38,0 24,40 24,40 62,48 64,74 36,94 4,90",
    ),
    6: (
        "70,0 35,22 15,60 25,94 55,100 80,82 76,58 50,50 22,66",
        "52,0 26,40 18,78 40,100 72,90 74,66 48,58 22,76",
        "66,0 34,36 22,78 40,100 64,90 64,68 42,62 24,80",
        "60,0 40,30 28,70 30,94 52,100 70,82 56,64 34,72 20,90",
    ),
    7: (
        "12,0 88,0 88,0 55,45 38,100",
        "12,4 86,0 86,0 50,55 40,100/34,50 78,46",
        "12,16 14,2 14,2 86,4 86,4 44,100",
        "4,22 60,16 96,6/66,14 58,100",
        "2,26 40,22 96,4 96,14 74,18 54,100",
        "8,12 90,2 90,2 42,100/22,54 78,48",
        "6,16 28,2 56,12 90,0 90,0 46,100",
        "10,20 12,4 12,4 88,2 88,2 52,60 48,100/30,50 74,50",
        "4,10 70,10 96,4 80,22 62,100",
    ),
    8: (
        "72,14 48,0 24,14 32,36 68,60 80,84 50,100 20,84 32,60 66,38 72,14",
        "50,0 26,10 28,36 50,46 72,36 74,10 50,0/50,46 22,60 22,90 50,100 78,90 78,60 50,46",
        "78,8 44,0 24,20 44,42 74,66 70,94 40,100 22,82 40,54 66,30 84,2",
    ),
    9: (
        "78,22 52,0 22,16 20,42 45,54 72,42 78,22 78,22 74,60 66,100",
        "78,24 50,0 22,18 22,42 46,52 74,40 78,22 82,62 62,94 28,98",
        "70,8 46,0 24,20 32,40 56,36 70,10 70,10 74,60 62,98 30,100 22,84",
        "74,10 48,2 24,22 32,44 58,38 74,8 74,8 70,100",
    ),
}


def _smooth(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through the points; a repeated point starts a new piece and so keeps its corner."""
    breaks = [i for i in range(1, len(points)) if np.array_equal(points[i], points[i - 1])]
    pieces = np.split(points, breaks)
    out: list[np.ndarray] = []
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
    for piece in pieces:
        p = np.concatenate([2 * piece[:1] - piece[1:2], piece, 2 * piece[-1:] - piece[-2:-1]])
        if np.array_equal(piece[0], piece[-1]) and len(piece) > 3:
            p[0], p[-1] = piece[-2], piece[1]
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
            out.append(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            )
        out.append(piece[-1:])
    return np.concatenate(out).astype(np.float32)


def _points(text: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split(",")] for pair in text.split()], np.float32) / 100


def glyph(text: str, rng: np.random.Generator, jitter: float = 0.02) -> list[Polyline]:
    """Return the strokes of a glyph written as in the table above, each point moved by `jitter` (share of height)."""
    strokes = []
    for part in text.split("/"):
        points = _points(part)
        moved = points + rng.normal(0, jitter, points.shape).astype(np.float32)
        same = np.flatnonzero((points[1:] == points[:-1]).all(axis=1)) + 1
        moved[same] = moved[same - 1]
        strokes.append(_smooth(moved))
    return strokes


def digit_strokes(digit: int, rng: np.random.Generator) -> list[Polyline]:
    """Return a digit as if drawn by hand: one of a few built-in variants with its own slant, width and wobble.

    These are polylines of (n, 2) float32 points in the unit square (about 0..1), y down.
    """
    strokes = glyph(str(rng.choice(_DIGITS[digit])), rng)
    slant, width = rng.normal(0, 0.08), rng.uniform(0.6, 0.9)
    warp = np.array([[width, slant], [0, 1]], np.float32)
    return [((s - 0.5) @ warp.T + 0.5).astype(np.float32) for s in strokes]


def strokes_field(strokes: Sequence[Polyline]) -> np.ndarray:
    """Return how far each point of a glyph's canvas is from the pen's path.

    The strokes are fitted into the middle GLYPH_PX. The field is CANVAS_PX x CANVAS_PX float32, in glyph heights.
    """
    every = np.concatenate(strokes)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = GLYPH_PX / max(float((high - low).max()), 1e-3)
    middle = (low + high) / 2
    mask = np.full((CANVAS_PX, CANVAS_PX), 255, np.uint8)
    lines = [np.round(((s - middle) * scale + CANVAS_PX / 2) * 16).astype(np.int32) for s in strokes]
    cv2.polylines(mask, lines, False, 0, 1, cv2.LINE_8, 4)
    return mask_field(mask)


def mask_field(paper: np.ndarray) -> np.ndarray:
    """Return the distance from the zero pixels (the pen's path) of a square uint8 mask, as `strokes_field` does.

    The blur that smooths the path's steps also raises its minimum; that is subtracted again, or thin pens leave gaps.
    """
    far = cv2.distanceTransform(paper, cv2.DIST_L2, 5)
    if far.shape[0] != CANVAS_PX:
        far = cv2.resize(far, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_LINEAR) * (CANVAS_PX / far.shape[0])
    smooth = cv2.GaussianBlur(far, (0, 0), 1.2)
    return np.asarray(np.maximum(smooth - _LIFT_PX, 0) / GLYPH_PX)


def text_field(text: str, font: int, bold: int) -> np.ndarray:
    """Return the distance field of `text` in one of OpenCV's Hershey fonts (italic flag allowed), `bold` px thick."""
    (width, height), base = cv2.getTextSize(text, font, 2.5, bold)
    side = max(width, height + base) + 24
    mask = np.full((side, side), 255, np.uint8)
    cv2.putText(mask, text, (12, (side + height - base) // 2), font, 2.5, 0, bold, cv2.LINE_8)
    ys, xs = np.nonzero(mask == 0)
    if len(xs) == 0:
        return np.full((CANVAS_PX, CANVAS_PX), FAR, np.float32)
    scale = GLYPH_PX / max(float(np.ptp(xs)), float(np.ptp(ys)), 8.0)
    shift = CANVAS_PX / 2 - scale * np.array([(xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2])
    warp = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    far = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    field = cv2.warpAffine(far, warp, (CANVAS_PX, CANVAS_PX), flags=cv2.INTER_LINEAR, borderValue=side)
    return np.asarray(cv2.GaussianBlur(field * np.float32(scale), (0, 0), 1.0) / GLYPH_PX)


def _thin_step(image: np.ndarray, first: bool) -> np.ndarray:
    """Half an iteration of Zhang and Suen's thinning (CACM 27(3), 1984) on a stack of 0/1 images."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    h, w = image.shape[1:]
    around = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    n = [padded[:, y : y + h, x : x + w] for y, x in around]
    count = n[0] + n[1] + n[2] + n[3] + n[4] + n[5] + n[6] + n[7]
    turns = np.zeros_like(image)
    for a, b in zip(n, [*n[1:], n[0]], strict=True):
        turns += (1 - a) & b
    north, east, south, west = n[0], n[2], n[4], n[6]
    pair = (east & south) if first else (north & west)
    keep = pair & ((north | west) if first else (east | south))
    gone = (count >= 2) & (count <= 6) & (turns == 1) & (keep == 0)
    return np.asarray(image & ~gone.astype(np.uint8))


def _ink_level(image: np.ndarray, pixels: int) -> np.ndarray:
    """Return how bright each pixel of a scan has to be to count as ink, float32; `pixels` make one of MNIST's.

    With one level for all, faint strokes would break, and the gaps of blotted digits would close.
    """
    around = cv2.blur(image, (6 * pixels - 1, 6 * pixels - 1), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    return np.asarray(np.clip(0.85 * around, 60, 200))


def _path(image: np.ndarray) -> np.ndarray:
    """Return 1 where a scan, at twice its size, is ink."""
    big = cv2.GaussianBlur(cv2.resize(image, (56, 56), interpolation=cv2.INTER_CUBIC), (3, 3), 0)
    return np.asarray((big > _ink_level(big, 2)).astype(np.uint8))


def skeletons(images: np.ndarray) -> np.ndarray:
    """Return the pen's paths in scans (n x 28 x 28 uint8, ink bright): n x 56 x 56, 1 on lines one pixel wide."""
    thin = np.stack([_path(image) for image in images])
    while True:
        after = _thin_step(_thin_step(thin, True), False)
        if np.array_equal(after, thin):
            return thin
        thin = after


def digit_field(image: np.ndarray, skeleton: np.ndarray | None) -> np.ndarray:
    """Return a scanned digit as a field: from its skeleton (for a pen of any width), else from its own outline.

    `image` is 28 x 28 uint8, `skeleton` 56 x 56 as `skeletons` gives it. The outline's field is 0 where ink begins,
    negative inside.
    """
    if skeleton is not None:
        return mask_field(1 - skeleton)
    big = cv2.resize(image, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_CUBIC)
    level = _ink_level(big, CANVAS_PX // 28)
    paler = level - cv2.GaussianBlur(big.astype(np.float32), (0, 0), 2)
    return np.asarray(paler * np.float32(0.06) / np.where(paler > 0, level, np.float32(127)))
