"""Whether watching is paused, by whom and until when: manually or by the schedule."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from picam_infer.runtime.schedule import Schedule, in_words

log = logging.getLogger(__name__)

By = Literal["schedule", "page", "mqtt", "signal"]
_LOOK_S = 1.0
"""How often the schedule is consulted; also whenever the clock was set."""
_NAMES: dict[By, str] = {"schedule": "the schedule", "page": "the page", "mqtt": "MQTT", "signal": "a signal"}


class Paused(msgspec.Struct, frozen=True):
    """A pause."""

    by: By
    since: float
    until: float | None
    """When it ends by itself. Both in Unix seconds; None: until somebody ends it."""

    def __str__(self) -> str:
        """Return it for people: `paused by the schedule until Mon 08:00`."""
        return f"paused {self.reason}"

    @property
    def reason(self) -> str:
        """Who paused, and until when: `by the schedule until Mon 08:00`."""
        until = "" if self.until is None else f" until {in_words(self.until, time.time())}"
        return f"by {_NAMES[self.by]}{until}"

    def as_json(self) -> dict[str, Any]:
        """Return its part of `/api/state`."""
        since = round(self.since, 3)
        return {"by": self.by, "since": since, "until": self.until, "text": str(self), "reason": self.reason}


class Pause:
    """Pauses and resumes watching. Any thread may use it, but not a signal handler.

    What is set manually holds until the schedule agrees, when its hours next begin or end.
    It outlives reloads; the loops look at `now` before every picture.
    """

    def __init__(self, schedule: Schedule | None = None, clock: Callable[[], float] = time.time) -> None:
        self.now: Paused | None = None
        """The pause in force; None: watching."""
        self.tell: Callable[[By], None] = lambda by: None
        """Called after every change, with who made it; `State` sets this, and announces the change."""
        self._clock = clock
        self._schedule = schedule or Schedule()
        self._by_hand: tuple[bool, By] | None = None
        self._changed = threading.Condition(threading.RLock())
        self._looked = 0.0
        with self._changed:
            self._decide("schedule")

    def set(self, paused: bool, by: By) -> None:
        """Pause or resume by hand."""
        with self._changed:
            self._by_hand = (paused, by)
            self._decide(by)

    def follow(self, schedule: Schedule) -> None:
        """Use another schedule."""
        time.tzset()  # the time zone may have changed too
        with self._changed:
            self._schedule = schedule
            self._decide("schedule")

    def tick(self) -> None:
        """Follow the schedule. Call it a few times a second."""
        with self._changed:
            if not 0 <= self._clock() - self._looked < _LOOK_S:
                self._decide("schedule")

    def wait(self, timeout_s: float) -> bool:
        """Wait for the pause to end; False when it still holds after that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.now is None, timeout_s)

    def _decide(self, by: By) -> None:
        self._looked, before = self._clock(), self.now
        on, next_start = self._schedule.at(self._looked)
        planned = not on
        if self._by_hand is not None and self._by_hand[0] == planned:
            self._by_hand = None
        paused, owner = self._by_hand or (planned, "schedule")
        since = before.since if before else self._looked
        self.now = Paused(owner, since, next_start) if paused else None
        if (before is None) == (self.now is None):
            return
        if self.now is not None:
            log.info("%s", self.now, extra={"PICAM_PAUSED": by})
        else:
            log.info("watching again, by %s", _NAMES[by], extra={"PICAM_RESUMED": by})
        self._changed.notify_all()
        self.tell(by)
