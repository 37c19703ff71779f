"""A queue and a thread between the loops and one place that events go to."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from picam_infer import config
from picam_infer.core import Frame
from picam_infer.runtime.state import Change

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
PICTURES = 8
"""Events in a queue that may carry their picture: a dead endpoint must not fill the memory."""
UNKNOWN = "unknown"
"""How filters and folders call what has no label."""


class Undelivered(Exception):
    """An event did not arrive. `final`: trying again cannot help; `counts`: the attempt uses up one of the retries."""

    def __init__(self, reason: str, final: bool = False, counts: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.counts = counts


@dataclass(frozen=True, slots=True)
class Event:
    """What is told."""

    change: Change
    ident: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The same for every try, so that a receiver can tell repetitions."""

    @property
    def frame(self) -> Frame | None:
        """The picture, if it is still there."""
        return self.change.frame

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object (documented in the README)."""
        change = self.change
        body: dict[str, Any] = {"event": change.kind, "id": self.ident, "at": round(change.at, 3)}
        if change.kind == "label":
            body |= {"label": change.label, "previous": change.previous, "score": round(change.score, 4)}
            if change.result is not None:
                body["result"] = change.result.as_json()
        elif change.kind in ("paused", "resumed"):
            body["by"] = change.by
            if change.kind == "paused":
                body["until"] = change.until
        else:
            body |= {"part": change.part, "reason": change.reason, "hint": change.hint}
        return body

    def as_bytes(self) -> bytes:
        """Return the JSON on one line, UTF-8."""
        return json.dumps(self.as_json(), ensure_ascii=False).encode()


class Way(Protocol):
    """How events get to one place. One thread uses it, except `close`, which only `deliver`'s thread calls too."""

    name: str
    """For people and metrics, without secrets."""
    pictures: bool
    """Whether it sends pictures."""

    @property
    def retries(self) -> int | None:
        """How often an event is tried again; None: until it arrives."""

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Deliver or raise `Undelivered`. `waiting(seconds)` sleeps; False: there is no more time."""

    def idle(self, waiting: Callable[[float], bool]) -> None:
        """Do what is due without an event, or raise `Undelivered`; called about once a second."""

    def close(self) -> None:
        """Say goodbye."""


class Outlet:
    """One place: filter, queue, retries, and how it is doing."""

    def __init__(self, settings: config.Outlet, way: Way) -> None:
        self.sent = self.failed = self.dropped = 0
        self.reason = ""
        """Why the last delivery did not work; empty: it did."""
        self._settings = settings
        self._way = way
        self._queue: deque[Event] = deque()
        self._condition = threading.Condition()
        self._ends_s: float | None = None
        self._seen = False
        self._thread = threading.Thread(target=self._run, name=f"events {way.name}"[:60], daemon=True)
        self._thread.start()

    def offer(self, change: Change) -> None:
        """Queue a change if it passes the filters; returns at once."""
        if not self._passes(change):
            return
        if not self._way.pictures:
            change = replace(change, frame=None)
        with self._condition:
            self._queue.append(Event(change))
            while len(self._queue) > self._settings.queue:
                self._queue.popleft()
                self.dropped += 1
            if self._way.pictures and len(self._queue) > PICTURES:
                late = self._queue[-1 - PICTURES]
                self._queue[-1 - PICTURES] = replace(late, change=replace(late.change, frame=None))
            self._condition.notify_all()

    def report(self) -> dict[str, Any]:
        """Return its part of the state."""
        kind = type(self._settings).__name__.lower()
        return {"name": self._way.name, "kind": kind, "ok": not self.reason, "reason": self.reason, "sent": self.sent,
                "failed": self.failed, "dropped": self.dropped, "queued": len(self._queue)}  # fmt: skip

    def end(self, patience_s: float) -> None:
        """Tell the thread to end once the queue is empty or the time is over."""
        with self._condition:
            self._ends_s = time.monotonic() + patience_s
            self._condition.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end; one that hangs in a driver is left behind."""
        self._thread.join(timeout_s)

    def _passes(self, change: Change) -> bool:
        settings = self._settings
        if change.kind not in settings.about:
            return False
        if change.kind != "label":
            return True
        passes = self._wanted(change.label) and change.score >= settings.min_score
        # A listener that keeps a state must hear that what it was told of is over.
        ended = self._seen and isinstance(settings, config.Mqtt)
        self._seen = passes
        return passes or ended

    def _wanted(self, label: str | None) -> bool:
        return not self._settings.labels or (UNKNOWN if label is None else label) in self._settings.labels

    def _run(self) -> None:
        try:
            self._try(lambda: self._way.idle(self._waiting))
            while self._next():
                pass
        except Exception:  # a thread's top: the recognition goes on without this outlet
            self.reason = "an error of its own; see the journal"
            log.exception("events: %s has stopped", self._way.name)
        finally:
            self._way.close()

    def _next(self) -> bool:
        """Deliver the next event, or nothing for a second; False when it is time to end."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._ends_s is not None, 1.0)
            event = self._queue[0] if self._queue else None
        if event is None:
            if self._ends_s is not None:
                return False
            self._try(lambda: self._way.idle(self._waiting))
            return True
        tries = 0
        while not self._try(lambda: self._way.deliver(event, self._waiting)):
            tries += self._last.counts
            if self._last.final or (self._way.retries is not None and tries > self._way.retries):
                self.failed += 1
                break
            pause_s = min(LONGEST_WAIT_S, 0.25 * 2**tries) * random.uniform(0.8, 1.2)
            if not self._waiting(pause_s) or not self._still(event):
                return self._ends_s is None
        else:
            self.sent += 1
        with self._condition:
            if self._queue and self._queue[0].ident == event.ident:
                self._queue.popleft()
        return True

    def _still(self, event: Event) -> bool:
        """Whether an event has not been pushed out of the queue while it was tried."""
        with self._condition:
            return any(waiting.ident == event.ident for waiting in self._queue)

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Undelivered as error:
            self._last = error
            if not self.reason:
                log.warning("events: %s: %s", self._way.name, error.reason)
            self.reason = error.reason
            return False
        except Exception:  # a fault of ours: this event is lost, the next ones start afresh
            self._last = Undelivered("an error of its own; see the journal", final=True)
            if self.reason != self._last.reason:
                log.exception("events: %s", self._way.name)
            self.reason = self._last.reason
            self._way.close()
            return False
        if self.reason:
            log.info("events: %s works again", self._way.name)
            self.reason = ""
        return True

    def _waiting(self, seconds: float) -> bool:
        """Sleep, but not past the end; False when it has come."""
        with self._condition:
            if self._ends_s is None:
                self._condition.wait_for(lambda: self._ends_s is not None, seconds)
            if self._ends_s is not None:
                left_s = self._ends_s - time.monotonic()
                if left_s > 0:
                    time.sleep(min(left_s, seconds, 0.1))
                return left_s > 0
        return True
