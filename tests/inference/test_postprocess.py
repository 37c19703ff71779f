"""Top classes, unknown, smoothing and hold."""

from __future__ import annotations

import numpy as np
import pytest

from picam_infer.config import Decide
from picam_infer.core import Prediction, best
from picam_infer.inference.postprocess import Postprocessor


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_best_first_and_only_as_many_as_asked() -> None:
    label, top, _ = Postprocessor("abcd")(scores(0.1, 0.7, 0.15, 0.05), Decide(top=2))
    assert label == "b"
    assert [p.label for p in top] == ["b", "c"]
    assert top[0].score == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (Decide(threshold=0.5), "a"),
        (Decide(threshold=0.56), None),
        (Decide(threshold=0.5, margin=0.2), None),
        (Decide(threshold=0.5, margin=0.05), "a"),
    ],
)
def test_threshold_and_margin(settings: Decide, label: str | None) -> None:
    assert Postprocessor("ab")(scores(0.55, 0.45), settings)[0] == label


def test_the_reject_class_makes_it_unknown_and_is_never_listed() -> None:
    postprocessor = Postprocessor(["0", "1", "none"], reject="none")
    label, top, _ = postprocessor(scores(0.25, 0.05, 0.7), Decide(threshold=0.1))
    assert label is None
    assert [p.label for p in top] == ["0", "1"]
    assert postprocessor(scores(0.9, 0.05, 0.05), Decide())[0] == "0"


def test_smoothing_lets_one_odd_frame_pass() -> None:
    postprocessor, settings = Postprocessor("ab"), Decide(smooth=0.8, threshold=0.5)
    for _ in range(10):
        postprocessor(scores(1, 0), settings)
    assert postprocessor(scores(0, 1), settings)[0] == "a"
    for _ in range(10):
        label, *_ = postprocessor(scores(0, 1), settings)
    assert label == "b"


def test_hold_waits_for_equal_answers_in_a_row() -> None:
    postprocessor, settings = Postprocessor("ab"), Decide(hold=3)
    a, b = scores(0.9, 0.1), scores(0.1, 0.9)
    assert [postprocessor(s, settings)[0] for s in (a, a, a)] == [None, None, "a"]
    assert [postprocessor(s, settings)[0] for s in (b, b, a, b, b, b)] == ["a", "a", "a", "a", "a", "b"]


def test_reset_forgets_the_past() -> None:
    postprocessor, settings = Postprocessor("ab"), Decide(smooth=0.9, hold=2)
    for _ in range(5):
        postprocessor(scores(1, 0), settings)
    postprocessor.reset()
    assert postprocessor(scores(0, 1), settings)[0] is None
    assert postprocessor(scores(0, 1), settings)[0] == "b"


def test_one_class_is_enough() -> None:
    assert Postprocessor(["only"])(scores(0.9), Decide(margin=0.5))[0] == "only"


def test_of_classes_that_may_apply_at_once_all_above_the_threshold_are_named() -> None:
    postprocessor = Postprocessor(["sun", "rain", "wind", "fog"], task="multi-label")
    label, top, _ = postprocessor(scores(0.7, 0.2, 0.9, 0.8), Decide(threshold=0.6, top=2))
    assert label == "sun, wind, fog"  # in their own order, so that it does not flicker when the first changes
    assert [(p.label, p.named) for p in top] == [("wind", True), ("fog", True), ("sun", True)]
    label, top, _ = postprocessor(scores(0.1, 0.2, 0.3, 0.4), Decide(threshold=0.6, top=2))
    assert label is None and [(p.label, p.named) for p in top] == [("fog", False), ("wind", False)]


def test_several_classes_are_held_together() -> None:
    postprocessor, settings = Postprocessor("ab", task="multi-label"), Decide(hold=2)
    both, one = scores(0.9, 0.9), scores(0.9, 0.1)
    assert [postprocessor(s, settings)[0] for s in (both, both, one, both, one, one)] == [
        None, "a, b", "a, b", "a, b", "a, b", "a",
    ]  # fmt: skip


def test_the_reject_class_is_none_of_several() -> None:
    postprocessor = Postprocessor(["a", "b", "none"], reject="none", task="multi-label")
    assert postprocessor(scores(0.8, 0.1, 0.9), Decide())[0] is None
    assert postprocessor(scores(0.9, 0.1, 0.7), Decide())[0] == "a"


def test_values_are_neither_judged_nor_sorted() -> None:
    postprocessor = Postprocessor(["x", "y"], task="regression", units=("mm", ""))
    label, top, _ = postprocessor(scores(-2.5, 300), Decide(threshold=0.99))
    assert label == "x"
    assert [(p.label, p.score, p.unit, p.figure) for p in top] == [
        ("x", -2.5, "mm", "-2.50 mm"),
        ("y", 300, "", "300.00"),
    ]
    for _ in range(40):
        label, top, _ = postprocessor(scores(10, 300), Decide(smooth=0.5))
    assert top[0].score == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0.00"), (0.0012, "0.0012"), (-3.14159, "-3.14"), (12345.678, "12345.68"), (2.5e7, "2.5e+07")],
)
def test_how_values_are_written(value: float, said: str) -> None:
    assert Prediction("x", value, "").figure == said


@pytest.mark.parametrize("classes", [6, 1000])
def test_the_best_classes_are_the_same_for_few_and_for_many(classes: int) -> None:
    values = np.zeros(classes, np.float32)
    values[[1, 3, 4]] = 0.5, 0.9, 0.5
    assert list(best(values, 4)) == [3, 1, 4, 0], "equal ones in their own order"
    values[0] = np.nan
    assert list(best(values, 3)) == [3, 1, 4], "what is no number is none of the best"


def test_a_held_label_keeps_the_score_it_was_decided_with() -> None:
    postprocessor, settings = Postprocessor("ab"), Decide(hold=2)
    answers = [(0.9, 0.1), (0.97, 0.03), (0.8, 0.2), (0.02, 0.98), (0.5, 0.4), (0.1, 0.9), (0.05, 0.95)]
    shown = [postprocessor(scores(*one), settings) for one in answers]
    assert [one.label for one in shown] == [None, "a", "a", "a", "a", "a", "b"]
    assert [round(one.score, 2) for one in shown] == [0.9, 0.97, 0.8, 0.8, 0.8, 0.8, 0.95]
    assert shown[3].top[0] == Prediction("b", pytest.approx(0.98)), "the list goes on with the picture"


def test_one_of_several_held_labels_keeps_its_own_score_too() -> None:
    postprocessor, settings = Postprocessor("ab", task="multi-label"), Decide(hold=2)
    for _ in range(2):
        postprocessor(scores(0.9, 0.8), settings)
    decided = postprocessor(scores(0.955, 0.03), settings)
    assert decided.label == "a, b" and decided.score == pytest.approx(0.955)
    assert [(p.label, p.figure, round(p.score, 3)) for p in decided.top] == [("a", "95 %", 0.955), ("b", "80 %", 0.03)]
    assert postprocessor(scores(0.955, 0.03), settings).top[1].named is False
