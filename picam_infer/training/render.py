"""Draws what the webcam shows: pen on paper with its light, blur, noise and JPEG, for training, tests and the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from picam_infer.training import negatives, paper
from picam_infer.training.glyphs import CANVAS_PX, FAR, GLYPH_PX, Polyline

Range = tuple[float, float]
# Content without a digit and its shares; some of the evaluation's kinds are none of training's.
TRAIN_SHARES = tuple(
    {
        "bare": 10,
        "edge": 10,
        "letter": 22,
        "sign": 6,
        "shape": 7,
        "words": 7,
        "scribble": 11,
        "blobs": 13,
        "dots": 3,
    }.items()
) + tuple(
    {
        "fingers": 11,
        "clouds": 3,
        "boxes": 7,
        "keyboard": 4,
        "face": 5,
        "cables": 5,
        "cut": 3,
        "smiley": 4,
        "spiral": 3,
    }.items()
)
EVAL_SHARES = tuple(
    {
        "bare": 10,
        "edge": 5,
        "plain letter": 17,
        "words": 4,
        "tangle": 17,
        "blobs": 17,
        "fingers": 17,
        "shape": 3,
    }.items()
) + tuple(
    {
        "clouds": 4,
        "boxes": 4,
        "face": 4,
        "smiley": 1,
        "spiral": 1,
        "leaf": 2,
        "coins": 2,
        "wood": 2,
        "checks": 2,
    }.items()
)


@dataclass(frozen=True)
class RenderParams:
    """The ranges a renderer draws from; lengths are shares of the centre square's side."""

    height: Range = (0.34, 0.92)
    pen: Range = (0.011, 0.12)
    outline: float = 0.5
    turn_deg: float = 20.0
    shear: float = 0.12
    aspect: Range = (0.78, 1.2)
    perspective: float = 0.1
    elastic: float = 0.02
    paper: Range = (105.0, 252.0)
    ink: Range = (0.0, 0.53)
    chalk: float = 0.08
    grounds: tuple[tuple[str, int], ...] = (("sheet", 80), ("napkin", 7), ("cardboard", 5), ("whiteboard", 8))
    ruled: float = 0.28
    fold: float = 0.08
    specks: float = 0.05
    edge: float = 0.12
    rough: float = 0.5
    dry: float = 0.1
    retraced: float = 0.15
    hollow: float = 0.05
    light: Range = (0.0, 0.55)
    shadow: float = 0.25
    focus: Range = (0.0, 0.01)
    motion: Range = (0.0, 0.024)
    disc_blur: float = 0.3
    noise: Range = (0.0, 10.0)
    sharpen: float = 0.2
    jpeg: Range = (35.0, 96.0)
    none: tuple[tuple[str, int], ...] = TRAIN_SHARES
    built_in: float = 0.15
    """Share of digits from the built-in strokes rather than from scans."""
    careless: float = 0.3
    """Share of digits that may hang over the square's border and be blotted or broken by their pen."""


TRAIN = RenderParams()
EVAL = RenderParams(
    height=(0.45, 0.85),
    pen=(0.014, 0.09),
    outline=0.4,
    turn_deg=15.0,
    shear=0.05,
    aspect=(0.9, 1.1),
    perspective=0.06,
    elastic=0.0,
    paper=(130.0, 250.0),
    ink=(0.0, 0.5),
    chalk=0.05,
    grounds=(("plain", 1),),
    ruled=0.06,
    fold=0.0,
    specks=0.02,
    edge=0.03,
    rough=0.0,
    dry=0.0,
    retraced=0.0,
    hollow=0.0,
    light=(0.05, 0.5),
    shadow=0.35,
    focus=(0.001, 0.008),
    motion=(0.0, 0.016),
    disc_blur=1.0,
    noise=(1.0, 9.0),
    sharpen=0.0,
    jpeg=(40.0, 92.0),
    none=EVAL_SHARES,
    built_in=0.0,
    careless=0.0,
)
CALM = replace(
    EVAL,
    height=(0.36, 0.9),
    pen=(0.012, 0.1),
    outline=0.45,
    turn_deg=18.0,
    shear=0.09,
    aspect=(0.82, 1.16),
    perspective=0.08,
    elastic=0.012,
    jpeg=TRAIN.jpeg,
    none=TRAIN_SHARES,
    built_in=0.1,
)
"""A tidy desk, for training: without such frames' share, clear digits would be learnt worse."""
Mix = tuple[tuple[RenderParams, float], ...]
"""Kinds of frames and their shares."""
TRAINING: Mix = ((TRAIN, 0.45), (CALM, 0.55))


def one_of(mix: Mix, rng: np.random.Generator) -> RenderParams:
    """Return one of the kinds of frames, by its share."""
    return mix[int(rng.choice(len(mix), p=[share for _, share in mix]))][0]


@dataclass(frozen=True)
class View:
    """What is drawn: `width` x `height` px around the frame's centre, where the centre square is `roi_px` wide."""

    width: int
    height: int
    roi_px: int

    @classmethod
    def crop(cls, roi_px: int) -> View:
        """The centre square alone, as the daemon cuts it out."""
        return cls(roi_px, roi_px, roi_px)

    @classmethod
    def frame(cls, width: int, height: int, roi: float = 0.4) -> View:
        """A whole frame; `roi` is the centre square's share of its height."""
        return cls(width, height, round(height * roi))


_INSET = 0.015
"""How far a digit keeps off the square's border, in shares of its side."""
_LEAST_GAP = 0.008
"""Half the width of what light and focus leave open between two strokes, in shares of the square's side."""
_LEAST_PART = 6
"""The smallest loop or piece that is seen, in pixels of half a field."""
_THINNEST = 0.02
"""A pen's reach along a path below which half a field would show gaps that are none, in glyph heights."""
_LEAST_MEAN, _MOST_LIT = 95.0, 240.0
"""A camera exposes longer where the picture would be darker than this, in grey levels, as long as nothing burns out."""
_NOISE = np.random.default_rng(2).standard_normal((1201, 1203)).astype(np.float32)


def _uniform(rng: np.random.Generator, span: Range) -> float:
    return float(rng.uniform(*span))


def _resized(coarse: np.ndarray, view: View) -> np.ndarray:
    return np.asarray(cv2.resize(coarse.astype(np.float32), (view.width, view.height), interpolation=cv2.INTER_LINEAR))


def _picture(kind: str, view: View, rng: np.random.Generator) -> np.ndarray:
    """A picture of something else; drawn at half size when large, as a scene's own softness hides the difference."""
    half = 2 if view.height > 300 else 1
    picture = negatives.PICTURES[kind]((view.width // half, view.height // half), rng)
    return _resized(picture, view)


def _ground(view: View, params: RenderParams, rng: np.random.Generator, chalk: bool) -> np.ndarray:
    """What is written on, seen from near, unlit: float32 grey."""
    shape, side, shade = (view.height, view.width), view.roi_px, _uniform(rng, params.paper)
    kinds, shares = zip(*params.grounds, strict=True)
    kind = "blackboard" if chalk else str(rng.choice(kinds, p=np.array(shares) / sum(shares)))
    grey = paper.GROUNDS[kind](shape, side, shade, rng)
    if rng.random() < params.ruled:
        paper.rule(grey, side, rng)
    if rng.random() < params.fold:
        paper.fold(grey, side, rng)
    return grey


def _sheet_mask(view: View, rng: np.random.Generator, near: bool) -> np.ndarray:
    """1 where the sheet lies. `near`: a corner or side passes through the centre square, else it lies around it."""
    angle = rng.normal(0, 0.15)
    half = rng.uniform(0.6, 1.6, 2) * (1.0, 1.3)
    centre = rng.uniform(-0.1, 0.1, 2)
    if near:
        side = rng.integers(0, 2, 2) * 2 - 1
        both = rng.random() < 0.4
        keep = rng.integers(0, 2)
        inside = rng.uniform(-0.35, 0.5, 2)
        centre = np.where(both | (np.arange(2) == keep), side * (half - inside), centre)
        angle = rng.normal(0, 0.5)
    corners = cv2.boxPoints(((0.0, 0.0), (float(2 * half[0]), float(2 * half[1])), float(np.degrees(angle))))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (corners + rng.normal(0, 0.04, (4, 2)) + centre @ turn) * view.roi_px + (view.width / 2, view.height / 2)
    mask = np.zeros((view.height, view.width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _on_table(grey: np.ndarray, view: View, rng: np.random.Generator, near: bool) -> np.ndarray:
    """Lays the sheet on something else, so that its edge may show."""
    mask = _sheet_mask(view, rng, near)
    if rng.random() < 0.6:
        table: np.ndarray = _resized(128 + 40 * negatives.noise_image((64, 64), rng, 1.2), view)
        table += np.float32(rng.uniform(-110, 110))
    else:
        table = _picture(str(rng.choice(["clouds", "boxes", "cables", "keyboard"])), view, rng)
    return np.asarray(np.clip(table, 0, 255) * (1 - mask) + grey * mask)


def _elastic(field: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Bends a field smoothly, as another hand would have written it."""
    if strength <= 0:
        return field
    coarse = rng.normal(0, strength * GLYPH_PX, (2, 4, 4)).astype(np.float32)
    dx, dy = (cv2.resize(c, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_CUBIC) for c in coarse)
    y, x = np.mgrid[0:CANVAS_PX, 0:CANVAS_PX].astype(np.float32)
    return np.asarray(cv2.remap(field, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _placement(height: float, view: View, params: RenderParams, rng: np.random.Generator, slack: float) -> np.ndarray:
    """The 3 x 3 map from a field's pixels to the view's: size, aspect, shear, rotation, perspective, position."""
    a, shear = np.radians(rng.uniform(-params.turn_deg, params.turn_deg)), rng.uniform(-params.shear, params.shear)
    wide = _uniform(rng, params.aspect)
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


def _kept_inside(place: np.ndarray, ink: np.ndarray, view: View) -> np.ndarray:
    """The map changed so that what it draws, 1 in `ink`, lies in the centre square: moved, and smaller if it must."""
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
    """How many pieces and how many loops ink has that goes as far as `reach`; what nobody would see is not counted."""
    ink = (field[::2, ::2] < reach).astype(np.uint8)
    pieces = cv2.connectedComponentsWithStats(ink, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    grounds = cv2.connectedComponentsWithStats(1 - ink, connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    return int((pieces >= _LEAST_PART).sum()), int((grounds >= _LEAST_PART).sum()) - 1


def _clear_reach(field: np.ndarray, reach: float, least: float, height: float) -> float:
    """The reach nearest to the wanted one, between it and `least`, that neither closes nor opens the digit's loops."""
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


def _ink(params: RenderParams, rng: np.random.Generator) -> Ink:
    """An ink by the shares of `params`."""
    rough = float(np.exp(rng.uniform(*np.log((0.001, 0.012))))) if rng.random() < params.rough else 0.0
    dry = rng.uniform(0.05, 0.45) if rng.random() < params.dry else 0.0
    hollow = rng.uniform(0.2, 0.8) if rng.random() < params.hollow else 0.0
    return Ink(rough, dry, hollow)


def _retraced(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The field of a digit whose strokes were gone over again, a little beside the first time."""
    again = _elastic(field, rng.uniform(0.005, 0.03), rng)
    move = np.array([[1, 0, rng.normal(0, 1.5)], [0, 1, rng.normal(0, 1.5)]], np.float32)
    again = cv2.warpAffine(again, move, again.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=FAR)
    return np.asarray(np.minimum(field, again + np.float32(rng.uniform(0, 0.02))))


def _write(
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
    """Puts ink of grey `tone` where the field is below `reach` (glyph heights), in place."""
    far = cv2.warpPerspective(field, place, (view.width, view.height), flags=cv2.INTER_LINEAR, borderValue=FAR)
    soft_px = 1.0 if rng.random() < 0.6 else max(rng.uniform(0.004, 0.016) * view.roi_px, 1.0)
    inside_px = (reach - far) * np.float32(height * view.roi_px)
    if ink.rough:
        inside_px += paper.grain(grey.shape, view.roi_px, rng.uniform(0.006, 0.03), rng) * np.float32(
            min(ink.rough, 0.25 * max(reach, 0.02) * height) * view.roi_px
        )
    alpha = np.clip(0.5 + inside_px / np.float32(soft_px), 0, 1)
    if ink.hollow:
        depth = np.clip(inside_px / np.float32(max(reach, 0.02) * height * view.roi_px), 0, 1)
        alpha *= 1 - np.float32(ink.hollow) * depth
    if ink.dry:
        gaps = paper.grain(grey.shape, view.roi_px, rng.uniform(0.004, 0.02), rng)
        alpha *= np.clip(0.5 + 2 * (gaps + np.float32(1.3 - 2 * ink.dry)), 0.15, 1)
    if rng.random() < 0.15:
        alpha *= np.clip(
            _resized(1 - rng.uniform(0.0, 0.25) * np.abs(negatives.noise_image((48, 48), rng, 0.3)), view), 0, 1
        )
    grey += alpha * (np.float32(tone) - grey)


def _tone(grey: np.ndarray, params: RenderParams, rng: np.random.Generator, chalk: bool) -> float:
    """An ink that shows on this paper."""
    paper = float(grey[grey.shape[0] // 2, grey.shape[1] // 2])
    return float(rng.uniform(paper + 75, 255)) if chalk else paper * _uniform(rng, params.ink)


def _specks(grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator) -> None:
    """Crumbs beside a digit, too small to be part of it."""
    place = _placement(1.0, view, params, rng, 0.0)
    _write(grey, negatives.dots(rng), 1.0, rng.uniform(0.003, 0.008), _tone(grey, params, rng, False), place, view, rng)


def _lit(grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, a vignette and sometimes a shadow's edge."""
    depth = _uniform(rng, params.light)
    y, x = np.mgrid[-0.5:0.5:12j, -0.5:0.5:16j]
    a = rng.uniform(0, 2 * np.pi)
    light = 1 + depth * (x * np.cos(a) + y * np.sin(a)) - 0.3 * depth * rng.random() * (x * x + y * y)
    light *= rng.uniform(0.7, 1.05)
    lit = grey * _resized(light, view)
    if rng.random() < params.shadow:
        a = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-0.5:0.5:48j, -0.5:0.5:48j]
        line = x * np.cos(a) + y * np.sin(a) + rng.uniform(0, 0.2) * np.sin(6 * (y - x)) + rng.normal(0, 0.25)
        soft = np.exp(rng.uniform(-3.6, -0.5)) * view.roi_px / view.height
        lit *= _resized(1 - rng.uniform(0.1, 0.5) / (1 + np.exp(np.clip(-line / soft, -40, 40))), view)
    return np.asarray(lit * _exposure(lit))


def _exposure(lit: np.ndarray) -> np.float32:
    """By how much a camera's automatic exposure brightens a dark picture."""
    small = cv2.resize(lit, (16, 16), interpolation=cv2.INTER_AREA)
    return np.float32(max(min(_LEAST_MEAN / max(float(small.mean()), 1), _MOST_LIT / max(float(small.max()), 1)), 1))


def _disc(radius: float) -> np.ndarray:
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(kernel / kernel.sum())


def _camera(
    grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator, finest: float = 1.0
) -> np.ndarray:
    """Focus, motion, sharpening and noise of a webcam; float32 in, uint8 out.

    The blurs stay below what would wipe out a line of width `finest`.
    """
    focus = min(_uniform(rng, params.focus), 0.35 * finest) * view.roi_px
    if focus > 0.3:
        disc = rng.random() < params.disc_blur
        grey = cv2.filter2D(grey, -1, _disc(focus * 1.8)) if disc else cv2.GaussianBlur(grey, (0, 0), focus)
    length = min(_uniform(rng, params.motion), finest) * view.roi_px
    if rng.random() < 0.35 and length > 1.5:
        size = int(length) | 1
        line = np.zeros((size, size), np.float32)
        a = rng.uniform(0, np.pi)
        tip = np.array([np.cos(a), np.sin(a)]) * size / 2
        ends = np.round((np.stack([-tip, tip]) + size // 2) * 16).astype(np.int32)
        cv2.polylines(line, [ends], False, 1.0, 1, cv2.LINE_8, 4)
        grey = cv2.filter2D(grey, -1, line / line.sum())
    if rng.random() < params.sharpen:
        amount = rng.uniform(0.3, 1.2)
        grey = cv2.addWeighted(grey, 1 + amount, cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.8, 2)), -amount, 0)
    sigma = _uniform(rng, params.noise)
    if rng.random() < 0.4:
        sigma *= 0.3
    y, x = rng.integers(0, (1201 - min(view.height, 1100), 1203 - min(view.width, 1100)))
    tile = _NOISE[y : y + min(view.height, 1100), x : x + min(view.width, 1100)]
    if tile.shape != grey.shape:
        tile = np.tile(tile, (1, 2))[:, : view.width]
    return np.asarray(np.clip(grey + tile * np.float32(sigma), 0, 255).astype(np.uint8))


def render_digit(
    field: np.ndarray, outline: bool, view: View, params: RenderParams, rng: np.random.Generator
) -> np.ndarray:
    """A digit on paper, as a webcam shows it.

    `field` comes from `strokes.digit_field` (`outline`: it is of the digit's outline, not of a pen's path) or
    `strokes.strokes_field`. Returns grey uint8 of the view's size; the digit lies in the centre square.
    """
    chalk = bool(rng.random() < params.chalk)
    grey = _ground(view, params, rng, chalk)
    height = _uniform(rng, params.height)
    pen = np.exp(rng.uniform(*np.log(params.pen))) / 2 / height
    reach = float(rng.uniform(-0.015, 0.035)) if outline else float(min(pen, 0.09))
    tone = _tone(grey, params, rng, chalk)
    field = _elastic(field, params.elastic, rng)
    if rng.random() < params.retraced:
        field = _retraced(field, rng)
    place = _placement(height, view, params, rng, 0.02)
    if rng.random() >= params.careless:
        reach = _clear_reach(field, reach, 0.0 if outline else params.pen[0] / 2 / height, height)
        place = _kept_inside(place, (field < reach).astype(np.uint8), view)
    _write(grey, field, height, reach, tone, place, view, rng, _ink(params, rng))
    if rng.random() < params.specks:
        _specks(grey, view, params, rng)
    if view.width > view.roi_px:
        grey = _on_table(grey, view, rng, False)
    elif rng.random() < params.edge:
        mask = np.maximum(_sheet_mask(view, rng, False), _central(view))
        grey = grey * mask + np.float32(rng.uniform(10, 245)) * (1 - mask)
    finest = 0.08 * height if outline else 2 * reach * height
    return _camera(_lit(grey, view, params, rng), view, params, rng, finest)


def _central(view: View) -> np.ndarray:
    mask = np.zeros((view.height, view.width), np.float32)
    inset = view.roi_px // 12
    mask[inset:-inset, inset:-inset] = 1
    return mask


def render_none(kind: str, view: View, params: RenderParams, rng: np.random.Generator) -> np.ndarray:
    """A frame that holds no digit.

    `kind` is a name of `negatives.INK` or `negatives.PICTURES`, or "bare", "edge", "fingers", "cut".
    Returns grey uint8 of the view's size.
    """
    if kind in negatives.PICTURES:
        return _camera(_lit(_picture(kind, view, rng), view, params, rng), view, params, rng)
    if kind == "fingers" and rng.random() < 0.4:
        grey = _picture(str(rng.choice(["clouds", "boxes", "face"])), view, rng)
        return _camera(_lit(_held_up(grey, view, rng), view, params, rng), view, params, rng)
    chalk = bool(rng.random() < params.chalk)
    grey = _ground(view, params, rng, chalk)
    if kind in negatives.INK or kind == "cut":
        _scrawl(grey, kind, view, params, rng, chalk)
    elif rng.random() < params.specks:
        _specks(grey, view, params, rng)
    if view.width > view.roi_px or kind == "edge":
        grey = _on_table(grey, view, rng, kind == "edge")
    if kind == "fingers":
        grey = _held_up(grey, view, rng)
    return _camera(_lit(grey, view, params, rng), view, params, rng)


def _held_up(grey: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """A few fingers or a whole hand before what is seen."""
    part = negatives.hand if rng.random() < 0.3 else negatives.fingers
    return part(grey, view.roi_px, rng)


def _scrawl(
    grey: np.ndarray, kind: str, view: View, params: RenderParams, rng: np.random.Generator, chalk: bool
) -> None:
    """Writes something that is not a digit, in place."""
    tone = _tone(grey, params, rng, chalk)
    if kind == "cut":
        field, height = negatives.words(rng), float(rng.uniform(2.5, 5))
    else:
        field, height = negatives.INK[kind](rng), _uniform(rng, (params.height[0], params.height[1] * 1.1))
    pen = np.exp(rng.uniform(*np.log(params.pen))) / 2 / height
    reach = 0.0 if kind == "blobs" else float(min(pen, 0.02 if kind == "words" else 0.09))
    field = _elastic(field, 0.03 if kind == "letter" else 0.015, rng)
    place = _placement(height, view, params, rng, 0.08)
    _write(grey, field, height, reach, tone, place, view, rng, _ink(params, rng))


def none_kind(params: RenderParams, rng: np.random.Generator) -> str:
    """One of the kinds of content without a digit, by the shares of `params`."""
    kinds, shares = zip(*params.none, strict=True)
    return str(rng.choice(kinds, p=np.array(shares) / sum(shares)))


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """A frame (grey or BGR uint8) as a camera's JPEG bytes, (n,) uint8."""
    return np.asarray(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]).ravel()


def through_jpeg(frame: np.ndarray, quality: int, reduce: int = 1) -> np.ndarray:
    """What is left of a frame after compression: grey uint8, decoded at 1/`reduce` (1, 2 or 4) of the size."""
    flag = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}[reduce]
    return np.asarray(cv2.imdecode(jpeg(frame, quality), flag))


def tinted(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grey picture in the cast of some lamp: BGR uint8 of the same luminance."""
    cast = 1 + rng.uniform(-0.12, 0.12, 3)
    cast /= cast @ (0.114, 0.587, 0.299)
    lut = np.clip(np.arange(256)[:, None] * cast, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([grey, grey, grey]), lut[None]))


def paper_background(width: int, height: int, rng: np.random.Generator, roi: float = 0.4) -> np.ndarray:
    """A sheet of paper on a table in uneven light, to be drawn on by `draw_scene`: BGR uint8, height x width x 3."""
    view = View.frame(width, height, roi)
    calm = RenderParams(
        paper=(205.0, 235.0), grounds=(("plain", 1),), ruled=0.0, fold=0.0, shadow=0.0, light=(0.1, 0.25)
    )
    grey = _on_table(_ground(view, calm, rng, False), view, rng, False)
    return tinted(np.clip(_lit(grey, view, calm, rng), 0, 255).astype(np.uint8), rng)


def draw_scene(
    width: int,
    height: int,
    strokes: Sequence[Polyline] | None,
    position: tuple[float, float],
    angle_deg: float,
    rng: np.random.Generator,
    *,
    size: float = 0.6,
    pen: float = 0.05,
    ink: tuple[int, int, int] = (70, 45, 40),
    background: np.ndarray | None = None,
    noise: float = 2.0,
    roi: float = 0.4,
) -> np.ndarray:
    """One frame of the drawn scene: strokes (None: bare paper) on paper, BGR uint8, height x width x 3.

    `position` is the digit's middle relative to the frame's centre, `size` its height, `pen` the line's width, all in
    sides of the centre square (`roi` of the frame's height). To draw at camera rate, keep one `paper_background` and
    pass it as `background`.
    """
    frame = paper_background(width, height, rng, roi) if background is None else background.copy()
    square = height * roi
    if strokes is not None:
        a = np.radians(angle_deg)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * size * square
        centre = np.array([width / 2, height / 2]) + np.array(position) * square
        lines = [np.round(((s - 0.5) @ turn + centre) * 16).astype(np.int32) for s in strokes]
        cv2.polylines(frame, lines, False, ink, max(round(pen * square), 1), cv2.LINE_AA, 4)
    if noise > 0:
        y, x = (int(v) for v in rng.integers(0, 400, 2))
        tile = np.clip(_NOISE[y : y + 360, x : x + 640] * noise + 3 * noise, 0, 255).astype(np.uint8)
        tile = np.tile(tile, (height // 360 + 1, width // 640 + 1))[:height, :width]
        frame = cv2.subtract(cv2.add(frame, cv2.merge([tile] * 3)), np.full(3, round(3 * noise), np.float64))
    return frame
