"""A zip that is made while it is sent: no more than one file is in memory at a time."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

_EARLIEST_S = 315532800.0
"""1980: a zip knows no time before."""


class Entry(msgspec.Struct, frozen=True):
    """One file of a zip."""

    name: str
    data: bytes
    at: float
    """When it was made, Unix seconds."""


def zipped(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield a zip of the entries, stored as they are: pictures are packed already."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for number, entry in enumerate(entries):
            moment = time.localtime(max(entry.at, _EARLIEST_S))[:6]
            archive.writestr(zipfile.ZipInfo(entry.name, moment), entry.data)
            if number:  # the first is a table of some bytes, which goes with what follows
                yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """Takes what a zip writes and hands it on."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep bytes until they are taken."""
        self._blocks.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        blocks, self._blocks = self._blocks, []
        return b"".join(blocks)
