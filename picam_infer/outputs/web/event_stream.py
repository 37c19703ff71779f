"""The state and its changes as server-sent events: written once for all listeners, at most ten times a second."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from picam_infer.core import blocks, problem_title
from picam_infer.platform import utf8
from picam_infer.runtime.state import Change, State

_TICK_S = 0.1
_STATE_S = 1.0
_LEAST = 60
"""How many changes a new listener is sent, however old they are: the last one gives the current state."""


def change_json(change: Change) -> dict[str, Any]:
    """Return a change as JSON for the timeline and the event stream."""
    body: dict[str, Any] = {"kind": change.kind, "at": round(change.at, 3)}
    if change.kind == "label":
        body |= {"label": change.label, "previous": change.previous, "score": change.rounded_score}
        if change.result is not None and (change.result.value is not None or len(change.result.labels) > 1):
            body["said"] = ", ".join(f"{name} {figure}" for name, figure in change.result.said())
    else:
        names = ("part", "reason", "hint", "by", "until")
        body |= {name: getattr(change, name) for name in names if getattr(change, name)}
        if change.kind == "lost":
            body |= {"title": problem_title(change.part), "blocking": blocks(change.part)}
    return body


class EventStream:
    """The event stream of one round. Used by the event loop's thread; `State` calls in from any."""

    def __init__(
        self,
        state: State,
        loop: asyncio.AbstractEventLoop,
        snapshot: Callable[[], dict[str, Any]],
        settings: Callable[[], dict[str, Any]],
    ) -> None:
        self.listeners = 0
        self._state = state
        self._snapshot = snapshot
        self._settings = settings
        self._run = secrets.token_hex(4)
        self._changes: deque[tuple[int, Change]] = deque(enumerate(state.history, 1), maxlen=state.history.maxlen)
        self._count = len(self._changes)
        self._tick = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._lines: dict[str, tuple[int, bytes]] = {"result": (0, b""), "teach": (0, b""), "state": (0, b"")}
        self._closed = False

        def hear(change: Change) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._add, change)

        self._unlisten = state.listen(hear)

    def close(self) -> None:
        """Stop listening, and end the streams."""
        if not self._closed:
            self._unlisten()
        self._closed = True
        self._tick.set()
        if self._ticker:
            self._ticker.cancel()

    def history(self, minutes: float = 15.0) -> list[dict[str, Any]]:
        """Return the changes of the last minutes, and at least the last ones, oldest first."""
        since, last = time.time() - minutes * 60, self._count - _LEAST
        return [change_json(change) for number, change in self._changes if change.at >= since or number > last]

    async def stream(self, last_id: str = "") -> AsyncGenerator[bytes, None]:
        """Yield blocks of the stream for one listener, first those since `last_id`; b"" when there is nothing new."""
        self.listeners += 1
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._ticking())
        try:
            seen, heard = {"result": 0, "teach": 0, "state": 0}, self._resume(last_id)
            yield b"retry: 2000\n\n" + (b"" if heard else self._hello())
            heard = heard or self._count
            self._refresh(now=True)
            while not self._closed:
                block = b"".join(
                    self._line("change", change_json(change), f"{self._run}-{number}")
                    for number, change in self._changes
                    if number > heard
                )
                heard = self._count
                for name, (number, line) in self._lines.items():
                    if number > seen[name]:
                        seen[name] = number
                        block += line
                yield block
                await self._tick.wait()
        finally:
            self.listeners -= 1

    def _resume(self, last_id: str) -> int:
        run, _, number = last_id.partition("-")
        return int(number) if run == self._run and number.isascii() and number.isdigit() and len(number) < 15 else 0

    def _hello(self) -> bytes:
        return self._line("history", {"changes": self.history()}, f"{self._run}-{self._count}")

    def _add(self, change: Change) -> None:
        self._count += 1
        self._changes.append((self._count, change))

    async def _ticking(self) -> None:
        while self.listeners and not self._closed:
            await asyncio.sleep(_TICK_S)
            self._refresh()
            tick, self._tick = self._tick, asyncio.Event()
            tick.set()

    def _refresh(self, now: bool = False) -> None:
        newest = self._state.results.peek()
        key, result = newest if newest else (0, None)
        self._news("result", {"result": result.as_json() if result else None, "n": key})
        teaching = self._state.reports.teaching()
        if teaching is not None:
            self._news("teach", teaching)
        number, _ = self._lines["state"]
        moment = int(time.monotonic() / _STATE_S)
        if moment > number or now:
            body = self._snapshot() | {"live": self._settings()}
            self._lines["state"] = (max(moment, number), self._line("state", body))

    def _news(self, event: str, body: dict[str, Any]) -> None:
        """Make the current state the next event, if it has changed."""
        number, line = self._lines[event]
        fresh = self._line(event, body)
        if fresh != line:
            self._lines[event] = (number + 1, fresh)

    @staticmethod
    def _line(event: str, body: dict[str, Any], number: str = "") -> bytes:
        ident = f"id: {number}\n" if number else ""
        return utf8.encoded(f"{ident}event: {event}\ndata: ") + utf8.json_bytes(body) + b"\n\n"
