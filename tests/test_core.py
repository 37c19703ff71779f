"""How probabilities are written, everywhere in the same way."""

from __future__ import annotations

import numpy as np
import pytest

from picam_infer.core import Prediction, Result, four_digits, percent, percentage
from picam_infer.outputs.events.notify import message_text
from picam_infer.outputs.events.outlet import Event
from picam_infer.runtime.state import Change


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (0.9989, "99 %"), (0.99996, "99 %"), (1.0, "100 %"), (0.29, "29 %"), (0.57, "57 %"),
     (float(np.float32(0.29)), "29 %"), (float(np.float32(0.7)), "70 %"), (0.98996, "98 %"), (0.0099, "0 %")],
)  # fmt: skip
def test_what_is_not_certain_is_never_100_percent(share: float, said: str) -> None:
    assert percent(share) == said


def test_digits_after_the_point_are_rounded_down_too() -> None:
    assert (percent(0.99996, 1), percent(2 / 3, 1), percent(0.983, 1)) == ("99.9 %", "66.6 %", "98.3 %")
    assert percentage(0.99996, 1) == 99.9
    assert four_digits(0.99996) == 0.9999 and four_digits(float(np.float32(0.7))) == 0.7
    assert four_digits(-2.00006, "mm") == -2.0001, "a value is rounded as usual"


def test_all_that_is_said_of_one_result_agrees() -> None:
    result = Result(1, 0, 0, "cat", 0.99996, (Prediction("cat", 0.99996),), "openvino:CPU", 1, 2)
    assert result.said() == [("cat", "99 %")] and result.in_words() == "sees cat (99 %)"
    said = result.as_json()
    assert said["score"] == said["top"][0]["score"] == 0.9999
    for about in (result, None):
        event = Event(Change("label", 0, label="cat", score=0.99996, result=about))
        assert message_text(event) == "sees cat (99 %)" and event.as_json()["score"] == 0.9999
