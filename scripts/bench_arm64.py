"""Counts instructions a frame on an emulated Pi: our own loops and the posts'. Called by scripts/bench-arm64."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from picam_infer.core import Frame, Result
    from picam_infer.models.bundle import Bundle

LOOPS = ("digits", "photo")

_MARK = 10**9
"""As in count_instructions.c."""
_WARM = 3


def mark(warm: int, count: int, at: int) -> None:
    """Have the emulator print the count before the first frame that counts, and after the last."""
    if at in (warm, warm + count):
        with contextlib.suppress(OSError):  # as it has to be: there is no such process
            os.getsid(_MARK + at)


def make(folder: Path) -> None:
    """Draw the frames, convert the photo model and quantise both models, on this machine: that need not be emulated."""
    import cv2
    from bench import as_a_webcam, photo_bundle, recorded

    from picam_infer.core import Unavailable
    from picam_infer.models import bundle as bundles

    np.savez(folder / "frames.npz", *[frame.data for frame in as_a_webcam(recorded(12))])
    models = [bundles.load("digits")]
    for model in photo_bundle(None):
        shutil.copytree(model.folder, folder / "photo")
        models.append(bundles.load(folder / "photo"))
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, frame in enumerate(as_a_webcam(recorded(100))):
        cv2.imwrite(str(pictures / f"{number}.png"), cv2.imdecode(frame.data, cv2.IMREAD_COLOR))
    try:
        for model, name in zip(models, LOOPS, strict=False):
            quantise(model, pictures, folder / f"{name}-int8")
    except Unavailable as error:
        print(f"int8 is left out: {error}")


def quantise(model: Bundle, pictures: Path, target: Path) -> None:
    """Write a copy of a bundle whose network computes in int8. Raises `Unavailable` without NNCF."""
    from picam_infer.convert import quantize
    from picam_infer.inference.engines.openvino import read_network

    files, figures = quantize.quantized(read_network(model), model.card, pictures, [])
    shutil.copytree(model.folder, target)
    for name, data in files.items():
        (target / name).write_bytes(data)
    print(f"{target.name}: the same label on {figures['agreement']:.1%} of {figures['pictures']:.0f} frames")


def run(folder: Path, count: int) -> None:
    """Run the posts' loops and ours, each as f16 and int8: for each two marks, and a line on stdout."""
    from bench import digits_loop, photo_loop

    from picam_infer.config import Capture
    from picam_infer.models import bundle as bundles
    from picam_infer.sources.frames import make_frame

    with np.load(folder / "frames.npz") as stored:
        pictures = [stored[name] for name in stored.files]
    frames = [make_frame(data, "jpeg", (1280, 720), seq, Capture()) for seq, data in enumerate(pictures)]
    for name, loop in zip(LOOPS, (digits_loop, photo_loop), strict=True):
        folders = {"f16": Path(name) if name == "digits" else folder / name, "int8": folder / f"{name}-int8"}
        models = {kind: bundles.load(path) for kind, path in folders.items() if path == Path(name) or path.exists()}
        if "f16" not in models:
            continue
        theirs = loop(models["f16"], True)
        for at in range(_WARM + count):
            mark(_WARM, count, at)
            theirs(frames[at % len(frames)])
        mark(_WARM, count, _WARM + count)
        print(f"{name}: the post's loop", flush=True)
        for kind, model in models.items():
            print(f"{name}: ours, {kind}{ours(model, frames, count)}", flush=True)


def ours(model: Bundle, frames: list[Frame], count: int) -> str:
    """Run our pipeline over the frames; returns why it cannot be done, or nothing."""
    from bench import Played, pipeline

    from picam_infer.config import EngineSettings
    from picam_infer.core import Unavailable
    from picam_infer.inference import engines

    try:
        engines.open_engine(EngineSettings(kind="openvino"), model).close()
    except Unavailable as error:
        return f" cannot be run: {error}"

    def answered(result: Result) -> None:
        mark(_WARM, count, result.seq)

    running = pipeline(model, Played(frames, _WARM + count + 1), answered)
    running.keep_inputs = False
    running.start()
    running.finished.wait()
    running.stop()
    return ""


def main() -> None:
    """Make what is needed, or run under the emulator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from picam_infer.bootstrap import bootstrap

    bootstrap()
    if args.what == "make":
        make(args.folder)
    else:
        run(args.folder, args.frames)


if __name__ == "__main__":
    main()
