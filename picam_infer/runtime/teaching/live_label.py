"""The open lesson's answer for the newest picture, as the page and the monitor show it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from picam_infer.core import Frame, Pixels, four_digits
from picam_infer.models.bundle import Chain, Input
from picam_infer.runtime.teaching.served_round import ServedRound

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson
    from picam_infer.training.teach.live_model import Prediction

_EVERY_S = 0.1


class Seen(msgspec.Struct, frozen=True, eq=False):
    """What a lesson says of the newest picture."""

    chain: Chain
    """Which part of the picture it looks at, with a network that has the input `network`."""
    network: Input
    answer: dict[str, Any] | None
    """See `LiveLabel.answer`."""
    input_image: Pixels | None


class LiveLabel:
    """Owns the last answer. The teaching thread uses it; any may read `answer`."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None
        """The last one as JSON; None: there is no picture, or nothing is taught."""
        self.input_image: Pixels | None = None
        """What the lesson's network saw of the picture that was looked at last, as `Result.input_image`."""
        self._next_s = 0.0

    def clear(self) -> None:
        """Forget the answer."""
        self.answer = self.input_image = None

    def due(self, lesson: Lesson, running: ServedRound | None) -> Frame | None:
        """Return the frame to look at now; None: there is none, or it is too early for the next."""
        newest = running.state.frames.peek() if running and running.state.watching else None
        if newest is None or not any(lesson.classes().values()):
            self.clear()
            return None
        return newest[1] if time.monotonic() >= self._next_s else None

    def look(self, lesson: Lesson, running: ServedRound | None, frame: Frame) -> None:
        """Ask the lesson about a picture. Raises `BadFrame`."""
        began_s = time.monotonic()
        try:
            features, self.input_image = lesson.teacher.look(frame)
            self.take(lesson.teacher.predict(features), running, frame.captured)
        finally:
            took_s = time.monotonic() - began_s
            self._next_s = began_s + max(_EVERY_S, 2 * took_s)  # half of the time is left to other work

    def take(self, prediction: Prediction | None, running: ServedRound | None, captured: float | None = None) -> None:
        """Note an answer about a picture taken at `captured` (Unix seconds; None: now)."""
        if prediction is None or running is None:
            return
        best = prediction.label
        if best is not None and prediction.probabilities[best] < running.state.tuning.decide.threshold:
            best = None  # as the service would
        self.answer = {
            "label": best,
            "score": four_digits(prediction.probabilities[best] if best is not None else prediction.unknown),
            "scores": {label: four_digits(score) for label, score in prediction.probabilities.items()},
            "unknown": four_digits(prediction.unknown),
            "captured": round(captured or time.time(), 3),
        }
