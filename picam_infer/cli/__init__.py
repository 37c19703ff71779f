"""The `picam-infer` command: finds the program for a verb and turns its errors into one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from picam_infer import __version__
from picam_infer.core import PicamError


class Verb(NamedTuple):
    """A program: its module has `add_arguments(parser)` and `main(args) -> exit code`."""

    module: str
    summary: str


VERBS = {
    "run": Verb("picam_infer.runtime.supervisor", "watch a camera and say what it sees, until stopped"),
    "classify": Verb("picam_infer.cli.classify", "say what is on pictures"),
    "convert": Verb("picam_infer.cli.convert", "turn a Teachable Machine, Keras or other file into a bundle"),
    "use": Verb("picam_infer.cli.use", "make the installed service run a model, and say what it sees"),
    "instance": Verb("picam_infer.cli.instance", "add a service for one more camera"),
    "train": Verb("picam_infer.training.train", "train the built-in digit model"),
    "bench": Verb("picam_infer.cli.bench", "time a model through each engine and other libraries"),
    "compile-ncs": Verb("picam_infer.cli.compile_ncs", "put a Keras model onto the Movidius stick"),
    "devices": Verb("picam_infer.cli.devices", "list cameras, sticks, OpenVINO devices and displays"),
    "check": Verb("picam_infer.cli.check", "check configuration and machine, with a remedy for each finding"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `picam-infer ARGV`; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith("-") or words[0] not in VERBS:
        return _top_level(words)
    verb, rest = words[0], words[1:]
    program = importlib.import_module(VERBS[verb].module)
    parser = argparse.ArgumentParser(prog=f"picam-infer {verb}", description=_capital(VERBS[verb].summary))
    program.add_arguments(parser)
    try:
        return int(program.main(parser.parse_args(rest)))
    except PicamError as error:
        print(f"picam-infer {verb}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"picam-infer {verb}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it closes stdout.
        sys.stderr.close()
        return 1


def _top_level(words: Sequence[str]) -> int:
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="picam-infer", usage="picam-infer VERB [OPTION…]", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A camera in, named predictions out.",
        epilog=f"verbs:\n{listing}\n\n`picam-infer VERB --help` tells more; try `picam-infer run --source demo`.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"picam-infer {__version__}")
    if words and not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"verbs: {', '.join(VERBS)}"
        print(f"picam-infer: no verb {words[0]!r}; {hint}", file=sys.stderr)
        return 2
    parser.parse_args(list(words))
    parser.print_help()
    return 0 if words else 2


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
