"""Whether files can be written to a folder, proved by writing one; and what to do when not."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from picam_infer.core import PicamError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK = (*_FULL, errno.EROFS, errno.EIO, errno.EFBIG)
_PROBE = b"picam-infer" * 400


def try_writing(folder: Path) -> None:
    """Write a file in a folder, or in the new folder that it would become, and remove it. Raises `OSError`."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if there == folder.absolute():
        _write_in(there)
        return
    fresh = tempfile.mkdtemp(prefix=".picam-infer-", dir=there)
    try:
        _write_in(Path(fresh))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_in(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(prefix=".picam-infer-", dir=folder) as file:
        file.write(_PROBE)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_mb(folder: Path) -> float:
    """Return the space left for ordinary users on the disk of a folder, which need not exist yet. Raises `OSError`."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free / 1e6


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that there is no space."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def failed(error: OSError) -> bool:
    """Whether an error comes from the disk, not from a mistake in this program."""
    return error.errno in _DISK


def remedy(error: OSError, folder: Path, *, fixed: bool = False, option: str = "") -> str:
    """Return what to do about a folder that cannot be written to.

    `fixed`: no other one can be chosen; `option`: the command's own that chooses another one.
    """
    if option:
        return _remedy_by_option(error, option)
    if error.errno in (errno.EACCES, errno.EPERM):
        if fixed:
            return f"check the owner and permissions of {folder}, and of what is in it"
        return f"let the service's user write there (sudo chown picam-infer {folder}), or choose another folder"
    if error.errno in _FULL:
        return "make room on that disk" if fixed else "make room on that disk, or choose a folder on another"
    if error.errno == errno.EROFS:
        return "that disk is mounted read-only" + (": mount it writable" if fixed else ": choose another folder")
    return "check the folder and its disk" if fixed else "choose another folder"


class NotWritten(PicamError):
    """A file or folder cannot be written."""


def unwritable(
    path: Path, error: OSError, folder: Path | None = None, *, fixed: bool = False, option: str = ""
) -> NotWritten:
    """Return our error for a path that cannot be written.

    `folder`: which one the remedy is about, if not the path; `fixed` and `option`: as of `remedy`.
    """
    advice = remedy(error, folder or path, fixed=fixed, option=option)
    return NotWritten(f"{path} cannot be written ({error.strerror})", advice)


def _remedy_by_option(error: OSError, option: str) -> str:
    if error.errno in _FULL:
        return f"make room on that disk, or choose a folder on another with {option}"
    where = "that disk is mounted read-only: " if error.errno == errno.EROFS else ""
    return f"{where}choose another folder with {option}"
