"""An engine that is fed while sticks come, go, hang and die: every answer is checked, whoever gives it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from typing import Any

import numpy as np
from stick_lab import Cpu, StickLab, expected

from picam_infer.inference.engines.failover import FailoverEngine
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.inference.engines.ncs.preferred import PreferredStick
from picam_infer.models.bundle import Bundle

STICK, CPU = "ncs:2-ma2450", "openvino:CPU"
DEADLINE_S = 0.5


class Running:
    """An engine fed as the pipeline feeds it, with every answer checked."""

    def __init__(self, model: Bundle, lab: StickLab, **more: Any) -> None:
        self.said: list[str] = []
        self.cpu = Cpu(model)
        self.model = model
        stick = PreferredStick(model, self.said.append, deadline_s=DEADLINE_S, usb=lab.usb, **more)
        self.engine = FailoverEngine(model, lambda: self.cpu, self.said.append, stick)
        self.sent: list[np.ndarray] = []
        self.names: list[str] = []
        self.longest_s = 0.0
        self.answers: Counter[str] = Counter()
        self.random = np.random.default_rng(0)

    def once(self) -> str:
        """Fill the engine, collect one answer, check it; return who gave it."""
        while len(self.sent) < self.engine.depth:
            input_image = self.random.integers(0, 256, (28, 28, 1), np.uint8)
            self.sent.append(input_image.copy())
            self.engine.submit(input_image)
        began_s = time.monotonic()
        scores = self.engine.collect()
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        np.testing.assert_allclose(scores, expected(self.model, self.sent.pop(0)), atol=2e-3)
        self.names.append(self.engine.name)
        return self.engine.name

    def until(self, name: str, limit_s: float = 60.0) -> float:
        """Run until `name` answers; return how long that took."""
        began_s = time.monotonic()
        while self.once() != name:
            assert time.monotonic() - began_s < limit_s, self.said
        return time.monotonic() - began_s


EVENTS = ("unplug", "plug", "replug", "hang", "thaw", "kill", "stop", "slow", "heat", "block", "none")


def happen(event: str, run: Running, lab: StickLab, chance: random.Random) -> None:
    """Do to stick 2, or to the process that works on it, what `event` says."""
    if event in ("unplug", "replug"):
        lab.unplug()
    if event in ("plug", "replug"):
        lab.plug()
    if event in ("hang", "thaw"):
        lab.set("2", hang="" if event == "hang" else None)
    if event in ("kill", "stop") and isinstance(stick := run.engine.front, Ncs):
        with contextlib.suppress(ProcessLookupError):
            os.kill(stick.pid, signal.SIGKILL if event == "kill" else signal.SIGSTOP)
    if event == "slow":
        lab.set("2", ms=chance.choice([0, 1, 5, 20]))
    if event == "heat":
        lab.set("2", temperature=chance.choice([45, 72, 85]))
    if event == "block":
        lab.set("2", blocks=chance.choice(["", None]), stuck=chance.choice(["", None]))


def mend(lab: StickLab) -> None:
    """Plug a healthy stick in."""
    lab.set("2", ms=1, temperature=45, hang=None)
    lab.plug()


def soak(run: Running, lab: StickLab, events: int, seed: int) -> Counter[str]:
    """Let `events` random things happen under load, then expect the stick back; return who answered how often."""
    chance = random.Random(seed)
    lab.times(open_ms=5, close_ms=5)
    without = 0
    for _ in range(events):
        happen(chance.choice(EVENTS), run, lab, chance)
        end_s = time.monotonic() + chance.choice([0, 0.02, 0.1, 0.3])
        run.once()
        while time.monotonic() < end_s:
            run.once()
        run.names = run.names[-1000:]
        run.answers.update([run.engine.name])
        without = 0 if run.engine.name == STICK else without + 1
        if without > 2:  # a stick that is out of the game is not a test
            mend(lab)
            run.until(STICK, 90)
    mend(lab)
    run.until(STICK, 90)
    return run.answers
