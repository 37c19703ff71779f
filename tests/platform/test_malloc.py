"""What the C library's memory is told, and that another C library is no reason to fail."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from picam_infer.platform import malloc


def test_what_is_free_goes_back_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    library, left, gave_back = ctypes.CDLL(None), [], []
    if not hasattr(library, "malloc_trim"):
        pytest.skip("needs glibc")

    def litter() -> None:
        blocks = [ctypes.create_string_buffer(b"x" * 30_000, 30_001) for _ in range(2000)]
        left.append(blocks[-1])  # on top, so that glibc keeps all that is below

    thread = threading.Thread(target=litter)
    thread.start()
    thread.join()
    heard = SimpleNamespace(malloc_trim=lambda padding: gave_back.append(library.malloc_trim(padding)))
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: heard)
    malloc.trim()
    assert gave_back == [1], "1: some memory was returned to the system (malloc_trim(3))"


def test_pictures_are_put_where_those_before_were() -> None:
    program = """
import resource, sys
import numpy as np
from picam_infer.platform import malloc
malloc.keep_pictures() if sys.argv[1] == "kept" else None
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pictures = [np.full((1080, 1920, 3), turn, np.uint8) for _ in range(3)]
    del pictures
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("needs glibc")

    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", program, how], capture_output=True, check=True).stdout)

    pages = 1080 * 1920 * 3 // 4096
    assert faults("kept") < pages
    assert faults("usual") > 3 * pages, "which would be no test if the library did so by itself"


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: object())
    malloc.limit_arenas()
    malloc.keep_pictures()
    malloc.trim()
