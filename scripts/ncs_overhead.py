"""What the child process costs a frame: libmvnc's stand-in called directly and through the engine, 224×224×3.

Run from the root of the repository: `python scripts/ncs_overhead.py`. Prints milliseconds; nothing is plugged in.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import stick_lab  # noqa: E402

from picam_infer.inference.engines.ncs.engine import Ncs  # noqa: E402

SHAPE, ROUNDS = (224, 224, 3), 1000


def timed(once: Callable[[], object]) -> float:
    """Return the median milliseconds of one call."""
    took_s = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        once()
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s) * 1e3


def direct(api: Any, blob: bytes, input_image: Any) -> float:
    """Return the time of the same work without a child: convert, queue, read."""
    device = api.Device(api.enumerate_devices()[0])
    device.open()
    graph = api.Graph("bench")
    source, target = graph.allocate_with_fifos(device, blob)
    tensor, answer = np.empty(SHAPE, np.float32), np.empty(2, np.float32)
    scale, offset = np.float32(1 / 127.5), np.float32(-1)

    def once() -> None:
        np.multiply(input_image, scale, out=tensor, dtype=np.float32, casting="unsafe")
        np.add(tensor, offset, out=tensor)
        length, user = ctypes.c_uint(tensor.nbytes), ctypes.c_void_p()
        handles = graph.handle, source.handle, target.handle
        api.f.ncGraphQueueInferenceWithFifoElem(*handles, ctypes.c_void_p(tensor.ctypes.data), ctypes.byref(length), 0)
        length = ctypes.c_uint(answer.nbytes)
        pointers = ctypes.c_void_p(answer.ctypes.data), ctypes.byref(length), ctypes.byref(user)
        api.f.ncFifoReadElem(target.handle, *pointers)

    result = timed(once)
    device.close()
    return result


def through_child(model: stick_lab.Bundle, lab: stick_lab.StickLab, input_image: Any) -> float:
    """Return the time of submit and collect."""
    engine = Ncs(model, usb=lab.usb)

    def once() -> None:
        engine.submit(input_image)
        engine.collect()

    try:
        return timed(once)
    finally:
        engine.close()


def main() -> None:
    """Build, measure three times in turn, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = stick_lab.StickLab(folder / "bus")
        library = stick_lab.build(folder)
        wanted = lab.environment(library)
        if os.environ.get("NCS_OVERHEAD") != "1":  # the loader reads its path when a process starts
            again = [sys.executable, __file__]
            subprocess.run(again, env={**os.environ, **wanted, "NCS_OVERHEAD": "1"}, check=True)
            return
        os.environ |= wanted
        sys.path.insert(0, str(stick_lab.SOURCE))
        lab.plug()
        lab.set("2", ms=0)
        model = stick_lab.bundle(folder / "model", SHAPE, labels="ab", photo=True)
        input_image = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
        api = importlib.import_module("mvnc.mvncapi")
        assert model.graph
        for _ in range(3):
            one, other = direct(api, model.graph.read_bytes(), input_image), through_child(model, lab, input_image)
            print(f"direct {one:.3f} ms, through the child {other:.3f} ms: {other - one:+.3f} ms a frame")


if __name__ == "__main__":
    main()
