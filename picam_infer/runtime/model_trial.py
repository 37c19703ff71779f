"""A model uploaded on the page: received, converted in the sandbox, tried on the live picture, then used or not."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from picam_infer import config as configs
from picam_infer.core import BadFrame, Busy, Disconnected, Frame, NoSpace, PicamError, UsageError
from picam_infer.inference import engines
from picam_infer.inference.classifier import Classifier
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import atomic_folder, disk, removable
from picam_infer.platform.priority import lower_priority
from picam_infer.runtime import model_shelf
from picam_infer.runtime.model_choice import Switch
from picam_infer.runtime.state import State
from picam_infer.runtime.teaching.served_round import ServedRound

log = logging.getLogger(__name__)

MOST_MB = 500.0
"""The largest file that is accepted."""
RESERVE_MB = 300.0
"""What stays free on the disk while a file is received and converted."""
_LOOK_S = 5.0
"""How long after a request somebody counts as looking at the trial."""
_IDLE_S = 1800.0
"""A trial that nobody has looked at for this long is given up."""
_PER_S = 2.0
_PLACE = ".trial"


class _GivenUp(Exception):
    """The trial was discarded meanwhile."""


class ModelTrial:
    """Owns the one model that is on trial. Any thread may use it.

    `switch` makes the service run another model, and does not wait for it; it raises `PicamError`. Stages: `none`,
    `receiving`, `converting`, `ready`, `failed`.
    """

    def __init__(self, switch: Callable[[Switch], object]) -> None:
        self._switch = switch
        self._lock = threading.RLock()
        self._round: ServedRound | None = None
        """The latest one."""
        self._state: State | None = None
        """That of the round, until it ends."""
        self._stage = "none"
        self._told: dict[str, Any] = {}
        self._bundle: Bundle | None = None
        self._looked_s = 0.0
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the service's side ------------------------------------------------

    @contextlib.contextmanager
    def following(self, served: ServedRound) -> Iterator[None]:
        """Try models on the pictures of a round of the service, until the block ends."""
        self._round, self._state = served, served.state
        try:
            yield
        finally:
            self._state = None

    def close(self, patience_s: float = 1.0) -> None:
        """Give up the trial; nothing of it is kept. May be called more than once."""
        self._given_up.set()
        if self._thread is not None:
            self._thread.join(patience_s)
        with self._lock:
            if self._stage != "none":
                self._forget()

    @property
    def _config(self) -> configs.Config:
        return self._round.config if self._round else configs.Config()

    # -- looking ---------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """Return the models, what is on trial, and what is on sticks; for some seconds the trial follows the camera."""
        self._looked_s = time.monotonic()
        sticks = removable.media()
        return {
            "models": self._models(),
            "before": self._before(),
            "remembers": self._round is not None and self._round.path is not None,
            "trial": self.status(),
            "offers": [one.as_json() for one in model_shelf.offers(sticks)],
            "media": [{"device": one.device, "name": one.name, "how": one.how} for one in sticks if one.how],
            "max_mb": MOST_MB,
        }

    def status(self) -> dict[str, Any]:
        """Return the state of the trial, as JSON."""
        self._looked_s = time.monotonic()
        with self._lock:
            return {"stage": self._stage, **self._told}

    def _models(self) -> list[dict[str, Any]]:
        found = []
        for name in bundles.names():
            try:
                model = bundles.load(name)
            except PicamError as error:
                found.append({"name": name, "error": str(error), "labels": [], "built_in": False, "in_use": False})
                continue
            found.append(
                {
                    "name": name,
                    "labels": model.classes,
                    "built_in": model.folder.parent == bundles.BUILT_IN,
                    "in_use": name == self._config.model or model_shelf.lies_in(self._config.model, model.folder),
                    "taught": model.card.taught is not None,
                }
            )
        return found

    def _before(self) -> str | None:
        before = self._round.choice.before if self._round else None
        return before if before in bundles.names() and before != self._config.model else None

    # -- bringing one ------------------------------------------------------------

    def receive(self, name: str, size: int | None) -> Path:
        """Make room for a file that is about to be uploaded, and return where to write it. Raises `PicamError`.

        A trial that was going on is given up. `size`: in bytes; None: not known yet.
        """
        plain = "".join(char if char.isalnum() or char in "._- " else "-" for char in Path(name).name)[-80:].strip(". ")
        with self._lock:
            if self._stage in ("receiving", "converting"):
                raise Busy("another model is being brought in", "wait for it, or discard it")
            self._forget()
            self._check_room(size or 0)
            self._stage, self._told = "receiving", {"file": plain or "model", "received": 0, "size": size}
            self._given_up = threading.Event()
            place = _place() / "upload"
            try:
                _make(place)
            except PicamError:
                self._forget()
                raise
            return place / (plain or "model")

    def received(self, count: int) -> None:
        """Note how many bytes have arrived. Raises `PicamError` if there are too many."""
        _check_size(count)
        if self._given_up.is_set():
            raise UsageError("it was discarded", "")
        with self._lock:
            self._told = {**self._told, "received": count}

    def lost(self, reason: str) -> None:
        """Note that the upload broke off."""
        with self._lock:
            self._forget()
            if reason:
                self._stage, self._told = "failed", {"problem": {"reason": reason, "hint": "try again"}}

    def bring(self, path: Path) -> None:
        """Convert a file (from a stick, or uploaded) and try it. Returns at once."""
        with self._lock:
            if self._stage == "converting":
                raise Busy("another model is being brought in", "wait for it, or discard it")
            if self._stage != "receiving":
                self._forget()
                self._check_room(path.stat().st_size if path.is_file() else 0)
                self._given_up = threading.Event()
            self._stage, self._told = "converting", {"file": path.name, "phase": "read", "seconds": 0.0}
            self._looked_s = time.monotonic()
            self._thread = threading.Thread(
                target=self._run, args=(path, self._given_up), name="model trial", daemon=True
            )
            self._thread.start()

    def bring_offer(self, path: str) -> None:
        """Bring a model from a stick, which `look` has offered. Raises `PicamError`."""
        offer = next((one for one in model_shelf.offers() if str(one.path) == path), None)
        if offer is None:
            raise UsageError(f"{Path(path).name} is not on any stick that is plugged in", "look again")
        self.bring(offer.path)

    def _check_room(self, size: int) -> None:
        _check_size(size)
        try:
            free_mb = disk.free_mb(bundles.home())
        except OSError as error:
            raise PicamError(f"{bundles.home()} cannot be read ({error.strerror})", "check the disk") from error
        # For the file, its contents unpacked, and the bundle made from it.
        if free_mb < RESERVE_MB + 3 * size / 1e6:
            raise NoSpace("there is too little space on the disk", "delete models or pictures that nobody needs")

    # -- what becomes of it --------------------------------------------------------

    def use(self, name: str = "") -> str:
        """Keep the model that is ready, have the service run it, and return its name. Raises `PicamError`."""
        with self._lock:
            if self._stage != "ready" or self._bundle is None:
                raise UsageError("no model is ready", "upload one, or choose one on a USB stick")
            folder, home = self._bundle.folder, bundles.home()
            wanted = model_shelf.plain_name(name) if name else folder.name
            chosen = model_shelf.free(wanted, self._bundle.card.origin.sha256, home)
            try:
                atomic_folder.put(folder, home / chosen)
            except OSError as error:
                raise disk.unwritable(home / chosen, error, home) from error
            try:
                self._switch(Switch(chosen, {}, None))
            finally:
                self._forget()
            return chosen

    def discard(self) -> None:
        """Discard the model on trial, even while it is still being received or converted."""
        with self._lock:
            self._given_up.set()
            self._forget()

    def switch(self, name: str) -> None:
        """Have the service run an installed model. Raises `PicamError`."""
        if "/" in name:
            raise UsageError(f"{name} is not the name of a model", "see the list")
        bundles.load(name)
        self._switch(Switch(name, {}, None))

    def delete(self, name: str) -> None:
        """Delete a model, never one that a service runs. Raises `PicamError`."""
        model_shelf.delete(name, [self._config.model, *model_shelf.in_use()])

    def _forget(self) -> None:
        self._given_up.set()
        self._stage, self._told, self._bundle = "none", {}, None
        with contextlib.suppress(OSError):
            shutil.rmtree(_place(), ignore_errors=True)

    # -- the thread ------------------------------------------------------------------

    def _run(self, path: Path, given_up: threading.Event) -> None:
        lower_priority()
        try:
            made = self._converted(path, given_up)
            with self._lock:
                if given_up.is_set():
                    raise _GivenUp
                self._bundle, self._stage = made, "ready"
                self._told = {
                    "name": made.folder.name,
                    "labels": made.classes,
                    "notes": list(made.card.notes),
                    "format": made.card.origin.format,
                    "live": None,
                }
            self._try(made, given_up)
        except _GivenUp:
            pass
        except PicamError as error:
            self._failed(error, given_up)
        except Exception as error:  # the top of a thread: recognition continues
            log.exception("the trial of a model: an internal error")
            self._failed(PicamError(f"an internal error ({type(error).__name__})", "see the journal"), given_up)

    def _converted(self, path: Path, given_up: threading.Event) -> Bundle:
        def progress(phase: str, seconds: float) -> None:
            if given_up.is_set():
                raise _GivenUp
            with self._lock:
                self._told = {**self._told, "phase": phase, "seconds": round(seconds, 1)}

        place = _place() / "models"
        try:
            _make(place)
            name = model_shelf.install(str(path), folder=place, progress=progress)
        except OSError as error:
            raise PicamError(f"{path.name} cannot be read ({error.strerror})", "try it again") from error
        finally:
            shutil.rmtree(_place() / "upload", ignore_errors=True)
        return bundles.load(str(place / name))

    def _failed(self, error: PicamError, given_up: threading.Event) -> None:
        with self._lock:
            if given_up.is_set():
                return
            self._forget()
            self._stage, self._told = "failed", {"problem": {"reason": error.message, "hint": error.hint}}

    def _try(self, made: Bundle, given_up: threading.Event) -> None:
        """Follow the live picture with the model, for as long as somebody looks."""
        classifier: Classifier | None = None
        number = 0
        try:
            while not given_up.wait(1 / _PER_S):
                unseen_s = time.monotonic() - self._looked_s
                if unseen_s > _IDLE_S:
                    self.discard()
                    return
                state = self._state
                if unseen_s > _LOOK_S or state is None or not state.watching:
                    continue
                if classifier is None:
                    engine = engines.open_engine(configs.EngineSettings(kind="openvino"), made)
                    classifier = Classifier.of(made, engine, settings=self._config.decide)
                newest = state.frames.peek(number)
                if newest is not None:
                    number = newest[0]
                    self._tell_live(classifier, newest[1], given_up)
        finally:
            if classifier is not None:
                classifier.close()

    def _tell_live(self, classifier: Classifier, frame: Frame, given_up: threading.Event) -> None:
        try:
            result = classifier.classify(frame)
        except (BadFrame, Disconnected):
            return
        with self._lock:
            if not given_up.is_set():
                self._told = {**self._told, "live": result.as_json()}


def _check_size(size: int) -> None:
    if size > MOST_MB * 1e6:
        raise UsageError(f"the file is larger than {MOST_MB:.0f} MB", "convert it on another computer")


def _make(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk.unwritable(place, error) from error


def _place() -> Path:
    return bundles.home() / _PLACE
