"""One inference in a separate process: on a CPU that the runtime was not built for, the process is killed by a signal.

`python -m picam_infer.inference.engines.probe MODEL DEVICE PRECISION` prints the milliseconds of one warm inference.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from picam_infer.bootstrap import bootstrap
from picam_infer.config import EngineSettings
from picam_infer.core import PicamError, Unavailable
from picam_infer.models.bundle import Bundle, load

_LIMIT_S = 120


def probe(bundle: Bundle, settings: EngineSettings) -> float:
    """Return milliseconds of one inference with OpenVINO. Raises `Unavailable` also when the process is killed."""
    command = [sys.executable, "-m", "picam_infer.inference.engines.probe", str(bundle.folder.absolute()),
               settings.device, settings.precision]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"OpenVINO on {settings.device} gave no answer in {_LIMIT_S} s",
            "restart the machine; try engine.device: CPU",
        ) from error
    if done.returncode == -signal.SIGILL:
        raise Unavailable(
            "this processor lacks instructions that OpenVINO was built with",
            "install another version: pip install openvino==2024.6.0",
        )
    if done.returncode < 0:
        raise Unavailable(
            f"OpenVINO crashed ({signal.Signals(-done.returncode).name})",
            "is /sys mounted? else try another version: pip install openvino==2024.6.0",
        )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        message, _, hint = said[-1].partition("; ")
        raise Unavailable(message, hint)
    return float(done.stdout)


def _main(model: str, device: str, precision: str) -> int:
    bootstrap()
    import numpy as np

    from picam_infer.inference.engines.openvino import OpenVino

    bundle = load(Path(model))
    engine = OpenVino(bundle, EngineSettings(device=device, precision=precision))  # type: ignore[arg-type]
    shape = bundle.card.input
    input_image = np.zeros((shape.height, shape.width, shape.channels), np.uint8)
    took_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        engine.submit(input_image)
        engine.collect()
        took_s.append(time.perf_counter() - began_s)
    print(min(took_s) * 1e3)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(_main(*sys.argv[1:4]))
    except PicamError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error
