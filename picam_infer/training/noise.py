"""Random textures: clouds, the grain of paper, and a sensor's noise."""

from __future__ import annotations

import cv2
import numpy as np

_GRAIN = np.random.default_rng(3).standard_normal((640, 640)).astype(np.float32)
SENSOR_NOISE = np.random.default_rng(2).standard_normal((1201, 1203)).astype(np.float32)
"""Independent pixels of unit strength: noise is a random part of them, as new ones for each frame would take long."""


def noise_image(size: tuple[int, int], rng: np.random.Generator, slope: float = 1.0) -> np.ndarray:
    """Return clouds with a spectrum that falls like natural pictures'; `size` (width, height), float32 about -1..1."""
    out = np.zeros((size[1], size[0]), np.float32)
    cells, weight = 2, 1.0
    while cells < 100:
        coarse = rng.standard_normal((cells, cells + 1)).astype(np.float32)
        out += weight * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2**slope
    return out / 2


def grain(shape: tuple[int, int], side: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Return fine noise of about unit strength, (height, width) float32; its grains are `size` of the square wide."""
    height, width = shape
    cell = max(size * side, 1.0)
    h, w = min(int(height / cell) + 2, 640), min(int(width / cell) + 2, 640)
    y, x = int(rng.integers(0, 641 - h)), int(rng.integers(0, 641 - w))
    part = _GRAIN[y : y + h, x : x + w]
    if cell == 1.0 and part.shape == shape:
        return part.copy()
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR))
