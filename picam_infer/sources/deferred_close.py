"""One thread reads, any may close: closing during a read would crash, so the reading thread does it itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class DeferredClose:
    """Releases something once: now, or as soon as the thread that reads from it returns."""

    def __init__(self, release: Callable[[], object]) -> None:
        self.closed = False
        self._release = release
        self._lock = threading.Lock()
        self._reading = False

    def reading(self) -> DeferredClose:
        """Read in a `with` block; it yields False once it is closed: there is nothing to read from."""
        return self

    def __enter__(self) -> bool:
        with self._lock:
            self._reading = not self.closed
            return self._reading

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._reading and self.closed:
                self._release()
            self._reading = False

    def close(self) -> bool:
        """Never waits. True: a thread is reading, which might be woken; it releases when it comes back."""
        with self._lock:
            if self.closed:
                return False
            self.closed = True
            if not self._reading:
                self._release()
            return self._reading
