"""Trains the handwritten-digit model on what a webcam really shows: rendered pen-on-paper frames through the `edges` chain."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from picam_infer.preprocess import edges
from picam_infer.render import (
    EVAL,
    TRAIN,
    RenderParams,
    View,
    none_kind,
    render_digit,
    render_none,
    through_jpeg,
)
from picam_infer.strokes import digit_field, digit_strokes, skeletons, strokes_field

CANNY = (90.0, 30.0)
REJECT = 10
LABELS = (*"0123456789", "none")
CLAIM = 0.6
FRAMES = ((640, 480), (1280, 720), (1920, 1080))

# Crop side in px and the JPEG decoder's reduction: 480p, 720p and 1080p at a roi of 0.4, whole and reduced.
_TRAIN_VIEWS = ((192, 1), (192, 1), (288, 1), (288, 1), (432, 1), (432, 1), (288, 2), (432, 2))
_CHUNK = 500
_NONE_SHARE = 0.4
_BUILT_IN_SHARE = 0.1
# Fewer lit pixels than this cannot show a digit: the light or the blur took it away.
_LEAST_LIT = 6.0

Predict = Callable[[np.ndarray], np.ndarray]
"""n x 28 x 28 uint8 network inputs to n x 11 float32 probabilities."""


@dataclass(frozen=True)
class Digits:
    """Scanned digits: `images` n x 28 x 28 uint8 (ink bright), `labels` n uint8, `paths` n x 56 x 56 uint8 skeletons."""

    images: np.ndarray
    labels: np.ndarray
    paths: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> Digits:
        chunks = [skeletons(images[i : i + 250]) for i in range(0, len(images), 250)]
        return cls(images, labels, np.concatenate(chunks))


def read_mnist(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's idx files (`part` "train" or "t10k", plain or .gz): images n x 28 x 28 and labels n, both uint8."""

    def read(kind: str, header: int) -> np.ndarray:
        name = folder / f"{part}-{kind}"
        data = name.read_bytes() if name.is_file() else gzip.decompress(name.with_name(name.name + ".gz").read_bytes())
        return np.frombuffer(data, np.uint8, offset=header)

    return read("images-idx3-ubyte", 16).reshape(-1, 28, 28), read("labels-idx1-ubyte", 8)


_digits: Digits | None = None


def _worker(digits: Digits) -> None:
    global _digits
    _digits = digits
    cv2.setNumThreads(1)


def _train_sample(digits: Digits, rng: np.random.Generator, params: RenderParams) -> tuple[np.ndarray, int]:
    side, reduce = _TRAIN_VIEWS[rng.integers(len(_TRAIN_VIEWS))]
    view = View.crop(side)
    if rng.random() < _NONE_SHARE:
        label, grey = REJECT, render_none(none_kind(params, rng), view, params, rng)
    else:
        label, grey = _digit_frame(digits, int(rng.integers(len(digits.labels))), view, params, rng)
    quality = round(rng.uniform(*params.jpeg))
    patch = edges(through_jpeg(grey, quality, reduce), CANNY)
    return patch, REJECT if float(patch.sum()) < _LEAST_LIT * 255 else label


def _digit_frame(digits: Digits, index: int, view: View, params: RenderParams, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    if params is TRAIN and rng.random() < _BUILT_IN_SHARE:
        label = int(rng.integers(10))
        return label, render_digit(strokes_field(digit_strokes(label, rng)), False, view, params, rng)
    outline = bool(rng.random() < params.outline)
    field = digit_field(digits.images[index], None if outline else digits.paths[index])
    return int(digits.labels[index]), render_digit(field, outline, view, params, rng)


def _train_chunk(seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    assert _digits is not None
    rng = np.random.default_rng(seed)
    pairs = [_train_sample(_digits, rng, TRAIN) for _ in range(_CHUNK)]
    return np.stack([p for p, _ in pairs]), np.array([label for _, label in pairs], np.uint8)


def training_set(digits: Digits, count: int, seed: int, processes: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` rendered network inputs (n x 28 x 28 uint8) and their classes (n uint8), the same for the same seed."""
    seeds = [(seed, chunk) for chunk in range(-(-count // _CHUNK))]
    return _gather(digits, _train_chunk, seeds, processes, "rendering")


def _gather(digits: Digits, work: Callable[..., Any], jobs: list[Any], processes: int, title: str) -> tuple[np.ndarray, np.ndarray]:
    with ProcessPoolExecutor(processes, get_context("spawn"), _worker, (digits,)) as pool:
        results = list(_progress(pool.map(work, jobs), len(jobs), title))
    return np.concatenate([x for x, _ in results]), np.concatenate([y for _, y in results])


def _progress(items: Iterator[Any], total: int, title: str) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        if sys.stderr.isatty() or done % max(total // 10, 1) == 0:
            print(f"\r{title} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)
        yield item
