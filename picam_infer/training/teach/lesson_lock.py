"""Who works on a lesson: the Teach view of a service, or `picam-infer teach`; one at a time, in all processes.

Each of them has the lesson in memory, and writes what it has there: two would take each other's classes and pictures
away.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from picam_infer.core import Busy
from picam_infer.platform import lock_file
from picam_infer.training.teach.shelf import SUFFIX

COMMAND, VIEW = "picam-infer teach", "the Teach view"
PATIENCE_S = 3.0
"""How long to wait for a view that nobody looks at to let go of its lesson."""
_AGAIN_S = 0.05


class LessonLock:
    """Keeps a lesson from all others until `close`."""

    def __init__(self, pictures: Path, owner: str) -> None:
        """Lock the lesson of a folder of pictures, whose parent exists; `owner`: `COMMAND` or `VIEW`.

        Raises `Busy` (somebody else works on it) and `OSError` (it cannot be written).
        """
        self._path = pictures.with_name(f".{pictures.name}.lock")
        self._held = contextlib.ExitStack()
        ends_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._held.enter_context(lock_file.held(self._path, owner))
                break
            except lock_file.Taken as error:
                if error.owner == COMMAND or time.monotonic() > ends_s:
                    raise _refusal(pictures, error.owner, owner) from error
            lock_file.ask_for(self._path)
            time.sleep(_AGAIN_S)
        self._taken_ns = self._time_ns()

    @property
    def wanted(self) -> bool:
        """Whether somebody else has asked for the lesson since it was locked."""
        return self._time_ns() != self._taken_ns

    def close(self) -> None:
        """Let others work on the lesson. May be called more than once."""
        self._held.close()

    def _time_ns(self) -> int:
        try:
            return self._path.stat(follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0


def _refusal(pictures: Path, owner: str, asking: str) -> Busy:
    name, again = pictures.name.removesuffix(SUFFIX), "another " if owner == asking else ""
    if owner == COMMAND:
        return Busy(f"{again}picam-infer teach is working on {name}", "wait until it has ended")
    if owner == VIEW:
        where = f"in the Teach view of {again or 'the '}service"
        return Busy(f"{name} is open {where}", "leave it there first, on the page or at the monitor")
    return Busy(f"somebody else is working on {name}", "wait until they have ended")
