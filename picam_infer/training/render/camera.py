"""The camera: light, exposure, blur, noise and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from picam_infer.training.noise import SENSOR_NOISE
from picam_infer.training.render.params import RenderParams, View, uniform

_LEAST_MEAN, _MOST_LIT = 95.0, 240.0
"""A camera exposes longer if the mean would be below the first grey level, until the brightest reaches the second."""


def in_light(grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator) -> np.ndarray:
    """Return a float32 picture under uneven light, with a vignette and sometimes a shadow's edge."""
    depth = uniform(rng, params.light)
    y, x = np.mgrid[-0.5:0.5:12j, -0.5:0.5:16j]
    a = rng.uniform(0, 2 * np.pi)
    light = 1 + depth * (x * np.cos(a) + y * np.sin(a)) - 0.3 * depth * rng.random() * (x * x + y * y)
    light *= rng.uniform(0.7, 1.05)
    lit = grey * view.enlarged(light)
    if rng.random() < params.shadow:
        a = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-0.5:0.5:48j, -0.5:0.5:48j]
        line = x * np.cos(a) + y * np.sin(a) + rng.uniform(0, 0.2) * np.sin(6 * (y - x)) + rng.normal(0, 0.25)
        soft = np.exp(rng.uniform(-3.6, -0.5)) * view.roi_px / view.height
        lit *= view.enlarged(1 - rng.uniform(0.1, 0.5) / (1 + np.exp(np.clip(-line / soft, -40, 40))))
    return np.asarray(lit * _exposure(lit))


def _exposure(lit: np.ndarray) -> np.float32:
    """Return the factor by which a camera's automatic exposure brightens a dark picture."""
    small = cv2.resize(lit, (16, 16), interpolation=cv2.INTER_AREA)
    return np.float32(max(min(_LEAST_MEAN / max(float(small.mean()), 1), _MOST_LIT / max(float(small.max()), 1)), 1))


def _disc(radius: float) -> np.ndarray:
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(kernel / kernel.sum())


def seen_by_camera(
    grey: np.ndarray, view: View, params: RenderParams, rng: np.random.Generator, finest: float = 1.0
) -> np.ndarray:
    """Return a float32 picture as a webcam takes it, uint8: its focus, motion, sharpening and noise.

    The blurs stay too small to wipe out a line of width `finest`, a share of the centre square's side.
    """
    focus = min(uniform(rng, params.focus), 0.35 * finest) * view.roi_px
    if focus > 0.3:
        disc = rng.random() < params.disc_blur
        grey = cv2.filter2D(grey, -1, _disc(focus * 1.8)) if disc else cv2.GaussianBlur(grey, (0, 0), focus)
    length = min(uniform(rng, params.motion), finest) * view.roi_px
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
    sigma = uniform(rng, params.noise)
    if rng.random() < 0.4:
        sigma *= 0.3
    y, x = rng.integers(0, (1201 - min(view.height, 1100), 1203 - min(view.width, 1100)))
    tile = SENSOR_NOISE[y : y + min(view.height, 1100), x : x + min(view.width, 1100)]
    if tile.shape != grey.shape:
        tile = np.tile(tile, (1, 2))[:, : view.width]
    return np.asarray(np.clip(grey + tile * np.float32(sigma), 0, 255).astype(np.uint8))


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """Return a frame (grey or BGR uint8) as a camera's JPEG bytes, (n,) uint8."""
    return np.asarray(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]).ravel()


def through_jpeg(frame: np.ndarray, quality: int, reduce: int = 1) -> np.ndarray:
    """Return what compression leaves of a frame: grey uint8, decoded at 1/`reduce` (1, 2 or 4) of the size."""
    flag = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}[reduce]
    return np.asarray(cv2.imdecode(jpeg(frame, quality), flag))


def tinted(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a grey picture with the colour cast of some lamp: BGR uint8 of the same luminance."""
    cast = 1 + rng.uniform(-0.12, 0.12, 3)
    cast /= cast @ (0.114, 0.587, 0.299)
    lut = np.clip(np.arange(256)[:, None] * cast, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([grey, grey, grey]), lut[None]))
