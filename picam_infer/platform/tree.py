"""What is inside a folder, with a limit: somebody may have named the whole disk."""

from __future__ import annotations

import itertools
from pathlib import Path


class TooMany(Exception):
    """The folder contains too much."""


def inside(folder: Path, most: int) -> list[Path]:
    """Return the files and folders inside a folder, at any depth, sorted. Raises `TooMany`, `OSError`."""
    found = list(itertools.islice(folder.rglob("*"), most + 1))
    if len(found) > most:
        raise TooMany
    return sorted(found)
