"""From scores to a decision: the best classes, unknown, smoothing and hold."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from picam_infer.config import Decide
from picam_infer.core import Prediction, Scores, best
from picam_infer.models.bundle import Bundle, Task


class Postprocessor:
    """Remembers just enough of the past to keep the label steady."""

    def __init__(
        self, labels: Sequence[str], reject: str | None = None, task: Task = "classification", units: Sequence[str] = ()
    ) -> None:
        self._labels = tuple(labels)
        self._reject = self._labels.index(reject) if reject in self._labels else None
        self._task = task
        self._units = (*units, *[""] * (len(self._labels) - len(units)))
        self._smooth: Scores | None = None
        self._shown: tuple[str, ...] = ()
        self._next: tuple[str, ...] | None = None
        self._agreed = 0

    @classmethod
    def of(cls, bundle: Bundle) -> Postprocessor:
        """Return the postprocessor for a model."""
        return cls(bundle.labels, bundle.card.reject, bundle.card.task, bundle.card.units)

    def __call__(self, scores: Scores, settings: Decide) -> tuple[str | None, tuple[Prediction, ...]]:
        """Return the label to show (None: unknown) and the best classes, for outputs of shape (classes,).

        The model's reject class is never among the best: it only makes the label unknown. Where classes do not exclude
        each other, all that reach the threshold are shown, in their own order. Values are neither judged nor sorted.
        """
        smooth = scores
        if self._smooth is not None and settings.smooth > 0:
            smooth = settings.smooth * self._smooth + (1 - settings.smooth) * scores
        self._smooth = np.array(smooth, np.float32)
        if self._task == "regression":
            values = zip(self._labels, self._smooth, self._units, strict=True)
            top = tuple(
                Prediction(label, float(value), unit) for label, value, unit in itertools.islice(values, settings.top)
            )
            return top[0].label, top
        if self._task == "multi-label":
            return self._several(settings)
        order = [i for i in best(self._smooth, settings.top + 2) if i != self._reject]
        top = tuple(Prediction(self._labels[i], float(self._smooth[i])) for i in order)
        label = self._label(top, settings)
        held = self._held(() if label is None else (label,), settings.hold)
        return (held[0] if held else None), top[: settings.top]

    def _several(self, settings: Decide) -> tuple[str | None, tuple[Prediction, ...]]:
        assert self._smooth is not None
        over = [i for i, score in enumerate(self._smooth) if score >= settings.threshold and i != self._reject]
        rejected = self._reject is not None and self._smooth[self._reject] >= max(self._smooth)
        held = self._held(() if rejected else tuple(self._labels[i] for i in over), settings.hold)
        order = [i for i in best(self._smooth, len(self._smooth)) if i != self._reject]
        top = [Prediction(self._labels[i], float(self._smooth[i]), named=self._labels[i] in held) for i in order]
        return ", ".join(held) or None, tuple(p for at, p in enumerate(top) if at < settings.top or p.named)

    def likeliest(self, scores: Scores) -> str:
        """Return the class with the highest of scores (classes,), the reject class included."""
        return self._labels[int(scores.argmax())]

    def reset(self) -> None:
        """Forget the past: what was seen before a loss says nothing about what follows."""
        self._smooth, self._shown, self._next, self._agreed = None, (), None, 0

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

    def _held(self, names: tuple[str, ...], hold: int) -> tuple[str, ...]:
        if names == self._shown:
            self._agreed = 0
        else:
            self._agreed = self._agreed + 1 if names == self._next else 1
            self._next = names
            if self._agreed >= hold:
                self._shown, self._agreed = names, 0
        return self._shown
