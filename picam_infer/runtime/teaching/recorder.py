"""Takes pictures from the camera while a button is held."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass

from picam_infer.core import BadFrame
from picam_infer.imaging import jpeg
from picam_infer.runtime.state import State

PER_S = 10
"""Pictures a second that are recorded."""
HELD_S = 1.5
"""A button counts as let go when nobody has said for so long that it is held: the page may be gone."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A button that is held down, until `until_s` on CLOCK_MONOTONIC unless that is said again."""

    label: str
    id: str
    """Tells this holding from the next."""
    until_s: float

    @classmethod
    def now(cls, label: str, id: str) -> Hold:
        """Return one that somebody has just said is held."""
        return cls(label, id, time.monotonic() + HELD_S)


class Recorder:
    """Owns what was recorded and nobody has taken yet. A button that is only tapped records one picture.

    Its thread does nothing else, at the usual priority: pictures come in time, however much there is to learn.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: Hold | None = None
        self._owed: Hold | None = None
        """The holding that has no picture yet, though the button may be up again."""
        self._taken: deque[tuple[Hold, bytes]] = deque(maxlen=10 * PER_S)
        self._taking = False
        """Whether one is on its way."""
        self._number = 0
        """The number of the frame taken last: nothing is recorded twice."""
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> Hold | None:
        """The button that is held now."""
        held = self._held
        return held if held is not None and held.until_s > time.monotonic() else None

    @property
    def taken(self) -> int:
        """How many pictures nobody has taken yet."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many there will be for which nobody has to hold a button any more."""
        with self._condition:
            return len(self._taken) + (self._taking and self.held is None)

    def hold(self, held: Hold, state: State) -> None:
        """Begin, or go on."""
        with self._condition:
            if self._held is None or self._held.id != held.id:
                self._owed = held
            self._held = held
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, args=(state,), name="record", daemon=True)
                self._thread.start()

    def release(self, at_once: bool = False) -> None:
        """End it; `at_once`: without the picture that a tap is owed, and the next frames may be another camera's."""
        with self._condition:
            self._held = None
            if at_once:
                self._owed, self._number = None, 0

    def take(self) -> tuple[Hold, bytes] | None:
        """Return the oldest picture that was recorded, as a JPEG, and what for; None: there is none."""
        try:
            return self._taken.popleft()
        except IndexError:
            return None

    def _run(self, state: State) -> None:
        due_s = time.monotonic()
        while (held := self._next()) is not None:
            newest = state.frames.peek(self._number, 0.2)
            if newest is None or not state.watching:
                time.sleep(0.02)  # a mailbox that is closed makes nobody wait
                continue
            self._number, frame = newest
            with contextlib.suppress(BadFrame):
                self._took(held, jpeg.portable(frame))
            due_s = max(due_s + 1 / PER_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _next(self) -> Hold | None:
        """Return what a picture is to be taken for; None: nothing, and the thread ends."""
        with self._condition:
            owed = self._owed if self._owed is not None and self._owed.until_s > time.monotonic() else None
            held = owed or self.held
            self._taking = held is not None
            if held is None:
                self._thread = None
            return held

    def _took(self, held: Hold, data: bytes) -> None:
        with self._condition:
            self._taken.append((held, data))
            if self._owed is not None and self._owed.id == held.id:
                self._owed = None
            self._taking = False
