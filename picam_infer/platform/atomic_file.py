"""Files that are replaced as a whole: a reader, also one after a power cut, finds the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

_MARK_BYTES = 4
_YOUNG_S = 60


def write(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Put a new file in a file's place, with its owner and permissions. Raises `OSError`.

    `mode`: the permissions where there is no file yet, of which the process's umask takes some. `durable`: on the disk
    before it takes the old one's place; without, a power cut may leave neither.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(_MARK_BYTES)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            _take_after(path, handle)
            if durable:
                file.flush()
                os.fsync(handle)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


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
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            ours = left.name.startswith(f".{path.name}.") and len(left.name) == len(path.name) + 2 + 2 * _MARK_BYTES
            if ours and abs(time.time() - left.stat().st_mtime) > _YOUNG_S:
                left.unlink()
