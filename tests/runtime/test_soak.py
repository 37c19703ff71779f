"""Many label changes, with every codec and everything that listens: nobody may hold on to pictures."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from makers import jpeg_frame, picture, until

from picam_infer.config import Decide, Event, Jsonl, Keep, Web, Webhook
from picam_infer.core import Codec, Frame
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.models.bundle import Photo
from picam_infer.outputs.dataset import Collector
from picam_infer.outputs.events import Events
from picam_infer.outputs.events.outlet import PICTURES
from picam_infer.outputs.web import server
from picam_infer.runtime.pipeline import Pipeline, PipelineSetup
from picam_infer.runtime.state import Change, State, Tuning

CHANGES = 200
AT_ONCE = 12 + PICTURES
"""Pictures that may be somewhere at one time: the newest of camera, model, page and collector, those under way, and the
few that wait for a receiver."""


class Watched:
    """A live source of small pictures, each a new array, which remembers those that still live."""

    live = False
    description = "memory"

    def __init__(self, codec: Codec, count: int) -> None:
        self.alive: list[weakref.ref[np.ndarray]] = []
        self._codec = codec
        self._left = iter(range(count))

    def read(self) -> Frame | None:
        seq = next(self._left, None)
        if seq is None:
            return None
        shape = {"bgr": (48, 64, 3), "grey": (48, 64), "yuyv": (48, 64, 2)}.get(self._codec)
        data = np.zeros(shape, np.uint8) if shape else jpeg_frame(picture(90, 64, 48)).data
        self.alive.append(weakref.ref(data))
        return Frame(data, self._codec, 64, 48, time.monotonic(), time.time(), seq)

    def close(self) -> None:
        pass


class Alternating:
    """Sees the other class every time."""

    name, depth, telemetry = "fake", 1, None

    def __init__(self) -> None:
        self._turn = False

    def submit(self, input_image: np.ndarray) -> None:
        self._turn = not self._turn

    def collect(self) -> np.ndarray:
        return np.array([0.1, 0.9] if self._turn else [0.9, 0.1], np.float32)

    def close(self) -> None:
        pass


@pytest.fixture(params=["jpeg", "bgr", "grey", "yuyv"])
def source(request: pytest.FixtureRequest) -> Iterator[Watched]:
    yield Watched(request.param, CHANGES)


def test_nobody_keeps_the_pictures_of_label_changes(source: Watched, tmp_path: Path) -> None:
    state = State(Tuning(Photo(), Decide()), "m", ("a", "b"))
    postprocessor = Postprocessor(["a", "b"])
    input_image = np.zeros((2, 2, 3), np.uint8)
    parts = PipelineSetup(
        lambda: source,
        lambda stopping: Classifier(Alternating(), lambda chain: lambda frame: input_image, postprocessor, Photo()),
    )
    pipeline = Pipeline(state, parts)
    nobody = Webhook(url="http://127.0.0.1:1/", snapshot=True)
    outlets: tuple[Event, ...] = (Jsonl(path=str(tmp_path / "events")), nobody)
    page = Web(listen="127.0.0.1:0", token_file=str(tmp_path / "token"))
    changes: list[Change] = []
    keep = Keep(folder=str(tmp_path / "kept"), when="change", every_s=0.1, reserve_mb=0)
    with Events(outlets, state), Collector(keep, state), server.Web(page, state, lambda frame: None) as web:
        assert web.listening.wait(10)
        state.listen(lambda change: changes.append(change) if change.kind == "label" else None)
        pipeline.start()
        assert pipeline.finished.wait(60)
        assert len([c for c in state.history if c.kind == "label"]) == CHANGES
        assert len(changes) == CHANGES

        def left() -> int:
            gc.collect()
            return sum(picture() is not None for picture in source.alive)

        until(lambda: left() <= AT_ONCE)
        pipeline.stop()
