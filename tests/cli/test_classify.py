"""`picam-infer classify` on real picture files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import make_bundle, picture
from small_disk import SmallDisk

from picam_infer import cli
from picam_infer.models.bundle import Colour, Edges, Photo


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


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_the_saved_input_is_exactly_what_the_network_gets(colour: Colour, tmp_path: Path) -> None:
    model = make_bundle(tmp_path / "m", chain=Photo(colour=colour)).folder
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
    assert cli.main(["classify", "-m", str(model), "--save-input", "/no/such/folder/x.png", picture_file]) == 1
    said = "x.png cannot be written (No such file or directory); choose another folder with --save-input"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x.jpg", "x.nonsense", "x"])
def test_an_input_is_saved_only_where_no_pixel_changes(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture_file = str(save(tmp_path / "a.png", 0))
    with pytest.raises(SystemExit) as ended:
        cli.main(["classify", "-m", str(model), "--save-input", str(tmp_path / name), picture_file])
    assert ended.value.code == 2 and "must end in .png" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_on_a_full_disk_no_empty_picture_is_left(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], small_disk: SmallDisk
) -> None:
    picture_file, target = str(save(tmp_path / "a.png", 0)), tmp_path / "x.png"
    small_disk.fill()
    assert cli.main(["classify", "-m", str(model), "--save-input", str(target), picture_file]) == 1
    assert "x.png cannot be written (No space left on device); make room on that disk" in capsys.readouterr().err
    assert not target.exists()


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


def test_the_model_and_the_decisions_of_a_settings_file_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "m", chain=Photo(roi=1.0))
    image = picture(255, 320, 320)
    image[100:220, 100:220] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image)
    path = tmp_path / "c.yaml"

    def said(settings: str, *words: str) -> dict:
        path.write_text(settings)
        assert cli.main(["classify", "--json", "-c", str(path), *words, str(tmp_path / "a.png")]) == 0
        return json.loads(capsys.readouterr().out)

    assert said("model: ./m\n")["label"] == "bright"
    assert said("model: ./m\npreprocess: {roi: 0.2}\n")["label"] == "dark"
    assert said("model: ./m\npreprocess: {roi: 0.2}\n", "--roi", "1")["label"] == "bright"
    decided = said("model: ./m\ndecide: {threshold: 1, top: 1}\n")
    assert decided["label"] is None and len(decided["top"]) == 1
    assert said("model: ./m\ndecide: {threshold: 1}\n", "--threshold", "0")["label"] == "bright"
    assert said("model: digits\npreprocess: {canny: [9, 3]}\n", "-m", str(tmp_path / "m"))["label"] == "bright"
    path.write_text("model: nothere\n")
    assert cli.main(["classify", "-c", str(path), str(tmp_path / "a.png")]) == 66
    assert "no model called 'nothere'" in (err := capsys.readouterr().err) and "c.yaml:1: model" in err


def test_how_likely_unknown_is_stands_among_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_bundle(tmp_path / "m", reject="bright")
    assert cli.main(["classify", "-m", str(model.folder), str(save(tmp_path / "a.png", 255))]) == 0
    assert re.search(r"a\.png: unknown  \(unknown \d{2,} %, dark \d %\)", capsys.readouterr().out)
    assert cli.main(["classify", "-m", str(model.folder), str(save(tmp_path / "b.png", 0))]) == 0
    assert re.search(r"b\.png: dark  \(dark \d{2,} %, unknown \d %\)", capsys.readouterr().out)


def test_a_picture_of_the_inputs_size_gets_the_advice_to_look_at_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((28, 28), np.uint8))
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((480, 640), np.uint8))
    advice = "only 40 % of the height of "
    small = [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert cli.main(["classify", *small]) == 0
    said = capsys.readouterr().err
    assert said.count(advice) == 1 and "a.png (28×28 pixels) is looked at; --roi 1 looks at all of it" in said
    for words in (["--roi", "1", *small], [str(tmp_path / "large.png")]):
        assert cli.main(["classify", *words]) == 0
        assert advice not in capsys.readouterr().err


def in_folders(root: Path, **values: tuple[int, ...]) -> Path:
    for name, pictures in values.items():
        (root / name).mkdir(parents=True)
        for number, value in enumerate(pictures):
            save(root / name / f"{number}.png", value)
    return root


def test_folders_called_after_classes_give_a_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = in_folders(tmp_path / "p", **{"Dark": (0, 10, 20), "1_bright": (255, 250, 0), "other": (9,)})
    assert cli.main(["classify", "-m", str(model), "--report", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()[-5:]
    assert lines[0] == "accuracy 83.3 %: 5 of 6 pictures"
    assert lines[1] == "not counted, because their folders are not named after a class: 1 (other)"
    assert [line.split() for line in lines[2:]] == [
        ["is", "/", "said", "dark", "bright", "right"], ["dark", "3", "·", "100", "%"], ["bright", "1", "2", "66", "%"],
    ]  # fmt: skip


def test_the_report_as_json_counts_what_is_unknown(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = in_folders(tmp_path / "p", dark=(0, 120), unknown=(127,))
    words = ["classify", "-m", model, "--report", "--json", "--threshold", "0.999", root / "dark", root / "unknown"]
    assert cli.main([str(word) for word in words]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert (report["pictures"], report["right"], report["likeliest_right"]) == (3, 2, 3)
    assert report["said"] == ["dark", "unknown"]
    assert report["confusion"] == {"dark": [1, 1], "unknown": [0, 1]}


@pytest.mark.parametrize(("values", "threshold", "said"), [
    ((0, 255), "0.1", "; 1 unknown, all of them by the model itself"),
    ((0, 120), "0.999", "; 1 unknown, without the threshold 100.0 %"),
    ((0, 120, 255), "0.999", "; 2 unknown, 1 of them by the model itself, without the threshold 66.6 %"),
])  # fmt: skip
def test_the_report_says_what_the_threshold_is_to_blame_for(
    values: tuple[int, ...], threshold: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_bundle(tmp_path / "m", reject="bright")
    root = in_folders(tmp_path / "p", dark=values)
    words = ["classify", "-m", str(model.folder), "--report", "--threshold", threshold, str(root)]
    assert cli.main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy")]
    assert line.endswith(said)


def test_a_report_without_classes_says_how_to_name_folders(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = in_folders(tmp_path / "p", cats=(0,))
    assert cli.main(["classify", "-m", str(model), "--report", str(root)]) == 1
    assert "put them into folders: dark, bright" in capsys.readouterr().err


def test_what_a_folder_leaves_out_is_named_in_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = in_folders(tmp_path / "p", dark=(0,))
    for name in ("._0.png", "notes.txt", "clip.mp4"):
        (root / name).write_bytes(b"x")
    (root / "2.JFIF").write_bytes(cv2.imencode(".jpg", picture(255))[1].tobytes())
    assert cli.main(["classify", "-m", str(model), str(root)]) == 0
    said = capsys.readouterr()
    assert [line.split(":")[0].rpartition("/")[2] for line in said.out.splitlines()] == ["2.JFIF", "0.png"]
    assert said.err.splitlines() == [f"picam-infer classify: left out of {root}: clip.mp4, notes.txt"]


def test_a_report_takes_single_pictures(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dark").mkdir()
    save(tmp_path / "dark" / "a.png", 0)
    monkeypatch.chdir(tmp_path / "dark")
    for given in ("a.png", "../dark/a.png", str(tmp_path / "dark/a.png")):
        assert cli.main(["classify", "-m", str(model), "--report", "--json", given]) == 0
        report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
        assert (report["pictures"], report["right"]) == (1, 1)


def test_a_report_on_what_is_not_there_says_so(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["classify", "-m", str(model), "--report", "/nothere"]) == 66
    assert "there is no /nothere" in capsys.readouterr().err


def test_a_report_is_for_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_bundle(tmp_path / "m", probabilities=False)
    card = (made.folder / "model.yaml").read_text()
    (made.folder / "model.yaml").write_text(f"{card}task: regression\n")
    root = in_folders(tmp_path / "p", dark=(0,))
    assert cli.main(["classify", "-m", str(made.folder), "--report", str(root)]) == 1
    assert "--report is for classes" in capsys.readouterr().err


def test_of_several_classes_that_apply_one_that_is_among_them_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_bundle(tmp_path / "m")
    card = (made.folder / "model.yaml").read_text()
    (made.folder / "model.yaml").write_text(f"{card}task: multi-label\n")
    root = in_folders(tmp_path / "p", dark=(127, 0), bright=(127,))
    words = ["classify", "-m", str(made.folder), "--report", "--json", "--threshold", "0.3", str(root)]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert (report["pictures"], report["right"]) == (3, 3)
