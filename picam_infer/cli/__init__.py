"""The `picam-infer` command: runs a subcommand and turns its errors into one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from picam_infer import __version__
from picam_infer.bootstrap import bootstrap
from picam_infer.cli.help_format import HelpFormatter, WrittenHelpFormatter
from picam_infer.core import PicamError
from picam_infer.platform import disk, early_signals, memory, stop_signals, terminal
from picam_infer.platform.systemd import journal_handler

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Verb(NamedTuple):
    """A subcommand: its module has `add_arguments(parser)` and `main(args) -> exit code`."""

    module: str
    summary: str


VERBS = {
    "run": Verb("picam_infer.cli.run", "watch a camera and say what it sees, until stopped"),
    "classify": Verb("picam_infer.cli.classify", "say what is in pictures"),
    "explain": Verb("picam_infer.cli.explain", "show what a model was given, what it answered, and why"),
    "convert": Verb("picam_infer.cli.convert", "turn a Teachable Machine, Keras or other model file into a bundle"),
    "export": Verb("picam_infer.cli.export", "write bundles as a model repository for model servers"),
    "teach": Verb("picam_infer.cli.teach", "teach classes from folders of pictures within seconds"),
    "models": Verb("picam_infer.cli.models", "list the models and what each can be used for; import and delete them"),
    "use": Verb("picam_infer.cli.use", "switch the installed service to a model, and say what it sees"),
    "share": Verb("picam_infer.cli.share", "open the page to the network, with a QR code for a phone"),
    "instance": Verb("picam_infer.cli.instance", "add a service for another camera"),
    "show": Verb("picam_infer.cli.show", "open the service's window again, or bring it to the front"),
    "train": Verb("picam_infer.cli.train", "train the built-in digit model"),
    "bench": Verb("picam_infer.cli.bench", "measure a model on each engine and in other libraries"),
    "compile-ncs": Verb("picam_infer.cli.compile_ncs", "compile a Keras model for the Movidius stick"),
    "devices": Verb("picam_infer.cli.devices", "list cameras, sticks, OpenVINO devices and displays"),
    "check": Verb("picam_infer.cli.check", "check the configuration and the machine, with a remedy for each finding"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `picam-infer ARGV`; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = f"picam-infer {words[0]}" if words and words[0] in VERBS else "picam-infer"
    try:
        return _run(name, words)
    except KeyboardInterrupt:
        terminal.say(f"{name}: stopped", error=True)
        return stop_signals.exit_code()
    finally:
        stop_signals.over()


def _run(name: str, words: Sequence[str]) -> int:
    """Run a command, and print its error, if there is one; returns the exit code."""
    try:
        bootstrap()
        terminal.prepare()
        logging.basicConfig(handlers=[journal_handler()], level=logging.WARNING)
        try:
            code = _verb(words[0], words[1:]) if words and words[0] in VERBS else _top_level(words)
        except SystemExit:  # --help, or wrong usage
            terminal.flush()
            raise
        terminal.flush()
    except PicamError as error:
        terminal.say(f"{name}: {error}", error=True)
        if isinstance(error, terminal.OutputError):
            terminal.abandon()
        code = error.exit_code
    except BrokenPipeError:  # such as `| head`: not an error to report
        terminal.abandon()
        code = 1
    except Exception as error:
        if (told := _told(error)) is None:
            raise
        terminal.say(f"{name}: {told}", error=True)
        code = 1
    return code


def _told(error: Exception) -> str | None:
    """Return one line for an error of the machine's; None: it is a mistake in this program."""
    if isinstance(error, OSError) and disk.failed(error):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {disk.remedy(error, Path(error.filename or '.').parent, fixed=True)}"
    return memory.told(error)


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # argparse's own ignores it when the message cannot be written.
        text = "\n".join(map(terminal.printable, message.split("\n"))) if message else ""
        terminal.put(text, error=file is None or file is not sys.stdout)


def _verb(verb: str, rest: Sequence[str]) -> int:
    program = _imported(VERBS[verb].module)
    early_signals.over(service=verb == "run")
    parser = _Parser(
        prog=f"picam-infer {verb}", description=_capital(VERBS[verb].summary), formatter_class=HelpFormatter
    )
    program.add_arguments(parser)
    return int(program.main(parser.parse_args(rest)))


def _imported(module: str) -> ModuleType:
    gc.disable()  # imported modules stay: looking for garbage among them takes some 3 % of a start
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


def _top_level(words: Sequence[str]) -> int:
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    parser = _Parser(
        prog="picam-infer", usage="picam-infer COMMAND [OPTION…]", formatter_class=WrittenHelpFormatter,
        description="Watch a camera with a neural network and show what it sees.",
        epilog=f"commands:\n{listing}\n\nDetails: picam-infer COMMAND --help. Try it: picam-infer run --source demo",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"picam-infer {__version__}")
    if words and not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(VERBS)}"
        if words[0] == "help":
            hint = "did you mean picam-infer --help, or picam-infer COMMAND --help?"
        terminal.say(f"picam-infer: no command {words[0]!r}; {hint}", error=True)
        return 2
    parser.parse_args(list(words))
    parser.print_help()
    return 0 if words else 2


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
