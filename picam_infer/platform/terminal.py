"""Everything that is printed or logged goes through here: text from outside cannot steer a terminal or forge a line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from typing import Any, TextIO

from picam_infer.core import PicamError

# Control characters, line separators, marks that turn the direction of text, half characters of undecodable names.
# Joiners stay: emoji and Indic scripts are made with them.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]")
_FIELD = "PICAM_"
_JSON = {escaped: json.JSONEncoder(ensure_ascii=escaped).encode for escaped in (False, True)}
"""How values are coded; `json.dumps` would make a new encoder for each line."""


class OutputError(PicamError):
    """Something could not be printed."""


def prepare() -> None:
    """Make the standard streams accept any text in any encoding, and keep closed ones from being reused."""
    # A file that is opened later must not become standard output because its number is free.
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    logging.raiseExceptions = False  # if the log cannot be written, there is no way to report it


def printable(text: str) -> str:
    r"""Return text on one line with what could steer a terminal made visible: `\x1b`, `\u202e`."""
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(value: Any, stream: TextIO | None = None) -> str:
    """Return a value as JSON on one line that any terminal can show; what `stream` has no letters for is escaped."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    text = _JSON[not encoding.lower().replace("-", "").startswith("utf")](value)
    if text.isascii() and "\x7f" not in text:  # JSON has no other control characters
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(line: str = "", *, error: bool = False) -> None:
    """Print one line. Raises `OutputError`, or `BrokenPipeError` when the reader has gone."""
    put(printable(line) + "\n", error=error)


def say_json(value: Any) -> None:
    """Print one value as one line of JSON. Raises as `say`."""
    put(json_text(value) + "\n")


def put(text: str, *, error: bool = False) -> None:
    """Write text in one piece: other threads may write to the same place. Raises as `say`."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:
        raise OutputError("standard output is closed", "start it with an open one, or with >/dev/null")
    try:
        if text:
            stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as failure:  # ValueError: it was closed meanwhile
        if not error:
            reason = failure.strerror if isinstance(failure, OSError) else failure
            raise OutputError(f"standard output cannot be written ({reason})", "is its disk full?") from failure


def flush() -> None:
    """Flush what others have printed. Raises as `say`."""
    if sys.stdout is not None:
        put("")


def abandon() -> None:
    """Discard what standard output has not accepted: Python would try again at the end, and print an error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class PrintableFilter(logging.Filter):
    """Makes messages, fields and tracebacks of the log printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record; none is dropped."""
        record.msg, record.args = printable(record.getMessage()), None
        for name, value in record.__dict__.items():
            if name.startswith(_FIELD) and isinstance(value, str):
                setattr(record, name, printable(value))
        if record.exc_info and not record.exc_text:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = "\n".join(map(printable, trace.splitlines()))
        return True
