"""The discriminant: exact leave-one-out, exact forgetting, probabilities and the limit of what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picam_infer.training.teach import calibration as calibrations
from picam_infer.training.teach.calibration import Calibration, calibrate, probabilities, student
from picam_infer.training.teach.head import head
from picam_infer.training.teach.lda import RELATIVE, Array, Classes, Lda, leave_one_out


def cloud(counts: list[int], d: int = 24, seed: int = 1, apart: float = 2.0) -> tuple[Array, Classes]:
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(counts)), counts).astype(np.intp)
    mix = rng.normal(size=(d, d)) / math.sqrt(d)
    return apart * rng.normal(size=(len(counts), d))[classes] + rng.normal(size=(len(classes), d)) @ mix, classes


def state(model: Lda) -> list[Array]:
    return [model.within.dense(), model.total.dense(), model.means, model.solved, model.centre]


@pytest.mark.parametrize("counts", [[4, 5, 6], [40, 30, 35], [1, 9]])
def test_distances_are_those_of_the_textbook(counts: list[int]) -> None:
    """With more and with fewer pictures than features, which are different ways to the inverse."""
    vectors, classes = cloud(counts)
    model = Lda(vectors, classes, len(counts))
    means = np.array([vectors[classes == k].mean(0) for k in range(len(counts))])
    within = vectors - means[classes]
    d, freedom = vectors.shape[1], len(vectors) - len(counts)
    scatter = within.T @ within + 30 * (within**2).sum() / freedom / d * np.eye(d)
    others = np.random.default_rng(7).normal(size=(5, d))
    expected = [[(x - m) @ np.linalg.solve(scatter, x - m) for m in means] for x in others]
    np.testing.assert_allclose(model.distances(others)[0], expected, rtol=1e-9)


@pytest.mark.parametrize("count", [3, 4, 8])
def test_a_picture_at_a_time_comes_to_the_same_as_all_at_once(count: int) -> None:
    """Also where the last picture makes a matrix of what was kept of each."""
    vectors, classes = cloud([count, count, count])
    whole = Lda(vectors, classes, 3)
    model = Lda(vectors[:-1], classes[:-1], 3)
    model.add(vectors[-1], 2)
    # The prior keeps the weight that it was fitted with, so the comparison is with that one.
    within, total = (
        np.linalg.inv(rows.T @ rows + ridge * np.eye(24))
        for rows, ridge in zip((vectors - whole.means[classes], vectors - whole.centre), model.ridges, strict=True)
    )
    np.testing.assert_allclose(model.within.dense(), within, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.total.dense(), total, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.means, whole.means, rtol=1e-12)
    np.testing.assert_allclose(model.solved, whole.means @ within, rtol=1e-7, atol=1e-10)
    assert model.counts == whole.counts


def test_what_is_taken_away_leaves_no_trace() -> None:
    vectors, classes = cloud([6, 5, 4])
    model = Lda(vectors, classes, 3)
    before = [part.copy() for part in state(model)]
    rng = np.random.default_rng(5)
    more = rng.normal(size=(200, 24)) * 3
    for row in more:
        model.add(row, 1)
    for row in more[::-1]:
        model.relabel(row, 1, 2)
        model.remove(row, 2)
    for now, then in zip(state(model), before, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-7, atol=1e-9 * np.abs(then).max())
    assert model.counts == [6, 5, 4]


def test_a_class_comes_and_goes_with_its_only_picture() -> None:
    vectors, classes = cloud([5, 5])
    model = Lda(vectors, classes, 2)
    before = model.distances(vectors)[0]
    number = model.add_class()
    assert np.isinf(model.distances(vectors)[0][:, number]).all()
    model.add(vectors[0] + 3, number)
    assert model.distances(vectors[:1] + 3)[0].argmin() == number
    model.remove(vectors[0] + 3, number)
    np.testing.assert_allclose(model.distances(vectors)[0][:, :2], before, rtol=1e-8)


@pytest.mark.parametrize("counts", [[3, 4, 2], [30, 30], [9]])
def test_leaving_out_in_closed_form_is_leaving_out(counts: list[int]) -> None:
    vectors, classes = cloud(counts)
    model = Lda(vectors, classes, len(counts))
    left = leave_one_out(model, vectors, classes)
    for row, (vector, number) in enumerate(zip(vectors, classes, strict=True)):
        model.remove(vector, int(number))
        squared, total = model.distances(vector[None])
        np.testing.assert_allclose(left.distances[row], squared[0], rtol=1e-7)
        np.testing.assert_allclose(left.relative[row], squared[0].min() - RELATIVE * total[0], rtol=1e-6, atol=1e-9)
        model.add(vector, int(number))


def test_the_only_picture_of_a_class_is_not_judged() -> None:
    vectors, classes = cloud([1, 4])
    left = leave_one_out(Lda(vectors, classes, 2), vectors, classes)
    assert left.judged.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("rows", [np.zeros((4, 6)), np.ones((4, 6)), np.repeat(np.eye(6)[:2], 2, axis=0),
                                  np.ones((1, 6)), np.eye(6)[:2] * 1e-20, np.ones((4, 6)) * 1e20])  # fmt: skip
def test_pictures_without_any_variance_give_numbers_all_the_same(rows: Array) -> None:
    classes = (np.arange(len(rows)) // 2).astype(np.intp)
    count = int(classes.max()) + 1
    model = Lda(rows, classes, count)
    calibration = calibrate(model, leave_one_out(model, rows, classes), classes)
    scores = probabilities(*model.distances(rows), RELATIVE, calibration)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(1), 1)
    for given in (None, rows):
        layers = head(model, calibration, False, list(range(count)), rows=given)
        assert np.isfinite(layers.probabilities(rows)).all()


@pytest.mark.parametrize("counts", [[12, 9, 11], [4, 3, 5]])
def test_the_layers_say_what_the_distances_say(counts: list[int]) -> None:
    vectors, classes = cloud(counts)
    model = Lda(vectors, classes, 3)
    calibration = calibrate(model, leave_one_out(model, vectors, classes), classes)
    others = np.concatenate([vectors, np.random.default_rng(2).normal(size=(20, 24)) * 4])
    scores = probabilities(*model.distances(others), RELATIVE, calibration)
    for rows in (None, vectors):
        layers = head(model, calibration, False, [0, 1, 2], rows=rows)
        np.testing.assert_allclose(layers.probabilities(others), scores, atol=1e-9)
    assert layers.shape.shape[1] == (24 if len(vectors) > 12 else 12), "as many numbers as the pictures need"
    assert scores[:, 3].max() > 0.9 and scores[: len(vectors), 3].max() < 0.6


def test_probabilities_are_calibrated() -> None:
    """Of what is said with a confidence of about p, about p is right, on pictures that were not taught."""
    rng = np.random.default_rng(4)
    means, mix = rng.normal(size=(4, 12)) * 0.9, rng.normal(size=(12, 12)) / 3.5

    def draw(count: int) -> tuple[Array, Classes]:
        classes = np.repeat(np.arange(4), count).astype(np.intp)
        return means[classes] + rng.normal(size=(len(classes), 12)) @ mix, classes

    vectors, classes = draw(30)
    others, truth = draw(2000)
    model = Lda(vectors, classes, 4)
    calibration = calibrate(model, leave_one_out(model, vectors, classes), classes)
    scores = probabilities(*model.distances(others), RELATIVE, calibration)[:, :4]
    scores /= scores.sum(1, keepdims=True)
    right = scores.argmax(1) == truth
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99)):
        there = (scores.max(1) >= low) & (scores.max(1) < high)
        assert there.sum() > 100
        assert abs(right[there].mean() - scores.max(1)[there].mean()) < 0.08


@pytest.mark.parametrize("count", [15, 60, 300])
def test_two_percent_of_the_taught_classes_are_called_unknown(count: int) -> None:
    rejected = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        means = rng.normal(size=(2, 40)) * 2
        classes = np.repeat(np.arange(2), count).astype(np.intp)
        vectors = means[classes] + rng.normal(size=(len(classes), 40))
        others = means[np.arange(2000) % 2] + rng.normal(size=(2000, 40))
        model = Lda(vectors, classes, 2)
        calibration = calibrate(model, leave_one_out(model, vectors, classes), classes)
        rejected.append((probabilities(*model.distances(others), RELATIVE, calibration).argmax(1) == 2).mean())
        strange = rng.normal(size=(200, 40)) * 6
        assert (probabilities(*model.distances(strange), RELATIVE, calibration).argmax(1) == 2).mean() > 0.95
    assert 0.003 < np.mean(rejected) < 0.04


def test_with_one_picture_a_class_there_is_an_answer_and_no_limit() -> None:
    vectors, classes = cloud([1, 1, 1])
    model = Lda(vectors, classes, 3)
    calibration = calibrate(model, leave_one_out(model, vectors, classes), classes)
    assert math.isinf(calibration.limit)
    scores = probabilities(*model.distances(vectors), RELATIVE, calibration)
    assert (scores.argmax(1) == classes).all() and (scores.max(1) > 0.8).all()
    assert scores[:, 3].max() < 1e-6


def test_very_many_classes() -> None:
    vectors, classes = cloud([3] * 200, d=32, apart=3.0)
    model = Lda(vectors, classes, 200)
    left = leave_one_out(model, vectors, classes)
    assert (left.distances.argmin(1) == classes).mean() > 0.95
    scores = probabilities(*model.distances(vectors), RELATIVE, calibrate(model, left, classes))
    assert scores.shape == (600, 201) and (scores.argmax(1) == classes).mean() > 0.95


def test_a_variance_that_is_another_makes_the_fit_stale() -> None:
    vectors, classes = cloud([5, 5])
    model = Lda(vectors, classes, 2)
    model.add(vectors[0], 0)
    assert not model.stale
    for row in np.random.default_rng(3).normal(size=(30, 24)) * 20:
        model.add(row, 1)
    assert model.stale


@pytest.mark.parametrize(
    ("freedom", "table"), [(1, 15.895), (2, 4.849), (3, 3.482), (5, 2.757), (10, 2.359), (30, 2.147), (1000, 2.056)]
)
def test_students_quantiles_are_those_of_the_tables(freedom: int, table: float) -> None:
    assert student(0.98, freedom) == pytest.approx(table, rel=0.03)


def test_unknown_is_a_bounded_logit() -> None:
    calibration = Calibration(limit=1.0, gain=1e6)
    said = calibrations.unknown(np.array([0.0, 1.0, 1e30]), calibration)
    assert said.tolist() == [-calibrations.MOST, 0.0, calibrations.MOST]
