"""Reports to the service manager: that the service is ready or reloading, its status line, and that it is alive."""

from __future__ import annotations

import time

from picam_infer.platform import malloc
from picam_infer.platform.systemd import Notifier
from picam_infer.runtime.state import State
from picam_infer.runtime.status_text import status_text

_STATUS_S = 2.0


class Readiness:
    """Owns what systemd has been told so far. The main thread uses it."""

    def __init__(self, notifier: Notifier) -> None:
        self.refused = ""
        """Why the configuration that was read last is not used; empty: it is."""
        self._notifier = notifier
        self._ready = False
        self._next_status_s = 0.0

    @property
    def managed(self) -> bool:
        """Whether a service manager listens; otherwise somebody is at a terminal."""
        return self._notifier.active

    def loading(self) -> None:
        """A model is about to be loaded: the watchdog has to wait longer."""
        self._notifier.loading()

    def alive(self, loading: bool = False) -> None:
        """There is a result, or it is known why there is none: ping the watchdog; `loading`: no model has answered."""
        self._notifier.watchdog_ping(loading)

    def ready(self, state: State) -> None:
        """Say once that the service is ready: it has an answer, or its screen says why not."""
        if not self._ready:
            self._ready = True
            malloc.trim()  # memory that loading needed temporarily
            malloc.keep_pictures()
            self._notifier.ready(self._status(state))
            self._next_status_s = 0.0

    def reloading(self) -> None:
        """A reload begins; `ready` after `again`, or `reloaded`, ends it."""
        self._notifier.reloading()

    def reload_asked(self) -> None:
        """A reload will begin; to be called from a signal handler. One that is under way ends first."""
        if self._ready:
            self._notifier.reloading()

    def again(self) -> None:
        """Say `ready` again after the next answer, which ends the reload."""
        self.refused, self._ready = "", False

    def reloaded(self, state: State) -> None:
        """End a reload at once: what is running stays."""
        self._notifier.ready(self._status(state))

    def tell_status(self, state: State) -> None:
        """Update the status line, every few seconds; to be called often."""
        if time.monotonic() >= self._next_status_s:
            self._next_status_s = time.monotonic() + _STATUS_S
            self._notifier.status(self._status(state))

    def hold_status(self) -> None:
        """Leave the status line as it is for some seconds."""
        self._next_status_s = time.monotonic() + _STATUS_S

    def stopping(self) -> None:
        """The end has begun."""
        self._notifier.stopping()

    def _status(self, state: State) -> str:
        refused = f"the new configuration is refused: {self.refused}; with the one before: " if self.refused else ""
        return refused + status_text(state)
