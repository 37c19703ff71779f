"""Limits how often something is done."""

from __future__ import annotations

import time
from collections.abc import Callable

_LATE_S = 0.05
"""How much lateness is caught up, so that the average rate is the one asked for."""


class Pace:
    """Decides when something may be done again. One thread uses it."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_s`: the most times a second; 0: no limit."""
        self._every_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._due_s = 0.0

    @property
    def early_s(self) -> float:
        """Return how many seconds to wait; 0 or less: it may be done now."""
        return self._due_s - self._clock() if self._every_s else 0.0

    def begin(self) -> None:
        """Note that it is being done now."""
        if self._every_s:
            self._due_s = max(self._due_s, self._clock() - _LATE_S) + self._every_s
