"""Twin of `picam_infer.cli.argument_types`: what the command line takes, and what argparse says of the rest."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from picam_infer.cli import argument_types
from picam_infer.imaging.region import Region


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (argument_types.count, "0", 0),
        (argument_types.positive, "3", 3),
        (argument_types.share, "1", 1.0),
        (argument_types.share, "0.25", 0.25),
        (argument_types.probability, "0", 0.0),
        (argument_types.megabytes, "1.5", 1.5),
        (argument_types.region, "0.4", 0.4),
        (argument_types.region, "0,1,0.4", Region(0.0, 1.0, 0.4)),
    ],
)
def test_what_is_taken(kind: Callable[[str], object], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (argument_types.count, "-1"),
        (argument_types.positive, "0"),
        (argument_types.share, "0"),
        (argument_types.share, "1.01"),
        (argument_types.share, "nan"),
        (argument_types.probability, "-0.1"),
        (argument_types.probability, "nan"),
        (argument_types.megabytes, "0"),
        (argument_types.megabytes, "inf"),
        (argument_types.region, "0"),
        (argument_types.region, "0.5,0.4"),
        (argument_types.region, "0.5,1.1,0.4"),
        (argument_types.region, "nan,0.5,0.4"),
    ],
)
def test_what_is_out_of_range_is_told(kind: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be|expected"):
        kind(text)


@pytest.mark.parametrize("kind", [argument_types.count, argument_types.share, argument_types.region])
def test_what_is_not_a_number_is_left_to_argparse(kind: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
        kind("many")
