"""From scores to a decision: the best classes, unknown, smoothing and hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from picam_infer.config import Decide
from picam_infer.core import Prediction, Scores, best


class Decider:
    """Remembers just enough of the past to keep the shown label steady."""

    def __init__(self, labels: Sequence[str], reject: str | None = None) -> None:
        self._labels = tuple(labels)
        self._reject = self._labels.index(reject) if reject in self._labels else None
        self._smooth: Scores | None = None
        self._shown: str | None = None
        self._next: str | None = None
        self._agreed = 0

    def __call__(self, scores: Scores, settings: Decide) -> tuple[str | None, tuple[Prediction, ...]]:
        """Return the label to show (None: unknown) and the best classes, for probabilities of shape (classes,).

        The model's reject class is never among the best: it only makes the label unknown.
        """
        smooth = scores
        if self._smooth is not None and settings.smooth > 0:
            smooth = settings.smooth * self._smooth + (1 - settings.smooth) * scores
        self._smooth = np.array(smooth, np.float32)
        order = [i for i in best(self._smooth, settings.top + 2) if i != self._reject]
        top = tuple(Prediction(self._labels[i], float(self._smooth[i])) for i in order)
        return self._held(self._label(top, settings), settings.hold), top[: settings.top]

    def reset(self) -> None:
        """Forget the past: what was seen before a loss says nothing about what comes after it."""
        self._smooth, self._shown, self._next, self._agreed = None, None, None, 0

    def _label(self, top: Sequence[Prediction], settings: Decide) -> str | None:
        assert self._smooth is not None
        first = top[0]
        if first.score < settings.threshold:
            return None
        if self._reject is not None and self._smooth[self._reject] >= first.score:
            return None
        if len(top) > 1 and first.score - top[1].score < settings.margin:
            return None
        return first.label

    def _held(self, label: str | None, hold: int) -> str | None:
        if label == self._shown:
            self._agreed = 0
        else:
            self._agreed = self._agreed + 1 if label == self._next else 1
            self._next = label
            if self._agreed >= hold:
                self._shown, self._agreed = label, 0
        return self._shown
