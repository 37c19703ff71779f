"""Writes the manual pages picam-infer(1) and picam-infer.yaml(5), from the commands' parsers and the schema.

`python -m picam_infer.cli.manual DIR [CONFIG]`; CONFIG is the shipped configuration with its comments.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from picam_infer import __version__
from picam_infer.cli import VERBS
from picam_infer.cli.help_format import HelpFormatter
from picam_infer.config import reference

_WIDE = functools.partial(HelpFormatter, width=78)
_EXIT_CODES = {
    0: "success",
    1: "a finding or failure",
    2: "usage error",
    66: "an input does not exist",
    69: "a device or library is unavailable",
    78: "configuration error",
    129: "stopped, because its terminal was closed",
    130: "stopped with Ctrl-C",
    143: "stopped by SIGTERM",
}


def main(words: Sequence[str]) -> int:
    """Write both pages; returns 0."""
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "picam-infer.1").write_text(command_page(), "utf-8")
    template = Path(words[1]).read_text("utf-8") if len(words) > 1 else ""
    (folder / "picam-infer.yaml.5").write_text(settings_page(template), "utf-8")
    return 0


def command_page() -> str:
    """Return picam-infer(1) in roff."""
    lines = [
        f'.TH PICAM-INFER 1 "" "picam-infer {__version__}"',
        ".SH NAME",
        "picam-infer \\- watch a camera with a neural network and show what it sees",
        ".SH SYNOPSIS",
        ".B picam-infer",
        ".I COMMAND",
        ".RI [ OPTION ...]",
        ".SH DESCRIPTION",
        "A Raspberry Pi watches something through a webcam and says what it sees, on the monitor attached to it.",
        "The installed service is",
        ".BR picam-infer.service ;",
        "its settings are described in",
        ".BR picam-infer.yaml (5).",
    ]
    for name, verb in VERBS.items():
        program = importlib.import_module(verb.module)
        parser = argparse.ArgumentParser(prog=f"picam-infer {name}", description=verb.summary, formatter_class=_WIDE)
        program.add_arguments(parser)
        lines += [f".SH {name.upper()}", ".nf", *map(_roff, parser.format_help().splitlines()), ".fi"]
    lines += [".SH EXIT STATUS"]
    for code, meaning in _EXIT_CODES.items():
        lines += [".TP", f".B {code}", meaning]
    lines += [".SH SEE ALSO", ".BR picam-infer.yaml (5),", ".BR systemctl (1),", ".BR journalctl (1)"]
    return "\n".join(lines) + "\n"


def settings_page(template: str) -> str:
    """Return picam-infer.yaml(5) in roff; `template` is the shipped configuration."""
    lines = [
        f'.TH PICAM-INFER.YAML 5 "" "picam-infer {__version__}"',
        ".SH NAME",
        "picam-infer.yaml \\- the configuration of picam-infer",
        ".SH SYNOPSIS",
        ".I /etc/picam-infer/config.yaml",
        ".br",
        ".I /etc/picam-infer/NAME.yaml",
        "for the service picam-infer@NAME",
        ".SH DESCRIPTION",
        "YAML, read strictly: mistakes are reported with file, line and key. Omitted keys have their defaults.",
        ".SH EXAMPLE",
        "Every key with its default:",
        ".PP",
        ".nf",
        *(_roff(line) for line in template.splitlines()),
        ".fi",
        ".SH KEYS",
    ]
    for key in reference.keys():
        lines += [
            ".TP",
            f".B {_roff(key.name)}",
            _roff(key.takes + (f" (default: {key.default})" if key.default else "")),
        ]
    lines += [".SH SEE ALSO", ".BR picam-infer (1)"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Return a line that roff prints literally."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
