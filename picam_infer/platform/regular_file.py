"""Files that a user asks to be read: anything but a regular file is refused before it is opened.

Opening a named pipe waits for somebody who writes to it, and opening a device may do anything.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from picam_infer.core import NoInput

ALLOW = "check its owner and permissions"
_ALLOW_ABOVE = f"{ALLOW}, and those of the folders above it"
_CLOSED = frozenset({errno.EACCES, errno.EPERM})


def require(path: Path) -> os.stat_result:
    """Return a regular file's status.

    Raises `NoInput` for a folder, a named pipe, a socket or a device, and `OSError` where nothing can be seen.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise NoInput(f"{path} is a folder, not a file", "name the file in it")
    if not stat.S_ISREG(status.st_mode):
        raise NoInput(f"{path} is not a regular file", "copy what it holds into a file")
    return status


def unreadable(path: Path, error: OSError | ValueError) -> NoInput:
    """Return our error for a file or folder that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "its name is not valid"
    return NoInput(f"{path} cannot be read ({reason})", _ALLOW_ABOVE if is_closed(error) else ALLOW)


def is_closed(error: BaseException) -> bool:
    """Tell whether an error means that this user has no permission."""
    return isinstance(error, OSError) and error.errno in _CLOSED
