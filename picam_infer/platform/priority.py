"""Work that can wait gives way to the frames."""

from __future__ import annotations

import contextlib
import os
import threading

_NICE = 5
"""Below that of the others."""


def lower_priority() -> None:
    """Lower the calling thread's priority for the processor, and that of the threads it will start."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
