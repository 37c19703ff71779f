"""Whether udev is still setting devices up: until it is done, errors of a device mean nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from picam_infer.core import Disconnected

Opened = TypeVar("Opened")

RUN = Path("/run/udev")
QUIET_S = 1.0
"""One device leads to the next (a hub to its camera, a driver to its nodes), with short gaps in between."""
PATIENCE_S = 60.0
_AGAIN_S = 0.25


def working(run: Path | None = None) -> bool:
    """Whether udev has devices to set up, or had until a moment ago; never where there is no udev.

    `run`: None is the machine's own /run/udev. udevd keeps a file `queue` there for as long as there is work, as
    udev_queue_get_queue_is_empty(3) has it; the folder's time tells when that came or went.
    """
    run = run or RUN
    try:
        return (run / "queue").exists() or 0 <= time.time() - run.stat().st_mtime < QUIET_S
    except OSError:
        return False


class Settling:
    """Whether a device that cannot be opened may just not be ready. One thread uses it."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """`patience_s`: no longer than this after the first failure, even if udev never comes to an end."""
        self._patience_s = patience_s
        self._failing_s: float | None = None

    def excuses(self) -> bool:
        """Note a failure; True while it is too early to say what is wrong."""
        now_s = time.monotonic()
        if self._failing_s is None:
            self._failing_s = now_s
        return now_s - self._failing_s < self._patience_s and working()

    def over(self) -> None:
        """Note that it was opened: a later failure starts over."""
        self._failing_s = None


def opened(
    opener: Callable[[], Opened], stop: threading.Event, waiting: Callable[[], None], patience_s: float = PATIENCE_S
) -> Opened:
    """Return what `opener` does; while udev is at work, try it again instead of raising its `Disconnected`.

    `stop` cuts the waiting short; `waiting` is called before each pause.
    """
    settling = Settling(patience_s)
    while True:
        try:
            return opener()
        except Disconnected:
            if not settling.excuses():
                raise
            waiting()
            if stop.wait(_AGAIN_S):
                raise
