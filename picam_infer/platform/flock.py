"""The kernel's lock on an open file or folder (flock(2)), which it releases when its owner ends, however it ends."""

from __future__ import annotations

import fcntl


def tried(handle: int) -> bool | None:
    """Lock it without waiting; False: somebody else has it locked, None: its file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # as some network ones
        return None
    return True
