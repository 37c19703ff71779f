"""Scanned digits, and which of their pens' paths still show them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scans import MNIST, needs_mnist

from picam_infer.core import NoInput
from picam_infer.training.digits import Digits, load_digits, read_mnist


def test_a_folder_without_mnist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="no MNIST in"):
        load_digits(tmp_path)


@needs_mnist
def test_a_path_that_looks_like_another_digit_is_not_used() -> None:
    images, labels = read_mnist(MNIST, "t10k")
    images, truth = images[:1500], labels[:1500]
    told = truth.copy()
    wrong = np.flatnonzero(np.isin(truth, (1, 2, 3, 5, 7)))[::12]
    told[wrong] = np.array([4, 7, 5, 2, 9, 3, 8, 1, 1, 4])[truth[wrong]]
    thin = Digits.of(images, told).thin
    assert thin[wrong].mean() < 0.25
    assert np.delete(thin, wrong).mean() > 0.8


@needs_mnist
def test_a_path_that_is_used_ends_where_the_scan_does_and_has_no_loop_too_many() -> None:
    images, labels = read_mnist(MNIST, "t10k")
    digits = Digits.of(images[:1500], labels[:1500])
    missing, looped = [], []
    for image, path, digit in zip(
        digits.images[digits.thin], digits.paths[digits.thin], digits.labels[digits.thin], strict=True
    ):
        ink = cv2.resize(image, (56, 56), interpolation=cv2.INTER_CUBIC) > 160
        far = cv2.distanceTransform(1 - path, cv2.DIST_L2, 5)
        missing.append(far[ink].max() > 6)  # of 56 pixels, most of it half the width of a broad pen
        areas = cv2.connectedComponents(1 - path, connectivity=4)[0] - 1
        looped.append(digit in (1, 3, 5, 7) and areas > 1)
    assert np.mean(missing) < 0.03
    assert not any(looped)
