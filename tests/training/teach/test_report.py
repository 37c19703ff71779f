"""The report on what was taught: what it says of pictures that do not fit."""

from __future__ import annotations

from picam_infer.inference.evaluation import Evaluation
from picam_infer.training.teach.report import Odd, Report


def test_what_is_odd_about_a_picture_is_what_is_said() -> None:
    near, far = Odd("a.png", "paper", "rock", 0.6), Odd("b.png", "paper", "rock", 2.1)
    assert near.why == "is more like rock than like its own class paper"
    assert far.why == "is 2.1 times as far from paper as usual, most like rock"
    assert Odd("c.png", "paper", "paper", 1.8).why == "is 1.8 times as far from paper as usual"


def test_pictures_called_unknown_are_said_to_count_in_the_table() -> None:
    evaluation = Evaluation(["a", "b"])
    for label in ("a", "b", "b"):
        evaluation.add(label, label, label)
    for rejected, said in ((0, False), (1, True)):
        report = Report(("a", "b"), {"a": 1, "b": 2}, evaluation, 3, rejected, True, (), ())
        (line,) = [line for line in report.lines() if line.startswith("called unknown")]
        assert f": {rejected} of 3" in line
        assert line.endswith("; above, they count as the class that they are most like") is said
