"""The judge of digit models, on a handful of drawn photographs."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from picam_infer.training import glyphs, render

ROOT = Path(__file__).resolve().parents[2]


def judge(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, ROOT / "scripts/bench_digits.py", *words], capture_output=True, text=True,
                          env=environment, timeout=100, check=False)  # fmt: skip


def photographs(folder: Path) -> Path:
    """Eight clear digits, half of them named wrongly in the index, and two bare sheets."""
    rng = np.random.default_rng(0)
    rows = []
    for number, digit in enumerate([3, 8, 0, 6, 3, 8, 0, 6, None, None]):
        lines = None if digit is None else glyphs.digit_strokes(digit, rng)
        name = f"{number}.jpg"
        cv2.imwrite(str(folder / name), render.draw_scene(640, 480, lines, (0.0, 0.0), 0.0, rng, size=0.6))
        wrong = digit is not None and number >= 4
        label = "" if digit is None else "1" if wrong else str(digit)
        tool = "" if digit is None else "pencil" if wrong else "pen"
        rows.append({"file": name, "label": label, "fill_percent": "60", "tool": tool, "writer": tool})
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def shares(table: str, row: str) -> list[float]:
    found = next(line for line in table.splitlines() if line.startswith(row))
    return [float(value) for value in re.findall(r"([\d.]+) %", found)]


def test_it_counts_right_and_wrong_names_and_claims_on_nothing(tmp_path: Path) -> None:
    done = judge("--photos", photographs(tmp_path), "--sizes", "480p", "720p")
    assert done.returncode == 0, done.stderr
    for size in ("480p", "720p"):  # one digit of either half may be too odd for the model
        right, wrong, unknown, first, claimed = shares(done.stdout, f"photographs {size}, picam-infer")
        assert 37 <= right <= 50 and 37 <= wrong <= 50 and first <= 50 and claimed == 0
        assert abs(right + wrong + unknown - 100) < 0.2
    assert shares(done.stdout, "tool pen ")[1] == 0
    assert shares(done.stdout, "tool pencil")[0] == 0
    of_pens, of_pencils = shares(done.stdout, "tool pen "), shares(done.stdout, "tool pencil")
    assert shares(done.stdout, "mean over 2 writers") == [(a + b) / 2 for a, b in zip(of_pens, of_pencils, strict=True)]
    assert "without the tutorial's and the threshold recipe" in done.stdout
    assert re.search(r"cost of the whole chain, JPEG to scores: \d\.\d+ of", done.stdout)


def test_photographs_that_are_not_there_are_named_in_one_line(tmp_path: Path) -> None:
    done = judge("--photos", tmp_path / "none")
    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1 and str(tmp_path / "none") in done.stderr


INDEX = b"file,label\n9.jpg,\n"


def told(
    folder: Path, index: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    """Judge a folder with this index; return the line that refuses it, without the folder."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_digits

    cv2.imwrite(str(folder / "9.jpg"), np.full((480, 640, 3), 200, np.uint8))
    if index:
        (folder / "index.csv").write_bytes(index)
    monkeypatch.setattr(sys, "argv", ["bench-digits", "--photos", str(folder), "--sizes", "480p", *more])
    assert bench_digits.main() == 66
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"bench-digits: {folder}/index.csv") and "; " in said
    return said.partition("index.csv")[2]


@pytest.mark.parametrize(("index", "said"), [
    (bytes(range(128, 256)) * 4, ", row 1: it is not UTF-8 text"),
    (INDEX.decode().encode("utf-16"), ", row 1: it is not UTF-8 text"),
    (INDEX + b"9.jpg,7\n\xff.jpg,7\n", ", row 4: it is not UTF-8 text"),
    (b"name,label\n9.jpg,7\n", ", row 1: there is no column file"),
    (b"file\n9.jpg\n", ", row 1: there is no column label"),
    (b"\n", ", row 1: there is no column file"),
    (b"file,label\n", " names no pictures"),
    (INDEX + b"9.jpg,seven\n", ", row 3: 'seven' is not a digit"),
    (INDEX + b"9.jpg,42\n", ", row 3: '42' is not a digit"),
    (INDEX + b"9.jpg,-3\n", ", row 3: '-3' is not a digit"),
    (INDEX + b"\n9.jpg,10\n", ", row 4: '10' is not a digit"),
    (INDEX + b"9.jpg\n", ", row 3: it has not as many columns"),
    (INDEX + b"9.jpg,1,2\n", ", row 3: it has not as many columns"),
    (INDEX + b" ,1\n", ", row 3: it names no file"),
    (INDEX + b'9.jpg,"1', ", row 3: unexpected end of data"),
])  # fmt: skip
def test_an_odd_index_is_refused_with_its_row(
    index: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(tmp_path, index, monkeypatch, capsys).startswith(said)


def test_a_pipe_in_place_of_the_index_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "index.csv")
    assert told(tmp_path, b"", monkeypatch, capsys).startswith(" is not a regular file")


def test_odd_pictures_are_refused_with_their_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(cv2.imencode(".png", np.zeros((480, 640, 3), np.uint8))[1].tobytes()[:90])
    for name, said in (("none.jpg", "there is no picture"), ("pipe.jpg", "is not a regular file"),
                       ("folder.jpg", "is a folder"), ("empty.jpg", "is not a picture"), ("cut.png", "cut short"),
                       ("a\0b.jpg", "cannot be read")):  # fmt: skip
        line = told(tmp_path, INDEX + f"{name},3\n".encode(), monkeypatch, capsys)
        assert line.startswith(", row 3: ") and said in line


def test_a_folder_without_scans_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_digits

    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b\x08\0 cut")
    monkeypatch.setattr(sys, "argv", ["bench-digits", "--mnist", str(tmp_path), "--plain", str(ROOT)])
    monkeypatch.setattr(bench_digits, "plain_network", lambda args: None)
    assert bench_digits.main() == 66
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"no MNIST in {tmp_path}" in said


def test_other_pictures_than_jpeg_of_the_cameras_size_are_judged(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((480, 640, 3), 200, np.uint8))
    (tmp_path / "index.csv").write_text("\ufefffile,label,tool\na.png,\na.png,,pen\n")
    done = judge("--photos", tmp_path, "--sizes", "480p")
    assert done.returncode == 0, done.stderr
