"""The one owner of which parts of the program work, and of why the others do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from picam_infer.core import Problem

Part = Literal["camera", "engine", "display", "model", "configuration"]
"""Each event outlet is a part, too: see `core.outlet_part`."""
ALWAYS_COUNTED: tuple[Part, ...] = ("camera", "engine", "display")
"""Parts that metrics list from the start, since every run has or may have them."""

Listener = Callable[[Problem, bool], None]
"""Called with (problem, False) for a part that is down or has a new reason, with (problem, True) once it is up."""


class Health:
    """Knows which parts are down. Any thread may report and ask."""

    def __init__(self, tell: Listener = lambda problem, up: None) -> None:
        self.losses: dict[str, int] = {}
        """How often each part went down."""
        self._tell = tell
        self._problems: dict[str, Problem] = {}
        self._lost_s: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of the parts that are down now, the longest down first."""
        return tuple(self._problems.values())

    @property
    def blocking(self) -> Problem | None:
        """The first problem that stops recognition, which goes on without a monitor or an event outlet."""
        return next((problem for problem in self.problems if problem.blocking), None)

    def down(self, part: str) -> bool:
        """Whether a part is down now."""
        return part in self._problems

    def lost_s(self, part: str) -> float:
        """Return for how many seconds a part has been down in all, the current outage included."""
        with self._lock:
            problem = self._problems.get(part)
            now_s = time.monotonic() - problem.since_monotonic_s if problem else 0.0
            return self._lost_s.get(part, 0.0) + now_s

    def mark_down(self, part: str, what: str, remedy: str = "") -> bool:
        """Note that a part is down; returns True if that, or the reason, is new."""
        with self._lock:
            known = self._problems.get(part)
            if known and known.what == what:
                return False
            if known:
                problem = replace(known, what=what, remedy=remedy)
            else:
                problem = Problem(what, remedy, part, time.time(), time.monotonic())
                self.losses[part] = self.losses.get(part, 0) + 1
            self._problems[part] = problem
        self._tell(problem, False)
        return True

    def mark_up(self, part: str) -> float | None:
        """Note that a part is up; returns for how many seconds it was down, None if it was not."""
        with self._lock:
            problem = self._problems.pop(part, None)
            if problem is None:
                return None
            gone_s = time.monotonic() - problem.since_monotonic_s
            self._lost_s[part] = self._lost_s.get(part, 0.0) + gone_s
        self._tell(problem, True)
        return gone_s
