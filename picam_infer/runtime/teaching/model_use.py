"""Makes the service run what was taught, or the previous model."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from picam_infer import config as configs
from picam_infer.core import Frame, PicamError
from picam_infer.imaging.pictures import decode_picture
from picam_infer.inference import preprocess
from picam_infer.inference.engines import openvino
from picam_infer.models.bundle import Bundle
from picam_infer.runtime.model_choice import Switch
from picam_infer.runtime.teaching.names import BEFORE, model_name
from picam_infer.runtime.teaching.served_round import ServedRound

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson
    from picam_infer.training.teach.picture_set import Picture
    from picam_infer.training.teach.report import Report

_SWITCH_S = 75.0
"""Longer than the service itself waits for a model to run."""
_TICK_S = 0.1
_READ_S = 1.0
_TOLERANCE = 0.02


class ModelUse:
    """Makes the running service use a lesson's model, or go back. Used by the teaching thread."""

    def __init__(self, switch: Callable[[Switch], Future[None]], stopping: threading.Event) -> None:
        """`switch`: see `Teaching`; `stopping` ends the wait for a model to run."""
        self._switch = switch
        self._stopping = stopping
        self._choices: tuple[float, dict[str, Any]] = (-1.0, {})
        """When they were read, and what `choices` says."""
        self._digest = (-1, "")
        """A revision and the lesson's digest then, which a bundle made from it has as its origin."""

    def save(self, lesson: Lesson, running: ServedRound) -> tuple[Report, Switch]:
        """Save a lesson's model and try it; returns the report on it, and the switch to it. Raises `PicamError`."""
        before = lesson.target.with_name(f"{lesson.name}{BEFORE}")
        bundle = running.state.bundle
        runs = bundle is not None and bundle.folder == lesson.target
        report = lesson.save(before if runs else None, lambda *made: _try(lesson, *made))
        keys = running.keys_for(lesson.chain)
        return report, Switch(model_name(lesson.target), keys, model_name(before) if runs else None)

    def run(self, switch: Switch) -> None:
        """Have the service run a model, and wait until it does. Raises `PicamError`."""
        asked = self._switch(switch)
        end_s = time.monotonic() + _SWITCH_S
        while not self._stopping.is_set() and time.monotonic() < end_s:
            with contextlib.suppress(TimeoutError):
                asked.result(_TICK_S)
                break
        self.read_again()

    def back(self, running: ServedRound) -> str:
        """Have the service run the previous model, and return its name. Raises `PicamError`."""
        model = running.choice.model_before()
        self.run(Switch(model, {}, None))
        return model

    def runs(self, lesson: Lesson, running: ServedRound, revision: int) -> bool:
        """Whether the service runs exactly this revision of a lesson."""
        bundle = running.state.bundle
        if bundle is None or bundle.folder != lesson.target:
            return False
        if self._digest[0] != revision:  # it takes milliseconds, and is asked for ten times a second
            self._digest = revision, lesson.teacher.digest
        return bundle.card.origin.sha256 == self._digest[1]

    def choices(self, running: ServedRound | None) -> dict[str, Any]:
        """Return which lesson the service runs, the model before, and whether the next start has them, as JSON.

        They are read from the disk once a second.
        """
        read_s, choices = self._choices
        if time.monotonic() - read_s > _READ_S:
            choices = {
                "runs": running.lesson if running else "",
                "before": running.choice.before if running else None,
                "remembers": running is not None and running.path is not None,
            }
            self._choices = time.monotonic(), choices
        return choices

    def read_again(self) -> None:
        """Have the next `choices` read from the disk: they have changed."""
        self._choices = (-1.0, {})


def _try(lesson: Lesson, made: Bundle, picture: Picture, expected: npt.NDArray[np.float64]) -> None:
    """Raise `PicamError` if a bundle does not run, or answers differently from the lesson."""
    data = lesson.read(picture.id)
    if data is None:
        raise PicamError(f"{picture.name} cannot be read", "take it out, or teach again")
    image = decode_picture(data, picture.name)
    frame = Frame(image, "bgr", image.shape[1], image.shape[0], 0.0, 0.0, 0)
    engine = openvino.OpenVino(made, configs.EngineSettings(kind="openvino", precision="f32", threads=1))
    try:
        engine.submit(preprocess.build(made.card.preprocess, made.card.input)(frame))
        scores = engine.collect()
    finally:
        engine.close()
    if not np.isfinite(scores).all() or np.abs(scores - expected).max() > _TOLERANCE:
        raise PicamError("the new model does not answer as it was taught", "please report this")
