"""`picam-infer train`: trains the built-in digit model, and says whether it is good enough to ship."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from picam_infer.cli import argument_types
from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.platform.terminal import say
from picam_infer.training.rates import meets_bars
from picam_infer.training.train import EPOCHS, FRAMES_PER_SIZE, MEMBERS, SAMPLES, train_digits

_DESCRIPTION = """\
Train the built-in digit model. This needs a PC with TensorFlow (pip install '.[train]' in picam-infer's folder) and
takes hours: about two on two processor cores. For a first try that takes minutes: --samples 20000 --epochs 3.
If it is interrupted, the same command resumes it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `train`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    parser.add_argument(
        "what", choices=("digits",), metavar="digits", help="the model to train: there is only this one"
    )
    parser.add_argument(
        "--mnist", type=Path, metavar="DIR", help="folder of MNIST's idx files (default: Keras downloads it)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("trained"),
        metavar="DIR",
        help="the folder to write to (default: %(default)s)",
    )
    for name, kind, default, what in (
        ("--seed", argument_types.count, 1, "random seed: the same seed renders the same frames"),
        ("--members", argument_types.positive, MEMBERS, "how many networks teach the one that is kept"),
        ("--samples", argument_types.positive, SAMPLES, "rendered training frames"),
        ("--epochs", argument_types.positive, EPOCHS, "passes over them"),
        ("--frames", argument_types.positive, FRAMES_PER_SIZE, "evaluation frames for each size"),
        ("--processes", argument_types.positive, os.cpu_count() or 1, "processor cores to use"),
    ):
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{what} (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Train and evaluate; returns 1 when a target is missed."""
    rates = train_digits(
        args.mnist,
        args.output,
        args.seed,
        members=args.members,
        samples=args.samples,
        epochs=args.epochs,
        processes=args.processes,
        frames=args.frames,
    )
    good = meets_bars(rates)
    say(f"bundle: {args.output / 'digits'}; bars (top-1 98.5 %, wrong 1 %, none 2 %) {'met' if good else 'MISSED'}")
    return 0 if good else 1
