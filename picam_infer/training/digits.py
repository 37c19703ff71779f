"""The digits that are learnt: MNIST's scans with the path of each one's pen, and the model's classes."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from picam_infer.core import NoInput
from picam_infer.training.glyphs import skeletons

REJECT = 10
LABELS = (*"0123456789", "none")

_CHUNK = 500
_COMPARED = 6000
"""How many scans the paths are compared with."""
_LOOPS = (1, 0, 0, 0, 0, 0, 1, 0, 2, 1)
"""How many loops each digit has at least."""


@dataclass(frozen=True)
class Digits:
    """Scanned digits: `images` n x 28 x 28 uint8 (ink bright), `labels` n uint8, `paths` n x 56 x 56 skeletons.

    `thin`: whether the path still shows the digit: a blotted loop has none left, and a broad pen's path may be another
    digit's.
    """

    images: np.ndarray
    labels: np.ndarray
    paths: np.ndarray
    thin: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> Digits:
        """Compute the skeletons of scans."""
        chunks = [skeletons(images[i : i + 250]) for i in range(0, len(images), 250)]
        paths = np.concatenate(chunks)
        looped = np.array([_loops(p) >= _LOOPS[k] for p, k in zip(paths, labels, strict=True)])
        return cls(images, labels, paths, looped & _legible(paths, images, labels))


def _loops(path: np.ndarray) -> int:
    return int(cv2.connectedComponents(1 - path, connectivity=4)[0]) - 2


def _legible(paths: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether half of the ten scans most like a path, drawn with an ordinary pen, are of its own digit."""
    scans = np.stack([_features(image) for image in images[:_COMPARED]])
    scan_labels = labels[:_COMPARED]
    own = []
    for first in range(0, len(paths), _CHUNK):
        pens = [cv2.dilate(path * np.uint8(255), np.ones((5, 5), np.uint8)) for path in paths[first : first + _CHUNK]]
        likeness = np.stack([_features(pen) for pen in pens]) @ scans.T
        nearest = np.argpartition(-likeness, min(10, len(scans) - 1), axis=1)[:, :10]
        own.append((scan_labels[nearest] == labels[first : first + _CHUNK, None]).sum(axis=1))
    return np.asarray(np.concatenate(own) >= min(5, len(scans)))


def _features(picture: np.ndarray) -> np.ndarray:
    """Return a small blurred copy to compare digits by: 196 float32 of length 1."""
    small = cv2.resize(picture, (28, 28), interpolation=cv2.INTER_AREA).astype(np.float32)
    values = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.0), (14, 14), interpolation=cv2.INTER_AREA).ravel()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6))


def read_mnist(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Read MNIST's idx files (`part` "train" or "t10k", plain or .gz).

    Returns images n x 28 x 28 and labels n, both uint8. Raises `NoInput`.
    """

    def read(kind: str, header: int) -> np.ndarray:
        name = folder / f"{part}-{kind}"
        data = name.read_bytes() if name.is_file() else gzip.decompress(name.with_name(name.name + ".gz").read_bytes())
        return np.frombuffer(data, np.uint8, offset=header)

    try:
        return read("images-idx3-ubyte", 16).reshape(-1, 28, 28), read("labels-idx1-ubyte", 8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NoInput(f"no MNIST in {folder} ({error})", "it needs the four idx files, plain or as .gz") from error


def load_digits(mnist: Path | None, keras: Any = None) -> tuple[Digits, Digits]:
    """Return MNIST's training and test digits, from a folder or (None) by Keras's download. Raises `NoInput`."""
    if mnist is None:
        (train_x, train_y), (test_x, test_y) = keras.datasets.mnist.load_data()
    else:
        (train_x, train_y), (test_x, test_y) = read_mnist(mnist, "train"), read_mnist(mnist, "t10k")
    return Digits.of(train_x, train_y), Digits.of(test_x, test_y)


def split(digits: Digits, held_out: int) -> tuple[Digits, Digits]:
    """Return all but the last `held_out` digits, and those."""
    cut = len(digits.labels) - held_out
    parts = [(a[:cut], a[cut:]) for a in (digits.images, digits.labels, digits.paths, digits.thin)]
    return Digits(*(p[0] for p in parts)), Digits(*(p[1] for p in parts))
