"""The scans of digits that the tests of training use, and what these need."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from picam_infer.training import glyphs
from picam_infer.training.digits import Digits, read_mnist

HERE = Path(__file__).resolve().parents[2]
MNIST = Path(os.environ.get("PICAM_MNIST", HERE.parent / "shared" / "data" / "mnist"))
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="no MNIST here: set PICAM_MNIST to a folder of its idx files"
)
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed (extra `train`)"
)


@functools.cache
def some_digits() -> Digits:
    images, labels = read_mnist(MNIST, "t10k")
    return Digits.of(images[::22], labels[::22])  # all over it: some stretches are harder than others


def few_digits() -> Digits:
    """Digits as MNIST has them, 28×28 and white on black, one of each."""
    rng, images = np.random.default_rng(3), np.zeros((10, 28, 28), np.uint8)
    for digit, image in enumerate(images):
        points = [np.round(line * 20 + 14).astype(np.int32) for line in glyphs.digit_strokes(digit, rng)]
        cv2.polylines(image, points, False, 255, 2, cv2.LINE_AA)
    return Digits.of(images, np.arange(10, dtype=np.uint8))
