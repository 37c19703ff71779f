"""Scanned digits, and which of their pens' paths still show them."""

from __future__ import annotations

from pathlib import Path

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
