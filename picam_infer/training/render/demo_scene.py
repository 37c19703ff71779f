"""A tidy scene of strokes on paper, drawn at camera rate: for tests and measurements."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from picam_infer.training.glyphs import Polyline
from picam_infer.training.noise import SENSOR_NOISE
from picam_infer.training.render.camera import in_light, tinted
from picam_infer.training.render.desk import ground, on_table
from picam_infer.training.render.params import RenderParams, View


def paper_background(width: int, height: int, rng: np.random.Generator, roi: float = 0.4) -> np.ndarray:
    """Return a sheet on a table in uneven light, for `draw_scene` to draw on: BGR uint8, height x width x 3."""
    view = View.frame(width, height, roi)
    calm = RenderParams(
        paper=(205.0, 235.0), grounds=(("plain", 1),), ruled=0.0, fold=0.0, shadow=0.0, light=(0.1, 0.25)
    )
    grey = on_table(ground(view, calm, rng, False), view, rng, False)
    return tinted(np.clip(in_light(grey, view, calm, rng), 0, 255).astype(np.uint8), rng)


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
    """Return one frame of the drawn scene: strokes (None: bare paper) on paper, BGR uint8, height x width x 3.

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
        tile = np.clip(SENSOR_NOISE[y : y + 360, x : x + 640] * noise + 3 * noise, 0, 255).astype(np.uint8)
        tile = np.tile(tile, (height // 360 + 1, width // 640 + 1))[:height, :width]
        frame = cv2.subtract(cv2.add(frame, cv2.merge([tile] * 3)), np.full(3, round(3 * noise), np.float64))
    return frame
