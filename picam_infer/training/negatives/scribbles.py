"""Scribbles, stains, crumbs and doodles, as fields (CANVAS_PX square, float32)."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training.glyphs import CANVAS_PX, FAR, GLYPH_PX, Polyline, glyph, strokes_field


def scribble(rng: np.random.Generator) -> np.ndarray:
    """Return loops, tangles, hatching or a few stray lines."""
    kind = rng.integers(0, 4)
    strokes: list[Polyline]
    if kind == 0:
        steps = rng.normal(0, 1, (int(rng.integers(40, 160)), 2))
        smooth = cv2.GaussianBlur(steps.astype(np.float32), (1, 0x1F), float(rng.uniform(2, 6)))
        strokes = [np.cumsum(smooth - smooth.mean(0) * rng.random(), 0).astype(np.float32)]
    elif kind == 1:
        t = np.linspace(0, rng.uniform(3, 9) * 2 * np.pi, 200)
        loop = np.stack(
            [np.cos(t) * rng.uniform(0.2, 0.6) + t * rng.uniform(0.02, 0.12), np.sin(t * rng.uniform(0.95, 1.05))], 1
        )
        strokes = [(loop + rng.normal(0, 0.03, loop.shape)).astype(np.float32)]
    elif kind == 2:
        n = int(rng.integers(6, 16))
        ends = np.stack([np.arange(n) / n, np.where(np.arange(n) % 2, 1.0, 0.0) * rng.uniform(0.3, 1)], 1)
        strokes = [(ends + rng.normal(0, 0.05, ends.shape)).astype(np.float32)]
    else:
        strokes = [rng.random((2, 2)).astype(np.float32) for _ in range(int(rng.integers(3, 8)))]
    return strokes_field(strokes)


def tangle(rng: np.random.Generator) -> np.ndarray:
    """Return a scribble whose line is too long for any digit; a short random one often is a 1, 4 or 7."""
    kind = rng.integers(0, 4)
    if kind == 0:
        steps = cv2.GaussianBlur(rng.normal(0, 1, (int(rng.integers(160, 260)), 2)).astype(np.float32), (1, 0x1F), 3.0)
        home = steps - steps.mean(0)  # it comes back, and so crosses itself
        return strokes_field([np.cumsum(home, 0).astype(np.float32)])
    if kind == 1:
        t = np.linspace(0, rng.uniform(4, 9) * 2 * np.pi, 240)
        loop = np.stack([np.cos(t) * rng.uniform(0.3, 0.6) + t * rng.uniform(0.04, 0.12), np.sin(t)], 1)
        return strokes_field([(loop + rng.normal(0, 0.03, loop.shape)).astype(np.float32)])
    if kind == 2:
        n = int(rng.integers(9, 18))
        ends = np.stack([np.arange(n) / n, np.where(np.arange(n) % 2, 1.0, 0.0) * rng.uniform(0.4, 1)], 1)
        return strokes_field([(ends + rng.normal(0, 0.05, ends.shape)).astype(np.float32)])
    return strokes_field([rng.random((2, 2)).astype(np.float32) for _ in range(int(rng.integers(6, 11)))])


def blobs(rng: np.random.Generator) -> np.ndarray:
    """Return filled, more or less round stains: negative inside, as an outline's field is."""
    mask = np.full((CANVAS_PX, CANVAS_PX), 255, np.uint8)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 6]))):
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        radius = np.ones_like(t) * GLYPH_PX * rng.uniform(0.08, 0.5)
        for k in range(1, 5):
            radius *= 1 + rng.uniform(0, 0.35 * rng.random()) / k * np.cos(k * t + rng.uniform(0, 7))
        squash = rng.uniform(0.5, 1, 2)
        centre = CANVAS_PX / 2 + rng.normal(0, 0.12 * GLYPH_PX, 2)
        points = np.stack([np.cos(t), np.sin(t)], 1) * radius[:, None] * squash + centre
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 0, cv2.LINE_8, 4)
    outside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    return np.asarray(cv2.GaussianBlur(outside - inside, (0, 0), 1.0) / GLYPH_PX)


def dots(rng: np.random.Generator) -> np.ndarray:
    """Return crumbs and specks."""
    mask = np.full((CANVAS_PX, CANVAS_PX), 255, np.uint8)
    for x, y in rng.integers(8, CANVAS_PX - 8, (int(rng.integers(1, 14)), 2)):
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(0, 4)), 0, -1)
    return mask_or_far(mask)


def mask_or_far(mask: np.ndarray) -> np.ndarray:
    """Return the field of a mask's zero pixels, FAR everywhere when it has none."""
    if mask.all():
        return np.full(mask.shape, FAR, np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 1.0) / GLYPH_PX)


def smiley(rng: np.random.Generator) -> np.ndarray:
    """Return a drawn face."""
    face = "50,0 14,14 0,50 14,86 50,100 86,86 100,50 86,14 50,0/32,30 32,40/66,30 66,40/26,62 50,80 74,62"
    return strokes_field(glyph(face, rng, 0.02))


def spiral(rng: np.random.Generator) -> np.ndarray:
    """Return a spiral of two turns or more."""
    t = np.linspace(0, rng.uniform(2.2, 4) * 2 * np.pi, 160)
    return strokes_field([np.stack([t * np.cos(t), t * np.sin(t) * rng.uniform(0.8, 1)], 1).astype(np.float32)])


def leaf(rng: np.random.Generator) -> np.ndarray:
    """Return a leaf with its veins."""
    outline = "50,100 50,84 20,60 16,30 50,0 50,0 84,30 80,60 50,84"
    veins = "50,84 50,14/50,64 28,46/50,64 72,46/50,42 32,26/50,42 68,26"
    return strokes_field(glyph(f"{outline}/{veins}", rng, 0.03))
