"""Captures what libjpeg and other decoders print on stderr, so that it can be counted instead."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import threading
from functools import lru_cache

# libjpeg's messages (jerror.h) about damage that it could work around, and libpng's.
_DECODERS = re.compile(
    rb"(Corrupt JPEG data|Premature end of|Warning: unknown JFIF|Invalid SOS parameters|"
    rb"Inconsistent progression|Unsupported marker|libpng (warning|error))"
)
_LINE_BUFFERED = 1


class _Stderr:
    """C's `stderr` variable, redirected while somebody decodes. File descriptor 2 stays as it is."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.fdopen.restype = ctypes.c_void_p
        libc.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t)
        self._variable = ctypes.c_void_p.in_dll(libc, "stderr")
        self._file = os.memfd_create("stderr-of-decoders", os.MFD_CLOEXEC)
        self._stream = libc.fdopen(self._file, b"a")
        if not self._stream:
            raise OSError("no stream")
        libc.setvbuf(self._stream, None, _LINE_BUFFERED, 0)
        self._usual = self._variable.value
        self._users = self._read = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._variable.value = self._stream

    def leave(self) -> list[bytes]:
        """Return the lines printed meanwhile."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._variable.value = self._usual
            size = os.fstat(self._file).st_size
            if size == self._read:
                return []
            text = os.pread(self._file, size - self._read, self._read)
            whole = text.rfind(b"\n") + 1  # another's line may be half there
            self._read += whole
            if self._users == 0:  # nobody writes now
                os.ftruncate(self._file, 0)
                self._read, whole = 0, len(text)
        return text[:whole].splitlines()


@lru_cache(maxsize=1)
def _stderr() -> _Stderr | None:
    # Without glibc, or in a sandbox without memfd, the lines go to stderr as usual.
    try:
        return _Stderr()
    except (OSError, ValueError, AttributeError):
        return None


_thread = threading.local()


def complaints() -> int:
    """Return how many lines decoders printed in this thread so far, whatever their pictures."""
    return int(getattr(_thread, "complaints", 0))


class taken:  # noqa: N801  # used like a function, and entered for every picture: a generator costs several times as much
    """Keep what decoders print within the block off stderr, and count it (`complaints`).

    Other lines are passed on. With two threads decoding at once a line may be counted with the
    other's picture.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        if (stderr := _stderr()) is not None:
            stderr.enter()

    def __exit__(self, *_: object) -> None:
        if (stderr := _stderr()) is None:
            return
        for line in stderr.leave():
            if _DECODERS.match(line):
                _thread.complaints = complaints() + 1
            else:
                with contextlib.suppress(OSError):
                    os.write(2, line + b"\n")


def add(count: int) -> None:
    """Also count in this thread what was printed about a picture that another thread decoded for it."""
    if count:
        _thread.complaints = complaints() + count


def forget(count: int) -> None:
    """Set this thread's count back to what it was: what was printed since is not a complaint about the picture."""
    _thread.complaints = count
