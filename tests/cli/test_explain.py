"""`picam-infer explain`: one look at what a model was given and why it says what it says."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from makers import make_bundle, picture

from picam_infer import cli
from picam_infer.models.bundle import Photo


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = picture(20, 320, 240)
    image[60:180, 100:220] = 240
    cv2.imwrite(str(tmp_path / "leaf.png"), image)
    return tmp_path / "leaf.png"


def test_it_draws_and_says(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_bundle(tmp_path / "m").folder
    assert cli.main(["explain", str(photo), "-m", str(model), "-o", str(tmp_path / "why.png")]) == 0
    said = capsys.readouterr().out
    for words in (
        "240×240 of it at 40, 0",
        "8×8, rgb, NHWC",
        "0 … 1 possible",
        "used as they are",
        "dark: ",
        "bright: ",
    ):
        assert words in said
    drawn = cv2.imread(str(tmp_path / "why.png"))
    assert drawn.shape[1] > 1000 and drawn.std() > 10


def test_a_line_that_is_too_long_for_the_drawing_goes_on_below(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heights = []
    for name in ("bright", "a name of very many words " * 6):
        model = make_bundle(tmp_path / name[:6], labels=("dark", name.strip())).folder
        assert cli.main(["explain", str(photo), "-m", str(model), "-o", str(tmp_path / "why.png")]) == 0
        heights.append(cv2.imread(str(tmp_path / "why.png")).shape[0])
    assert heights[1] > heights[0]


def test_json_holds_all_of_it(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_bundle(tmp_path / "m", probabilities=False).folder
    assert cli.main(["explain", str(photo), "-m", str(model), "--json", "--label", "bright"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["png"] == "leaf-explained.png" and (tmp_path / "leaf-explained.png").is_file()
    assert content["reading"] == "softmax" and content["saliency"]["label"] == "bright"
    assert content["box"] == {"x": 40, "y": 0, "width": 240, "height": 240}
    assert content["numbers"]["possible"] == [0.0, 1.0]
    assert sum(output["score"] for output in content["outputs"]) == pytest.approx(1, abs=1e-3)
    assert {"label", "raw", "score"} == set(content["outputs"][0])


def test_mistakes_cost_one_line(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(make_bundle(tmp_path / "m").folder)
    for words, code in (
        (["explain", str(tmp_path / "none.png"), "-m", model], 66),
        (["explain", str(photo), "-m", str(tmp_path / "no-model")], 66),
        (["explain", str(photo), "-m", model, "--label", "cat"], 1),
        (["explain", str(photo), "-m", model, "-o", "/no/such/folder/x.png"], 1),
    ):
        assert cli.main(words) == code
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1 and said.err.startswith("picam-infer explain: ") and not said.out


@pytest.mark.parametrize(("chain", "written"), [
    (Photo(scale=1 / 127.5, offset=-1.0), "pixel × 0.00784 − 1:"),
    (Photo(scale=1 / 255, offset=0.0), "pixel × 0.00392:"),
    (Photo(scale=(0.02, 0.03, 0.04), offset=(-2.1, -2.0, -1.8)), "pixel × 0.02, 0.03, 0.04 − 2.1, 2, 1.8:"),
    (Photo(scale=1.0, offset=(3.0, -1.0, 0.0)), "pixel × 1 + 3, -1, 0:"),
])  # fmt: skip
def test_scaling_is_written_as_people_write_it(
    chain: Photo, written: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_bundle(tmp_path / "m", chain=chain).folder
    assert cli.main(["explain", str(photo), "-m", str(model), "-o", str(tmp_path / "why.png")]) == 0
    assert written in capsys.readouterr().out


def test_all_outputs_are_accounted_for_and_the_colours_explained(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", str(photo), "-m", "digits", "-o", str(tmp_path / "why.png")]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert sum(" → " in line for line in lines) == 8 and "… and 3 more" in lines
    (legend,) = [line for line in lines if line.startswith("colours")]
    assert "red speaks for" in legend and "blue against it" in legend
