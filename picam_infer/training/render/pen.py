"""The pen: where its line lies in the frame, how wide it is, and how its ink covers the paper."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from picam_infer.training.glyphs import CANVAS_PX, FAR, GLYPH_PX
from picam_infer.training.noise import grain, noise_image
from picam_infer.training.render.params import RenderParams, View, uniform

_INSET = 0.015
"""The least distance of a digit from the square's border, in shares of its side."""
_LEAST_GAP = 0.008
"""Half the width of the narrowest gap between two strokes that light and focus leave open, in the square's sides."""
_LEAST_PART = 6
"""The smallest loop or piece that can be seen, in pixels of a field at half size."""
_THINNEST = 0.02
"""A pen's reach, in glyph heights, below which a field at half size would show gaps where there are none."""


def elastic(field: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Return a field bent smoothly, as another hand would have written it."""
    if strength <= 0:
        return field
    coarse = rng.normal(0, strength * GLYPH_PX, (2, 4, 4)).astype(np.float32)
    dx, dy = (cv2.resize(c, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_CUBIC) for c in coarse)
    y, x = np.mgrid[0:CANVAS_PX, 0:CANVAS_PX].astype(np.float32)
    return np.asarray(cv2.remap(field, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def placement(height: float, view: View, params: RenderParams, rng: np.random.Generator, slack: float) -> np.ndarray:
    """Return the 3 x 3 map from a field to the view: its size, aspect, shear, rotation, perspective, position."""
    a, shear = np.radians(rng.uniform(-params.turn_deg, params.turn_deg)), rng.uniform(-params.shear, params.shear)
    wide = uniform(rng, params.aspect)
    size = np.diag([height * min(wide, 1), height / max(wide, 1), 1])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    slant = np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    room = max((1 - height) / 2, 0.0) + slack
    dx, dy = np.clip(rng.normal(0, 0.45, 2), -1, 1) * room
    tilt = rng.uniform(-params.perspective, params.perspective, 2)
    view_map = np.array([[view.roi_px, 0, view.width / 2], [0, view.roi_px, view.height / 2], [0, 0, 1]])
    move = np.array([[1, 0, dx], [0, 1, dy], [tilt[0], tilt[1], 1]])
    glyph = np.array([[1, 0, -CANVAS_PX / 2], [0, 1, -CANVAS_PX / 2], [0, 0, GLYPH_PX]])
    return np.asarray(view_map @ move @ turn @ slant @ size @ glyph)


def kept_inside(place: np.ndarray, ink: np.ndarray, view: View) -> np.ndarray:
    """Return the map, moved and if need be shrunk so that what it draws (1 in `ink`) lies in the centre square."""
    points = cv2.findNonZero(ink)
    if points is None:
        return place
    hull = cv2.convexHull(points).astype(np.float32)
    drawn = cv2.perspectiveTransform(hull, place)[:, 0]
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    middle, room = np.array([view.width, view.height]) / 2, view.roi_px * (0.5 - _INSET)
    scale = min(1.0, 2 * room / float((high - low).max()))
    half = scale * (high - low) / 2
    centre = np.clip((low + high) / 2, middle - room + half, middle + room - half)
    shift = centre - scale * (low + high) / 2
    return np.asarray(np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]]) @ place)


def _shape(field: np.ndarray, reach: float) -> tuple[int, int]:
    """Return how many pieces and loops ink has that goes as far as `reach`, without those too small to be seen."""
    ink = (field[::2, ::2] < reach).astype(np.uint8)
    pieces = cv2.connectedComponentsWithStats(ink, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    grounds = cv2.connectedComponentsWithStats(1 - ink, connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    return int((pieces >= _LEAST_PART).sum()), int((grounds >= _LEAST_PART).sum()) - 1


def clear_reach(field: np.ndarray, reach: float, least: float, height: float) -> float:
    """Return the reach nearest to the wanted one, down to `least`, that neither closes nor opens the digit's loops."""
    gap = _LEAST_GAP / height
    pieces, loops = _shape(field, max(least, _THINNEST) if least > 0 else least)
    for wanted in np.linspace(reach, least, 6):
        clear = float(wanted)
        if _shape(field, clear)[0] == pieces and _shape(field, clear + gap)[1] == loops:
            break
    return clear


@dataclass(frozen=True)
class Ink:
    """How a pen leaves its ink; lengths in shares of the centre square's side."""

    rough: float = 0.0
    """How far the outline strays from a smooth one."""
    dry: float = 0.0
    """The share of paper that shows through."""
    hollow: float = 0.0
    """How much paler the middle of a stroke is, as a drying marker leaves it."""


PLAIN_INK = Ink()


def ink_of(params: RenderParams, rng: np.random.Generator) -> Ink:
    """Return an ink by the shares of `params`."""
    rough = float(np.exp(rng.uniform(*np.log((0.001, 0.012))))) if rng.random() < params.rough else 0.0
    dry = rng.uniform(0.05, 0.45) if rng.random() < params.dry else 0.0
    hollow = rng.uniform(0.2, 0.8) if rng.random() < params.hollow else 0.0
    return Ink(rough, dry, hollow)


def retraced(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the field of a digit whose strokes were gone over again, slightly beside the first ones."""
    again = elastic(field, rng.uniform(0.005, 0.03), rng)
    move = np.array([[1, 0, rng.normal(0, 1.5)], [0, 1, rng.normal(0, 1.5)]], np.float32)
    again = cv2.warpAffine(again, move, again.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=FAR)
    return np.asarray(np.minimum(field, again + np.float32(rng.uniform(0, 0.02))))


def write(
    grey: np.ndarray,
    field: np.ndarray,
    height: float,
    reach: float,
    tone: float,
    place: np.ndarray,
    view: View,
    rng: np.random.Generator,
    ink: Ink = PLAIN_INK,
) -> None:
    """Put ink of grey `tone` where the field is below `reach` (glyph heights), in place."""
    far = cv2.warpPerspective(field, place, (view.width, view.height), flags=cv2.INTER_LINEAR, borderValue=FAR)
    soft_px = 1.0 if rng.random() < 0.6 else max(rng.uniform(0.004, 0.016) * view.roi_px, 1.0)
    inside_px = (reach - far) * np.float32(height * view.roi_px)
    if ink.rough:
        inside_px += grain(grey.shape, view.roi_px, rng.uniform(0.006, 0.03), rng) * np.float32(
            min(ink.rough, 0.25 * max(reach, 0.02) * height) * view.roi_px
        )
    alpha = np.clip(0.5 + inside_px / np.float32(soft_px), 0, 1)
    if ink.hollow:
        depth = np.clip(inside_px / np.float32(max(reach, 0.02) * height * view.roi_px), 0, 1)
        alpha *= 1 - np.float32(ink.hollow) * depth
    if ink.dry:
        gaps = grain(grey.shape, view.roi_px, rng.uniform(0.004, 0.02), rng)
        alpha *= np.clip(0.5 + 2 * (gaps + np.float32(1.3 - 2 * ink.dry)), 0.15, 1)
    if rng.random() < 0.15:
        alpha *= np.clip(view.enlarged(1 - rng.uniform(0.0, 0.25) * np.abs(noise_image((48, 48), rng, 0.3))), 0, 1)
    grey += alpha * (np.float32(tone) - grey)


def ink_tone(grey: np.ndarray, params: RenderParams, rng: np.random.Generator, chalk: bool) -> float:
    """Return the grey of an ink that shows on this paper."""
    paper = float(grey[grey.shape[0] // 2, grey.shape[1] // 2])
    return float(rng.uniform(paper + 75, 255)) if chalk else paper * uniform(rng, params.ink)
