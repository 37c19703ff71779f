"""Writes single keys back into the configuration file; everything else in it stays as it is."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from picam_infer.config.reader import parse, read_text
from picam_infer.config.yaml_edit import CannotEdit, literal, with_value
from picam_infer.core import Busy, ConfigError
from picam_infer.platform import atomic_file, disk, folder_lock

_PATIENCE_S = 10.0
"""Longer than a slow card takes for one change, but shorter than the watchdog's limit, as the main thread may wait."""


class Unwritable(ConfigError):
    """Something could not be saved; the configuration itself is not wrong."""

    exit_code = 1


class NotSaved(Unwritable):
    """Some values could not be written: those of `keys`. All others are in the file."""

    def __init__(self, message: str, hint: str, keys: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.keys = keys


class Locked(Busy, Unwritable):
    """Somebody else is changing the file and does not finish."""


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write values (dotted key → value) into the file; every other character of it stays.

    Raises `NotSaved` after having written the others when some stand where they cannot be changed alone, `ConfigError`
    when nothing was written. Nobody else's change is lost: see `changing`.
    """
    with changing(path) as change:
        change(values)


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that writes values as `save` does; nobody else changes the file until the block ends.

    The others are threads and processes that call this, too. What they wrote before is in the file when the block
    begins. Raises `Locked` when one of them does not finish.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    held = contextlib.ExitStack()
    try:
        held.enter_context(folder_lock.locked(path.parent, _PATIENCE_S))
    except folder_lock.StillHeld as error:
        raise _locked(path, error.holder) from None
    with held:
        yield functools.partial(_change, path)


def _locked(path: Path, holder: int | None) -> Locked:
    who, hint = "another program", "end it, or try again"
    if holder == os.getpid():
        who, hint = "another request", "try again"
    elif holder is not None:
        who, hint = f"process {holder}", f"see what it is (ps {holder}), end it, or try again"
    return Locked(f"{path}: {who} is changing the settings, and has not finished for {_PATIENCE_S:g} s", hint)


def _change(path: Path, values: Mapping[str, Any]) -> None:
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
        raise Unwritable(
            f"{path}: cannot be written ({error.strerror})", disk.remedy(error, path.parent, fixed=True)
        ) from error
