"""Files that appear or are replaced as a whole: a reader finds the old one or the new, even after a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MARK_BYTES = 4
_LONGEST_BYTES = 200
"""Of the file's name that go into the temporary one's: file systems allow 255."""
_YOUNG_S = 60


def write(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Replace a file by a new one with its owner and permissions. Raises `OSError`.

    `mode` and `durable`: as of `replacing`.
    """
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield an open file that takes a file's place, owner and permissions when the block ends well. Raises `OSError`.

    `mode`: the permissions where there is no file yet, of which the process's umask takes some. `durable`: on the disk
    before it takes the old one's place; without, a power cut may leave neither.
    """
    fresh = _fresh(path)
    try:
        with _opened(fresh, mode) as file:
            yield file
            _take_after(path, file.fileno())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def create(path: Path, data: bytes, *, mode: int = 0o666, owner: os.stat_result | None = None) -> None:
    """Write a file that is not there yet. Raises `FileExistsError` when it is, else `OSError`.

    `owner`: whose it becomes, if we may give it away; None: ours.
    """
    fresh = _fresh(path)
    try:
        with _opened(fresh, mode) as file:
            file.write(data)
            if owner is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)  # a rename would replace what somebody else has just created
    finally:
        fresh.unlink(missing_ok=True)


def _fresh(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{secrets.token_hex(_MARK_BYTES)}")


def _prefix(path: Path) -> str:
    return f".{os.fsdecode(os.fsencode(path.name)[:_LONGEST_BYTES])}."


def _opened(path: Path, mode: int) -> BinaryIO:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    return os.fdopen(handle, "wb")


def _take_after(path: Path, handle: int) -> None:
    """Give an open file the owner and the permissions of another; nothing where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    with contextlib.suppress(PermissionError):
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, status.st_mode & 0o7777)


def sweep(path: Path) -> None:
    """Remove what writes left when the power was cut; a young file may be another's, still being written."""
    prefix = _prefix(path)
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            ours = left.name.startswith(prefix) and len(left.name) == len(prefix) + 2 * _MARK_BYTES
            if ours and abs(time.time() - left.stat().st_mtime) > _YOUNG_S:
                left.unlink()
