"""Folders for temporary files. Each is removed when its block ends; one of a process that was killed, by the next one.

A folder's owner holds a lock on it, which the kernel releases when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from picam_infer.core import PicamError
from picam_infer.platform import flock

_PREFIX = "picam-infer-scratch-"
# A folder that a person has named in a similar way is not ours to remove.
_OURS = re.compile(_PREFIX + "[a-z0-9_]{8}")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield an empty folder that is removed when the block ends. Raises `PicamError`: there is no place for it."""
    with contextlib.ExitStack() as owned:
        try:
            place = Path(tempfile.gettempdir())
            _sweep(place)
            made = _made(place, owned)
        except OSError as error:
            # Without any place for temporary files, Python raises FileNotFoundError with a text of its own.
            why = f" ({error.strerror})" if error.errno not in (errno.ENOENT, None) else ""
            raise PicamError(f"there is nowhere to write temporary files{why}",
                             "make room in /tmp, or set TMPDIR to a folder that can be written") from error  # fmt: skip
        yield made


def _made(place: Path, owned: contextlib.ExitStack) -> Path:
    """Return a new folder in `place` that is locked; `owned` removes it."""
    while True:
        made = place / f"{_PREFIX}{secrets.token_hex(4)}"
        # Before it is there: a signal that ends the program may come at any moment.
        owned.callback(shutil.rmtree, made, ignore_errors=True)
        try:
            made.mkdir(mode=0o700)
        except FileExistsError:
            owned.pop_all()  # it is somebody else's
            continue
        with contextlib.suppress(FileNotFoundError):  # somebody else has swept it away before it was locked
            handle = _opened(made)
            owned.callback(os.close, handle)
            if flock.tried(handle) is not False and os.path.samestat(os.fstat(handle), made.lstat()):
                return made


def _sweep(place: Path) -> None:
    """Remove the folders of this user's processes that are no more."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                        _remove_if_left(Path(entry.path))


def _remove_if_left(left: Path) -> None:
    handle = _opened(left)
    try:
        if flock.tried(handle):
            shutil.rmtree(left, ignore_errors=True)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
