"""Linear discriminant analysis with one shrunken covariance, kept up to date a picture at a time.

The classes are assumed to be clouds of the same shape (Fisher 1936; streaming: Hayes & Kanan 2020). `PRIOR` pictures of
no particular shape are added to that covariance, so that it can be inverted with fewer pictures than features. The
shape of all pictures together serves the relative Mahalanobis distance (Ren et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Classes = npt.NDArray[np.intp]

PRIOR = 30.0
"""How many pictures the assumption counts for that all directions vary alike. Measured: 3 to 300 hardly differ."""
RELATIVE = 0.5
"""How much of the distance from all pictures together is taken off the distance from the nearest class."""
_FLOOR = 1e-4
"""The least variance, as a share of the features' mean square: pictures that are all alike have none."""
_DRIFT = 1.3
"""A variance that has changed by more than this factor makes the prior stale."""
_BLOCK = 48
"""Vectors that are worked into a matrix at once."""
_ROWS = 128


class Precision:
    """The inverse of a scatter matrix with a ridge: (S + ridge · I)⁻¹, changed by one vector at a time.

    It is kept as a base and what each vector takes off it. With fewer vectors than half of their numbers the base is
    I / ridge: kilobytes for a vector instead of megabytes for all. Beyond, it is a matrix, into which the vectors are
    worked a few dozen at a time: one by one, each would have to go through all of it.
    """

    def __init__(self, rows: Array, ridge: float) -> None:
        """Start from S = rowsᵀ · rows, for rows (n, d)."""
        n, d = rows.shape
        self.sound = True
        """False: rounding errors have spoiled it, and it must be computed again."""
        self._ridge = ridge
        self._matrix: Array | None = None
        """The base (d, d); None: it is I / ridge."""
        self._taken, self._weights, self._count = np.zeros((0, d)), np.zeros(0), 0
        """It is the base less weight · takenᵀ · taken of each of so many rows."""
        if 2 * n <= d:  # Woodbury: a small matrix is factored instead
            small = rows @ rows.T
            small[np.diag_indices(n)] += ridge
            self._take(np.linalg.solve(np.linalg.cholesky(small), rows), np.full(n, 1 / ridge))
        else:
            scatter = rows.T @ rows
            scatter[np.diag_indices(d)] += ridge
            self._matrix = np.asarray(np.linalg.inv(scatter), np.float64)

    def times(self, vectors: Array) -> Array:
        """Return vectors (…, d) times the inverse."""
        base = vectors / self._ridge if self._matrix is None else vectors @ self._matrix
        taken = self._taken[: self._count]
        return np.asarray(base - ((vectors @ taken.T) * self._weights[: self._count]) @ taken)

    def dense(self, spend: bool = False) -> Array:
        """Return it as a matrix (d, d), which is the caller's; `spend`: this object is of no use afterwards."""
        matrix = self._less_taken(self._base(copy=not spend))
        if spend:
            self._matrix = np.zeros((0, 0))
        return matrix

    def change(self, vector: Array, weight: float) -> tuple[Array, float]:
        """Add weight · vector · vectorᵀ to S (Sherman-Morrison); a negative weight takes it away.

        Returns u and g: the inverse lost g · u · uᵀ.
        """
        u = self.times(vector)
        share = 1 + weight * float(vector @ u)
        if share < 1e-9:
            self.sound = False
            return u, 0.0
        g = weight / share
        self._take(u[None], np.array([g]))
        if self._count > len(u) // 2 if self._matrix is None else self._count >= _BLOCK:
            self._fold()
        return u, g

    def _take(self, rows: Array, weights: Array) -> None:
        count = self._count + len(rows)
        if count > len(self._taken):  # room for some more, so that not every picture moves all
            room = np.zeros((count + _BLOCK // 2, rows.shape[1]))
            room[: self._count] = self._taken[: self._count]
            self._taken, self._weights = room, np.resize(self._weights, len(room))
        self._taken[self._count : count], self._weights[self._count : count] = rows, weights
        self._count = count

    def _fold(self) -> None:
        """Work what was taken into the base, which is a matrix then."""
        self._matrix = self._less_taken(self._base())
        self._taken, self._weights, self._count = self._taken[:0].copy(), self._weights[:0].copy(), 0

    def _base(self, copy: bool = False) -> Array:
        """Return the base as a matrix (d, d): its own, or a `copy`."""
        if self._matrix is None:
            return np.eye(self._taken.shape[1]) / self._ridge
        return self._matrix.copy() if copy else self._matrix

    def _less_taken(self, matrix: Array) -> Array:
        """Return a matrix of which everything taken has been taken off, in place."""
        taken = self._taken[: self._count]
        weighted = taken * self._weights[: self._count, None]
        for at in range(0, len(matrix), _ROWS):  # all at once would need the matrix's memory once more
            matrix[at : at + _ROWS] -= weighted[:, at : at + _ROWS].T @ taken
        return matrix


@dataclass
class _Cloud:
    """How many vectors there are, and their mean; the scatter around it is its owner's."""

    count: int
    mean: Array

    def step(self, vector: Array, sign: int) -> tuple[Array, float]:
        """Add (1) or take away (-1) a vector; returns the vector and weight by which the scatter changes."""
        offset = vector - self.mean
        if self.count + sign == 0:
            self.count, self.mean = 0, np.zeros_like(self.mean)
            return offset, 0.0
        weight = sign * self.count / (self.count + sign)
        self.count += sign
        self.mean = self.mean + sign * offset / self.count
        return offset, weight


class Lda:
    """Class means and what is needed to compare distances from them; vectors are (d,) float64, classes numbers.

    Taking away what was added restores everything up to rounding. Not safe for threads: its owner locks.
    """

    def __init__(self, vectors: Array, classes: Classes, count: int) -> None:
        """Fit vectors (n, d), n ≥ 1, of classes 0…count-1."""
        vectors = np.asarray(vectors, np.float64)
        d = vectors.shape[1]
        self._clouds = [_cloud(vectors[classes == k], d) for k in range(count)]
        self._all = _cloud(vectors, d)
        within = vectors - self.means[classes]
        total = vectors - self._all.mean
        self._traces = [float((within**2).sum()), float((total**2).sum())]
        self._square = float((vectors**2).mean())
        self.ridges = self._wanted_ridges()
        """What was added to the diagonals of the scatters within classes and of all."""
        self.within = Precision(within, self.ridges[0])
        self.total = Precision(total, self.ridges[1])
        self._solved = self.within.times(self.means)

    @property
    def counts(self) -> list[int]:
        """Pictures of each class."""
        return [cloud.count for cloud in self._clouds]

    @property
    def means(self) -> Array:
        """(classes, d); zeros where there is no picture."""
        return np.stack([cloud.mean for cloud in self._clouds]) if self._clouds else np.zeros((0, len(self._all.mean)))

    @property
    def centre(self) -> Array:
        """The mean of all, (d,)."""
        return self._all.mean

    @property
    def solved(self) -> Array:
        """The means times the inverse covariance, (classes, d)."""
        return self._solved

    @property
    def stale(self) -> bool:
        """Whether it is time to fit anew: the variance is another than the prior assumes, or rounding spoiled it."""
        if not (self.within.sound and self.total.sound):
            return True
        pairs = zip(self._wanted_ridges(), self.ridges, strict=True)
        return any(not 1 / _DRIFT < wanted / used < _DRIFT for wanted, used in pairs)

    def add_class(self) -> int:
        """Return the number of a new class without pictures."""
        self._clouds.append(_Cloud(0, np.zeros_like(self._all.mean)))
        self._solved = np.vstack([self._solved, np.zeros((1, len(self._all.mean)))])
        return len(self._clouds) - 1

    def add(self, vector: Array, number: int) -> None:
        """Learn one more picture of a class."""
        self._change_class(vector, number, 1)
        self._change_total(vector, 1)

    def remove(self, vector: Array, number: int) -> None:
        """Forget a picture that was added."""
        self._change_class(vector, number, -1)
        self._change_total(vector, -1)

    def relabel(self, vector: Array, old: int, new: int) -> None:
        """Move a picture from one class to another."""
        self._change_class(vector, old, -1)
        self._change_class(vector, new, 1)

    def _change_class(self, vector: Array, number: int, sign: int) -> None:
        offset, weight = self._clouds[number].step(vector, sign)
        if weight:
            self._traces[0] += weight * float(offset @ offset)
            u, g = self.within.change(offset, weight)
            self._solved -= np.multiply.outer(g * (self.means @ u), u)
        self._solved[number] = self.within.times(self._clouds[number].mean)

    def _change_total(self, vector: Array, sign: int) -> None:
        before = self._all.count
        offset, weight = self._all.step(vector, sign)
        if self._all.count:
            self._square += sign * (float((vector**2).mean()) - self._square) / self._all.count
        if weight and before:
            self._traces[1] += weight * float(offset @ offset)
            self.total.change(offset, weight)

    def _wanted_ridges(self) -> tuple[float, float]:
        n, d = self._all.count, len(self._all.mean)
        taught = sum(cloud.count > 0 for cloud in self._clouds)
        least = _FLOOR * self._square + 1e-12
        total = max(self._traces[1] / max(n - 1, 1) / d, least)
        # With one picture a class, nothing is known of how a class varies: it is assumed to vary as all pictures do.
        within = max(self._traces[0] / (n - taught) / d, least) if n > taught else total
        return PRIOR * within, PRIOR * total

    def distances(self, vectors: Array) -> tuple[Array, Array]:
        """Return squared distances of vectors (n, d) from each class, (n, classes), and from all together, (n,).

        A class without pictures is infinitely far.
        """
        offset = vectors - self.centre
        means = self.means - self.centre
        solved = self._solved - self.within.times(self.centre)
        own = np.einsum("nd,nd->n", self.within.times(offset), offset)[:, None]
        squared = own - 2 * offset @ solved.T + np.einsum("kd,kd->k", means, solved)
        squared[:, [count == 0 for count in self.counts]] = np.inf
        return np.maximum(squared, 0), np.einsum("nd,nd->n", self.total.times(offset), offset)


def _cloud(vectors: Array, d: int) -> _Cloud:
    return _Cloud(len(vectors), vectors.mean(0) if len(vectors) else np.zeros(d))


@dataclass(frozen=True)
class LeftOut:
    """The answer for each picture as if it had not been taught, for all that are not the only one of their class.

    The rest of the model is as it is; only the picture's own part is taken out of mean and covariances (exactly).
    """

    judged: npt.NDArray[np.bool_]
    """(n,): False for the only picture of a class."""
    distances: Array
    """Squared, (n, classes); rows that are not judged hold what the whole model says."""
    relative: Array
    """The relative distance from the nearest class, (n,)."""
    whole: Array
    """The same with the picture in, (n,)."""


def leave_one_out(model: Lda, vectors: Array, classes: Classes) -> LeftOut:
    """Take each of the model's vectors (n, d) out in turn, in closed form."""
    rows = np.arange(len(vectors))
    squared, total = model.distances(vectors)
    counts = np.array(model.counts)[classes]
    judged = counts > 1
    left = np.where(judged, counts / np.maximum(counts - 1, 1), 1.0)
    # With δ = x - mean of its class, q = δᵀPδ, c = n/(n-1): taking x out changes P to P + g · Pδδᵀ P, g = c/(1 - c·q).
    own = squared[rows, classes]
    share = np.maximum(1 - left * own, 1e-9)
    across = (squared + own[:, None] - _between(model)[classes]) / 2  # δᵀP(x - mean of each class)
    without = squared + (left / share)[:, None] * across**2
    without[rows, classes] = left**2 * own / share
    without = np.where(judged[:, None], without, squared)
    n = len(vectors)
    far = n / max(n - 1, 1)
    total_without = far**2 * total / np.maximum(1 - far * total, 1e-9) if n > 1 else total
    relative = without.min(1) - RELATIVE * np.where(judged, total_without, total)
    return LeftOut(judged, without, relative, squared.min(1) - RELATIVE * total)


def _between(model: Lda) -> Array:
    """Return squared distances between class means, (classes, classes)."""
    means = model.means - model.centre
    gram = means @ (model.solved - model.within.times(model.centre)).T
    own = np.diag(gram)
    return np.asarray(own[:, None] + own[None] - gram - gram.T)
