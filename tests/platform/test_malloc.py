"""What the C library's memory is told, and that another C library is no reason to fail."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import pytest

from picam_infer.platform import malloc


def resident_kb() -> int:
    return int(next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS")).split()[1])


def test_what_is_free_goes_back_to_the_machine() -> None:
    left = []

    def litter() -> None:
        blocks = [ctypes.create_string_buffer(b"x" * 30_000, 30_001) for _ in range(2000)]
        left.append(blocks[-1])  # on top, so that glibc keeps all that is below

    before = resident_kb()
    thread = threading.Thread(target=litter)
    thread.start()
    thread.join()
    assert resident_kb() - before > 30_000
    malloc.trim()
    assert resident_kb() - before < 20_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: object())
    malloc.limit_arenas()
    malloc.trim()
