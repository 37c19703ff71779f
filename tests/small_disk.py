"""A disk that a test fills."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from picam_infer.platform import atomic_file

_replacing, _create = atomic_file.replacing, atomic_file.create


class SmallDisk:
    """In place of the real one: once it is full, no file that is written whole finds space."""

    def __init__(self) -> None:
        self.full = False

    def fill(self) -> None:
        """Take all of its space."""
        self.full = True

    @contextlib.contextmanager
    def replacing(self, path: Path, **more: Any) -> Iterator[BinaryIO]:
        """Do as `atomic_file.replacing`."""
        self._refuse(path)
        with _replacing(path, **more) as file:
            yield file

    def create(self, path: Path, data: bytes, **more: Any) -> None:
        """Do as `atomic_file.create`."""
        self._refuse(path)
        _create(path, data, **more)

    def _refuse(self, path: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
