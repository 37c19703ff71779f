"""What the network sees: rendered frames after the `edges` chain for training, and whole frames for evaluation."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np

from picam_infer.core import Frame
from picam_infer.imaging.decode import grey_square
from picam_infer.inference.preprocess import edges
from picam_infer.platform.terminal import put
from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.digits import REJECT, Digits
from picam_infer.training.glyphs import digit_field, digit_strokes, strokes_field
from picam_infer.training.render import (
    EVAL,
    TRAINING,
    Mix,
    RenderParams,
    View,
    jpeg,
    none_kind,
    one_of,
    render_digit,
    render_none,
    through_jpeg,
    tinted,
)

CANNY = (90.0, 30.0)
"""The thresholds of the `edges` chain that the model is trained with."""
CHUNK = 500
"""Inputs that are rendered by one process in one go."""

# Crop side in px and the JPEG decoder's reduction: 480p, 720p and 1080p at a roi of 0.4, whole and reduced.
_TRAIN_VIEWS = ((192, 1), (192, 1), (288, 1), (288, 1), (432, 1), (432, 1), (288, 2), (432, 2))
_PART = 50
"""Chunks that are saved together."""
_NONE_SHARE = 0.35
# Fewer lit pixels than this cannot show a digit: the light or the blur took it away.
_LEAST_LIT = 6.0


_digits: Digits | None = None


def _worker(digits: Digits) -> None:
    global _digits
    _digits = digits
    cv2.setNumThreads(1)


def train_sample(
    digits: Digits, scans: Iterator[int], rng: np.random.Generator, params: RenderParams
) -> tuple[np.ndarray, int]:
    """Return one input of the network, drawn at random, and its class; `scans` says which digit comes next."""
    side, reduce = _TRAIN_VIEWS[rng.integers(len(_TRAIN_VIEWS))]
    view = View.crop(side)
    if rng.random() < _NONE_SHARE:
        label, grey = REJECT, render_none(none_kind(params, rng), view, params, rng)
    else:
        label, grey = digit_frame(digits, next(scans) % len(digits.labels), view, params, rng)
    quality = round(rng.uniform(*params.jpeg))
    input_image = edges(through_jpeg(grey, quality, reduce), CANNY)
    return input_image, REJECT if float(input_image.sum()) < _LEAST_LIT * 255 else label


def digit_frame(
    digits: Digits, index: int, view: View, params: RenderParams, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Return the class of digit number `index` and a grey frame (H, W) that shows it."""
    if rng.random() < params.built_in:
        label = int(rng.integers(10))
        return label, render_digit(strokes_field(digit_strokes(label, rng)), False, view, params, rng)
    outline = bool(rng.random() < params.outline) or not digits.thin[index]
    field = digit_field(digits.images[index], None if outline else digits.paths[index])
    return int(digits.labels[index]), render_digit(field, outline, view, params, rng)


def digit_squares(digits: Digits, params: RenderParams, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the square alone of `count` frames with a digit, (S, S) uint8 grey, after the camera's JPEG."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        _, grey = digit_frame(digits, int(rng.integers(len(digits.labels))), View.crop(192), params, rng)
        yield through_jpeg(grey, round(rng.uniform(*params.jpeg)))


def _chunk(seed: tuple[int, ...], mix: Mix = TRAINING) -> tuple[np.ndarray, np.ndarray]:
    assert _digits is not None
    rng = np.random.default_rng(seed)
    # In turn: if scans were drawn at random, a quarter would never be seen.
    scans = itertools.count(seed[-1] * round(CHUNK * (1 - _NONE_SHARE)))
    pairs = [train_sample(_digits, scans, rng, one_of(mix, rng)) for _ in range(CHUNK)]
    return np.stack([p for p, _ in pairs]), np.array([label for _, label in pairs], np.uint8)


def training_set(
    digits: Digits,
    count: int,
    seed: int,
    processes: int,
    checkpoint: Checkpoint | None = None,
    mix: Mix = TRAINING,
) -> tuple[np.ndarray, np.ndarray]:
    """Return at least `count` rendered inputs (n x 28 x 28 uint8) and their classes (n uint8), the same for a seed.

    With a checkpoint, parts that an earlier run rendered are taken from it.
    """
    seeds = [(seed, chunk) for chunk in range(-(-count // CHUNK))]
    parts = []
    for first in range(0, len(seeds), _PART):
        some = seeds[first : first + _PART]
        title = f"rendering set {seed}, {first * CHUNK} of {count}:"
        render = partial(_gather, digits, partial(_chunk, mix=mix), some, processes, title)
        parts.append(render() if checkpoint is None else checkpoint.once(f"frames-{seed}-{first}", render))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _gather(
    digits: Digits, work: Callable[..., Any], jobs: list[Any], processes: int, title: str
) -> tuple[np.ndarray, np.ndarray]:
    with ProcessPoolExecutor(processes, get_context("spawn"), _worker, (digits,)) as pool:
        results = list(_progress(pool.map(work, jobs), len(jobs), title))
    return np.concatenate([x for x, _ in results]), np.concatenate([y for _, y in results])


def _progress(items: Iterator[Any], total: int, title: str) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        if sys.stderr.isatty() or done % max(total // 10, 1) == 0:
            put(f"\r{title} {done}/{total}" + ("" if done < total else "\n"), error=True)
        yield item


def evaluation_frames(
    digits: Digits, size: tuple[int, int], count: int, seed: int, chunk: int = 0
) -> Iterator[tuple[int, Frame]]:
    """Yield the class and the JPEG frame of `count` scenes drawn by `EVAL`; every other one holds no digit."""
    width, height = size
    rng = np.random.default_rng((seed, width, chunk))
    view = View.frame(width, height)
    for i in range(count):
        index = (chunk * count + i) // 2 % len(digits.labels)
        if i % 2:
            label, grey = REJECT, render_none(none_kind(EVAL, rng), view, EVAL, rng)
        else:
            label, grey = digit_frame(digits, index, view, EVAL, rng)
        data = jpeg(tinted(grey, rng), round(rng.uniform(*EVAL.jpeg)))
        yield label, Frame(data, "jpeg", width, height, monotonic_s=0, captured=0, seq=i)


def _eval_chunk(job: tuple[tuple[int, int], int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and classes of whole frames, decoded just as the daemon decodes them."""
    assert _digits is not None
    size, seed, chunk, count = job
    pairs = list(evaluation_frames(_digits, size, count, seed, chunk))
    inputs = [edges(grey_square(frame, 0.4, 144), CANNY) for _, frame in pairs]
    return np.stack(inputs), np.array([label for label, _ in pairs], np.uint8)


def evaluation_set(
    digits: Digits, size: tuple[int, int], count: int, seed: int, processes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and classes of at least `count` whole frames of `size` (width, height), half with a digit."""
    chunk = 100
    jobs = [(size, seed, i, chunk) for i in range(-(-count // chunk))]
    return _gather(digits, _eval_chunk, jobs, processes, f"rendering {size[0]}x{size[1]}")
