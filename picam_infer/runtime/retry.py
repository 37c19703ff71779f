"""How long to wait before the next try of something that failed: longer each time, up to a limit."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

USUAL_S = (0.5, 1.0, 2.0, 5.0)
"""For what costs little to try: opening a camera, reading a model's card."""
_DOUBLINGS = 32


class BackOff:
    """The waits between tries. One thread uses it."""

    def __init__(self, waits_s: Sequence[float] = USUAL_S, spread: float = 0.0) -> None:
        """`waits_s`: the last one goes on without end.

        `spread`: the share by which a wait may differ by chance, so that many do not come back to one place in step.
        """
        self._waits_s = tuple(waits_s)
        self._spread = spread
        self._failures = 0

    @classmethod
    def doubling(cls, first_s: float, longest_s: float, spread: float = 0.0) -> BackOff:
        """Return waits that double from `first_s` to `longest_s`."""
        waits_s = [first_s]
        while waits_s[-1] < longest_s and len(waits_s) < _DOUBLINGS:
            waits_s.append(2 * waits_s[-1])
        return cls([min(wait_s, longest_s) for wait_s in waits_s], spread)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._failures = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Note a failure and return how long to wait; `at_least_s` counts up to the longest wait."""
        step_s = self._waits_s[min(self._failures, len(self._waits_s) - 1)]
        self._failures += 1
        return min(self._waits_s[-1], max(step_s, at_least_s)) * random.uniform(1 - self._spread, 1 + self._spread)

    def wait(self, stop: threading.Event) -> bool:
        """Note a failure and wait, but not longer than until `stop` is set; True: it is."""
        return stop.wait(self.next_s())
