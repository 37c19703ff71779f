"""Quantisation to int8: a network with small weights that answers as before, calibrated with real pictures."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import openvino.opset13 as op
import pytest
import small_models

from picam_infer.cli import main
from picam_infer.convert.conversion import Options, convert
from picam_infer.core import NoInput, Unavailable, UsageError

COLOURS = ("red", "green", "blue", "black", "white")
needs_nncf = pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None,
    reason="NNCF is not installed (extra `quantize`)",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution, means and a dense layer, which answer with the strongest of red, green and blue."""
    network = small_models.network(lambda y: op.softmax(y, 1))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return small_models.save_ir(folder / "colours.xml", network)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures to calibrate with."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    small_models.paint(folder, *COLOURS)
    return folder


@needs_nncf
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_int8_network_answers_as_the_one_it_was_made_of(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phases: list[str] = []
    report = convert(model, tmp_path / "small", Options(precision="int8", calibrate=pictures), phases.append)
    assert phases == ["read", "build", "quantize", "check", "save"]
    assert report.precision == "int8" and report.quantized is not None
    assert report.quantized["pictures"] == len(COLOURS) and report.quantized["agreement"] == 1
    assert "int8        agrees with f16 on 100 % of 5 pictures" in "\n".join(report.about())
    assert "FakeQuantize" in (tmp_path / "small" / "model.xml").read_text()
    shown = [str(pictures / f"{colour}.png") for colour in COLOURS[:3]]
    assert main(["classify", "--json", "-m", str(tmp_path / "small"), *shown]) == 0
    assert [json.loads(line)["top"][0]["label"] for line in capsys.readouterr().out.splitlines()] == list(COLOURS[:3])


@pytest.mark.parametrize("given", [{"precision": "int8"}, {"calibrate": Path("pictures")}])
def test_int8_and_its_pictures_go_together(given: dict[str, object], model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go together"):
        convert(model, tmp_path / "small", Options(**given))  # type: ignore[arg-type]


@needs_nncf
def test_a_folder_that_is_not_there_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"there is no folder .*nowhere"):
        convert(model, tmp_path / "small", Options(precision="int8", calibrate=tmp_path / "nowhere"))
    assert not (tmp_path / "small").exists()


@needs_nncf
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_read_is_left_out_and_named_and_few_pictures_are_told(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.jpg").write_text("no picture")
    (pictures / "readme.md").write_text("about them")
    report = convert(model, tmp_path / "small", Options(precision="int8", calibrate=pictures))
    said = "\n".join(report.notes)
    assert report.quantized is not None and report.quantized["pictures"] == 5
    assert "left out of the calibration: " in said and "broken.jpg is not a picture" in said and "readme.md" in said
    assert "with only 5 pictures, which tells little about others: give at least 20" in said
    for number in range(16):
        small_models.paint(pictures, f"red.{number}", f"blue.{number}")
    (pictures / "broken.jpg").unlink()
    report = convert(model, tmp_path / "small", Options(precision="int8", calibrate=pictures))
    assert not any("calibrat" in note for note in report.notes)


@needs_nncf
def test_a_folder_without_a_readable_picture_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_text("no picture")
    with pytest.raises(NoInput, match=r"no picture in .*none can be read: .*a\.jpg is not a picture"):
        convert(model, tmp_path / "small", Options(precision="int8", calibrate=tmp_path / "none"))
    with pytest.raises(NoInput, match=r"a\.jpg is not a folder"):
        convert(model, tmp_path / "small", Options(precision="int8", calibrate=tmp_path / "none" / "a.jpg"))


def test_without_nncf_it_is_said_what_to_install(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(Unavailable, match=r"pip install 'picam-infer\[quantize\]'"):
        convert(model, tmp_path / "small", Options(precision="int8", calibrate=pictures))
    assert not (tmp_path / "small").exists()
