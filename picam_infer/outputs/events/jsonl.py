"""Events as JSON lines: a file rotated by size, or stdout."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from picam_infer.config import Jsonl
from picam_infer.outputs.events.outlet import DeliveryError, Event
from picam_infer.platform import disk, terminal


class JsonLines:
    """Writes one line for each event, and hands it to the system at once."""

    retries = None
    pictures = False
    note = ""

    def __init__(self, settings: Jsonl) -> None:
        self.name = "stdout" if settings.path == "-" else settings.path
        self._path = None if settings.path == "-" else Path(settings.path)
        self._most_bytes = int(settings.max_mb * 1e6)
        self._files = settings.files
        self._file: BinaryIO | None = None

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Write a line. Raises `DeliveryError` when the disk does not take it."""
        line = event.as_bytes() + b"\n"
        try:
            if self._path is None:
                terminal.say_json(event.as_json())
                return
            file = self._opened(self._path, len(line))
            whole = file.tell()
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(whole)  # no half lines
                raise
        except terminal.OutputError as error:
            raise DeliveryError(error.message, hint=error.hint) from error
        except OSError as error:
            self.close()
            hint = disk.remedy(error, self._path.parent if self._path else Path())
            raise DeliveryError(f"cannot write: {error.strerror or error}", hint=hint) from error

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        """Nothing is due."""
        return False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _opened(self, path: Path, more_bytes: int) -> BinaryIO:
        if self._file is not None and not _same(path, self._file):
            self.close()  # someone moved or removed it: start a new one
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        assert self._file is not None
        if self._file.tell() and self._file.tell() + more_bytes > self._most_bytes:
            self.close()
            self._rotate(path)
            self._file = path.open("ab", buffering=0)
        assert self._file is not None
        return self._file

    def _rotate(self, path: Path) -> None:
        names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, self._files))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            path.unlink()


def _same(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
