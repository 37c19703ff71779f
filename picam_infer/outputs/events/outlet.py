"""A queue and a thread between the loops and one receiver of events."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from picam_infer import config
from picam_infer.core import Frame, Result, outlet_part
from picam_infer.outputs.events.outage import Outage
from picam_infer.platform import utf8
from picam_infer.runtime.health import Health
from picam_infer.runtime.reports import OutletReport
from picam_infer.runtime.retry import BackOff
from picam_infer.runtime.state import Change

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
_FIRST_WAIT_S, _SPREAD = 0.5, 0.2
LONGEST_LOOK_S = 15.0
"""Between attempts to reach a receiver while there is nothing to send."""
PICTURES = 8
"""Events in a queue that may carry their picture: a dead endpoint must not fill the memory."""
UNKNOWN = "unknown"
"""What filters and folders call a result without a label."""
_INTERNAL = "an internal error; see the journal"
_SOON_S = 2.0
"""An attempt that fails once is not reported if the next one follows this soon and works."""


class DeliveryError(Exception):
    """An event did not arrive: why, and what to do about it.

    `final`: this receiver will never take it; `counts`: the attempt uses up one of the retries; `after_s`: the
    receiver asks for no other attempt before so many seconds.
    """

    def __init__(
        self, reason: str, final: bool = False, counts: bool = True, after_s: float = 0.0, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.final = final
        self.counts = counts
        self.after_s = after_s


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
        """Return the public JSON object (documented in docs/events.md)."""
        change = self.change
        body: dict[str, Any] = {"event": change.kind, "id": self.ident, "at": round(change.at, 3)}
        if change.kind == "label":
            body |= {"label": change.label, "previous": change.previous, "score": change.rounded_score}
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
        return utf8.json_bytes(self.as_json())


class Transport(Protocol):
    """How events get to one receiver. One thread uses it, `close` included."""

    name: str
    """For people and metrics, without secrets."""
    pictures: bool
    """Whether it sends pictures."""

    @property
    def note(self) -> str:
        """What should be mended although events arrive; empty: nothing."""

    @property
    def retries(self) -> int | None:
        """How often an event is tried again by attempts that count; None: until it arrives."""

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Deliver or raise `DeliveryError`. `waiting(seconds)` sleeps; False: there is no more time."""

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        """Do what is due without an event, or raise `DeliveryError`; called about once a second.

        True: the other side took something, so it is known to work.
        """

    def close(self) -> None:
        """Sign off."""


def passes_filters(settings: config.Outlet, result: Result | None, label: str | None, score: float) -> bool:
    """Tell whether an outlet wants to hear of a label; of several that apply at once, any will do.

    A value has no probability that could be too low.
    """
    names = result.labels if result is not None else () if label is None else (label,)
    wanted = not settings.labels or any(name in settings.labels for name in names or (UNKNOWN,))
    return wanted and (score >= settings.min_score or (result is not None and result.value is not None))


class Outlet:
    """One receiver: filter, queue, retries, and its state."""

    def __init__(self, settings: config.Outlet, transport: Transport, health: Health | None = None) -> None:
        """`health` is told when the receiver cannot be reached, and when it can be again."""
        self.sent = self.failed = self.dropped = 0
        self.ok: bool | None = None
        """Whether the last delivery worked; None: there was none yet."""
        self.reason = ""
        """Why it did not; empty: it did, or there was none."""
        self._settings = settings
        self._transport = transport
        self._queue: deque[Event] = deque()
        self._condition = threading.Condition()
        self._ends_s: float | None = None
        self._seen = False
        self._owes = False
        """Whether an event failed since the last that arrived: nothing less than an event shows that events arrive."""
        self._health = health or Health()
        self._part = outlet_part(transport.name)
        self._outage = Outage(transport.name, self._part, self._health)
        self._failures = 0
        """Attempts that failed since something was delivered."""
        self._note = ""
        self._idle_due_s = 0.0
        self._idle_back_off = BackOff.doubling(2 * _FIRST_WAIT_S, LONGEST_LOOK_S, _SPREAD)
        self._thread = threading.Thread(target=self._run, name=f"events {transport.name}"[:60], daemon=True)
        self._thread.start()

    def offer(self, change: Change) -> None:
        """Queue a change if it passes the filters; returns at once."""
        if not self._passes(change):
            return
        if not self._transport.pictures:
            change = replace(change, frame=None)
        with self._condition:
            self._queue.append(Event(change))
            while len(self._queue) > self._settings.queue:
                self._queue.popleft()
                self.dropped += 1
            if self._transport.pictures and len(self._queue) > PICTURES:
                late = self._queue[-1 - PICTURES]
                self._queue[-1 - PICTURES] = replace(late, change=replace(late.change, frame=None))
            self._condition.notify_all()

    def report(self) -> OutletReport:
        """Return its state."""
        kind = type(self._settings).__name__.lower()
        return OutletReport(
            self._transport.name,
            kind,
            self.ok,
            self.reason,
            self._transport.note,
            self.sent,
            self.failed,
            self.dropped,
            len(self._queue),
        )

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
        passes = passes_filters(settings, change.result, change.label, change.score)
        # A listener that keeps a state must also learn that the loss is over.
        ended = self._seen and isinstance(settings, config.Mqtt)
        self._seen = passes
        return passes or ended

    def _run(self) -> None:
        try:
            self._idle()
            while self._next():
                pass
        except Exception:  # the top of a thread: recognition continues without this outlet
            self.ok, self.reason = False, _INTERNAL
            self._health.mark_down(self._part, _INTERNAL)
            log.exception("events: %s has stopped", self._transport.name)
        finally:
            self._transport.close()

    def _next(self) -> bool:
        """Deliver the next event, or nothing for a second; False when it is time to end."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._ends_s is not None, 1.0)
            event = self._queue[0] if self._queue else None
        if event is None:
            if self._ends_s is not None:
                return False
            self._idle()
            return True
        if not self._send(event):
            return self._ends_s is None
        with self._condition:
            if self._queue and self._queue[0].ident == event.ident:
                self._queue.popleft()
        return True

    def _send(self, event: Event) -> bool:
        """Deliver an event or give it up; False when the time is over or the queue has pushed it out."""
        counted, back_off = 0, BackOff.doubling(_FIRST_WAIT_S, LONGEST_WAIT_S, _SPREAD)
        while (error := self._try(lambda: self._transport.deliver(event, self._waiting))) is not None:
            self._owes = True
            counted += error.counts
            if error.final or (self._transport.retries is not None and counted > self._transport.retries):
                self._outage.tell(error.reason, error.hint)
                self.failed += 1
                return True
            wait_s = back_off.next_s(error.after_s)
            self._failed(error, wait_s)
            if not self._waiting(wait_s) or not self._still(event):
                self._outage.tell(error.reason, error.hint)
                return False
        self._owes = False
        self._works()
        self.sent += 1
        return True

    def _idle(self) -> None:
        """Let the transport do what is due; one that fails is called less and less often."""
        if time.monotonic() < self._idle_due_s:
            return
        took: list[bool] = []
        error = self._try(lambda: took.append(self._transport.idle(self._waiting)))
        if error is not None:
            wait_s = self._idle_back_off.next_s()
            self._failed(error, wait_s)
            self._idle_due_s = time.monotonic() + wait_s
            return
        self._idle_back_off.reset()
        if took == [True] and not self._owes:
            self._works()

    def _failed(self, error: DeliveryError, wait_s: float) -> None:
        """Report a failure that another attempt follows, unless it is the first one and that attempt comes soon."""
        if self._failures > 1 or wait_s > _SOON_S or self._outage.now:
            self._outage.tell(error.reason, error.hint)

    def _still(self, event: Event) -> bool:
        """Whether an event has not been pushed out of the queue while it was tried."""
        with self._condition:
            return any(waiting.ident == event.ident for waiting in self._queue)

    def _try(self, act: Callable[[], None]) -> DeliveryError | None:
        """Act; return what went wrong. An error of ours is reported at once."""
        failure = None
        try:
            act()
        except DeliveryError as error:
            failure = error
        except Exception:  # an error of ours: this event is lost, the next ones start afresh
            failure = DeliveryError(_INTERNAL, final=True)
            self._outage.tell(_INTERNAL, trace=True)
            self._transport.close()
        if failure is not None:
            self.ok, self.reason = False, "; ".join(filter(None, [failure.reason, failure.hint]))
            self._failures += 1
        if self._transport.note != self._note:
            self._note = self._transport.note
            if self._note:
                log.warning("events: %s: %s", self._transport.name, self._note)
        return failure

    def _works(self) -> None:
        """Note that something was delivered."""
        self._outage.end()
        self.ok, self.reason = True, ""
        self._failures = 0

    def _waiting(self, seconds: float) -> bool:
        """Sleep, but not past the end; False once that has come."""
        with self._condition:
            if self._ends_s is None:
                self._condition.wait_for(lambda: self._ends_s is not None, seconds)
            if self._ends_s is not None:
                left_s = self._ends_s - time.monotonic()
                if left_s > 0:
                    time.sleep(min(left_s, seconds, 0.1))
                return left_s > 0
        return True
