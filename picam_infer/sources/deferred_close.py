"""One thread reads, any may close: what is closed under a reader's hands would crash, so the reader does it itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class DeferredClose:
    """Gives something back once: now, or as soon as the thread that reads from it comes back."""

    def __init__(self, release: Callable[[], object]) -> None:
        self.closed = False
        self._release = release
        self._lock = threading.Lock()
        self._reading = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[bool]:
        """Read in the block; False: it is closed, there is nothing to read from."""
        with self._lock:
            self._reading = open_ = not self.closed
        try:
            yield open_
        finally:
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
