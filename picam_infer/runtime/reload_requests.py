"""Requests for a reload: by SIGHUP, and by those who wait until another model runs."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from picam_infer.core import PicamError


class ReloadRequests:
    """Owns the requests. Any thread or signal handler may ask; the main thread answers."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._asked: deque[Future[None]] = deque()
        self._due: list[Future[None]] = []
        """The requests that the current reload is for."""

    def ask(self) -> None:
        """Ask for the configuration to be read again."""
        self._event.set()

    def ask_for_model(self) -> Future[None]:
        """Ask for the model that the configuration names now; the future ends when it runs, or with `PicamError`."""
        asked: Future[None] = Future()
        self._asked.append(asked)
        self._event.set()
        return asked

    @property
    def pending(self) -> bool:
        """Whether somebody asked since `begin`."""
        return self._event.is_set()

    @property
    def model_awaited(self) -> bool:
        """Whether somebody waits for the current reload's model."""
        return bool(self._due)

    def begin(self) -> None:
        """A reload begins: it is for all who have asked so far."""
        self._event.clear()
        while self._asked:
            self._due.append(self._asked.popleft())

    def answer(self, error: PicamError | None = None) -> None:
        """Tell those who wait that their model is running, or why it is not."""
        while self._due:
            asked = self._due.pop()
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
