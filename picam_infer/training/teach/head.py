"""The taught layers as arrays: what follows the backbone's features, the same in NumPy and in the bundle's graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from picam_infer.training.teach.calibration import MOST, Calibration
from picam_infer.training.teach.lda import RELATIVE, Array, Lda


@dataclass(frozen=True)
class Head:
    """features (n, d) → probabilities (n, classes + 1), the last “unknown”."""

    root: bool
    """Whether the square root of the features is taken first: those behind a ReLU spread more evenly then."""
    centre: Array
    """(d,): subtracted from the features."""
    weights: Array
    """(d, classes)."""
    bias: Array
    """(classes,)."""
    shape: Array
    """(d, r): the squared length of the features times this is their distance from all that was taught."""
    span: Array
    """(d, m): orthonormal directions in which the taught pictures vary; m may be 0."""
    rest: float
    """Square root of the factor by which the squared length outside `span` adds to the distance; 0 where m is 0."""
    nearness: float
    """How much the best class's logit reduces that distance."""
    gain: float
    offset: float
    """gain · distance + offset is by how much “unknown” exceeds the best class's logit."""

    def probabilities(self, features: npt.NDArray[Any]) -> Array:
        """Return (n, classes + 1) for the backbone's features (n, d)."""
        u = rooted(features, self.root) - self.centre
        logits = u @ self.weights + self.bias
        first = logits.max(1)
        distance = ((u @ self.shape) ** 2).sum(1) - self.nearness * first
        if self.span.shape[1]:
            distance += ((self.rest * (u - (u @ self.span) @ self.span.T)) ** 2).sum(1)
        unknown = np.clip(self.gain * distance + self.offset, -MOST, MOST)
        logits = np.column_stack([logits, first + unknown])
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))


def rooted(features: npt.NDArray[Any], root: bool) -> Array:
    """Return features as the discriminant takes them, float64."""
    values = np.asarray(features, np.float64)
    return np.sqrt(np.maximum(values, 0)) if root else values


def head(
    model: Lda, calibration: Calibration, root: bool, order: list[int], spend: bool = False, rows: Array | None = None
) -> Head:
    """Return the layers for a fitted model; `order` are the classes' numbers as the outputs have them.

    `spend`: the model is of no use afterwards; its memory serves for the layers. `rows`: the vectors (n, d) that it
    was fitted to; with few of them the layers have few numbers.
    """
    centre = model.centre.copy()
    means = model.means[order] - centre
    solved = model.solved[order] - model.within.times(centre)
    sharpness, unit = calibration.sharpness, calibration.unit
    bias = -sharpness / 2 * np.einsum("kd,kd->k", means, solved)
    layers = (root, centre, sharpness * solved.T, bias)
    if not math.isfinite(calibration.limit):
        return Head(*layers, np.zeros((len(centre), 1)), _none(centre), 0.0, 0.0, 0.0, -MOST)
    gain = calibration.gain
    unknown = (2 / (sharpness * unit), gain, -gain * calibration.limit)
    if rows is not None and 2 * len(rows) <= len(centre):
        return Head(*layers, *_thin(model, rows - centre, unit), *unknown)
    matrix = model.total.dense(spend)
    matrix *= RELATIVE
    np.subtract(model.within.dense(spend), matrix, out=matrix)  # the first one goes before the factor comes
    matrix /= unit
    return Head(*layers, _factor(matrix), _none(centre), 0.0, *unknown)


def _thin(model: Lda, offsets: Array, unit: float) -> tuple[Array, Array, float]:
    """Return shape, span and rest: pictures fewer than features vary in few directions, and in all others alike."""
    span = np.linalg.qr(offsets.T)[0]
    inside = (model.within.times(span.T) - RELATIVE * model.total.times(span.T)) @ span
    rest = (1 / model.ridges[0] - RELATIVE / model.ridges[1]) / unit
    return span @ _factor((inside + inside.T) / (2 * unit)), span, math.sqrt(max(rest, 0.0))


def _none(centre: Array) -> Array:
    return np.zeros((len(centre), 0))


def _factor(matrix: Array) -> Array:
    """Return L with L · Lᵀ = matrix, which is positive definite except for rounding."""
    try:
        return np.asarray(np.linalg.cholesky(matrix), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
