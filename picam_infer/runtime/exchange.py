"""Exchanges the model while the loops run: the new one is opened beside the old and takes over between two frames."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from picam_infer.core import PicamError, Pixels
from picam_infer.inference.classifier import Classifier

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long a new model may take to answer before it is given up."""
Open = Callable[[threading.Event], Classifier]
"""Called with the event that cancels the opening."""


class Exchange:
    """One exchange. Whoever wants it calls `start` and `give_up`; the loop that runs the model calls `take`."""

    def __init__(
        self, open_classifier: Open, picture: Pixels, taken: Callable[[], None], *, beside: bool = True
    ) -> None:
        """`picture`, the network's input, is what the model is tried on. `taken` is called when the loop takes it.

        `beside`: both can be open at once; otherwise (one stick for both) it is opened once the old one is closed.
        """
        self.open_classifier = open_classifier
        """How it is opened again after a loss."""
        self.failure: PicamError | None = None
        """Why the old model stays."""
        self.ready = threading.Event()
        """Set when the new model can be taken."""
        self.over = threading.Event()
        """Set when it was taken, or has failed."""
        self._picture = picture
        self._taken = taken
        self._beside = beside
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._given_up = threading.Event()
        self._classifier: Classifier | None = None

    @property
    def late(self) -> bool:
        """Whether it has taken too long."""
        return time.monotonic() - self._began_s > PATIENCE_S

    def start(self, tell: Callable[[], None]) -> None:
        """Open the model in a thread; `tell` is called when it is ready."""
        if self._beside:
            threading.Thread(target=self._open, args=(tell,), name="model", daemon=True).start()
        else:
            self.ready.set()
            tell()

    def take(self) -> Classifier | None:
        """Return the classifier, which the caller owns from now on; None: the caller has to open it."""
        with self._lock:
            classifier, self._classifier = self._classifier, None
        self._taken()
        self.over.set()
        return classifier

    def give_up(self) -> None:
        """Give up the new model, at any stage."""
        with self._lock:
            self._given_up.set()
            classifier, self._classifier = self._classifier, None
        if classifier is not None:
            classifier.close()

    def _open(self, tell: Callable[[], None]) -> None:
        try:
            classifier = self._tried()
        except PicamError as error:
            self._fail(error)
        except Exception as error:  # the top of a thread: the old model stays in use
            log.exception("exchanging the model: an internal error")
            self._fail(PicamError(f"the new model cannot be run ({type(error).__name__})", "see the journal"))
        else:
            with self._lock:
                if not self._given_up.is_set():
                    self._classifier = classifier
                    self.ready.set()
                    tell()
                    return
            classifier.close()

    def _tried(self) -> Classifier:
        classifier = self.open_classifier(self._given_up)
        try:
            classifier.scores(self._picture)  # the first inference allocates memory, and takes longer
        except BaseException:
            classifier.close()
            raise
        return classifier

    def _fail(self, error: PicamError) -> None:
        self.failure = error
        self.over.set()
