"""Signals that come while the program is still being imported. Imports next to nothing itself: every moment counts.

Ctrl-C ends it at once and without a word. What is meant for the service (reload, pause, resume) would end a process
that does not know it yet: it is kept until the service can act on it.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from types import FrameType

from picam_infer.platform import stop_signals

FOR_THE_SERVICE = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_kept: deque[int] = deque()
_prepared = False
"""Whether this is a process of ours, and not a program that calls the commands' functions."""


def prepare(*, service: bool) -> None:
    """Take signals from now on; `service`: also those for the service. What the caller had ignored stays ignored."""
    global _prepared  # signals belong to the process
    _prepared = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception would be raised inside of some import: many libraries turn it into another one, or print it.
        signal.signal(signal.SIGINT, stop_signals.end)
    for number in FOR_THE_SERVICE if service else ():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _keep)


def over(*, service: bool) -> None:
    """The imports are over: what ends a command is raised as an exception now. Only Ctrl-C does that to a `service`."""
    if not _prepared:
        return
    if signal.getsignal(signal.SIGINT) is stop_signals.end:
        stop_signals.take(signal.SIGINT)
    for number in () if service else (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else whoever started it wants it to go on, as nohup does
            stop_signals.take(number)


def forget(number: int) -> None:
    """Forget a signal that was kept: what it asks for is about to be done anyway."""
    while number in _kept:
        _kept.remove(number)


def hand_over(take: Callable[[int, FrameType | None], None]) -> None:
    """Have `take` act on what was kept, in the order in which it came; it is the signals' handler by now."""
    while _kept:
        take(_kept.popleft(), None)


def _keep(number: int, frame: FrameType | None) -> None:
    _kept.append(number)
