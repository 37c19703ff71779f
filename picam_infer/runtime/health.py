"""The one owner of which parts of the program are there, and of what is known about those that are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from picam_infer.core import Problem

Part = Literal["camera", "engine", "display", "model", "configuration"]
"""Besides these, each place that events go to is one: see `core.outlet_part`."""
ALWAYS_COUNTED: tuple[Part, ...] = ("camera", "engine", "display")
"""The parts that every program has, or may have: metrics name them before anything has happened to them."""

Listener = Callable[[Problem, bool], None]
"""Called for a part that is down (with what is new about it), and (True) for one that is up again."""


class Health:
    """Which parts are down. Any thread may report, any may ask."""

    def __init__(self, tell: Listener = lambda problem, up: None) -> None:
        self.losses: dict[str, int] = {}
        """How often each part went down."""
        self._tell = tell
        self._problems: dict[str, Problem] = {}
        self._lost_s: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is the matter with the parts that are down now, the longest down first."""
        return tuple(self._problems.values())

    @property
    def blocking(self) -> Problem | None:
        """The first problem that leaves nothing to show: recognition goes on without a monitor or an event outlet."""
        return next((problem for problem in self.problems if problem.blocking), None)

    def down(self, part: str) -> bool:
        """Whether a part is down now."""
        return part in self._problems

    def lost_s(self, part: str) -> float:
        """For how many seconds a part was down, all times together, the current one included."""
        with self._lock:
            problem = self._problems.get(part)
            now_s = time.monotonic() - problem.since_monotonic_s if problem else 0.0
            return self._lost_s.get(part, 0.0) + now_s

    def mark_down(self, part: str, what: str, remedy: str = "") -> bool:
        """Note that a part is down; True when that (or its reason) is news."""
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
        """Note that a part is there; returns the seconds it was gone, None when it was not down."""
        with self._lock:
            problem = self._problems.pop(part, None)
            if problem is None:
                return None
            gone_s = time.monotonic() - problem.since_monotonic_s
            self._lost_s[part] = self._lost_s.get(part, 0.0) + gone_s
        self._tell(problem, True)
        return gone_s
