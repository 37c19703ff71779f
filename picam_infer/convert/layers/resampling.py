"""Resizing as a product with two constant matrices, for the methods of `tf.image.resize` that OpenVINO lacks.

Source: TensorFlow's kernels scale_and_translate, resize_bicubic (half-pixel centres) and resize_area.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from picam_infer.convert.tensor import Array

Kernel = Callable[[Array], Array]


def _triangle(x: Array) -> Array:
    inside: Array = np.maximum(1 - np.abs(x), 0)
    return inside


def _cubic(b: float, c: float) -> Kernel:
    """Return the piecewise cubic of Mitchell and Netravali; b = 0, c = 1/2 is that of Keys."""

    def kernel(x: Array) -> Array:
        x = np.abs(x)
        near = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)) / 6
        far = ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + (8 * b + 24 * c)) / 6
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return kernel


def _lanczos(radius: float) -> Kernel:
    return lambda x: np.where(np.abs(x) > radius, 0.0, np.sinc(x) * np.sinc(x / radius))


_KERNELS: dict[str, tuple[Kernel, float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic(0.0, 0.5), 2.0),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2.0),
    "lanczos3": (_lanczos(3.0), 3.0),
    "lanczos5": (_lanczos(5.0), 5.0),
    "gaussian": (lambda x: np.exp(-2 * x * x), 1.5),
}
METHODS = frozenset({*_KERNELS, "area"})
_STEPS = 1024
"""TensorFlow looks the cubic up in a table of this many steps a pixel."""


def matrix(before: int, after: int, method: str, antialias: bool) -> Array:
    """Return the (after, before) matrix that resizes one axis; `method` is one of `METHODS`."""
    ratio = before / after
    if method == "area":
        starts = np.arange(after)[:, None] * ratio
        pixels = np.arange(before)[None]
        covered = np.minimum(starts + ratio, pixels + 1) - np.maximum(starts, pixels)
        weights = np.maximum(covered, 0)
    else:
        kernel, radius = _KERNELS[method]
        wide = max(ratio, 1.0) if antialias else 1.0
        scale = np.float32(1) / (np.float32(after) / np.float32(before))  # as TensorFlow rounds: a kernel's edge tells
        centres = (np.arange(after, dtype=np.float32)[:, None] + np.float32(0.5)) * scale - np.float32(0.5)
        if method == "bicubic" and not antialias:
            centres = np.round(centres * _STEPS) / _STEPS
        away = (np.arange(before)[None] - centres) / wide
        weights = np.where(np.abs(away) < radius, kernel(away), 0.0)
    total = weights.sum(1, keepdims=True)
    return np.asarray(weights / np.where(np.abs(total) < 1e-30, 1.0, total), np.float32)
