"""Types of arguments: each turns an argument's text into its value, or raises what argparse expects."""

from __future__ import annotations

import argparse

from picam_infer.imaging.region import Region, Roi


def count(text: str) -> int:
    """Return a whole number, 0 or more."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def positive(text: str) -> int:
    """Return a whole number, 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def share(text: str) -> float:
    """Return a share of a whole: above 0, at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError("must be above 0, at most 1")
    return number


def probability(text: str) -> float:
    """Return a probability: 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must be 0 to 1")
    return number


def megabytes(text: str) -> float:
    """Return a number of megabytes."""
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def region(text: str) -> Roi:
    """Return a region: `SIZE` or `X,Y,SIZE`."""
    *place, size = (float(part) for part in text.split(","))
    if len(place) not in (0, 2) or not (0 < size <= 1 and all(0 <= share <= 1 for share in place)):
        raise argparse.ArgumentTypeError("expected SIZE (above 0, at most 1) or X,Y,SIZE (X and Y from 0 to 1)")
    return Region(place[0], place[1], size) if place else size
