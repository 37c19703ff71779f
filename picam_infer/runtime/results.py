"""Results at a terminal: printed and counted, with a summary of damaged pictures at the end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter

from picam_infer.core import PicamError, Result
from picam_infer.platform import terminal
from picam_infer.runtime.options import Options
from picam_infer.runtime.state import State

log = logging.getLogger("picam_infer")
_MOST = 12
"""How many labels the summary has."""


class Results:
    """Takes every result as it comes: prints it, and ends the program after as many as were asked for."""

    def __init__(self, options: Options, stop: threading.Event) -> None:
        self.failure: terminal.OutputError | None = None
        """Why results cannot be printed."""
        self._print = options.json
        self._limit = options.frames
        self._count = 0
        self._labels: Counter[str] = Counter()
        self._stop = stop

    def restart(self) -> None:
        """Count from zero again: another round begins."""
        self._count = 0
        self._labels.clear()

    def tell_end(self) -> None:
        """Log what was seen in all, at the end of a file source."""
        seen = ", ".join(f"{label} {count}" for label, count in self._labels.most_common(_MOST))
        more = f" and {len(self._labels) - _MOST} more" if len(self._labels) > _MOST else ""
        pictures = f"{self._count} picture{'s' if self._count != 1 else ''}"
        log.info("the end: %s%s", pictures, f": {seen}{more}" if seen else "")

    def __call__(self, result: Result) -> None:
        """Take a result, in the inference loop's thread."""
        if self._stop.is_set():
            return
        if self._print:
            self._say(result)
        self._count += 1
        if result.value is None:
            self._labels[result.label or "unknown"] += 1
        if self._count == self._limit:
            self._stop.set()

    def _say(self, result: Result) -> None:
        try:
            terminal.say_json(result.as_json())
        except terminal.OutputError as error:
            self.failure = error
            self._stop.set()
        except BrokenPipeError:  # the reader has closed the pipe
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            self._stop.set()


def tell_damage(state: State) -> None:
    """Log how many pictures of a file source were damaged. Raises `PicamError` if all of them were."""
    bad, good, flawed = state.stats.bad_frames, state.stats.inferences.total, state.stats.flawed
    if bad and not good:
        what = f"all {bad} pictures are damaged" if bad > 1 else "its only picture is damaged"
        raise PicamError(f"{state.source}: {what}", "copy the file again, or look at it with another program")
    if bad:
        log.warning("%d of %d pictures were damaged and left out", bad, bad + good)
    if flawed:
        log.warning("%d of %d pictures have damage inside, and were used all the same", flawed, bad + good)
