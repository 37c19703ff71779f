"""One writer at a time, among threads and processes: a lock on a folder, which all of its writers may open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from picam_infer.platform import flock

_LOOK_S = 0.02
_threads = threading.Lock()


class StillHeld(Exception):
    """Somebody else has held the lock for too long; `holder` is their process id, where it is known."""

    def __init__(self, holder: int | None) -> None:
        super().__init__()
        self.holder = holder


@contextlib.contextmanager
def locked(folder: Path, patience_s: float) -> Iterator[None]:
    """Keep all others who lock the same folder waiting until the block ends. Not for a block within a block.

    A folder is there before its files, and stays when they are replaced. Where it is missing, may not be opened, or its
    file system knows no locks, only the threads of this process wait for each other. The system drops the lock of a
    process that ends. Raises `StillHeld` after `patience_s`.
    """
    ends_s = time.monotonic() + patience_s
    if not _threads.acquire(timeout=patience_s):
        raise StillHeld(os.getpid())
    try:
        with _opened(folder) as handle:
            if handle is not None:
                _lock(handle, ends_s)
            yield
    finally:
        _threads.release()


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing would not do where a forked process has the handle, too
        os.close(handle)


def _lock(handle: int, ends_s: float) -> None:
    while flock.tried(handle) is False:
        if time.monotonic() >= ends_s:
            raise StillHeld(_holder(handle))
        time.sleep(_LOOK_S)


def _holder(handle: int) -> int | None:
    """Return the process that holds the lock, as far as the system tells."""
    status = os.fstat(handle)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            _, kind, *_, process, where, _, _ = line.split()
            if kind == "FLOCK" and where == place and int(process) > 0:
                return int(process)
    return None
