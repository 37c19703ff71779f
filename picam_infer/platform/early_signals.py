"""Signals that come while the program is still being imported. Imports next to nothing itself: every moment counts.

Ctrl-C ends it at once and without a word. What is meant for the service (reload, pause, resume) would end a process
that does not know it yet: it is kept until the service can act on it.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType

FOR_THE_SERVICE = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the signal's number, as a shell has it."""
_kept: deque[int] = deque()


def prepare(*, service: bool) -> None:
    """Take signals from now on; `service`: also those for the service. What the caller had ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception would be raised inside of some import: many libraries turn it into another one, or print it.
        signal.signal(signal.SIGINT, _end)
    for number in FOR_THE_SERVICE if service else ():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _keep)


def interruptible() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again: the imports are over."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def forget(number: int) -> None:
    """Forget a signal that was kept: what it asks for is about to be done anyway."""
    while number in _kept:
        _kept.remove(number)


def hand_over(take: Callable[[int, FrameType | None], None]) -> None:
    """Have `take` act on what was kept, in the order in which it came; it is the signals' handler by now."""
    while _kept:
        take(_kept.popleft(), None)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _keep(number: int, frame: FrameType | None) -> None:
    _kept.append(number)
