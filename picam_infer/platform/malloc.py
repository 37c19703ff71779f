"""The C library's memory: few pools, and free memory goes back to the system. Does nothing without glibc."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""`M_TRIM_THRESHOLD` and so on of malloc.h."""
_PICTURE = 16 * 2**20
"""Bytes: a colour picture up to this size reuses the memory of the one before."""


def limit_arenas() -> None:
    """Let threads share two pools: glibc makes one for each, and each keeps its own fragments forever."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_ARENA_MAX, 2)


def keep_pictures() -> None:
    """Reuse the memory of the picture before: glibc would give it back and take it again, a page at a time."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_MMAP_THRESHOLD, _PICTURE)
        mallopt(_TRIM_THRESHOLD, 2 * _PICTURE)


def trim() -> None:
    """Return free memory to the system; takes about a millisecond."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name)  # type: ignore[no-any-return]
    except (OSError, AttributeError):
        return None
