"""How long to wait before something that failed is tried again: longer each time, up to a limit."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

USUAL_S = (0.5, 1.0, 2.0, 5.0)
"""For what is cheap to try, such as opening a camera or reading a model's card."""
_DOUBLINGS = 32


class BackOff:
    """The waits between tries. One thread uses it."""

    def __init__(self, waits_s: Sequence[float] = USUAL_S, spread: float = 0.0) -> None:
        """`waits_s`: the waits in order; the last one repeats for ever.

        `spread`: random variation as a share of each wait, so that many clients do not come back in step.
        """
        self._waits_s = tuple(waits_s)
        self._spread = spread
        self._failures = 0

    @classmethod
    def doubling(cls, first_s: float, longest_s: float, spread: float = 0.0) -> BackOff:
        """Return a back-off whose waits double from `first_s` to `longest_s`."""
        waits_s = [first_s]
        while waits_s[-1] < longest_s and len(waits_s) < _DOUBLINGS:
            waits_s.append(2 * waits_s[-1])
        return cls([min(wait_s, longest_s) for wait_s in waits_s], spread)

    def reset(self) -> None:
        """Start over with the first wait: it worked."""
        self._failures = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Note a failure and return how long to wait: at least `at_least_s`, but never more than the longest wait."""
        step_s = self._waits_s[min(self._failures, len(self._waits_s) - 1)]
        self._failures += 1
        return min(self._waits_s[-1], max(step_s, at_least_s)) * random.uniform(1 - self._spread, 1 + self._spread)

    def wait(self, stop: threading.Event) -> bool:
        """Note a failure and wait, at most until `stop` is set; returns whether it is set."""
        return stop.wait(self.next_s())
