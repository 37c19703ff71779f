"""Measures the memory of refusals: pictures and a video that declare far more than they hold; and what trim gives back.

Each is measured in a process of its own, by the growth of its resident memory; 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "imaging")]

from picam_infer.bootstrap import bootstrap  # noqa: E402

bootstrap()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from bench_window import rss_mb  # noqa: E402
from hostile_pictures import HOSTILE  # noqa: E402

from picam_infer.config import Capture  # noqa: E402
from picam_infer.core import BadFrame, PicamError  # noqa: E402
from picam_infer.imaging.pictures import read_picture  # noqa: E402
from picam_infer.platform import malloc  # noqa: E402
from picam_infer.sources import open_source  # noqa: E402

REFUSAL_BAR_MB, TRIM_BAR = 60.0, 0.9


def main() -> int:
    """Measure all; 1 when a bar is missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        return max(pictures(Path(name)), video(Path(name)), given_back())


def pictures(folder: Path) -> int:
    """Print how much memory the worst of the hostile pictures takes before it is refused."""
    grown_mb = {}
    for name, data in HOSTILE.items():
        path = folder / "picture"
        path.write_bytes(data)
        grown_mb[name] = apart(lambda path=path: peak_growth_mb(lambda: refused(path)))
    worst = max(grown_mb, key=lambda name: grown_mb[name])
    return told(f"{len(HOSTILE)} hostile pictures, the worst ({worst})", grown_mb[worst])


def refused(path: Path) -> None:
    """Read a picture, which must fail."""
    try:
        read_picture(path)
    except PicamError:
        return
    raise AssertionError(f"{path} was read")


def video(folder: Path) -> int:
    """Print how much memory a video takes whose pictures are too large: decoded, each would be 243 MB."""
    if shutil.which("ffmpeg") is None:
        print("a video of 9000×9000: skipped, needs ffmpeg")
        return 0
    cv2.imwrite(str(folder / "0.png"), np.zeros((9000, 9000), np.uint8))
    shutil.copy(folder / "0.png", folder / "1.png")
    words = ["-framerate", "1", "-i", str(folder / "%d.png"), "-c", "copy", str(folder / "big.mov")]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    return told("a video of 9000×9000", apart(lambda: video_growth_mb(folder / "big.mov")))


def video_growth_mb(path: Path) -> float:
    """Return the growth while a video's pictures are refused."""
    source = open_source(str(path), Capture())

    def play() -> None:
        while True:
            try:
                if source.read() is None:
                    return
            except BadFrame:
                continue

    return peak_growth_mb(play)


def given_back() -> int:
    """Print the share of freed memory that `malloc.trim` gives back to the machine."""
    share = apart(trimmed_share)
    print(f"freed memory given back: {share:.0%} (bar {TRIM_BAR:.0%}: {'met' if share >= TRIM_BAR else 'MISSED'})")
    return int(share < TRIM_BAR)


def trimmed_share() -> float:
    """Take 60 MB in small blocks, free them below one that stays, and return the share that goes back."""
    left = []

    def litter() -> None:
        blocks = [ctypes.create_string_buffer(b"x" * 30_000, 30_001) for _ in range(2000)]
        left.append(blocks[-1])  # on top, so that glibc keeps all that is below

    before_mb = rss_mb()
    thread = threading.Thread(target=litter)
    thread.start()
    thread.join()
    grown_mb = rss_mb() - before_mb
    malloc.trim()
    return 1 - (rss_mb() - before_mb) / grown_mb


def peak_growth_mb(work: Callable[[], None]) -> float:
    """Return by how much the peak of the resident memory grows, in MB (10^6 bytes)."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) * 1024 / 1e6


def apart(work: Callable[[], float]) -> float:
    """Return what `work` returns in a process of its own, whose peak nothing else has raised."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=lambda: there.send(work()))
    process.start()
    there.close()
    try:
        return float(here.recv())
    finally:
        process.join()


def told(what: str, grown_mb: float) -> int:
    """Print a refusal's row; 1 when its bar is missed."""
    met = grown_mb <= REFUSAL_BAR_MB
    print(f"{what}: +{grown_mb:.0f} MB (bar {REFUSAL_BAR_MB:.0f} MB: {'met' if met else 'MISSED'})")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
