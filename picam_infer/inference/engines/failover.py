"""Two engines as one: the stick while it answers, the CPU whenever it does not, without a gap."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from picam_infer.core import Engine, Lost, Pixels, Scores, Telemetry
from picam_infer.inference.engines import sticks
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.models.bundle import Bundle

FIRST_S = 6.0
"""How long the start waits for a stick that is there; opening one takes about 4 s."""
GLANCE_S = 2.5
"""How long it waits for libmvnc to name one that the kernel's list does not show."""
BACK_OFF_S = (1.0, 2.0, 5.0)
POLL_S = 0.5
SUSPICIOUS = 0.1
"""The stick computes with half precision, which moves probabilities by about 0.001; this much is another network."""

Said = Callable[[str], None]


@dataclass(slots=True)
class Request:
    """An inference under way; without an engine it is still to be done, on the CPU."""

    patch: Pixels
    engine: Engine | None


class FailoverEngine:
    """`open_cpu`'s engine at once and always ready; a stick in front of it as soon as one answers a probe.

    `report` hears one sentence for every switch, and for every new reason why a stick is not used. A thread looks
    for the stick; whoever calls `submit` and `collect` takes it over between two frames.
    """

    def __init__(
        self,
        bundle: Bundle,
        open_cpu: Callable[[], Engine],
        report: Said,
        *,
        stick: str = "",
        deadline_s: float = 2.0,
        usb: sticks.Usb | None = None,
        first_s: float = FIRST_S,
    ) -> None:
        self._bundle, self._wanted, self._deadline_s = bundle, stick, deadline_s
        self._usb = usb or sticks.Usb()
        self._report = report
        self._pending: deque[Request] = deque()
        self._stick: Ncs | None = None
        self._candidate: Ncs | None = None
        self._comparison = ""
        self._retired: list[Ncs] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._search = threading.Event()
        self._settled = threading.Event()
        self._found = threading.Event()
        self._complaint = ""
        self._warning = ""
        self._seeker = threading.Thread(target=self._seek, name="stick", daemon=True)
        self._cpu_ready = threading.Event()
        self._search.set()
        self._seeker.start()
        try:
            self._cpu = open_cpu()
            self.name, self.depth = self._cpu.name, self._cpu.depth
            self._probe = probe_patch(bundle)
            self._cpu.submit(self._probe)
            self._probe_answer = self._cpu.collect()
        except BaseException:
            self._stop_seeking()
            raise
        self._cpu_ready.set()
        if not self._usb.plugged() and not self._found.wait(min(first_s, GLANCE_S)):
            first_s = 0
        self._settled.wait(first_s)
        self._take_candidate()

    @property
    def telemetry(self) -> Telemetry | None:
        """What the stick last said of itself; None while the CPU works."""
        return self._stick.telemetry if self._stick else None

    # -- the inference thread ---------------------------------------------

    def submit(self, patch: Pixels) -> None:
        """Start one inference on (H, W, C) uint8; the caller may reuse the buffer."""
        self._take_candidate()
        if self._stick:
            request = Request(patch.copy(), self._stick)
            try:
                self._stick.submit(request.patch)
            except Lost as loss:
                self._lose(loss)
                request.engine = None
        elif self._pending:  # the CPU has one request at a time, and older ones come first
            request = Request(patch.copy(), None)
        else:
            request = Request(patch, self._cpu)
            self._cpu.submit(patch)
        self._pending.append(request)

    def collect(self) -> Scores:
        """Wait for the oldest inference under way: probabilities, shape (classes,)."""
        request = self._pending.popleft()
        engine: Engine = request.engine or self._cpu
        if engine is self._stick:
            try:
                scores = engine.collect()
                self.name = engine.name
                self._watch_heat(self._stick.telemetry)
                return scores
            except Lost as loss:
                self._lose(loss)
                request.engine = None
        if request.engine is None:
            self._cpu.submit(request.patch)
        self.name = self._cpu.name
        return self._cpu.collect()

    def close(self) -> None:
        """Give both engines back within about a second."""
        self._stop_seeking()
        self._cpu.close()

    def _take_candidate(self) -> None:
        with self._lock:
            stick, self._candidate = self._candidate, None
            self._stick = stick or self._stick
        if stick is None:
            return
        self.depth = stick.depth
        if not self._pending:
            self.name = stick.name
        self._warning = ""
        self._report(f"inference is on the stick now ({stick.name}); {self._comparison}")

    def _lose(self, loss: Lost) -> None:
        stick = self._stick
        if stick is None:
            return
        with self._lock:
            self._stick = None
            self._retired.append(stick)  # closing takes its time: the seeker's business
        self.depth = self._cpu.depth
        for request in self._pending:
            if request.engine is stick:
                request.engine = None
        self._report(f"inference is on {self._cpu.name} now, {stick.name} is lost: {loss}")
        self._complaint = ""
        self._search.set()

    def _watch_heat(self, telemetry: Telemetry) -> None:
        warning = telemetry.warning
        if bool(warning) != bool(self._warning):
            self._report(warning or f"the stick is cool again ({telemetry.temperature_c:.0f} °C)")
        self._warning = warning

    # -- the seeker's thread ----------------------------------------------

    def _seek(self) -> None:
        failures = 0
        while self._search.wait() and not self._closed.is_set():
            with self._lock:
                retired, self._retired = self._retired, []
            for stick in retired:
                stick.close()
            before = self._usb.plugged()
            try:
                candidate = self._open()
            except Lost as loss:
                self._complain(str(loss))
                self._settle()
                wait_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures = 0 if self._pause(wait_s, before) else failures + 1
                continue
            failures = 0
            self._search.clear()
            self._offer(candidate)
            self._settle()

    def _open(self) -> Ncs:
        """Return a stick that answered the probe; waits for one to be plugged in. Raises `Lost`."""
        if not sticks.installed():
            self._settle()
            for found in self._usb.sticks():
                if cause := sticks.trouble(found):
                    raise Lost(*cause)
            raise Lost("")
        stick = Ncs(
            self._bundle,
            self._wanted,
            self._deadline_s,
            wait=True,
            usb=self._usb,
            stopping=self._closed,
            noticed=self._report,
            stage=self._heed,
        )
        try:
            self._cpu_ready.wait()
            if self._closed.is_set():
                raise Lost("")
            stick.submit(self._probe)
            self._comparison = compare(stick.collect(), self._probe_answer)
        except BaseException:
            stick.close()
            raise
        return stick

    def _heed(self, step: str) -> None:
        if step == "waiting":
            self._settle()
        elif step == "open":
            self._found.set()

    def _settle(self) -> None:
        """End the wait at the start: there is nothing to wait for."""
        self._settled.set()
        self._found.set()

    def _offer(self, candidate: Ncs) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._candidate = candidate
                return
        candidate.close()

    def _complain(self, reason: str) -> None:
        if reason and reason != self._complaint and not self._closed.is_set():
            self._report(f"the stick is not used: {reason}")
        self._complaint = reason

    def _pause(self, wait_s: float, before: tuple[tuple[str, str], ...]) -> bool:
        """Wait, but not when a stick comes or goes; return whether one did."""
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s and not self._closed.wait(POLL_S):
            if self._usb.plugged() != before:
                return True
        return False

    def _stop_seeking(self) -> None:
        with self._lock:
            self._closed.set()
            owned = [stick for stick in (self._stick, self._candidate, *self._retired) if stick]
            self._candidate, self._retired = None, []
        self._search.set()
        self._cpu_ready.set()
        for stick in owned:
            stick.close()
        self._seeker.join(1.0)


def probe_patch(bundle: Bundle) -> Pixels:
    """Return a picture that is the same every time: smooth noise, so that no class is certain of it."""
    shape = bundle.card.input
    coarse = np.random.default_rng(7).integers(0, 256, (8, 8, shape.channels), np.uint8)
    rows = np.arange(shape.height) * 8 // shape.height
    columns = np.arange(shape.width) * 8 // shape.width
    return np.ascontiguousarray(coarse[rows][:, columns])


def compare(stick: Scores, cpu: Scores) -> str:
    """Return what the same picture's probabilities (classes,) from both engines say of each other, as a sentence."""
    difference = float(np.abs(stick - cpu).max()) if stick.shape == cpu.shape else 1.0
    sentence = f"its probabilities differ from the CPU's by up to {difference:.4f}"
    if not difference <= SUSPICIOUS:
        sentence += ": was its graph compiled from this model?"
    return sentence
