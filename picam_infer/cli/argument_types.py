"""Types of arguments: each turns an argument's text into its value, or raises what argparse expects."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

from picam_infer.imaging.region import Region, Roi

T = TypeVar("T")
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm")


def _expecting(what: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Have a type say what it expects, whatever is wrong with a text; it raises `ValueError` for that."""

    def decorate(convert: Callable[[str], T]) -> Callable[[str], T]:
        @wraps(convert)
        def explained(text: str) -> T:
            try:
                return convert(text)
            except ValueError:
                raise argparse.ArgumentTypeError(what) from None

        return explained

    return decorate


def _checked(value: T, good: bool) -> T:
    if not good:
        raise ValueError
    return value


@_expecting("must be 0 or more, a whole number")
def count(text: str) -> int:
    """Return a whole number, 0 or more."""
    return _checked(number := int(text), number >= 0)


@_expecting("must be 1 or more, a whole number")
def positive(text: str) -> int:
    """Return a whole number, 1 or more."""
    return _checked(number := int(text), number >= 1)


@_expecting("must be a port, 1 to 65535")
def port(text: str) -> int:
    """Return a port's number."""
    return _checked(number := int(text), 1 <= number <= 65535)


@_expecting("must be a number from 0 to 1")
def probability(text: str) -> float:
    """Return a probability: 0 to 1."""
    return _checked(number := float(text), 0 <= number <= 1)


@_expecting("must be a number above 0")
def megabytes(text: str) -> float:
    """Return a number of megabytes."""
    return _checked(number := float(text), 0 < number < 1e6)


@_expecting("must end in .png: JPEG and the like would change the pixels")
def lossless(text: str) -> Path:
    """Return the name of a picture file in a format that changes no pixel."""
    return _checked(path := Path(text), path.suffix.lower() in _LOSSLESS)


@_expecting("expected SIZE (above 0, at most 1) or X,Y,SIZE (X and Y from 0 to 1)")
def region(text: str) -> Roi:
    """Return a region: `SIZE` or `X,Y,SIZE`."""
    *place, size = (float(part) for part in text.split(","))
    good = len(place) in (0, 2) and 0 < size <= 1 and all(0 <= share <= 1 for share in place)
    return _checked(Region(place[0], place[1], size) if len(place) == 2 else size, good)
