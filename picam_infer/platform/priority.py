"""Gives work that can wait a lower priority than the frames."""

from __future__ import annotations

import contextlib
import os
import threading

_NICE = 5
"""Below that of the others."""


def lower_priority() -> None:
    """Lower the calling thread's CPU priority, and that of the threads it will start."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
