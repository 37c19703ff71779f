"""What is logged about a failing receiver: each reason once, and not a line for every event."""

from __future__ import annotations

import logging
import time

from picam_infer.runtime.health import Health
from picam_infer.runtime.liveness import Breaks

log = logging.getLogger(__name__)

_REASONS = 8
"""How many different reasons of one outage are logged, so that changing reasons do not fill the log."""
_HOUR_S = 3600.0


class Outage:
    """Tells the journal and `Health` that a receiver fails and that it works again. One thread uses it."""

    def __init__(self, name: str, part: str, health: Health) -> None:
        """`name` and `part`: what the receiver is called in the journal, and by `health`."""
        self.now = False
        """Whether it fails, as far as was told."""
        self._name, self._part, self._health = name, part, health
        self._told: set[str] = set()
        self._breaks = Breaks(_HOUR_S)
        self._quiet = False
        """Whether this outage is one of so many that they are not logged one by one."""

    def tell(self, reason: str, hint: str = "", trace: bool = False) -> None:
        """Tell that it fails; `trace`: an error of ours is being handled, whose traceback the journal needs."""
        said = f"{reason}; {hint}" if hint else reason
        if not self.now:
            self.now = True
            often = self._breaks.often(time.monotonic())
            self._quiet = self._breaks.many
            if often:
                log.warning("events: %s: fails again and again and works in between: %s", self._name, said)
        if not self._quiet and reason not in self._told and len(self._told) < _REASONS:
            self._told.add(reason)
            log.warning("events: %s: %s", self._name, said, exc_info=trace)
        self._health.mark_down(self._part, reason, hint)

    def end(self) -> None:
        """Note that something was delivered."""
        if not self.now:
            return
        self.now = False
        self._told.clear()
        if not self._quiet:
            log.info("events: %s works again", self._name)
        self._health.mark_up(self._part)
