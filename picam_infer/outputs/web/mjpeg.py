"""Pictures for watchers: always the newest, encoded once for all of them, and only while somebody watches."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from picam_infer.core import BadFrame, Frame, Pixels
from picam_infer.imaging import decode, jpeg
from picam_infer.platform import malloc
from picam_infer.runtime.state import State

BOUNDARY = "frame"
_PATIENCE_S = 0.5
_STATUS_SCREEN_S = 1.0
_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One JPEG, also as a part of a multipart stream."""

    number: int
    jpeg: bytes
    part: bytes
    status_screen: bool = False


Make = Callable[[int], Picture | None]
"""Waits briefly for a picture newer than a number, and returns it."""
Render = Callable[[Frame | None], Pixels | None]
"""Frame → BGR (H, W, 3) with its overlay; None → the status screen that stands in its place. Raises `BadFrame`."""


class Broadcaster:
    """A thread that encodes pictures while there are watchers, and passes the newest to the event loop."""

    def __init__(self, make: Make, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self.watchers = 0
        self._make = make
        self._loop = loop
        self._newest: Picture | None = None
        self._arrived = asyncio.Event()
        self._wanted = threading.Event()
        self.closed = False
        self._name = name
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the pictures coming while the block runs."""
        if not self.watchers:
            self._newest = None  # stale by now
        self.watchers += 1
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers and not self.closed:
                self._wanted.clear()

    async def after(self, number: int, timeout_s: float) -> Picture | None:
        """Return the newest picture if it is newer than `number`, waiting for it; None: none came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.closed and (self._newest is None or self._newest.number <= number):
                    await self._arrived.wait()
        newest = self._newest
        return newest if newest is not None and newest.number > number else None

    def close(self) -> None:
        """End the thread; in the event loop."""
        self.closed = True
        self._wanted.set()
        self._arrived.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread: drawing while the interpreter shuts down would crash the process."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        number = 0
        while True:
            if not self._wanted.is_set():
                malloc.trim()  # what drawing took
                self._wanted.wait()
            if self.closed:
                return
            began_s = time.monotonic()
            picture = self._make(number)
            if picture is not None:
                number = picture.number
                with contextlib.suppress(RuntimeError):  # the event loop has ended
                    self._loop.call_soon_threadsafe(self._publish, picture)
            elif time.monotonic() - began_s < _PATIENCE_S / 2:
                time.sleep(0.05)  # a closed mailbox does not wait

    def _publish(self, picture: Picture) -> None:
        self._newest = picture
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()


class Raw:
    """Passes on the camera's own pictures; none while it is lost."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, number: int) -> Picture | None:
        """Return the picture after that number, as `Make`."""
        newest = self._state.frames.peek(number, _PATIENCE_S)
        if newest is None:
            return None
        number, frame = newest
        with contextlib.suppress(BadFrame):
            return _picture(number, jpeg.portable(frame), frame)
        return None


class Drawn:
    """Makes pictures with the overlay drawn in, or status screens, at most `fps()` a second."""

    def __init__(self, state: State, render: Render, fps: Callable[[], float]) -> None:
        self._state = state
        self._render = render
        self._fps = fps
        self._seen = 0
        self._number = 0
        self._last_s = 0.0

    def __call__(self, number: int) -> Picture | None:
        """Return a picture when it is time for one, as `Make`."""
        lost = not self._state.watching
        pause_s = (_STATUS_SCREEN_S if lost else 1 / self._fps()) - (time.monotonic() - self._last_s)
        if pause_s > 0:
            time.sleep(min(pause_s, _PATIENCE_S))
            if pause_s > _PATIENCE_S:
                return None
        frame = None
        if not lost:
            newest = self._state.frames.peek(self._seen, _PATIENCE_S)
            if newest is None:
                return None
            self._seen, frame = newest
        return self.make(frame)

    def make(self, frame: Frame | None) -> Picture | None:
        """Draw one picture now."""
        self._last_s = time.monotonic()
        try:
            image = self._render(frame)
        except BadFrame:
            return None
        if image is None:
            return None
        self._number += 1
        return _picture(self._number, jpeg.encode(image, _QUALITY), frame)


class Snapshots:
    """Single pictures with their overlay, drawn on demand, and only once for simultaneous requests."""

    def __init__(self, state: State, drawn: Drawn, fps: Callable[[], float]) -> None:
        self._state = state
        self._drawn = drawn
        self._fps = fps
        self._drawing = asyncio.Lock()
        self._last: Picture | None = None
        self._last_s = 0.0

    async def take(self) -> Picture | None:
        """Return a picture drawn now, or just before for somebody else; None: there is nothing to draw."""
        async with self._drawing:
            if self._last is None or time.monotonic() - self._last_s > 1 / self._fps():
                self._last = await asyncio.to_thread(self._draw)
                self._last_s = time.monotonic()
            return self._last

    def _draw(self) -> Picture | None:
        newest = self._state.frames.peek() if self._state.watching else None
        return self._drawn.make(newest[1] if newest else None)


def _picture(number: int, data: bytes, frame: Frame | None) -> Picture:
    lines = [f"--{BOUNDARY}", "Content-Type: image/jpeg", f"Content-Length: {len(data)}"]
    if frame is not None:
        width, height = decode.size(frame)
        lines += [f"X-Timestamp: {frame.captured:.6f}", f"X-Seq: {frame.seq}", f"X-Size: {width}x{height}"]
    head = "\r\n".join(lines) + "\r\n\r\n"
    return Picture(number, data, head.encode() + data + b"\r\n", status_screen=frame is None)
