"""What the header of a JPEG declares, read without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from picam_infer.core import Pixels

SOS, _EOI, _DRI, _FILL = 0xDA, 0xD9, 0xDD, 0xFF
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # DHT, JPG and DAC lie among the frame headers' markers
_SCAN_HEADER = 10
"""How many bytes are looked at, from a scan's marker on."""
_LONGEST = 8192
"""Bytes; a longer header is not cached: it holds a preview or the like, which differs from picture to picture."""


class Header(msgspec.Struct, frozen=True):
    """The frame header's numbers, and where the coded picture begins."""

    width: int
    height: int
    """Pixels, as declared."""
    coding: int
    """Which SOF marker: 0xC0 and 0xC1 are sequential, 0xC2 is progressive, from 0xC9 on arithmetic."""
    components: int
    height_at: int
    """Where the two bytes of the height are."""
    scan_at: int
    """Where the first scan's header begins; 0: it has none."""
    scan_components: int
    restarts: bool

    @property
    def copies(self) -> int:
        """How many copies decoding keeps in memory: a picture coded in several scans is kept whole a second time."""
        return 2 if self.coding not in (0xC0, 0xC1, 0xC9) or 0 < self.scan_components < self.components else 1


_last: tuple[bytes, Header] | None = None
"""The last header read: a camera's pictures begin alike. It is replaced as a whole, so any thread may read it."""


def read(data: bytes | Pixels) -> Header | None:
    """Return the header of JPEG bytes (n,), which need not be whole; None: there is no frame header."""
    global _last
    if (last := _last) is not None and bytes(data[: len(last[0])]) == last[0]:
        return last[1]
    view = memoryview(data) if isinstance(data, bytes) else data.data
    header = _read(view)
    if header is not None and 0 < header.scan_at < _LONGEST:
        _last = bytes(view[: header.scan_at + _SCAN_HEADER]), header
    return header


def _read(view: memoryview) -> Header | None:
    frame, restarts = None, False
    for kind, at, _ in markers(view):
        if at + _SCAN_HEADER > len(view):
            break
        if kind in (SOS, _EOI):
            return _header(view, frame, at if kind == SOS else 0, restarts) if frame else None
        if 0xC0 <= kind <= 0xCF and kind not in _NOT_A_FRAME:
            frame = frame or at
        restarts = restarts or kind == _DRI
    return _header(view, frame, 0, restarts) if frame else None


def markers(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield each marker of a JPEG's head with where it begins and where its segment ends, up to the first scan."""
    size, at = len(data), 2
    while at + 4 <= size and data[at] == _FILL:
        kind = data[at + 1]
        if kind == _FILL:  # fill bytes are allowed before a marker
            at += 1
            continue
        alone = kind == 0x01 or 0xD0 <= kind <= _EOI
        end = at + 2 if alone else at + 2 + (data[at + 2] << 8 | data[at + 3])
        yield kind, at, end
        if kind == SOS:
            return
        at = end


def _header(view: memoryview, frame: int, scan: int, restarts: bool) -> Header:
    return Header(
        width=view[frame + 7] << 8 | view[frame + 8],
        height=view[frame + 5] << 8 | view[frame + 6],
        coding=view[frame + 1],
        components=view[frame + 9],
        height_at=frame + 5,
        scan_at=scan,
        scan_components=view[scan + 4] if scan else 0,
        restarts=restarts,
    )
