"""The model that answers while pictures come and go: each one updates it at once, without a new fit to all of them."""

from __future__ import annotations

from dataclasses import dataclass

from picam_infer.training.teach import calibration as calibrations
from picam_infer.training.teach.backbone import Vector
from picam_infer.training.teach.calibration import Calibration
from picam_infer.training.teach.fitting import Fitted
from picam_infer.training.teach.head import rooted
from picam_infer.training.teach.lda import RELATIVE, Lda
from picam_infer.training.teach.picture_set import label_order

_GROWTH = 1.25
"""It is fitted again whenever the number of pictures has grown or shrunk by this factor, for the calibration."""


@dataclass(frozen=True)
class Prediction:
    """What the taught classes say about one picture."""

    label: str | None
    """The likeliest class; None: unlike all of them."""
    probabilities: dict[str, float]
    """By class, in order."""
    unknown: float
    """The probability that it is none of them."""


class LiveModel:
    """A discriminant that follows changes one by one. Not for several threads at once."""

    def __init__(self, root: bool) -> None:
        """`root`: whether the features' square roots are taken."""
        self._root = root
        self._model: Lda | None = None
        self._labels: list[str] = []
        """Classes in the order they were first seen: the model's numbers."""
        self._calibration = Calibration()
        self._fitted_to = 0

    @property
    def ready(self) -> bool:
        """Whether it can answer."""
        return self._model is not None

    def clear(self) -> None:
        """Forget everything, and free the memory."""
        self._model, self._labels, self._fitted_to, self._calibration = None, [], 0, Calibration()

    def start_from(self, fitted: Fitted) -> None:
        """Follow from here. The fitted model itself is changed by what follows."""
        self._model, self._labels, self._calibration = fitted.model, list(fitted.labels), fitted.calibration
        self._fitted_to = len(fitted.names)

    def outdated(self, count: int) -> bool:
        """Whether to fit anew instead of following a change that leaves `count` pictures."""
        return self._model is None or count >= _GROWTH * self._fitted_to or count * _GROWTH <= self._fitted_to

    @property
    def stale(self) -> bool:
        """Whether the changes since it was fitted have taken it too far from that."""
        return self._model is not None and self._model.stale

    def add(self, features: Vector, label: str) -> None:
        """Add a picture, by its features (d,)."""
        self._lda().add(rooted(features, self._root), self._number(label))

    def remove(self, features: Vector, label: str) -> None:
        """Remove a picture that was added."""
        self._lda().remove(rooted(features, self._root), self._number(label))

    def relabel(self, features: Vector, old: str, new: str) -> None:
        """Move a picture from one class to another."""
        self._lda().relabel(rooted(features, self._root), self._number(old), self._number(new))

    def predict(self, features: Vector) -> Prediction:
        """Return what the classes with pictures say about features (d,)."""
        model = self._lda()
        squared, total = model.distances(rooted(features, self._root)[None])
        taught = [number for number, count in enumerate(model.counts) if count]
        scores = calibrations.probabilities(squared[:, taught], total, RELATIVE, self._calibration)[0]
        labels = [self._labels[number] for number in taught]
        chances = dict(zip(labels, (float(score) for score in scores), strict=False))
        ordered = {label: chances[label] for label in sorted(labels, key=label_order)}
        likeliest = max(ordered, key=lambda label: ordered[label])
        unknown = float(scores[-1])
        return Prediction(likeliest if ordered[likeliest] > unknown else None, ordered, unknown)

    def _lda(self) -> Lda:
        assert self._model is not None
        return self._model

    def _number(self, label: str) -> int:
        if label not in self._labels:
            self._lda().add_class()
            self._labels.append(label)
        return self._labels.index(label)
