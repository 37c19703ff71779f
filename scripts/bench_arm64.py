"""Counts instructions a frame on an emulated Pi: our own loops and the posts'. Called by scripts/bench-arm64."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np

_MARK = 10**9
"""As in count_instructions.c."""
_WARM = 3


def mark(warm: int, count: int, at: int) -> None:
    """Have the emulator print the count before the first frame that counts, and after the last."""
    if at in (warm, warm + count):
        with contextlib.suppress(OSError):  # as it has to be: there is no such process
            os.getsid(_MARK + at)


def make(folder: Path) -> None:
    """Draw the frames and convert the photo model, on this machine: that need not be emulated."""
    from bench import as_a_webcam, photo_bundle, recorded

    np.savez(folder / "frames.npz", *[frame.data for frame in as_a_webcam(recorded(12))])
    for model in photo_bundle(None):
        shutil.copytree(model.folder, folder / "photo")


def run(folder: Path, count: int) -> None:
    """Run each loop, ours after the post's: two marks and a line on stdout for each."""
    from bench import Played, digits_loop, photo_loop, pipeline

    from picam_infer.config import Capture
    from picam_infer.core import Result
    from picam_infer.models import bundle as bundles
    from picam_infer.sources.frames import make_frame

    with np.load(folder / "frames.npz") as stored:
        pictures = [stored[name] for name in stored.files]
    frames = [make_frame(data, "jpeg", (1280, 720), seq, Capture()) for seq, data in enumerate(pictures)]
    rows = [("digits", digits_loop), *([("photo", photo_loop)] if (folder / "photo").exists() else [])]
    for name, loop in rows:
        model = bundles.load(name if name == "digits" else folder / "photo")
        theirs = loop(model, True)
        for at in range(_WARM + count):
            mark(_WARM, count, at)
            theirs(frames[at % len(frames)])
        mark(_WARM, count, _WARM + count)

        def answered(result: Result) -> None:
            mark(_WARM, count, result.seq)

        running = pipeline(model, Played(frames, _WARM + count + 1), answered)
        running.keep_inputs = False
        running.start()
        running.finished.wait()
        running.stop()
        print(name, flush=True)


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
