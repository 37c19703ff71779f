"""Files that are played to the end: damaged pictures are reported, and show in the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import make_bundle

from picam_infer.config import Capture
from picam_infer.core import BadFrame
from picam_infer.sources import open_source

NOISE = np.random.default_rng(4)


def jpeg() -> bytes:
    return cv2.imencode(".jpg", NOISE.integers(0, 255, (96, 128, 3)).astype(np.uint8))[1].tobytes()


def play(tmp_path: Path, source: Path) -> subprocess.CompletedProcess[str]:
    make_bundle(tmp_path / "m")
    (tmp_path / "c.yaml").write_text("web: off\n")
    words = [
        "run",
        "-c",
        tmp_path / "c.yaml",
        "--source",
        source,
        "--model",
        tmp_path / "m",
        "--display",
        "none",
        "--json",
    ]
    return subprocess.run(
        [sys.executable, "-m", "picam_infer", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def row(path: Path, whole: int, cut: int) -> Path:
    """Write an AVI of JPEGs of which the last are overwritten from their middle on."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    for _ in range(whole + cut):
        writer.write(NOISE.integers(0, 255, (96, 128, 3)).astype(np.uint8))
    writer.release()
    data, at = bytearray(path.read_bytes()), 0
    for number in range(whole + cut):
        at = data.index(b"\xff\xd8\xff", at + 3)
        if number >= whole:
            data[at + 2 : at + 600] = bytes(598)
    path.write_bytes(bytes(data))
    return path


def test_the_number_of_damaged_pictures_is_reported(tmp_path: Path) -> None:
    run = play(tmp_path, row(tmp_path / "a.avi", 1, 19))
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 1
    assert "19 of 20 pictures were damaged and left out" in run.stderr


def test_a_video_without_a_good_picture_fails(tmp_path: Path) -> None:
    run = play(tmp_path, row(tmp_path / "a.avi", 0, 20))
    assert run.returncode == 1 and run.stdout == ""
    assert "all 20 pictures are damaged" in run.stderr and "Traceback" not in run.stderr


def test_damage_inside_is_reported_and_the_picture_used(tmp_path: Path) -> None:
    path = row(tmp_path / "a.avi", 3, 0)
    data = bytearray(path.read_bytes())
    second = data.index(b"\xff\xd8\xff", data.index(b"\xff\xd8\xff") + 3)
    data[second + 3000 : second + 3003] = b"\xff\xe3\x07"
    path.write_bytes(bytes(data))
    run = play(tmp_path, path)
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 3
    assert "1 of 3 pictures have damage inside" in run.stderr and "Corrupt JPEG" not in run.stderr


@pytest.mark.parametrize("good", [0, 1])
def test_a_folder_counts_the_same(tmp_path: Path, good: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(jpeg() if number < good else jpeg()[:900])
    run = play(tmp_path, folder)
    assert run.returncode == (0 if good else 1)
    assert ("2 of 3 pictures were damaged" if good else "all 3 pictures are damaged") in run.stderr


def test_a_video_that_was_never_finished_gets_a_remedy_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (128, 96))
    for _ in range(10):
        writer.write(NOISE.integers(0, 255, (96, 128, 3)).astype(np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    run = play(tmp_path, path)
    assert run.returncode == 66
    assert "no index (moov)" in run.stderr and "record it again" in run.stderr and "ffmpeg -i" not in run.stderr


def test_a_huge_video_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "big.mov"
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((9000, 9000), np.uint8))
    if not _ffmpeg("-framerate", "1", "-i", str(tmp_path / "%d.png"), "-c", "copy", str(path)):
        pytest.skip("needs ffmpeg (apt install ffmpeg)")
    # What refusing them costs is measured by scripts/bench-memory.
    source = open_source(str(path), Capture())
    for number in range(2):
        with pytest.raises(BadFrame, match=f"frame {number} is damaged"):
            source.read()
    assert source.read() is None
    source.close()


def _ffmpeg(*words: str) -> bool:
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, timeout=60)
    except FileNotFoundError:
        return False
    return True
