"""When a starting service opens its page: after the first answer, which the page's libraries would delay."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

LATEST_S = 15.0
"""After this long a page without answers is better than no page."""


class PageStart:
    """Opens the page once its libraries are loaded, which takes a small machine seconds; loading waits for its time."""

    def __init__(self, load: Callable[[], object], open_page: Callable[[], None], latest_s: float = LATEST_S) -> None:
        """`load` imports what `open_page` needs, in a thread: the picture goes on meanwhile.

        `latest_s`: after that many seconds it begins in any case; 0: at once, and the first `step` opens the page.
        """
        self._load, self._open = load, open_page
        self._latest_s = time.monotonic() + latest_s
        self._at_once = latest_s <= 0
        self._thread: threading.Thread | None = None
        self.over = False

    def step(self, answered: bool) -> bool:
        """Return whether the page is open; `answered`: there is an answer, or it is known why there is none."""
        if self.over:
            return True
        if not self._at_once:
            if self._thread is None and (answered or time.monotonic() >= self._latest_s):
                self._thread = threading.Thread(target=self._try_to_load, name="page", daemon=True)
                self._thread.start()
            if self._thread is None or self._thread.is_alive():
                return False
        self.over = True
        self._open()
        return True

    def _try_to_load(self) -> None:
        with contextlib.suppress(ImportError):  # opening the page reports it, where somebody handles it
            self._load()
