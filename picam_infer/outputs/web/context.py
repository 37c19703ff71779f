"""What the endpoints work with: one round of the service, its access rules, and its streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from picam_infer.config import Web as Settings
from picam_infer.outputs.web.access import Access, Refused
from picam_infer.outputs.web.event_stream import EventStream
from picam_infer.outputs.web.mjpeg import Broadcaster, Snapshots
from picam_infer.runtime.model_trial import ModelTrial
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State
from picam_infer.runtime.teaching import Teaching

STUCK_S = 10.0
"""A watcher that has not accepted data for this long is dropped."""


class Collection(Protocol):
    """The collected pictures, as `picam_infer.outputs.dataset.Collector` has them."""

    def entries(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Return the newest pictures, as JSON."""

    def picture(self, name: str) -> bytes | None:
        """Return a JPEG; None: no such picture."""

    def zipped(self) -> Iterator[bytes]:
        """Yield a zip file of all pictures, one folder a label."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams for watchers. Used by the event loop's thread."""

    raw: Broadcaster
    """The camera's own pictures."""
    drawn: Broadcaster
    """Pictures with their overlay."""
    events: EventStream
    most: int
    """The largest number of watchers of pictures, and of events."""

    def check_room(self) -> None:
        """Refuse another watcher when there are too many."""
        if max(self.raw.watchers + self.drawn.watchers, self.events.listeners) >= self.most:
            raise Refused(503, "too many viewers", "see web.max_clients", wait_s=10)

    def watchers(self) -> dict[str, int]:
        """Return the number of watchers, by kind."""
        return {"raw": self.raw.watchers, "drawn": self.drawn.watchers, "events": self.events.listeners}

    def close(self) -> None:
        """End them."""
        self.events.close()
        self.raw.close()
        self.drawn.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads that draw; from another thread, after `close`."""
        self.raw.join(timeout_s)
        self.drawn.join(timeout_s)


@dataclass(frozen=True, slots=True)
class Context:
    """One round of the service, for the endpoints."""

    settings: Settings
    state: State
    runtime_settings: RuntimeSettings
    collection: Collection | None
    access: Access
    streams: Streams
    snapshots: Snapshots
    teaching: Teaching | None = None
    trial: ModelTrial | None = None
    stuck_s: float = STUCK_S
