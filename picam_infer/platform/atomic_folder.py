"""Folders that appear or are replaced as a whole, even across a power cut."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from picam_infer.platform import disk

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def has_name(folder: Path) -> bool:
    """Tell whether a path ends with a name, under which a folder can be put in its place: `.`, `..` and `/` do not."""
    return folder.name not in ("", "..")


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` in one step when the block ends well. Raises `OSError`.

    What was there before is deleted.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(folder)
    try:
        shared = fresh.parent.stat().st_mode & stat.S_ISGID
        if not shared:  # there, it would take the group from what is written into it
            fresh.chmod(0o755)
        yield fresh
        if shared:
            _share(fresh)
        put(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _share(fresh: Path) -> None:
    """Let the group of the folder around it, which is made for a group (setgid), read and replace it.

    Whoever made it may have a umask that keeps the others from reading or changing it.
    """
    for folder, _, files in os.walk(fresh):
        here = Path(folder)
        try:
            here.chmod(0o2775)
        except PermissionError:  # the service may not set the bit (RestrictSUIDSGID); what is there has the group
            here.chmod(0o775)
        for file in files:
            (here / file).chmod(0o664)


def put(fresh: Path, folder: Path) -> None:
    """Move a folder to where it belongs; what was there before is then where it came from. Raises `OSError`.

    Both are on one file system.
    """
    if folder.exists():
        _exchange(fresh, folder)
    else:
        fresh.rename(folder)
    disk.sync(folder.parent)


def _beside(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))


def _exchange(one: Path, other: Path) -> None:
    # Two renames would leave a moment, and after a power cut a system, without the folder.
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    aside = _beside(other)
    try:
        other.rename(aside / "old")
        one.rename(other)
        (aside / "old").rename(one)
    finally:
        with contextlib.suppress(OSError):  # the old one is still in it
            aside.rmdir()
