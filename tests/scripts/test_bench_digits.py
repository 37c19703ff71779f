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
