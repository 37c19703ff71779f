"""From distances to probabilities, and the limit of what is known, by leaving each taught picture out in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from picam_infer.training.teach.lda import PRIOR, Array, Classes, Lda, LeftOut

FALSE_REJECTIONS = 0.02
"""The share of pictures of taught classes that may be called unknown."""
_MANY = 400
"""From this many pictures on, the limit is read off them; with fewer it is extrapolated."""
_FEWEST = 3
"""With fewer pictures that can be left out there is no limit."""
_ALIKE = 0.1
"""How much farther, in usual distances, something may be where all pictures are equally far from their class."""
_SHY = 20
"""With this many pictures half of their skewness is believed."""
_SURE = 0.97
"""Where nothing can be left out: the probability of a class at its own mean."""
_DOUBT = 0.3
"""How many additional pictures are assumed to have been misclassified."""
MOST = 30.0
"""The strongest “unknown”, as a difference of logits: half-precision numbers hold it."""
_STEEP = 15.0
"""How much less likely “unknown” is, as a logit, at the middle of the taught pictures than at the limit."""


@dataclass(frozen=True)
class Calibration:
    """The numbers that turn distances into probabilities."""

    sharpness: float = 1.0
    """Logits are -sharpness/2 times the squared distances: the inverse of a temperature."""
    unit: float = 1.0
    """The usual squared distance of a picture from its class."""
    limit: float = math.inf
    """What lies farther than this, in units of relative distance, is unknown; infinite: nothing is."""
    gain: float = 1.0
    """How fast “unknown” becomes likely around the limit, in logits for one unit."""


def calibrate(model: Lda, left: LeftOut, classes: Classes) -> Calibration:
    """Choose sharpness and limit from what leaving each picture out has shown."""
    rows = np.flatnonzero(left.judged)
    usual = float(left.distances[rows, classes[rows]].mean()) if len(rows) else 0.0
    # Distances of pictures that are all alike are rounding errors: what counts as usual is what the prior expects.
    least = _ALIKE * len(model.centre) / (PRIOR + len(rows))
    unit = max(usual, least)
    taught = [k for k, count in enumerate(model.counts) if count]
    sharpness = _sharpness(left.distances[rows], classes[rows], taught) if len(rows) else _assumed(model, taught)
    if len(rows) < _FEWEST:
        return Calibration(sharpness, unit)
    relative = left.relative[rows] / unit
    # Whatever looks just like the taught pictures is never unknown, however alike they are.
    taught_ones = float(np.quantile(left.whole / unit, 0.9))
    room = _ALIKE if usual > least else 3.0
    limit = max(_limit(relative, len(set(classes[rows].tolist()))), taught_ones + room)
    gap = max(limit - float(np.median(relative)), 1e-3)
    return Calibration(sharpness, unit, limit, _STEEP / gap)


def probabilities(squared: Array, total: Array, relative_share: float, calibration: Calibration) -> Array:
    """Return probabilities (n, classes + 1), the last “unknown”, of `Lda.distances`' answers."""
    logits = -calibration.sharpness / 2 * squared
    first = logits.max(1)
    distance = (squared.min(1) - relative_share * total) / calibration.unit
    logits = np.column_stack([logits, first + unknown(distance, calibration)])
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def unknown(distance: Array, calibration: Calibration) -> Array:
    """Return how much likelier “unknown” is than the best class, as a logit, for relative distances in units."""
    if not math.isfinite(calibration.limit):
        return np.full_like(distance, -MOST)
    return np.clip(calibration.gain * (distance - calibration.limit), -MOST, MOST)


def _sharpness(squared: Array, classes: Classes, taught: list[int]) -> float:
    """Return the sharpness whose probabilities fit best, as if `_DOUBT` more pictures had been of another class."""
    if len(taught) < 2:
        return 1.0
    halves = -squared[:, taught] / 2
    own = np.searchsorted(taught, classes)
    rows = np.arange(len(halves))
    scale = float(np.median(np.abs(np.partition(halves, -2, axis=1)[:, -1] - np.partition(halves, -2, axis=1)[:, -2])))
    if scale <= 0:
        return 1.0
    order = np.argsort(_margins(halves), kind="stable")
    middle = halves[order[len(order) // 2]]

    def loss(log: float) -> float:
        sharpness = math.exp(log) / scale
        pseudo = -_log_softmax(middle[None] * sharpness)[0]
        other = np.sort(pseudo)[1]  # the second likeliest class would have been right
        return float(_DOUBT * other - _log_softmax(halves * sharpness)[rows, own].sum())

    return math.exp(_lowest(loss, math.log(1e-3), math.log(1e3))) / scale


def _margins(halves: Array) -> Array:
    best = np.partition(halves, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one valley between `low` and `high` is lowest (golden section)."""
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(40):
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = function(b)
    return (low + high) / 2


def _assumed(model: Lda, taught: list[int]) -> float:
    """Return a sharpness where every class has one picture: a class is likely at its own mean."""
    if len(taught) < 2:
        return 1.0
    squared = model.distances(model.means[taught])[0][:, taught]
    np.fill_diagonal(squared, np.inf)
    nearest = float(np.median(squared.min(1)))
    return 2 * math.log(_SURE / (1 - _SURE) * (len(taught) - 1)) / nearest if nearest > 0 else 1.0


def _limit(relative: Array, classes: int) -> float:
    """Return the value that `FALSE_REJECTIONS` of new pictures exceed: Student's prediction limit, or measured on many.

    Distances have a longer tail upwards: the limit is corrected for their skewness (Cornish & Fisher 1938), as far as
    that many pictures show it.
    """
    n = len(relative)
    if n >= _MANY:
        return float(np.quantile(relative, 1 - FALSE_REJECTIONS))
    spread = float(relative.std(ddof=1))
    if spread < _ALIKE / 10:
        return float(relative.mean()) + _ALIKE
    skewness = float((((relative - relative.mean()) / spread) ** 3).mean()) * n / (n + _SHY)
    normal = NormalDist().inv_cdf(1 - FALSE_REJECTIONS)
    steps = student(1 - FALSE_REJECTIONS, max(n - classes, 1)) + (normal**2 - 1) / 6 * max(skewness, 0.0)
    return float(relative.mean()) + steps * spread * math.sqrt(1 + 1 / n)


def student(share: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution: exact for 1 and 2 degrees of freedom, else to about 1 %.

    Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:
        return (2 * share - 1) * math.sqrt(2 / (4 * share * (1 - share)))
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / math.pow(freedom, power) for power, term in enumerate(terms, 1))
