"""A lock for long work: a second process is refused at once, whereas `folder_lock` lets it wait its turn.

The kernel releases it when its owner ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from picam_infer.platform import flock

_LONGEST = 100


class Taken(Exception):
    """Another process has the lock; `owner` is what that one calls itself, empty where it does not say."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@contextlib.contextmanager
def held(path: Path, owner: str = "") -> Iterator[None]:
    """Hold a lock file until the block ends; it is created and removed again. Raises `Taken` or `OSError`.

    `owner` is what others are told in `Taken`.
    """
    handle = _locked(path)
    try:
        with contextlib.suppress(OSError):  # a full disk, or somebody else's file: it is locked nevertheless
            os.ftruncate(handle, 0)
            os.pwrite(handle, owner.encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def ask_for(path: Path) -> None:
    """Let the owner of a lock know that somebody else waits for it: it may look at the file's time."""
    with contextlib.suppress(OSError):
        os.utime(path, follow_symlinks=False)


def _locked(path: Path) -> int:
    while True:
        handle = _opened(path)
        try:
            if flock.tried(handle) is False:
                raise Taken(os.pread(handle, _LONGEST, 0).decode(errors="replace"))
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner has just removed it: others will make a new one


def _opened(path: Path) -> int:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:  # another user's: reading is enough to see whether it is locked, and to lock it
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | flags)
        raise


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
