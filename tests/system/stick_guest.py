"""Runs on the virtual Pi: feeds an engine until stdin ends; every switch and report is a JSON line.

`stick_guest.py auto|ncs [STICK]`: auto has NumPy play the CPU's part. Answers are checked against NumPy.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stick_lab import Cpu, bundle, expected

from picam_infer.core import Disconnected
from picam_infer.inference.engines.failover import FailoverEngine
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.inference.engines.ncs.preferred import PreferredStick

_OUT = threading.Lock()


def tell(**what: object) -> None:
    """Print one line, with the time since the start."""
    with _OUT:
        print(
            json.dumps({"event": "line", "at": round(time.monotonic() - _BEGAN_S, 2), **what}, ensure_ascii=False),
            flush=True,
        )


def feed(engine: Any, ended: threading.Event) -> None:
    """Run the engine as the pipeline does; tell who answers, how fast, and the largest error."""
    random, sent, name, count, error = np.random.default_rng(0), [], "", 0, 0.0
    model, told_s, longest_s = _MODEL, time.monotonic(), 0.0
    while not ended.is_set():
        while len(sent) < engine.depth:
            patch = random.integers(0, 256, (28, 28, 1), np.uint8)
            sent.append((patch, time.monotonic()))
            engine.submit(patch)
        scores = engine.collect()
        patch, began_s = sent.pop(0)
        count, longest_s = count + 1, max(longest_s, time.monotonic() - began_s)
        error = max(error, float(np.abs(scores - expected(model, patch)).max()))
        if engine.name != name or time.monotonic() - told_s > 1:
            tell(engine=engine.name, answers=count, error=round(error, 5), longest_s=round(longest_s, 3),
                 telemetry=str(engine.telemetry))  # fmt: skip
            name, told_s, longest_s, count = engine.name, time.monotonic(), 0.0, 0
        if engine.name.startswith("openvino"):
            time.sleep(0.01)  # NumPy has no camera to wait for


def main() -> None:
    """Open, feed, close; for `ncs` again and again, as the pipeline does."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    stick = sys.argv[2] if len(sys.argv) > 2 else ""

    def auto() -> Any:
        def report(text: str) -> None:
            tell(report=text)

        return FailoverEngine(_MODEL, lambda: Cpu(_MODEL), report, PreferredStick(_MODEL, report, stick))

    def alone() -> Any:
        return Ncs(_MODEL, stick, stopping=ended, noticed=lambda text: tell(report=text))

    opening: Callable[[], Any] = auto if sys.argv[1] == "auto" else alone
    while not ended.is_set():
        try:
            engine = opening()
        except Disconnected as loss:
            tell(lost=str(loss))
            ended.wait(1)
            continue
        try:
            feed(engine, ended)
        except Disconnected as loss:
            tell(lost=str(loss))
        began_s = time.monotonic()
        engine.close()
        tell(closed_s=round(time.monotonic() - began_s, 2))


_BEGAN_S = time.monotonic()
_MODEL = bundle(Path(tempfile.mkdtemp()) / "model")
main()
