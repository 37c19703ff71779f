"""Two engines as one: the preferred one while it answers, otherwise the CPU, without a gap."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from picam_infer.core import Disconnected, Engine, Pixels, Scores, Telemetry
from picam_infer.models.bundle import Bundle
from picam_infer.runtime.retry import BackOff

GLANCE_S = 2.5
"""How long the start waits for a sign that there is a preferred engine at all."""
SUSPICIOUS = 0.1
"""Half precision changes probabilities by about 0.001; a difference like this means another network."""

Said = Callable[[str], None]


class Preferred(Protocol):
    """The engine that is used while available: a stick that may be unplugged, a server that comes and goes."""

    noun: str
    """What it is called in messages: `the stick`."""
    first_s: float
    """How long the start waits for one that is likely to be there."""

    @property
    def likely(self) -> bool:
        """Whether there is probably one, without waiting."""

    def open(self, closed: threading.Event, waiting: Callable[[], None], seen: Callable[[], None]) -> Engine:
        """Return it, or wait for it; `closed` ends that. Raises `Disconnected`; without text it is not reported.

        Calls `waiting` while there is none yet, `seen` once there is.
        """

    def compare(self, scores: Scores, cpu: Scores) -> str:
        """Return a sentence that compares its answer to a probe, (classes,), with the CPU's. Raises `Disconnected`."""

    def back_off(self, served_s: float | None) -> BackOff:
        """Return the waits before each next try; `served_s`: how long it worked before it was lost."""

    def pause(self, wait_s: float, closed: threading.Event) -> bool:
        """Wait; return whether something changed, so that it is tried at once and the waits start over."""

    def notice(self, engine: Engine) -> str:
        """Return news about it after an answer, as a sentence; empty: none."""

    def fell_back(self) -> None:
        """Note that the CPU took over."""


@dataclass(slots=True)
class Request:
    """An inference under way; one without an engine has yet to be done, on the CPU."""

    input_image: Pixels
    engine: Engine | None


class FailoverEngine:
    """The CPU's engine, always ready, and in front of it the preferred one as soon as that has answered a probe.

    `report` is called with one sentence for every switch, and for every new reason why it is not used. A thread looks
    for it; whoever calls `submit` and `collect` takes it over between two frames.
    """

    def __init__(
        self,
        bundle: Bundle,
        open_cpu: Callable[[], Engine],
        report: Said,
        preferred: Preferred,
    ) -> None:
        self._preferred = preferred
        self._report = report
        self._pending: deque[Request] = deque()
        self._front: Engine | None = None
        self._candidate: Engine | None = None
        self._comparison = ""
        self._retired: list[Engine] = []
        self._since_s = 0.0
        self._served_s: float | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._search = threading.Event()
        self._settled = threading.Event()
        self._seen = threading.Event()
        self._told: set[str] = set()
        """Why it is not used, if that has been reported since it was last used."""
        self._seeker = threading.Thread(target=self._seek, name="failover", daemon=True)
        self._cpu_ready = threading.Event()
        self._search.set()
        self._seeker.start()
        try:
            self._cpu = open_cpu()
            self.name, self.depth = self._cpu.name, self._cpu.depth
            self._probe = probe_image(bundle)
            self._cpu.submit(self._probe)
            self._probe_answer = self._cpu.collect()
        except BaseException:
            self._stop_seeking()
            raise
        self._cpu_ready.set()
        self._wait_for_preferred()

    def _wait_for_preferred(self) -> None:
        """Give the preferred engine some time to be the first to answer, if it is likely to be there."""
        first_s = self._preferred.first_s
        if not self._preferred.likely and not self._seen.wait(min(first_s, GLANCE_S)):
            first_s = 0
        self._settled.wait(first_s)
        self._take_candidate()

    @property
    def telemetry(self) -> Telemetry | None:
        """The preferred engine's last telemetry; None while the CPU is in use."""
        return self._front.telemetry if self._front else None

    @property
    def front(self) -> Engine | None:
        """The preferred engine; None while the CPU is in use."""
        return self._front

    # -- the inference thread ---------------------------------------------

    def submit(self, input_image: Pixels) -> None:
        """Start one inference on (H, W, C) uint8; the caller may reuse the buffer."""
        self._take_candidate()
        if self._front:
            request = Request(input_image.copy(), self._front)
            try:
                self._front.submit(request.input_image)
            except Disconnected as loss:
                self._lose(loss)
                request.engine = None
        elif self._pending:  # the CPU has one request at a time, and older ones come first
            request = Request(input_image.copy(), None)
        else:
            request = Request(input_image, self._cpu)
            self._cpu.submit(input_image)
        self._pending.append(request)

    def collect(self) -> Scores:
        """Wait for the oldest inference under way: probabilities, shape (classes,)."""
        request = self._pending.popleft()
        engine: Engine = request.engine or self._cpu
        if engine is self._front:
            try:
                scores = engine.collect()
                self.name = engine.name
                if notice := self._preferred.notice(engine):
                    self._report(notice)
                return scores
            except Disconnected as loss:
                self._lose(loss)
                request.engine = None
        if request.engine is None:
            self._cpu.submit(request.input_image)
        self.name = self._cpu.name
        return self._cpu.collect()

    def close(self) -> None:
        """Give both engines back within about a second."""
        self._stop_seeking()
        self._cpu.close()

    def _take_candidate(self) -> None:
        with self._lock:
            front, self._candidate = self._candidate, None
            self._front = front or self._front
        if front is None:
            return
        self._since_s = time.monotonic()
        self.depth = front.depth
        if not self._pending:
            self.name = front.name
        self._report(f"inference is on {self._preferred.noun} now ({front.name}); {self._comparison}")

    def _lose(self, loss: Disconnected) -> None:
        front = self._front
        if front is None:
            return
        with self._lock:
            self._front = None
            self._retired.append(front)  # closing takes time, so the other thread does it
        self._served_s = time.monotonic() - self._since_s
        self.depth = self._cpu.depth
        for request in self._pending:
            if request.engine is front:
                request.engine = None
        self._preferred.fell_back()
        self._report(f"inference is on {self._cpu.name} now, {front.name} is lost: {loss}")
        self._told = {_cause(loss)}
        self._search.set()

    # -- the thread that looks for the preferred engine ----------------------------------------------

    def _seek(self) -> None:
        while self._search.wait() and not self._closed.is_set():
            with self._lock:
                retired, self._retired = self._retired, []
            for engine in retired:
                engine.close()
            self._seek_once()

    def _seek_once(self) -> None:
        """Look for the preferred engine until it is available."""
        served_s, self._served_s = self._served_s, None
        back_off = self._preferred.back_off(served_s)
        if served_s is not None:
            self._preferred.pause(back_off.next_s(), self._closed)
        while not self._closed.is_set():
            try:
                candidate = self._open()
            except Disconnected as loss:
                self._complain(loss)
                self._settle()
                if self._preferred.pause(back_off.next_s(), self._closed):
                    back_off = self._preferred.back_off(None)
                continue
            self._search.clear()
            self._offer(candidate)
            self._settle()
            return

    def _open(self) -> Engine:
        """Return an engine that answered the probe; waits for one to be there. Raises `Disconnected`."""
        engine = self._preferred.open(self._closed, self._settle, self._seen.set)
        try:
            self._cpu_ready.wait()
            if self._closed.is_set():
                raise Disconnected("")
            engine.submit(self._probe)
            self._comparison = self._preferred.compare(engine.collect(), self._probe_answer)
        except BaseException:
            engine.close()
            raise
        return engine

    def _settle(self) -> None:
        """End the wait at the start: there is nothing to wait for."""
        self._settled.set()
        self._seen.set()

    def _offer(self, candidate: Engine) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._candidate = candidate
                return
        candidate.close()

    def _complain(self, loss: Disconnected) -> None:
        if not str(loss):  # there is none: the next loss is reported again
            self._told = set()
        elif _cause(loss) not in self._told and not self._closed.is_set():
            self._told.add(_cause(loss))
            self._report(f"{self._preferred.noun} is not used: {loss}")

    def _stop_seeking(self) -> None:
        with self._lock:
            self._closed.set()
            owned = [engine for engine in (self._front, self._candidate, *self._retired) if engine]
            self._candidate, self._retired = None, []
        self._search.set()
        self._cpu_ready.set()
        for engine in owned:
            engine.close()
        self._seeker.join(1.0)


def _cause(loss: Disconnected) -> str:
    """Return what identifies a loss, independent of its wording: the same one is reported once."""
    return str(getattr(loss, "cause", "") or loss)


def probe_image(bundle: Bundle) -> Pixels:
    """Return a picture that is the same every time: smooth noise, so that no class is certain."""
    shape = bundle.card.input
    coarse = np.random.default_rng(7).integers(0, 256, (8, 8, shape.channels), np.uint8)
    rows = np.arange(shape.height) * 8 // shape.height
    columns = np.arange(shape.width) * 8 // shape.width
    return np.ascontiguousarray(coarse[rows][:, columns])


def difference(other: Scores, cpu: Scores) -> float:
    """Return the largest difference of two answers (classes,), as a share of the largest value above one."""
    if other.shape != cpu.shape:
        return 1.0
    far = float(np.abs(other - cpu).max()) / max(1.0, float(np.abs(cpu).max()))
    return far if np.isfinite(far) else 1.0


def compare(other: Scores, cpu: Scores, doubt: str = "was its graph compiled from this model?") -> str:
    """Return, as a sentence, how far both engines' probabilities (classes,) for the same picture are apart."""
    far = difference(other, cpu)
    sentence = f"its probabilities differ from the CPU's by up to {far:.4f}"
    return sentence if far <= SUSPICIOUS else f"{sentence}: {doubt}"
