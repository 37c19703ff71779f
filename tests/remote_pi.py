"""A Pi that asks a model server, without its camera: pictures at its own pace, every answer checked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from picam_infer.config import EngineSettings
from picam_infer.core import Pixels, Scores
from picam_infer.inference.engines.failover import FailoverEngine
from picam_infer.inference.engines.remote import preferred
from picam_infer.inference.engines.remote.preferred import PreferredServer
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle

CPU = "openvino:CPU"
Run = Callable[[Any], Scores]


class Local:
    """The CPU's part of many Pis at once: one network of OpenVINO's, in turns."""

    name, depth, telemetry = CPU, 1, None
    _lock = threading.Lock()

    def __init__(self, model: Bundle, run: Run) -> None:
        self._model, self._run, self._answers = model, run, list[Scores]()

    def expected(self, input_image: Pixels) -> Scores:
        """Return the network's answer to (H, W, C) uint8."""
        with self._lock:
            return self._run(self._model.card.normalisation(input_image))

    def submit(self, input_image: Pixels) -> None:
        """Infer at once."""
        self._answers.append(self.expected(input_image))

    def collect(self) -> Scores:
        """Return what `submit` made."""
        return self._answers.pop(0)

    def close(self) -> None:
        """Nothing to give back."""


class Pi:
    """One Pi: `fps` pictures a second through a server's engine with the CPU behind it."""

    def __init__(
        self, model: Bundle, settings: EngineSettings, run: Run, fps: float, *, check: bool = True, seed: int = 0,
        back_off_s: Sequence[float] = preferred.BACK_OFF_S,
    ) -> None:  # fmt: skip
        self.said: list[tuple[float, str]] = []
        """What the journal would have, and when on CLOCK_MONOTONIC."""
        self.answers: Counter[str] = Counter()
        self.name, self.longest_s, self.wrong = "", 0.0, 0
        self.traffic = Traffic()
        self._fps, self._check, self._ended = fps, check, threading.Event()
        self._deadline_s = settings.deadline_s
        self._random, self._size = np.random.default_rng(seed), model.card.input
        self._local = Local(model, run)
        front = PreferredServer(model, settings, self.traffic, back_off_s=back_off_s)
        self.engine = FailoverEngine(model, lambda: self._local, self._hear, front)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def served(self) -> bool:
        """Whether its last answer was the server's."""
        return self.name.startswith("remote")

    def lines(self, since_s: float) -> list[str]:
        """Return what was said since a moment on CLOCK_MONOTONIC."""
        return [text for at_s, text in self.said if at_s >= since_s]

    def _hear(self, text: str) -> None:
        self.said.append((time.monotonic(), text))

    def _work(self) -> None:
        shape = (self._size.height, self._size.width, self._size.channels)
        pictures = [self._random.integers(0, 256, shape, np.uint8) for _ in range(4)]
        known = [self._local.expected(picture) for picture in pictures]
        sent: list[int] = []
        due_s, number = time.monotonic() + self._random.uniform(0, 1 / self._fps), 0
        while not self._ended.is_set():
            if len(sent) < self.engine.depth and time.monotonic() >= due_s:
                due_s = max(due_s + 1 / self._fps, time.monotonic() - 1 / self._fps)
                self.engine.submit(pictures[number % 4])
                sent.append(number % 4)
                number += 1
            elif sent:
                began_s = time.monotonic()
                scores = self.engine.collect()
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                self.wrong += self._check and float(np.abs(scores - known[sent[0]]).max()) > 1e-3
                sent.pop(0)
                self.name = self.engine.name
                self.answers[self.name] += 1
            else:
                self._ended.wait(max(0.0, due_s - time.monotonic()))

    def close(self) -> float:
        """End its thread, then its engine; return how long the engine took for that."""
        self._ended.set()
        self._thread.join(self._deadline_s + 5)
        began_s = time.monotonic()
        self.engine.close()
        return time.monotonic() - began_s


class Lateness:
    """How late this machine wakes a thread: nothing that runs on it can be quicker than that."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.is_set():
            began_s = time.monotonic()
            self._ended.wait(0.01)
            self.worst_s = max(self.worst_s, time.monotonic() - began_s - 0.01)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
