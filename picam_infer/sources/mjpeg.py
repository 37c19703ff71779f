"""Cuts a multipart/x-mixed-replace byte stream into its parts, whatever the pieces it arrives in."""

from __future__ import annotations

import re

MAX_PART = 32 * 2**20
"""Bytes; what is longer is not a picture."""
_MAX_HEAD = 16384
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.I | re.M)
_BLANK = re.compile(rb"\r?\n\r?\n")
# A delimiter as it occurs in the stream: on a separate line before a header line.
_DELIMITER = re.compile(rb"(?:^|\n)(--[^\r\n]{1,200})\r?\n(?:[!-9;-~]+:[^\r\n]*\r?\n|\r?\n)")
_FOREIGN = 65536
_AROUND = b"\r\n-"  # what may stand between a part and its delimiter's name: some write more hyphens than two
_TAIL = re.compile(rb"[\r\n]+-*[\r\n]*\Z")


class TooLong(ValueError):
    """The stream holds no part of a sensible length."""


class Parts:
    """Feed it bytes as they come; it returns the bodies that they complete."""

    def __init__(self, boundary: bytes) -> None:
        """`boundary` without its leading hyphens; empty: taken from the stream."""
        self._delimiter = b"--" + boundary
        self._known = bool(boundary)
        self._buffer = bytearray()
        self._searched = 0
        self._announced = 0
        self._trusted = False
        self.lengths_lie = False
        """Whether a part was not as long as its Content-Length says; from then on its end is looked for."""
        self.lacks = 1
        """How many bytes have to come, at least, before another part can be complete."""

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their part."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts that are complete now, oldest first. Raises `TooLong`."""
        self._buffer += data
        if (lacks := self._announced - len(self._buffer)) > 0:
            self.lacks = lacks
            return []
        if not self._known and not self._look_for_delimiter() and len(self._buffer) > _FOREIGN:
            raise TooLong(f"no part begins within {_FOREIGN} bytes")
        parts: list[bytes] = []
        self.lacks = 1
        while self._known and (part := self._next()) is not None:
            if part:
                parts.append(part)
        if len(self._buffer) > MAX_PART:
            raise TooLong(f"no end within {MAX_PART} bytes")
        return parts

    def _look_for_delimiter(self) -> bool:
        """Take the delimiter from the stream: some cameras announce another one than they send, or none."""
        found = _DELIMITER.search(self._buffer, 0, _FOREIGN)
        if found is not None:
            self._delimiter, self._known = bytes(found[1]).rstrip(), True
        return found is not None

    def _next(self) -> bytes | None:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            return self._lost_way()
        if self._trusted and self._buffer[:start].strip(_AROUND):  # the part before was longer than it said
            self.lengths_lie = True
        begin = start + len(self._delimiter)
        blank = _BLANK.search(self._buffer, begin, begin + _MAX_HEAD)
        if blank is None:
            if len(self._buffer) - begin > _MAX_HEAD:
                del self._buffer[:begin]
                return b""
            return None
        end, length = self._end(begin, blank.end())
        if end is None or end > len(self._buffer):
            self.lacks = 1 if end is None else end - len(self._buffer)
            self._announced = end or 0
            return None
        with memoryview(self._buffer) as view:
            part = bytes(view[blank.end() : end])  # copied once
        del self._buffer[:end]
        self._searched, self._announced, self._trusted = 0, 0, length
        return part if length else _TAIL.sub(b"", part)

    def _lost_way(self) -> bytes | None:
        """Go on where no delimiter is in sight: what precedes the first one is dropped."""
        old = self._delimiter
        if len(self._buffer) > 4 * len(old) and self._look_for_delimiter() and self._delimiter != old:
            return b""
        # Keep what may be the beginning of a delimiter.
        keep = 512 if self._buffer.find(b"--", max(0, len(self._buffer) - 512)) >= 0 else len(old)
        del self._buffer[: max(0, len(self._buffer) - keep)]
        return None

    def _end(self, begin: int, body: int) -> tuple[int | None, bool]:
        """Return where the part with this body ends (None: not here yet), and whether its own length says so."""
        length = None if self.lengths_lie else _LENGTH.search(bytes(self._buffer[begin:body]))
        if length is None:
            return self._next_delimiter(body), False
        announced = int(length[1][:20])  # Python refuses to convert thousands of digits
        end = body + announced
        if announced > MAX_PART:
            raise TooLong(f"a part of {announced} bytes is announced")
        after, name = bytes(self._buffer[end : end + 4 + len(self._delimiter)]).lstrip(_AROUND), self._delimiter[2:]
        if after and not name.startswith(after) and not after.startswith(name.lstrip(_AROUND)):
            self.lengths_lie = True
            return self._next_delimiter(body), False
        return end, True

    def _next_delimiter(self, body: int) -> int | None:
        at = self._buffer.find(self._delimiter, max(body, self._searched))
        # The same bytes are not searched again when more arrive.
        self._searched = max(body, len(self._buffer) - len(self._delimiter))
        return None if at < 0 else at
