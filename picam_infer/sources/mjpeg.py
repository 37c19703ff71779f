"""Cuts a multipart/x-mixed-replace byte stream into its parts, whatever the pieces it arrives in."""

from __future__ import annotations

import re

MAX_PART = 32 * 2**20
"""Bytes; what is longer is no picture."""
_MAX_HEAD = 16384
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.I | re.M)
_BLANK = re.compile(rb"\r?\n\r?\n")


class TooLong(ValueError):
    """The stream holds no part of a sensible length."""


class Parts:
    """Feed it bytes as they come; it returns the bodies that they complete."""

    def __init__(self, boundary: bytes) -> None:
        """`boundary` without its leading hyphens."""
        self._delimiter = b"--" + boundary
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts that are complete now, oldest first. Raises `TooLong`."""
        self._buffer += data
        parts: list[bytes] = []
        while (part := self._next()) is not None:
            if part:
                parts.append(part)
        if len(self._buffer) > MAX_PART:
            raise TooLong(f"no end within {MAX_PART} bytes")
        return parts

    def _next(self) -> bytes | None:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            # Preamble or garbage: keep what may be the beginning of a delimiter.
            del self._buffer[: max(0, len(self._buffer) - len(self._delimiter))]
            return None
        begin = start + len(self._delimiter)
        blank = _BLANK.search(self._buffer, begin, begin + _MAX_HEAD)
        if blank is None:
            if len(self._buffer) - begin > _MAX_HEAD:
                del self._buffer[:begin]
                return b""
            return None
        length = _LENGTH.search(bytes(self._buffer[begin : blank.end()]))
        end = blank.end() + int(length[1]) if length else self._end(blank.end())
        if length and int(length[1]) > MAX_PART:
            raise TooLong(f"a part of {int(length[1])} bytes is announced")
        if end is None or end > len(self._buffer):
            return None
        part = bytes(self._buffer[blank.end() : end])
        del self._buffer[:end]
        self._searched = 0
        return part if length else part.rstrip(b"\r\n")

    def _end(self, body: int) -> int | None:
        at = self._buffer.find(self._delimiter, max(body, self._searched))
        # The same bytes are not searched again when more arrive.
        self._searched = max(body, len(self._buffer) - len(self._delimiter))
        return None if at < 0 else at
