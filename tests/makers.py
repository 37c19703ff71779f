"""What several folders of tests make: tiny models and frames, and the shared material where there is some."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from picam_infer.core import Frame
from picam_infer.models.bundle import Bundle, Card, Chain, Input, Origin, Photo, save

ROOT = Path(__file__).resolve().parents[1]


def shared(*parts: str) -> Path:
    """Return a file of the shared material, or skip the test when it is not beside the repository."""
    base = Path(os.environ.get("PICAM_SHARED", ROOT.parent / "shared"))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} of the shared material (PICAM_SHARED)")
    return path


def keras() -> Any:
    """Return Keras, on its OpenVINO back-end where there is no TensorFlow; skip the test without."""
    if importlib.util.find_spec("tensorflow") is None and "keras" not in sys.modules:
        pytest.importorskip("scipy", reason="Keras's OpenVINO back-end needs scipy")
        os.environ.setdefault("KERAS_BACKEND", "openvino")
    return pytest.importorskip("keras", reason="needs Keras (pip install keras scipy)")


def make_bundle(
    folder: Path,
    labels: tuple[str, ...] = ("dark", "bright"),
    chain: Chain | None = None,
    shape: tuple[int, int, int, int] = (1, 8, 8, 3),
    probabilities: bool = True,
    reject: str | None = None,
) -> Bundle:
    """Write a real OpenVINO network: class k is likely when the mean of the scaled input is near k / (classes − 1)."""
    import openvino as ov
    from openvino import opset13 as ops

    chain = chain or Photo(scale=1 / 255, offset=0.0)
    source = ops.parameter(list(shape), np.float32, name="input")
    mean = ops.reduce_mean(source, np.array([1, 2, 3]), keep_dims=False)
    centres = np.linspace(0, 1, len(labels)).astype(np.float32)[None]
    distance = ops.squared_difference(ops.unsqueeze(mean, 1), ops.constant(centres))
    output = ops.multiply(distance, ops.constant(np.float32(-40)))
    if probabilities:
        output = ops.softmax(output, 1)
    model = ov.Model([ops.result(output)], [source], "tiny")
    build = folder.parent / f".{folder.name}-build"
    build.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, build / "model.xml", compress_to_fp16=False)
    card = Card(name=folder.name, input=Input(shape), preprocess=chain, origin=Origin("made by the tests"),
                output="output", probabilities=probabilities, reject=reject)  # fmt: skip
    return save(folder, card, labels, {n: (build / n).read_bytes() for n in ("model.xml", "model.bin")})


def until(holds: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Wait until something holds, and return it; fails after `timeout_s`, which is long enough for a busy machine."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {timeout_s} s")


def picture(value: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Return a BGR picture of one grey value."""
    return np.full((height, width, 3), value, np.uint8)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def raw_frame(image: np.ndarray, codec: str = "bgr") -> Frame:
    """Return pixels as a camera's frame, taken now."""
    return Frame(image, codec, image.shape[1], image.shape[0], time.monotonic(), time.time(), 0)  # type: ignore[arg-type]


def jpeg_frame(image: np.ndarray, seq: int = 0, **more: object) -> Frame:
    """Return a BGR picture as a camera's JPEG frame."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].reshape(-1)
    height, width = image.shape[:2]
    return Frame(data, "jpeg", width, height, time.monotonic(), time.time(), seq, **more)  # type: ignore[arg-type]


def unprivileged() -> list[str]:
    """Return what to begin a command with so that permissions hold for it, for root too; skip where that cannot be."""
    if os.geteuid() != 0:
        return []
    drop = "-dac_override,-dac_read_search"
    words = ["setpriv", "--bounding-set", drop, "--inh-caps", drop]
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False).returncode != 0:
        pytest.skip("needs setpriv (util-linux), and to be allowed to drop capabilities, or another user than root")
    return words
