"""The screen that the service shows on: a display, or the search for one, and a window that a person closed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from picam_infer.config import Config
from picam_infer.core import Disconnected, Display, Overlay, Pixels, Problem
from picam_infer.outputs import display as displays
from picam_infer.platform import x11
from picam_infer.platform.udev import Settling
from picam_infer.runtime.health import Health

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long after a failed try the next one begins."""
_SHOW_AGAIN = "picam-infer show opens it again, and so does the next login"


class Drawable(Protocol):
    """Something that can be shown instead of the picture."""

    def draw(self, width: int, height: int) -> Pixels:
        """Return it as BGR (height, width, 3)."""


class ClosedWindow:
    """Whether a person has closed the desktop's window: it stays closed until it is asked for, or the next login."""

    def __init__(self, login: Callable[[], str] = x11.login) -> None:
        self._login = login
        self._at: str | None = None
        self._asked_for = False

    def __bool__(self) -> bool:
        if self._at is not None and self._login() not in ("", self._at):
            self._at = None
        return self._at is not None

    def remember(self) -> None:
        """Note that it was closed, now."""
        self._at = self._login()

    def ask_for(self) -> None:
        """Let it be opened again, and come to the front."""
        self._at = None
        self._asked_for = True

    def taken(self) -> bool:
        """Whether it was asked for since the last call."""
        asked, self._asked_for = self._asked_for, False
        return asked


class Screen:
    """The display, or the search for one: opened again whenever it is lost."""

    def __init__(self, config: Config, patient: bool, closed: ClosedWindow | None = None) -> None:
        """`patient`: a missing display that was asked for by name is waited for; otherwise it is an error.

        `closed`: remembers that a person closed the window, and the rest goes on; None: closing it ends the program.
        """
        self._closed = closed
        self._config, self.settings = config, config.display
        self._size = (config.capture.width, config.capture.height)
        self._display: Display | None = None
        self._next_try_s = 0.0
        self._lost = Problem("")
        self._told: set[str] = set()
        self._settling = Settling()
        self._health: Health | None = None
        # With `auto`, a machine that never had a monitor is not missing one.
        self._missed = config.display.kind != "auto"
        self.wanted = config.display.kind != "none"
        if not closed:
            self._open(patient or config.display.kind == "auto")

    @property
    def name(self) -> str:
        """The display's name; while there is none, why, or nothing."""
        if self._display is not None:
            return self._display.name
        return self.closed

    @property
    def closed(self) -> str:
        """That a person closed the window, and what opens it again; empty: nobody did."""
        return f"the window was closed; {_SHOW_AGAIN}" if self._closed else ""

    def report_to(self, health: Health) -> None:
        """Report from now on whether there is a monitor."""
        self._health = health
        self._report()

    def use(self, display: Display) -> None:
        """Show on a display that was opened elsewhere."""
        self.close()
        self._display, self.wanted = display, True

    def there(self) -> bool:
        """Whether pictures can be shown now; looks for a display when it is time to."""
        if self._display is None and self.wanted and time.monotonic() >= self._next_try_s:
            self._next_try_s = time.monotonic() + RETRY_S
            if not self._closed:
                self._open(patient=True)
        if self._display is not None and self._closed is not None and self._closed.taken():
            try:
                self._display.to_front()
            except Disconnected as loss:
                self._gone(loss)
        return self._display is not None

    @property
    def size(self) -> tuple[int, int]:
        """The display's width and height in pixels; 0, 0: there is none."""
        return (0, 0) if self._display is None else self._display.size

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> bool:
        """Show BGR (H, W, 3) with overlays laid over it; False when there is no display."""
        if self._display is None:
            return False
        try:
            self._display.show(image, over)
        except Disconnected as loss:
            self._gone(loss)
        return self._display is not None

    def show_status(self, status: Drawable) -> bool:
        """Show a status screen; False when there is no display."""
        return self.there() and self.show(status.draw(*self._size))

    def keys(self, taken: bool = False, esc_closes: bool = True) -> list[str]:
        """Return the keys pressed since the last call; Esc is `q` unless all keys are `taken` for something else.

        Not `esc_closes`: Esc alone is taken.
        """
        if self._display is None:
            return []
        self._display.typing = taken
        try:
            pressed = list(self._display.keys())
        except Disconnected as loss:
            self._gone(loss)
            return []
        closing = ("close",) if taken else ("q", "esc", "close") if esc_closes else ("q", "close")
        if not any(key in closing for key in pressed):
            return pressed
        if self._closed is not None and self._display.desktop:
            self._closed.remember()
            self.close()
            log.info("the window was closed; %s", _SHOW_AGAIN)
            return []
        return ["q" if key in closing else key for key in pressed]

    def held(self) -> frozenset[str]:
        """Return which keys are down."""
        if self._display is None:
            return frozenset()
        try:
            return self._display.held()
        except Disconnected as loss:
            self._gone(loss)
            return frozenset()

    def close(self) -> None:
        """Give the display back."""
        if self._display is not None:
            self._display.close()
            self._display = None

    def _open(self, patient: bool) -> None:
        try:
            self._display = displays.open_display(self._config)
        except Disconnected as loss:
            if not patient:
                raise
            if not self._settling.excuses():
                self._gone(loss)
            return
        if self._display is None:
            self.wanted = False
        else:
            log.info("display: %s", self._display.name)
            self._settling.over()
            self._lost = Problem("")
            self._told.clear()
            # From now on its loss is reported.
            self._missed = True
            self._report()

    def _gone(self, loss: Disconnected) -> None:
        self.close()
        self._next_try_s = time.monotonic() + RETRY_S
        # Somebody is at the desktop, waiting for the picture.
        self._missed = self._missed or isinstance(loss, x11.Refused)
        if loss.message != self._lost.what:
            self._lost = Problem(loss.message, loss.hint)
            # Reasons may alternate while it is away; the journal has each of them once.
            if loss.message not in self._told:
                log.info("no display now: %s", loss)
            self._told.add(loss.message)
        self._report()

    def _report(self) -> None:
        if self._health is None:
            return
        if self._lost.what and self._missed:
            self._health.mark_down("display", self._lost.what, self._lost.remedy)
        else:
            self._health.mark_up("display")
