"""The stick as the engine in front of the CPU: looked for on the bus, judged by its first answer, watched for heat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from picam_infer.core import Disconnected, Engine, Scores
from picam_infer.inference.engines import sticks
from picam_infer.inference.engines.failover import Said, compare
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.models.bundle import Bundle
from picam_infer.runtime.retry import BackOff

FIRST_S = 6.0
"""How long the start waits for a stick that is plugged in; opening one takes about 4 s."""
BACK_OFF_S = (1.0, 2.0, 5.0)
POLL_S = 0.5


class PreferredStick:
    """A stick, by name or port, or the first free one; `noticed` is called with what was done to reach it."""

    noun = "the stick"

    def __init__(
        self,
        bundle: Bundle,
        noticed: Said,
        stick: str = "",
        deadline_s: float = 2.0,
        *,
        usb: sticks.Usb | None = None,
        first_s: float = FIRST_S,
    ) -> None:
        self.first_s = first_s
        self._bundle, self._noticed, self._wanted, self._deadline_s = bundle, noticed, stick, deadline_s
        self._usb = usb or sticks.Usb()
        self._before: tuple[tuple[str, str], ...] = ()
        self._warning = ""

    @property
    def likely(self) -> bool:
        """Whether the bus has one."""
        return bool(self._usb.plugged())

    def open(self, closed: threading.Event, waiting: Callable[[], None], seen: Callable[[], None]) -> Engine:
        """Return a stick that took the graph; waits for one to be plugged in. Raises `Disconnected`."""
        self._before, self._warning = self._usb.plugged(), ""
        if not sticks.installed():
            waiting()
            for found in self._usb.sticks():
                if cause := sticks.trouble(found):
                    raise Disconnected.of(cause)
            raise Disconnected("")
        steps = {"waiting": waiting, "open": seen}
        return Ncs(
            self._bundle,
            self._wanted,
            self._deadline_s,
            wait=True,
            usb=self._usb,
            stopping=closed,
            noticed=self._noticed,
            stage=lambda step: steps.get(step, lambda: None)(),
        )

    def compare(self, scores: Scores, cpu: Scores) -> str:
        """Return how far its answer is from the CPU's. It is used in any case: its graph is what the user made."""
        return compare(scores, cpu)

    def back_off(self, served_s: float | None) -> BackOff:
        """Return the waits: none after a loss, since the bus shows at once what is plugged in."""
        return BackOff(BACK_OFF_S if served_s is None else (0.0, *BACK_OFF_S))

    def pause(self, wait_s: float, closed: threading.Event) -> bool:
        """Wait, but not when a stick comes or goes; return whether one did."""
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s and not closed.wait(POLL_S):
            if self._usb.plugged() != self._before:
                return True
        return False

    def notice(self, engine: Engine) -> str:
        """Return a sentence when it has become hot, or cool again."""
        telemetry = engine.telemetry
        if telemetry is None or bool(telemetry.warning) == bool(self._warning):
            return ""
        self._warning = telemetry.warning
        return self._warning or f"the stick is cool again ({telemetry.temperature_c:.0f} °C)"

    def fell_back(self) -> None:
        """Does nothing."""
