"""Writes single keys back into the configuration file; everything else in it stays as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picam_infer.config.reader import parse, read_text
from picam_infer.config.yaml_edit import CannotEdit, literal, with_value
from picam_infer.core import ConfigError
from picam_infer.platform import atomic_file


class NotSaved(ConfigError):
    """Some values could not be written: those of `keys`. All others are in the file."""

    def __init__(self, message: str, hint: str, keys: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.keys = keys


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write values (dotted key → value) into the file; every other character of it stays.

    Raises `NotSaved` after having written the others when some stand where they cannot be changed alone, `ConfigError`
    when nothing was written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    text = read_text(path) if path.exists() else ""
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    parse(text, str(path))
    made, left = text, {}
    for dotted, value in values.items():
        try:
            made = with_value(made, dotted.split("."), value)
        except CannotEdit as error:
            left[dotted] = error
    parse(made, str(path))
    if made != text:
        _write(path, mark + made)
    if left:
        raise _not_saved(path, values, left)


def _not_saved(path: Path, values: Mapping[str, Any], left: Mapping[str, CannotEdit]) -> NotSaved:
    found = [f"{path}:{error.line}: {dotted} cannot be changed here ({error.why})" for dotted, error in left.items()]
    lines = ", ".join(f"{dotted}: {literal(values[dotted])}" for dotted in left)
    others = "; all others are saved" if len(left) < len(values) else ""
    return NotSaved("; ".join(found), f"write it yourself: {lines}{others}", tuple(left))


def _write(path: Path, text: str) -> None:
    try:
        atomic_file.write(path, text.encode())
        atomic_file.sweep(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})", "the settings live on until a restart; "
                          "check the file's owner and the disk") from error  # fmt: skip
