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
    """features (n, d) → probabilities (n, classes + 1), the last «unknown»."""

    root: bool
    """Whether the square root of the features is taken first: those behind a ReLU spread more evenly then."""
    centre: Array
    """(d,): taken off the features."""
    weights: Array
    """(d, classes)."""
    bias: Array
    """(classes,)."""
    shape: Array
    """(d, r): the squared length of the features times this is their distance from all that was taught."""
    nearness: float
    """How much the best class's logit takes off that distance."""
    gain: float
    offset: float
    """gain · distance + offset is by how much «unknown» exceeds the best class's logit."""

    def probabilities(self, features: npt.NDArray[Any]) -> Array:
        """Return (n, classes + 1) for the backbone's features (n, d)."""
        u = rooted(features, self.root) - self.centre
        logits = u @ self.weights + self.bias
        first = logits.max(1)
        distance = ((u @ self.shape) ** 2).sum(1) - self.nearness * first
        unknown = np.clip(self.gain * distance + self.offset, -MOST, MOST)
        logits = np.column_stack([logits, first + unknown])
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))


def rooted(features: npt.NDArray[Any], root: bool) -> Array:
    """Return features as the discriminant takes them, float64."""
    values = np.asarray(features, np.float64)
    return np.sqrt(np.maximum(values, 0)) if root else values


def head(model: Lda, calibration: Calibration, root: bool, order: list[int], spend: bool = False) -> Head:
    """Return the layers for a fitted model; `order` are the classes' numbers as the outputs have them.

    `spend`: the model is of no use afterwards; its memory serves for the layers.
    """
    centre = model.centre.copy()
    means = model.means[order] - centre
    solved = model.solved[order] - centre @ model.within.matrix
    sharpness, unit = calibration.sharpness, calibration.unit
    bias = -sharpness / 2 * np.einsum("kd,kd->k", means, solved)
    layers = (root, centre, sharpness * solved.T, bias)
    if not math.isfinite(calibration.limit):
        return Head(*layers, np.zeros((len(centre), 1)), 0.0, 0.0, -MOST)
    matrix = model.total.matrix if spend else model.total.matrix.copy()
    matrix *= RELATIVE
    np.subtract(model.within.matrix, matrix, out=matrix)
    matrix /= unit
    if spend:
        model.within.matrix = matrix  # the old one goes before the factor comes
    shape = _factor(matrix)
    gain = calibration.gain
    return Head(*layers, shape, 2 / (sharpness * unit), gain, -gain * calibration.limit)


def _factor(matrix: Array) -> Array:
    """Return L with L · Lᵀ = matrix, which is positive but for rounding."""
    try:
        return np.asarray(np.linalg.cholesky(matrix), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
