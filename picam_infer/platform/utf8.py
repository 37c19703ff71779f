r"""Text as UTF-8, also where it quotes a file name that is not.

Python turns the undecodable bytes of a file name into lone surrogates, which UTF-8 cannot hold. They are written as
JSON writes them: `\udcff`.
"""

from __future__ import annotations

import json
from typing import Any


def encoded(text: str) -> bytes:
    """Return text as UTF-8."""
    return text.encode(errors="backslashreplace")


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """Return a value as JSON in UTF-8, on one line or indented; `json.loads` gives every string back unchanged."""
    return encoded(json.dumps(value, ensure_ascii=False, indent=indent))
