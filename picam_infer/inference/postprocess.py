"""From scores to a decision: the best classes, unknown, smoothing and hold."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from picam_infer.config import Decide
from picam_infer.core import Prediction, Scores, best
from picam_infer.models.bundle import Bundle, Task


class Decision(NamedTuple):
    """What is decided about one picture."""

    label: str | None
    """The label to show; None: unknown."""
    top: tuple[Prediction, ...]
    """The best classes as they are now."""
    score: float
    """The label's: while it is held, the one it was last decided with. The best class's, when it is unknown."""


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
        self._shown: dict[str, float] = {}
        """The labels that are shown, and the scores they were last decided with."""
        self._next: tuple[str, ...] | None = None
        self._agreed = 0

    @classmethod
    def of(cls, bundle: Bundle) -> Postprocessor:
        """Return the postprocessor for a model."""
        return cls(bundle.labels, bundle.card.reject, bundle.card.task, bundle.card.units)

    def __call__(self, scores: Scores, settings: Decide) -> Decision:
        """Return what to show, for outputs of shape (classes,).

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
            return Decision(top[0].label, top, top[0].score)
        if self._task == "multi-label":
            return self._several(settings)
        order = [i for i in best(self._smooth, settings.top + 2) if i != self._reject]
        top = tuple(Prediction(self._labels[i], float(self._smooth[i])) for i in order)
        label = self._label(top, settings)
        held = self._held({} if label is None else {label: top[0].score}, settings.hold)
        shown, score = next(iter(held.items()), (None, top[0].score))
        return Decision(shown, top[: settings.top], score)

    def _several(self, settings: Decide) -> Decision:
        assert self._smooth is not None
        over = [i for i, score in enumerate(self._smooth) if score >= settings.threshold and i != self._reject]
        rejected = self._reject is not None and self._smooth[self._reject] >= max(self._smooth)
        decided = {} if rejected else {self._labels[i]: float(self._smooth[i]) for i in over}
        held = self._held(decided, settings.hold)
        order = [i for i in best(self._smooth, len(self._smooth)) if i != self._reject]
        top = [Prediction(self._labels[i], float(self._smooth[i]), named=self._labels[i] in held) for i in order]
        top = [replace(p, held=held[p.label]) if p.named and p.label not in decided else p for p in top]
        listed = tuple(p for at, p in enumerate(top) if at < settings.top or p.named)
        return Decision(", ".join(held) or None, listed, max(held.values(), default=top[0].score))

    def likeliest(self, scores: Scores) -> str:
        """Return the class with the highest of scores (classes,), the reject class included."""
        return self._labels[int(scores.argmax())]

    def reset(self) -> None:
        """Forget the past: what was seen before a loss says nothing about what follows."""
        self._smooth, self._shown, self._next, self._agreed = None, {}, None, 0

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

    def _held(self, decided: dict[str, float], hold: int) -> dict[str, float]:
        """Return the labels to show with their scores: the decided ones, once they were so `hold` times in a row."""
        names = tuple(decided)
        if names == tuple(self._shown):
            self._agreed = 0
        else:
            self._agreed = self._agreed + 1 if names == self._next else 1
            self._next = names
            if self._agreed >= hold:
                self._shown, self._agreed = decided, 0
        self._shown = {label: decided.get(label, score) for label, score in self._shown.items()}
        return self._shown
