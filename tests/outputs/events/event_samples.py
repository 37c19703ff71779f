"""What the tests of events share: changes to tell of, and patience."""

from __future__ import annotations

import numpy as np
from makers import jpeg_frame
from makers import until as until

from picam_infer.config import Decide
from picam_infer.core import Prediction, Result
from picam_infer.models.bundle import Edges
from picam_infer.runtime.state import Change, State, Tuning


def state() -> State:
    made = State(Tuning(Edges(), Decide()), "digits", ("zero", "one"))
    made.engine = "openvino:CPU"
    return made


def change(label: str | None, score: float = 0.9, seq: int = 1, previous: str | None = None) -> Change:
    frame = jpeg_frame(np.full((48, 64, 3), 90, np.uint8), seq)
    result = Result(seq, frame.captured, frame.monotonic_s, label, score, (Prediction(label or "zero", score),),
                    "openvino:CPU", 3.0, 20.0, frame=frame)  # fmt: skip
    return Change("label", frame.captured, label=label, previous=previous, score=score, result=result, frame=frame)


def answered(*top: Prediction, label: str | None = None) -> Change:
    """Return the news of a result with these classes or values."""
    result = Result(1, 0.0, 0.0, label or top[0].label, top[0].score, top, "openvino:CPU", 3.0, 20.0)
    return Change("label", 0.0, label=result.label, score=result.score, result=result)
