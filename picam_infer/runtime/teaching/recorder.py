"""Takes pictures from the camera while a button is held."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque

import msgspec

from picam_infer.core import BadFrame
from picam_infer.imaging import jpeg
from picam_infer.runtime.state import State

PER_S = 10
"""Pictures a second that are recorded."""
HELD_S = 1.5
"""A button counts as released when nothing was heard of it for this long: the page may be gone."""


class Hold(msgspec.Struct, frozen=True):
    """A button that is held down until `until_s` (CLOCK_MONOTONIC), or longer if that is said again."""

    label: str
    id: str
    """Distinguishes this hold from the next one."""
    until_s: float

    @classmethod
    def now(cls, label: str, id: str) -> Hold:
        """Return a hold that was reported just now."""
        return cls(label, id, time.monotonic() + HELD_S)

    @property
    def lasts(self) -> bool:
        """Whether it was reported lately."""
        return self.until_s > time.monotonic()


class Recorder:
    """Owns the pictures that were recorded and not taken yet. A button that is only tapped records one.

    Its thread does nothing else, at normal priority, so that pictures are taken on time however much there is to learn.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: Hold | None = None
        self._owed: Hold | None = None
        """The hold that has no picture yet, although the button may have been released."""
        self._taken: deque[tuple[Hold, bytes]] = deque(maxlen=10 * PER_S)
        self._taking = False
        """Whether a picture is being taken."""
        self._number = 0
        """The number of the last frame, so that none is recorded twice."""
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> Hold | None:
        """The button that is held now."""
        held = self._held
        return held if held is not None and held.lasts else None

    @property
    def taken(self) -> int:
        """How many recorded pictures were not taken yet."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many pictures are still to come, or to be taken, after the button is released."""
        with self._condition:
            return len(self._taken) + (self._taking and self.held is None)

    def hold(self, held: Hold, state: State) -> None:
        """Begin to record, or go on."""
        with self._condition:
            if self._held is None or self._held.id != held.id:
                self._owed = held
            self._held = held
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, args=(state,), name="record", daemon=True)
                self._thread.start()

    def release(self, at_once: bool = False) -> None:
        """Stop recording. `at_once`: even without the one picture of a tap; the next frames may be another camera's."""
        with self._condition:
            self._held = None
            if at_once:
                self._owed, self._number = None, 0

    def take(self) -> tuple[Hold, bytes] | None:
        """Return the oldest recorded picture with its hold, as (hold, JPEG); None: there is none."""
        try:
            return self._taken.popleft()
        except IndexError:
            return None

    def _run(self, state: State) -> None:
        due_s = time.monotonic()
        while (held := self._next()) is not None:
            newest = state.frames.peek(self._number, 0.2)
            if newest is None or not state.watching:
                time.sleep(0.02)  # a closed mailbox does not wait
                continue
            if not self._wants(held):  # it was released while the frame was on its way
                continue
            self._number, frame = newest
            with contextlib.suppress(BadFrame):
                self._took(held, jpeg.portable(frame))
            due_s = max(due_s + 1 / PER_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _next(self) -> Hold | None:
        """Return the hold to take a picture for; None: none, and the thread ends."""
        with self._condition:
            held = self._owed if self._owed is not None and self._owed.lasts else self.held
            self._taking = held is not None
            if held is None:
                self._thread = None
            return held

    def _wants(self, held: Hold) -> bool:
        """Whether a picture may still be taken for a hold."""
        with self._condition:
            return any(one is not None and one.id == held.id for one in (self._owed, self.held))

    def _took(self, held: Hold, data: bytes) -> None:
        with self._condition:
            self._taken.append((held, data))
            if self._owed is not None and self._owed.id == held.id:
                self._owed = None
            self._taking = False
