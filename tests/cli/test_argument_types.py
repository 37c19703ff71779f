"""Twin of `picam_infer.cli.argument_types`: what the command line takes, and what argparse says of the rest."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from picam_infer import cli
from picam_infer.cli import argument_types
from picam_infer.imaging.region import Region


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (argument_types.count, "0", 0),
        (argument_types.positive, "3", 3),
        (argument_types.probability, "0", 0.0),
        (argument_types.probability, "1", 1.0),
        (argument_types.port, "8081", 8081),
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


@pytest.mark.parametrize("kind", [argument_types.count, argument_types.probability, argument_types.region])
def test_what_is_no_number_gets_the_same_explanation(kind: Callable[[str], object]) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be|expected"):
        kind("many")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classify", "x.png", "--roi", "abc"], "argument --roi: expected SIZE (above 0, at most 1) or X,Y,SIZE"),
        (["classify", "x.png", "--roi", "0.2,0.3"], "argument --roi: expected SIZE"),
        (["classify", "x.png", "--top", "two"], "argument --top: must be 1 or more, a whole number"),
        (["classify", "x.png", "--top", "0"], "argument --top: must be 1 or more"),
        (["classify", "x.png", "--threshold", "high"], "argument --threshold: must be a number from 0 to 1"),
        (["teach", "-o", "x", "--max-mb", "much"], "argument --max-mb: must be a number above 0"),
        (["bench", "--threads", "x"], "argument --threads: must be 1 or more"),
        (["bench", "--threads", "0"], "argument --threads: must be 1 or more"),
        (["instance", "x", "--port", "80800"], "argument --port: must be a port, 1 to 65535"),
        (["train", "digits", "--epochs", "0"], "argument --epochs: must be 1 or more"),
    ],
)
def test_what_is_expected_is_said_whatever_is_wrong(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2 and said in (err := capsys.readouterr().err) and "invalid" not in err
