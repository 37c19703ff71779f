"""How `--help` is laid out: a line never ends within a name with a hyphen, which people copy."""

from __future__ import annotations

import argparse
import textwrap


class HelpFormatter(argparse.HelpFormatter):
    """argparse's own, which would break `picam-infer` and `/etc/picam-infer/config.yaml` after the hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


class WrittenHelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The same, with the description's own lines."""
