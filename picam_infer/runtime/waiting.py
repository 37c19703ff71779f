"""How a service without a model waits for one that works, or for a correct configuration."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from picam_infer import config as configs
from picam_infer.config import Config
from picam_infer.core import ConfigError, NoInput, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.platform.file_stamp import file_stamp
from picam_infer.runtime.retry import BackOff
from picam_infer.runtime.state import State

log = logging.getLogger("picam_infer")

SETTLED_S = 0.5
"""How long a file must be unchanged before it is read: many editors empty it first, and half a file can be valid."""


class MissingModel:
    """A model that is missing or does not work; it is tried again when its files have changed."""

    def __init__(self, config: Config, path: Path | None, error: PicamError, tried: bundles.Stamp) -> None:
        """`path`: the file of the configuration that names it; `error`: why it cannot be used.

        `tried`: the state of its files that did not work.
        """
        self._config, self._path = config, path
        self._error = error
        self._tried = tried
        self._back_off = BackOff()
        self._next_try_s = time.monotonic() + self._back_off.next_s()

    def tell(self, state: State) -> None:
        """Say what is missing, on the screen and once in the journal."""
        if state.health.mark_down("model", self._error.message, self._error.hint):
            log.error("%s", state.health.blocking, extra={"PICAM_LOST": "model"})

    def found(self, state: State) -> bool:
        """Whether there is one to try. Looks at growing intervals; to be called often."""
        if time.monotonic() < self._next_try_s or not self._differs():
            return False
        log.info("the model is there: starting", extra={"PICAM_FOUND": "model"})
        state.health.mark_up("model")
        return True

    def _differs(self) -> bool:
        self._next_try_s = time.monotonic() + self._back_off.next_s()
        try:
            configs.named_model(self._config, self._path)
        except PicamError as again:
            self._error, self._tried = again, ()
            return False
        # A broken model is tried again only when its files have changed, so that the page does not come and go.
        broken = isinstance(self._error, NoInput | bundles.BundleError)
        return not broken or bundles.stamp(self._config.model) != self._tried


class WrongConfiguration:
    """A configuration with a mistake: it is read again when its file has changed."""

    def __init__(self, path: Path | None, error: ConfigError) -> None:
        self.error = error
        """The mistake, with file, line and key, of the last try."""
        self._path = path
        self._tried = self._seen = file_stamp(path)
        self._seen_s = 0.0

    def tell(self, state: State) -> None:
        """Say what is wrong, on the screen and once in the journal."""
        if state.health.mark_down("configuration", self.error.message, self.error.hint):
            log.error("%s", state.health.blocking, extra={"PICAM_LOST": "configuration"})

    def changed(self) -> bool:
        """Whether the file has changed since this last said so, and has been left alone for SETTLED_S since."""
        stamp, now = file_stamp(self._path), time.monotonic()
        if stamp != self._seen:
            self._seen, self._seen_s = stamp, now
        if stamp == self._tried or now - self._seen_s < SETTLED_S:
            return False
        self._tried = stamp
        return True
