"""Frames with a digit or without one, as a webcam shows them in grey: for training and evaluation."""

from __future__ import annotations

import numpy as np

from picam_infer.training.negatives import INK, PICTURES, hands, letters, scribbles
from picam_infer.training.render.camera import in_light, seen_by_camera
from picam_infer.training.render.desk import ground, on_table, picture, sheet_mask
from picam_infer.training.render.params import RenderParams, View, uniform
from picam_infer.training.render.pen import (
    clear_reach,
    elastic,
    ink_of,
    ink_tone,
    kept_inside,
    placement,
    retraced,
    write,
)


def render_digit(
    field: np.ndarray, outline: bool, view: View, params: RenderParams, rng: np.random.Generator
) -> np.ndarray:
    """Return a digit on paper, as a webcam shows it: grey uint8 of the view's size, the digit in the centre square.

    `field` comes from `glyphs.strokes_field` or `glyphs.digit_field`; `outline`: it is the field of the digit's
    outline, not of a pen's path.
    """
    chalk = bool(rng.random() < params.chalk)
    grey = ground(view, params, rng, chalk)
    height = uniform(rng, params.height)
    pen = np.exp(rng.uniform(*np.log(params.pen))) / 2 / height
    reach = float(rng.uniform(-0.015, 0.035)) if outline else float(min(pen, 0.09))
    tone = ink_tone(grey, params, rng, chalk)
    field = elastic(field, params.elastic, rng)
    if rng.random() < params.retraced:
        field = retraced(field, rng)
    place = placement(height, view, params, rng, 0.02)
    if rng.random() >= params.careless:
        reach = clear_reach(field, reach, 0.0 if outline else params.pen[0] / 2 / height, height)
        place = kept_inside(place, (field < reach).astype(np.uint8), view)
    write(grey, field, height, reach, tone, place, view, rng, ink_of(params, rng))
    if rng.random() < params.specks:
        _specks(grey, view, params, rng)
    if view.width > view.roi_px:
        grey = on_table(grey, view, rng, False)
    elif rng.random() < params.edge:
        mask = np.maximum(sheet_mask(view, rng, False), _central(view))
        grey = grey * mask + np.float32(rng.uniform(10, 245)) * (1 - mask)
    finest = 0.08 * height if outline else 2 * reach * height
    return seen_by_camera(in_light(grey, view, params, rng), view, params, rng, finest)


def _central(view: View) -> np.ndarray:
    mask = np.zeros((view.height, view.width), np.float32)
    inset = view.roi_px // 12
    mask[inset:-inset, inset:-inset] = 1
    return mask


def render_none(kind: str, view: View, params: RenderParams, rng: np.random.Generator) -> np.ndarray:
    """Return a frame that holds no digit: grey uint8 of the view's size.

    `kind` is a name of `negatives.INK` or `negatives.PICTURES`, or "bare", "edge", "fingers", "cut".
    """
    if kind in PICTURES:
        return seen_by_camera(in_light(picture(kind, view, rng), view, params, rng), view, params, rng)
    if kind == "fingers" and rng.random() < 0.4:
        grey = picture(str(rng.choice(["clouds", "boxes", "face"])), view, rng)
        return seen_by_camera(in_light(_held_up(grey, view, rng), view, params, rng), view, params, rng)
    chalk = bool(rng.random() < params.chalk)
    grey = ground(view, params, rng, chalk)
    if kind in INK or kind == "cut":
        _scrawl(grey, kind, view, params, rng, chalk)
    elif rng.random() < params.specks:
        _specks(grey, view, params, rng)
    if view.width > view.roi_px or kind == "edge":
        grey = on_table(grey, view, rng, kind == "edge")
    if kind == "fingers":
        grey = _held_up(grey, view, rng)
    return seen_by_camera(in_light(grey, view, params, rng), view, params, rng)


def _held_up(grey: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Hold a few fingers or a whole hand before what is seen, and return the picture."""
    part = hands.hand if rng.random() < 0.3 else hands.fingers
    return part(grey, view.roi_px, rng)


def _scrawl(
    grey: np.ndarray, kind: str, view: View, params: RenderParams, rng: np.random.Generator, chalk: bool
) -> None:
    """Write something that is not a digit, in place."""
    tone = ink_tone(grey, params, rng, chalk)
    if kind == "cut":
        field, height = letters.words(rng), float(rng.uniform(2.5, 5))
    else:
        field, height = INK[kind](rng), uniform(rng, (params.height[0], params.height[1] * 1.1))
    pen = np.exp(rng.uniform(*np.log(params.pen))) / 2 / height
    reach = 0.0 if kind == "blobs" else float(min(pen, 0.02 if kind == "words" else 0.09))
    field = elastic(field, 0.03 if kind == "letter" else 0.015, rng)
    place = placement(height, view, params, rng, 0.08)
    write(grey, field, height, reach, tone, place, view, rng, ink_of(params, rng))


def _specks(grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator) -> None:
    """Strew crumbs beside a digit, too small to be part of it, in place."""
    place = placement(1.0, view, params, rng, 0.0)
    write(
        grey, scribbles.dots(rng), 1.0, rng.uniform(0.003, 0.008), ink_tone(grey, params, rng, False), place, view, rng
    )
