"""Rendered network inputs and frames: repeatable, kept, and half of the evaluation's with a digit."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
from scans import few_digits, needs_mnist, some_digits

from picam_infer.imaging import decode
from picam_infer.inference.preprocess import edges
from picam_infer.training import render
from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.digits import REJECT, Digits
from picam_infer.training.samples import (
    CANNY,
    digit_squares,
    evaluation_frames,
    train_sample,
    training_set,
)


@needs_mnist
def test_the_same_seed_renders_the_same_training_frames() -> None:
    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.stack([train_sample(some_digits(), count(), rng, render.TRAIN)[0] for _ in range(5)])

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_training_frames_are_the_same_for_the_same_seed_and_kept_ones_are_used_again(tmp_path: Path) -> None:
    digits = few_digits()
    inputs, labels = training_set(digits, 1, 7, 1, Checkpoint(tmp_path, "x"))
    assert inputs.shape == (len(labels), 28, 28) and inputs.dtype == labels.dtype == np.uint8
    assert set(labels) == set(range(11)), "every digit, and none"
    kept = Checkpoint(tmp_path, "x")
    again = training_set(Digits.of(digits.images[:1], digits.labels[:1]), 1, 7, 1, kept)
    assert np.array_equal(inputs, again[0]) and np.array_equal(labels, again[1]), "not rendered from other digits"


def test_half_of_the_frames_to_judge_by_hold_a_digit() -> None:
    frames = list(evaluation_frames(few_digits(), (640, 480), 20, 1))
    labels = [label for label, _ in frames]
    assert labels[::2] == list(range(10)) and set(labels[1::2]) == {REJECT}
    assert all(frame.codec == "jpeg" and decode.bgr(frame).shape == (480, 640, 3) for _, frame in frames)
    same = list(evaluation_frames(few_digits(), (640, 480), 20, 1))
    assert all(np.array_equal(one.data, other.data) for (_, one), (_, other) in zip(frames, same, strict=True))


def test_squares_with_digits_alone() -> None:
    squares = list(digit_squares(few_digits(), render.EVAL, 3, 1))
    assert [(square.shape, square.dtype) for square in squares] == [((192, 192), np.uint8)] * 3
    assert all(edges(square, CANNY).any() for square in squares)
