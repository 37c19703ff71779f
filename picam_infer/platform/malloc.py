"""The C library's memory: few pools, and what is free goes back to the machine. Does nothing without glibc."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8
"""`M_ARENA_MAX` of malloc.h."""


def limit_arenas() -> None:
    """Let threads share two pools: glibc makes one for each, and each keeps its own scraps for ever."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_ARENA_MAX, 2)


def trim() -> None:
    """Return free memory to the machine; takes about a millisecond."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name)  # type: ignore[no-any-return]
    except (OSError, AttributeError):
        return None
