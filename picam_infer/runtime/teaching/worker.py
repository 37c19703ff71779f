"""The thread that teaches: it serves requests in order, and does work of its own between them."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from picam_infer.core import Busy, PicamError
from picam_infer.platform.priority import lower_priority

log = logging.getLogger(__name__)
T = TypeVar("T")

_PATIENCE_S = 120.0
"""How long a caller waits for the answer."""


class Worker:
    """Owns the thread. It starts with the first request, at low priority."""

    def __init__(self, step: Callable[[], float], end: Callable[[], None]) -> None:
        """`step` does one thing and returns for how many seconds to wait for requests before the next step.

        `end` is called last. Neither raises; both run in the thread.
        """
        self.stopping = threading.Event()
        """Set when the thread is to end; long work checks it."""
        self._step = step
        self._end = end
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: set[Future[Any]] = set()
        """The requests that are not done yet."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(self, work: Callable[[], T]) -> T:
        """Have the thread do something, and return its result. Raises what it raises, and `Busy`."""
        done: Future[T] = Future()

        def task() -> None:
            with contextlib.suppress(InvalidStateError):  # nobody is waiting for it any more
                try:
                    result = work()
                except PicamError as error:
                    done.set_exception(error)
                except Exception as error:  # the top of a thread: the caller gets it
                    log.exception("teaching: an internal error")
                    done.set_exception(error)
                else:
                    done.set_result(result)

        with self._starting:
            if self.stopping.is_set():
                raise Busy("the service is stopping", "try again")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="teach", daemon=True)
                self._thread.start()
        self._waiting.add(done)
        self._tasks.put(task)
        try:
            return done.result(_PATIENCE_S)
        except TimeoutError as error:
            raise Busy("this takes very long", "try again in a minute") from error
        finally:
            self._waiting.discard(done)

    def cancel_waits(self) -> None:
        """Raise `Busy` in all threads that wait in `ask`; the work itself goes on."""
        for done in tuple(self._waiting):
            with contextlib.suppress(InvalidStateError):
                done.set_exception(Busy("the service is stopping or restarting", "look again in a moment"))

    def close(self, patience_s: float) -> None:
        """End the thread. May be called more than once."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(patience_s)

    def _run(self) -> None:
        lower_priority()
        wait_s = 1.0
        while not self.stopping.is_set():
            with contextlib.suppress(queue.Empty):
                self._tasks.get(timeout=wait_s)()
            wait_s = self._step()
        self._end()
