"""Another model for loops that run: opened beside the one in use, and taken over between two frames."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from picam_infer.core import PicamError, Pixels
from picam_infer.inference.classifier import Classifier

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""A model that has not answered after so long is not waited for any more."""
Open = Callable[[threading.Event], Classifier]
"""Gets the event that ends the opening."""


class Exchange:
    """One exchange. `start` and `give_up` belong to whoever wants it, `take` to the loop that runs the model."""

    def __init__(
        self, open_classifier: Open, picture: Pixels, taken: Callable[[], None], *, beside: bool = True
    ) -> None:
        """`picture`, the network's input, is what it is tried on. `taken` is called when the loop runs the new model.

        `beside`: both can be open at once; else (one stick for two) it is opened when the old one was closed.
        """
        self.open_classifier = open_classifier
        """How it is opened again after a loss."""
        self.failure: PicamError | None = None
        """Why the old one stays."""
        self.ready = threading.Event()
        """It can be taken."""
        self.over = threading.Event()
        """It was taken, or it failed."""
        self._picture = picture
        self._taken = taken
        self._beside = beside
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._given_up = threading.Event()
        self._classifier: Classifier | None = None

    @property
    def late(self) -> bool:
        """Whether it takes longer than anybody should wait."""
        return time.monotonic() - self._began_s > PATIENCE_S

    def start(self, tell: Callable[[], None]) -> None:
        """Open it in a thread; `tell` is called when it is ready."""
        if self._beside:
            threading.Thread(target=self._open, args=(tell,), name="model", daemon=True).start()
        else:
            self.ready.set()
            tell()

    def take(self) -> Classifier | None:
        """Return the classifier, which is the caller's from now on; None: it is still to be opened."""
        with self._lock:
            classifier, self._classifier = self._classifier, None
        self._taken()
        self.over.set()
        return classifier

    def give_up(self) -> None:
        """Leave it, whatever has become of it."""
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
        except Exception as error:  # the top of a thread: the old model goes on
            log.exception("a model that was to be taken over: an internal error")
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
            classifier.scores(self._picture)  # the first inference sets memory up, and takes longer
        except BaseException:
            classifier.close()
            raise
        return classifier

    def _fail(self, error: PicamError) -> None:
        self.failure = error
        self.over.set()
