"""What the displays without a desktop share: the keyboard, a regular look at the monitor, messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from picam_infer.core import Disconnected
from picam_infer.outputs.display import owner
from picam_infer.outputs.display.keyboard import Keyboard

LOOK_S = 1.0
"""How long after a look at the monitor the next one is due."""
ENABLE_DRIVER = "on a Raspberry Pi dtoverlay=vc4-kms-v3d belongs in /boot/firmware/config.txt"


class BareScreen:
    """A monitor that this program has to itself, with the keyboards plugged into the machine."""

    desktop = False
    typing = False

    def __init__(self) -> None:
        self.name = ""
        self._keyboard: Keyboard | None = None
        self._next_look_s = 0.0

    def keys(self) -> Sequence[str]:
        """Return the keys pressed since the last call."""
        return self._keyboard.keys() if self._keyboard else ()

    def held(self) -> frozenset[str]:
        """Return which keys are down."""
        return self._keyboard.held() if self._keyboard else frozenset()

    def to_front(self) -> None:
        """Do nothing: there is never anything in front of it."""

    def close(self) -> None:
        """Give the keyboard back. May be called more than once."""
        if self._keyboard is not None:
            self._keyboard.close()
            self._keyboard = None

    def _take_keyboard(self) -> None:
        if self._keyboard is None:
            self._keyboard = Keyboard()

    def _look_due(self) -> bool:
        return time.monotonic() >= self._next_look_s

    def _looked(self) -> None:
        self._next_look_s = time.monotonic() + LOOK_S


def unplugged(connectors: Sequence[owner.Connector]) -> Disconnected:
    """Return the same message for a monitor that was unplugged and for one that was never there: it is logged once."""
    names = ", ".join(connector.name for connector in connectors)
    return Disconnected("no monitor is plugged in", f"plug one in ({names}): it is used at once")


def permission_denied(device: Path) -> Disconnected:
    """Return the error for a graphics device that this user may not open."""
    return Disconnected(
        f"{device}: permission denied",
        "add the user to the group video: sudo usermod -aG video USER, then log in again",
    )
