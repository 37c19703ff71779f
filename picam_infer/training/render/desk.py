"""The desk: a sheet of paper or a board to write on, the table under it, and other things in its place."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training import paper
from picam_infer.training.negatives import PICTURES
from picam_infer.training.noise import noise_image
from picam_infer.training.render.params import RenderParams, View, uniform


def picture(kind: str, view: View, rng: np.random.Generator) -> np.ndarray:
    """Return one of `PICTURES`; a large one is drawn at half size, as the scene's own softness hides the difference."""
    half = 2 if view.height > 300 else 1
    return view.enlarged(PICTURES[kind]((view.width // half, view.height // half), rng))


def ground(view: View, params: RenderParams, rng: np.random.Generator, chalk: bool) -> np.ndarray:
    """Return what is written on, filling the view, unlit: float32 grey."""
    shape, side, shade = (view.height, view.width), view.roi_px, uniform(rng, params.paper)
    kinds, shares = zip(*params.grounds, strict=True)
    kind = "blackboard" if chalk else str(rng.choice(kinds, p=np.array(shares) / sum(shares)))
    grey = paper.GROUNDS[kind](shape, side, shade, rng)
    if rng.random() < params.ruled:
        paper.rule(grey, side, rng)
    if rng.random() < params.fold:
        paper.fold(grey, side, rng)
    return grey


def sheet_mask(view: View, rng: np.random.Generator, near: bool) -> np.ndarray:
    """Return 1 where the sheet lies, float32. `near`: its border passes through the centre square, else around it."""
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


def on_table(grey: np.ndarray, view: View, rng: np.random.Generator, near: bool) -> np.ndarray:
    """Lay the sheet on something else, so that its edge may show, and return the picture."""
    mask = sheet_mask(view, rng, near)
    if rng.random() < 0.6:
        table: np.ndarray = view.enlarged(128 + 40 * noise_image((64, 64), rng, 1.2))
        table += np.float32(rng.uniform(-110, 110))
    else:
        table = picture(str(rng.choice(["clouds", "boxes", "cables", "keyboard"])), view, rng)
    return np.asarray(np.clip(table, 0, 255) * (1 - mask) + grey * mask)
