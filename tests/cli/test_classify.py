"""`picam-infer classify` on real picture files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import make_bundle, picture

from picam_infer import cli
from picam_infer.models.bundle import Edges


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "m").folder


def save(path: Path, value: int) -> Path:
    cv2.imwrite(str(path), picture(value))
    return path


def test_it_names_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["classify", "-m", model, save(tmp_path / "a.png", 0), save(tmp_path / "b.jpg", 255)]
    assert cli.main([str(w) for w in words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/a.png: dark  (dark ")
    assert lines[1].startswith(f"{tmp_path}/b.jpg: bright  (bright ")


def test_json_and_folders(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p").mkdir()
    for name, value in (("1.png", 0), ("2.PNG", 255)):
        save(tmp_path / "p" / name, value)
    (tmp_path / "p" / "notes.txt").touch()
    assert cli.main(["classify", "--json", "-m", str(model), str(tmp_path / "p")]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(r["image"]).name, r["label"]) for r in results] == [("1.png", "dark"), ("2.PNG", "bright")]


def test_one_bad_picture_does_not_stop_the_others(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    words = ["classify", "-m", model, tmp_path / "none.png", tmp_path / "bad.jpg", save(tmp_path / "a.png", 0)]
    assert cli.main([str(w) for w in words]) == 66
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert len(said.err.splitlines()) == 2
    assert "Traceback" not in said.err


def test_an_empty_folder_is_an_error(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["classify", "-m", str(model), str(tmp_path / "empty")]) == 66
    assert "has no pictures" in capsys.readouterr().err


def test_the_saved_input_is_exactly_what_the_network_gets(model: Path, tmp_path: Path) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, 40:280] = (10, 120, 240)  # BGR, just the centre square
    cv2.imwrite(str(tmp_path / "a.png"), image)
    target = tmp_path / "input.png"
    assert cli.main(["classify", "-m", str(model), "--save-input", str(target), str(tmp_path / "a.png")]) == 0
    saved = cv2.imread(str(target))
    assert saved.shape == (8, 8, 3)
    assert (saved == (10, 120, 240)).all()


def test_an_input_that_cannot_be_saved_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture_file = str(save(tmp_path / "a.png", 0))
    for target in ("/no/such/folder/x.png", str(tmp_path / "x.nonsense")):
        assert cli.main(["classify", "-m", str(model), "--save-input", target, picture_file]) == 1
        assert "cannot write" in capsys.readouterr().err


def test_roi_chooses_the_square(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_bundle(tmp_path / "e", chain=Edges(roi=0.2), shape=(1, 28, 28, 1)).folder
    image = picture(255, 320, 320)
    for i in range(0, 320, 8):
        image[i : i + 4, :100] = 0
        image[i : i + 4, 220:] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image)
    inputs = []
    for roi in ("0.2", "1"):
        target = tmp_path / f"{roi}.png"
        words = ["classify", "-m", str(model), "--roi", roi, "--save-input", str(target), str(tmp_path / "a.png")]
        assert cli.main(words) == 0
        inputs.append(cv2.imread(str(target), cv2.IMREAD_GRAYSCALE))
    assert not inputs[0].any()
    assert inputs[1].any()
