"""The finished network as bytes: the same every time, tried once."""

from __future__ import annotations

import functools
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError

ENOUGH_S = 0.5
"""A large network is not timed for longer than this and one run."""


@dataclass(frozen=True)
class Check:
    """What came out when the network was run once on the CPU."""

    infer_ms: float
    """The best of a few runs."""
    difference: float
    """The largest difference between the answers before and after the weights were compressed."""


def serialise(model: Any, half: bool) -> dict[str, bytes]:
    """Return `model.xml` and `model.bin`; `half` stores float32 weights as float16."""
    rename(model)
    with tempfile.TemporaryDirectory(prefix="picam-infer-") as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=half)
        xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    # What follows the edges is who converted it, when and how: different on another day or machine.
    return {"model.xml": re.sub(rb"</edges>.*</net>", b"</edges>\n</net>", xml, flags=re.DOTALL), "model.bin": weights}


def rename(model: Any) -> None:
    """Give the nodes names that do not depend on what this process built before."""
    counts: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind == "Parameter":
            continue
        stem = kind if re.fullmatch(r"[A-Za-z0-9]+_\d+", name) or kind in ("Constant", "Result") else name
        stem = stem.partition("#")[0]
        counts[stem] += 1
        node.set_friendly_name(stem if counts[stem] == 1 else f"{stem}:{counts[stem]}")


@functools.cache
def _core() -> Any:
    return ov.Core()  # loading the CPU plugin takes a moment, so it is done once


def load(files: dict[str, bytes]) -> Any:
    """Return the model of `serialise`."""
    weights = ov.Tensor(np.frombuffer(files["model.bin"] or b"\0", np.uint8).copy())
    return _core().read_model(files["model.xml"], weights)


def sample(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Array:
    """Return a smooth pattern with some detail, the same every time, within the network's own range."""
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count, dtype=np.float64) * 0.37) * np.cos(np.arange(count, dtype=np.float64) * 0.0113)
    return ((wave + 1) / 2 * (high - low) + low).reshape(shape).astype(np.float32)


def compiled(model: Any) -> Any:
    """Compile for the CPU in float32. Raises `PicamError`."""
    try:
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        return _core().compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise PicamError(
            "OpenVINO reads the network, but cannot run it on the CPU", "please report this model"
        ) from error


def check(model: Any, files: dict[str, bytes], low: float, high: float) -> Check:
    """Run the network as built and as stored on the same input. Raises `PicamError` if the answer is no number."""
    feeds = [sample(tuple(port.get_shape()), low, high) for port in model.inputs]
    before = compiled(model)(feeds)[0]
    run = compiled(load(files))
    after = run(feeds)[0]
    if not np.isfinite(before).all() or not np.isfinite(after).all():
        raise PicamError(
            "the network answers with values that are not numbers",
            "a weight or a step of it overflows: export it again",
        )
    took_s: list[float] = []
    while len(took_s) < 5 and sum(took_s) < ENOUGH_S:
        start = time.perf_counter()
        run(feeds)
        took_s.append(time.perf_counter() - start)
    return Check(min(took_s) * 1000, float(np.abs(before - after).max()))
