"""A server as the engine in front of the CPU: asked again and again while it is away, used when its answers agree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Engine, Scores, Unavailable
from picam_infer.inference.engines.failover import SUSPICIOUS, compare, difference
from picam_infer.inference.engines.remote import client, errors
from picam_infer.inference.engines.remote.client import Connect
from picam_infer.inference.engines.remote.engine import Remote, wanted
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle
from picam_infer.runtime.retry import BackOff

BACK_OFF_S = (2.0, 4.0, 8.0, 15.0)
JITTER = 0.75
"""A classroom of Pis that lost the server together comes back over seconds, not all at once."""
STEADY_S = 30.0
"""If a server is lost sooner than this after it came back, the waits do not start over."""
DOUBT = "is the model there this one? picam-infer export makes what it should serve"


class PreferredServer:
    """The bundle's model on the server that the settings name."""

    noun = "the server"
    likely = True

    def __init__(
        self,
        bundle: Bundle,
        settings: EngineSettings,
        traffic: Traffic | None = None,
        *,
        connect: Connect = client.connect,
        back_off_s: Sequence[float] = BACK_OFF_S,
    ) -> None:
        """Check the settings. Raises `ConfigError`."""
        self._bundle, self._settings, self._connect = bundle, settings, connect
        self.traffic = traffic or Traffic()
        wanted(settings, bundle)
        self.first_s = settings.deadline_s + 1
        self._back_off = BackOff(tuple(back_off_s), JITTER)

    def open(self, closed: threading.Event, waiting: Callable[[], None], seen: Callable[[], None]) -> Engine:
        """Return the connected engine. Raises `Disconnected`."""
        try:
            return Remote(self._bundle, self._settings, self.traffic, stopping=closed, connect=self._connect)
        except Disconnected:
            raise
        except Unavailable as error:  # no client library here: it may be installed meanwhile
            raise Disconnected(error.message, error.hint) from error

    def compare(self, scores: Scores, cpu: Scores) -> str:
        """Return how far its answer is from the CPU's. Raises `RemoteError` when that is another network's."""
        sentence = compare(scores, cpu, DOUBT)
        if difference(scores, cpu) > SUSPICIOUS:
            self.traffic.failed("mismatch")
            raise errors.RemoteError("mismatch", f"the server's answers are not the model's: {sentence}")
        return sentence

    def back_off(self, served_s: float | None) -> BackOff:
        """Return the waits; one that is lost again soon is given longer and longer ones."""
        if served_s is None or served_s >= STEADY_S:
            self._back_off.reset()
        return self._back_off

    def pause(self, wait_s: float, closed: threading.Event) -> bool:
        """Wait: nothing tells that a server is back but asking it."""
        closed.wait(wait_s)
        return False

    def notice(self, engine: Engine) -> str:
        """Return nothing: a server sends no telemetry."""
        return ""

    def fell_back(self) -> None:
        """Count that the CPU took over."""
        self.traffic.fell_back()
