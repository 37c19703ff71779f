"""The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP when its terminal closes.

The first one is raised as `KeyboardInterrupt`, so that what was begun is cleaned up and one line says so. People press
Ctrl-C again and again: what follows within `PATIENCE_S` would only break the cleaning up, and is ignored.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

PATIENCE_S = 3.0
"""After so long, another signal ends the process at once: the first one has been lost, or cleaning up does not end."""
_first: tuple[int, float] | None = None
"""The signal that came first, and when."""


def take(*numbers: int) -> None:
    """Have these signals end the command from now on."""
    for number in numbers:
        signal.signal(number, _stop)


def exit_code(number: int = 0) -> int:
    """Return the exit code after a signal, by default the first one: 128 and its number, as a shell has it."""
    return 128 + (number or (_first[0] if _first else signal.SIGINT))


def over() -> None:
    """The command has ended: nobody is left who could catch an exception.

    After a signal, more are ignored: Python takes handlers away as it ends, and another exit code would come of it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is _stop:
            signal.signal(number, end if _first is None else signal.SIG_IGN)


def end(number: int, frame: FrameType | None) -> None:
    """End the process at once and without a word: a handler."""
    os._exit(exit_code(number))


def _stop(number: int, frame: FrameType | None) -> None:
    global _first  # a process is ended once
    if _first is None:
        _first = number, time.monotonic()
        raise KeyboardInterrupt
    if time.monotonic() - _first[1] > PATIENCE_S:
        end(number, frame)
