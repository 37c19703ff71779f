"""`picam-infer teach` and `models` as people call them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import lessons
import pytest
from lessons import encoded, pictures
from makers import shared, unprivileged

from picam_infer import cli
from picam_infer.models import bundle as bundles
from picam_infer.training.teach.lesson import Lesson, Room


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lessons.backbone(tmp_path / "base")
    pictures(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def teach(*words: str) -> int:
    return cli.main(["teach", *words])


def told(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_becomes_a_model_that_names_pictures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    said = capsys.readouterr().out
    for part in ("18 pictures of 3 classes: blue 6, green 6, red 6", "accuracy 100.0 %", "is / said",
                 "picam-infer run --model ./balls", "picam-infer use ./balls"):  # fmt: skip
        assert part in said
    # A threshold of nearly nothing: whether it is one of the classes is the model's business here.
    assert cli.main(["classify", "-m", "./balls", "--threshold", "0.01", "--report", "photos"]) == 0
    assert "accuracy 100.0 %" in capsys.readouterr().out


def test_the_same_pictures_give_the_same_bytes_and_the_old_ones_stay(home: Path) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    first = files(home / "balls")
    (home / "photos" / "red" / "more.png").write_bytes(encoded("red", 55))
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    assert files(home / "balls") != first
    assert len(list((home / "balls.pictures.before").rglob("*.*g"))) == 18
    (home / "photos" / "red" / "more.png").unlink()
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    assert files(home / "balls") == first
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(".balls")) == []


def test_changes_need_no_backbone_and_come_to_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    first = files(home / "balls")
    for path in (home / "base").iterdir():
        path.unlink()
    pictures(home / "more", 2, ("white",), seed=40)
    (home / "more" / "red").mkdir()
    (home / "more" / "red" / "wrong.png").write_bytes(encoded("blue", 66))
    assert teach("-o", "balls", "--add", "more") == 0
    capsys.readouterr()
    assert teach("-o", "balls", "--relabel", "wrong.png=blue", "--json") == 0
    counts = {one["label"]: one["pictures"] for one in told(capsys)["classes"]}
    assert counts == {"blue": 7, "green": 6, "red": 6, "white": 2}
    assert teach("-o", "balls", "--relabel", "white=cream") == 0
    assert teach("-o", "balls", "--remove", "blue/wrong.png", "--remove", "cream") == 0
    assert files(home / "balls") == first


def test_unreadable_pictures_are_named_and_skipped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "photos" / "red" / "bad.jpg").write_bytes(b"junk")
    (home / "photos" / "red" / "cut.png").write_bytes(encoded("red", 1)[:200])
    (home / "photos" / "red" / "notes.txt").write_text("x")
    (home / "photos" / "red" / "again.jpg").write_bytes((home / "photos" / "green" / "green0.jpg").read_bytes())
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    said = capsys.readouterr().err
    for part in ("red/bad.jpg is not a picture", "red/cut.png", "left out of red: notes.txt",
                 "red/again.jpg is already taught, as green"):  # fmt: skip
        assert said.count(part) == 1


@pytest.mark.parametrize(("words", "code", "said"), [
    (["photos"], 2, "-m BACKBONE is missing"),
    (["-m", "./base"], 2, "no pictures are given"),
    (["-m", "./base", "photos", "--remove", "x"], 2, "give --add"),
    (["-m", "nope", "photos"], 66, "no model called 'nope'"),
    (["-m", "./base", "nothing"], 66, "there is no nothing"),
    (["--add", "photos"], 66, "was not taught here"),
    (["-m", "./base", "photos", "--features", "nope"], 2, "no layer 'nope'"),
    (["-m", "./base", "photos", "--max-mb", "0.001"], 1, "--max-mb"),
    (["-m", "./base", "photos", "empty"], 66, "no pictures"),
])  # fmt: skip
def test_mistakes_get_one_line(
    words: list[str], code: int, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "empty" / "class").mkdir(parents=True)
    assert teach("-o", "balls", *words) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (home / "balls").exists() and not (home / "balls.pictures").exists()


@pytest.mark.parametrize(("change", "said"), [
    ("--remove=nope.jpg", "neither a taught picture nor a class"), ("--relabel=red0.jpg", "names no class"),
    ("--relabel=red0.jpg=", "names no class"), ("--remove=x.png", "2 taught pictures are called x.png"),
])  # fmt: skip
def test_a_mistyped_change_changes_nothing(
    change: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for colour in ("red", "blue"):
        (home / "photos" / colour / "x.png").write_bytes(encoded(colour, 70))
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    before = files(home / "balls")
    capsys.readouterr()
    assert teach("-o", "balls", "--remove", "green", change) == 2
    assert said in capsys.readouterr().err
    assert files(home / "balls") == before
    assert len(list((home / "balls.pictures" / "green").iterdir())) == 6


@pytest.mark.parametrize("words", [
    ["--remove", "red", "--remove", "green", "--remove", "blue"],
    ["--remove=red", "--remove=green", *(f"--remove=blue{n}.{kind}" for n, kind in enumerate(["jpg", "png"] * 3))],
    ["--relabel", "red=green", "--relabel", "blue=green", "--remove", "green"],
    ["--add", "more", "--remove", "red", "--remove", "green", "--remove", "blue"],
])  # fmt: skip
def test_nothing_is_deleted_when_nothing_would_be_left(
    words: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(home / "more", 2, ("red",), seed=40)
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    before = sorted(path for path in (home / "balls.pictures").rglob("*.*g"))
    capsys.readouterr()
    assert teach("-o", "balls", *words) == 2
    said = capsys.readouterr().err
    assert "nothing would be left to recognise; leave one out, or delete the folder balls" in said
    assert said.count("\n") == 1
    assert sorted(path for path in (home / "balls.pictures").rglob("*.*g")) == before
    assert cli.main(["classify", "-m", "./balls", "photos/red/red0.jpg"]) == 0


def test_a_change_that_fails_halfway_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(home / "more", 60, ("white",), seed=40)
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    before = files(home / "balls"), sorted((home / "balls.pictures").rglob("*.*g"))
    size = sum(path.stat().st_size for path in before[1])
    each = (home / "more" / "white" / "white40.jpg").stat().st_size
    assert teach("-o", "balls", "--add", "more", "--max-mb", str((size + 55 * each) / 1e6)) == 1
    assert "--max-mb" in capsys.readouterr().err
    assert (files(home / "balls"), sorted((home / "balls.pictures").rglob("*.*g"))) == before


def test_what_was_removed_and_moved_is_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    capsys.readouterr()
    assert teach("-o", "balls", "--remove", "red", "--relabel", "blue=green") == 0
    said = capsys.readouterr().err
    assert "removed with the class red: 6 pictures" in said
    assert "moved from blue to green: 6 pictures" in said


def test_pictures_given_twice_are_told_from_those_taught_before(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "photos" / "red" / "again.png").write_bytes(encoded("red", 101 - 100, ".png"))
    (home / "photos" / "red" / "copy.png").write_bytes(encoded("red", 101 - 100, ".png"))
    (home / "photos" / "red" / "bad.jpg").write_bytes(b"junk")
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    said = capsys.readouterr().err
    assert "they were given twice: 2 pictures" in said and "taught before" not in said
    assert teach("-o", "balls", "--add", "photos") == 0
    assert "they were taught before: 20 pictures" in capsys.readouterr().err


def test_teaching_anew_names_what_it_replaces_and_no_temporary_folder(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    for said in ("the earlier pictures are in balls.pictures.before\n", "before, instead of those from before them\n"):
        capsys.readouterr()
        assert teach("-m", "./base", "-o", "balls", "photos") == 0
        assert said in capsys.readouterr().err
    assert teach("-m", "./base", "-o", "balls", "photos", "--max-mb", "0.001") == 1
    assert "(balls.pictures)" in (said := capsys.readouterr().err) and ".new" not in said


def test_what_was_taught_on_the_page_is_found_by_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "models").mkdir()
    monkeypatch.setattr(bundles, "INSTALLED", home / "models")
    assert teach("-m", "./base", "-o", "models/balls", "photos") == 0
    pictures(home / "more", 2, ("white",), seed=40)
    assert teach("-o", "balls", "--add", "more") == 0
    assert "run it: picam-infer run --model balls," in capsys.readouterr().out
    assert "white" in bundles.load("balls").labels and not (home / "balls").exists()
    assert teach("-o", "other", "--add", "more") == 66
    assert "other was not taught here: there is no other.pictures, nor one among the models" in capsys.readouterr().err
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    assert teach("-o", "balls", "--add", "more") == 0, "what is here comes first"
    assert "run it: picam-infer run --model ./balls," in capsys.readouterr().out


def test_the_pages_classes_follow_the_commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "INSTALLED", home)
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    lesson = Lesson("balls", bundles.load("./balls"), Room(100, 0))
    lesson.add_class("empty yet")
    lesson.close()
    assert list(lesson.classes()) == ["blue", "green", "red", "empty yet"]
    assert teach("-o", "balls", "--relabel", "red=green", "--relabel", "blue=sky") == 0
    assert Lesson("balls", bundles.load("./balls"), Room(100, 0)).classes() == {"sky": 6, "green": 12, "empty yet": 0}
    assert teach("-o", "balls", "--remove", "sky") == 0
    assert Lesson("balls", bundles.load("./balls"), Room(100, 0)).classes() == {"green": 12, "empty yet": 0}


def test_a_class_of_which_no_picture_is_readable_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "photos" / "odd").mkdir()
    (home / "photos" / "odd" / "bad.png").write_bytes(b"junk")
    assert teach("-m", "./base", "-o", "balls", "photos") == 66
    assert "class 'odd' has no usable picture: odd/bad.png" in capsys.readouterr().err
    assert not (home / "balls").exists()


def test_a_project_with_one_picture_a_class(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("p.tm", "w") as archive:
        archive.writestr("manifest.json", '{"type": "image"}')
        archive.writestr("Class 1-!-0.jpg", encoded("red", 1, ".jpg"))
        archive.writestr("Class 2-!-0.jpg", encoded("blue", 1, ".jpg"))
    assert teach("-m", "./base", "-o", "two", "p.tm") == 0
    assert "no way to tell yet" in capsys.readouterr().out
    assert bundles.load("./two").labels == ("Class 1", "Class 2", "unknown")


def test_models_say_what_they_can_be_used_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundles, "INSTALLED", home)
    assert teach("-m", "base", "-o", "balls", "photos") == 0
    (home / "base" / "graph").write_bytes(b"x")
    (home / "broken").mkdir()
    (home / "broken" / "model.yaml").write_text("name: 3")
    capsys.readouterr()
    assert cli.main(["models", "--json"]) == 1
    found = {one["name"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(found) == {"base", "balls", "broken", "digits"}
    assert found["base"]["uses"] == ["classify", "backbone", "stick"]
    assert found["base"]["features"] == {"layer": "described", "count": 48}
    assert found["balls"]["taught"]["backbone"] == "base" and found["balls"]["labels"] == ["blue", "green", "red"]
    assert found["digits"]["uses"] == ["classify", "backbone"] and found["digits"]["built_in"]
    assert "not a model card" in found["broken"]["error"]
    assert cli.main(["models"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "backbone for drawn signs (512 numbers)" in lines[3] and "taught on base" in lines[0]


@pytest.mark.skipif(sys.platform != "linux", reason="needs OpenVINO")
def test_hands_on_a_teachable_machine_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = shared("models", "ojjsaw__teachable-machine-openvino", "converted_keras.zip")
    hands = shared("data", "hands")
    monkeypatch.chdir(tmp_path)
    for part, numbers in (("taught", range(10)), ("rest", range(10, 40))):
        for label in ("paper", "rock", "scissors"):
            (tmp_path / part / label).mkdir(parents=True)
            for number in numbers:
                (tmp_path / part / label / f"{number}.png").symlink_to(hands / label / f"{number:03}.png")
    assert cli.main(["convert", str(export), "-o", "export"]) == 0
    assert teach("-m", "./export", "-o", "hands", "taught") == 0
    capsys.readouterr()
    assert cli.main(["classify", "-m", "./hands", "--engine", "openvino", "--report", "--json", "rest"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert report["likeliest_right"] / report["pictures"] > 0.9


def test_a_place_that_cannot_be_written_is_not_blamed_on_the_pictures(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach("-m", "./base", "-o", "/proc/taught", "./photos") == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said and "class" not in said and said.count("\n") == 1


def test_a_model_that_was_not_taught_is_not_replaced(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(home / "base")
    assert teach("-m", "./base", "-o", "base", "photos") == 2
    assert "base is a model that was not taught; give what is taught another name with -o" in capsys.readouterr().err
    assert files(home / "base") == before and not (home / "base.pictures").exists()


def test_pictures_without_folders_for_classes_are_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos/red") == 66
    said = capsys.readouterr().err
    assert "photos/red has no pictures of any class in it (left out, because they are not in a class's folder: " in said


def test_pipes_among_the_pictures_are_named_and_not_waited_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(home / "photos" / "red" / "pipe.jpg")
    os.mkfifo(home / "photos" / "labels.json")
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    assert "skipped: red/pipe.jpg is not a regular file" in capsys.readouterr().err
    os.mkfifo(home / "photos" / "more.zip")
    os.mkfifo(home / "pipe")
    for given, said in (("photos", "photos/more.zip is not a regular file"), ("pipe", "pipe is not a regular file")):
        assert teach("-m", "./base", "-o", "others", given) == 66
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("output", [".", "", "/", "..", "balls/..", "./", "//"])
def test_an_output_without_a_name_is_refused(output: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(home.rglob("*"))
    assert teach("-m", "./base", "-o", output, "photos") == 2
    said = capsys.readouterr().err
    assert "is not a name for the taught model; give a new folder's name" in said and said.count("\n") == 1
    assert teach("-o", output, "--remove", "red") == 2
    assert sorted(home.rglob("*")) == before


def refused(*words: str) -> tuple[int, str]:
    done = subprocess.run([*unprivileged(), sys.executable, "-m", "picam_infer", *words],
                          capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr.partition(": ")[2]


def test_what_may_not_be_read_or_written_is_named(home: Path) -> None:
    assert teach("-m", "./base", "-o", "balls", "photos") == 0
    red, kept = home / "photos" / "red", home / "balls.pictures" / "red"
    beginning, why = ("teach", "-m", "./base", "-o", "others"), " cannot be read (Permission denied); check its owner"
    try:
        kept.chmod(0)
        code, said = refused("teach", "-o", "balls", "--remove", "red0.jpg")
        assert code == 66 and said.startswith(f"balls.pictures/red{why}")
        red.chmod(0)
        code, said = refused(*beginning, "photos")
        assert code == 66 and said.startswith(f"photos/red{why}")
        for mode, given in ((0o000, "photos"), (0o444, "photos"), (0o000, "photos/red")):
            (home / "photos").chmod(mode)
            code, said = refused(*beginning, given)
            assert code == 66 and "photos" in said and why in said
        code, said = refused("teach", "-m", "./base", "-o", "photos/others", "base")
        assert code == 1 and said.startswith("photos/others.pictures cannot be written (Permission denied)")
        code, said = refused("teach", "-o", "photos/others", "--remove", "red")
        assert code == 66 and said.startswith(f"photos/others.pictures{why}")
    finally:
        (home / "photos").chmod(0o755)
        red.chmod(0o755)
        kept.chmod(0o755)
    assert not list(home.glob("*others*"))


@pytest.mark.parametrize("part", ["model.xml", "model.bin"])
def test_a_model_whose_network_may_not_be_read_is_not_called_damaged(part: str, home: Path) -> None:
    (home / "base" / part).chmod(0)
    words = ("-m", "./base")
    for verb in (("teach", *words, "-o", "balls", "photos"), ("classify", *words, "photos/red/red0.jpg")):
        code, said = refused(*verb)
        assert code == 66 and said.startswith(f"base/{part} cannot be read (Permission denied); check its owner")


def test_two_at_once_do_not_spoil_each_others_pictures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(home / "many", 60)
    first = subprocess.Popen([sys.executable, "-m", "picam_infer", "teach", "-m", "./base", "-o", "balls", "many"],
                             stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        while not (home / ".balls.pictures.new").exists():
            assert first.poll() is None
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)
        assert teach("-m", "./base", "-o", "balls", "photos") == 1
        said = capsys.readouterr().err
        assert "another picam-infer teach is working on balls; wait until it has ended" in said
        assert said.count("\n") == 1
        assert teach("-m", "./base", "-o", "others", "photos") == 0
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.wait()
    assert len(list((home / "balls.pictures").rglob("*.*g"))) == 180
    assert teach("-o", "balls", "--remove", "red") == 0
    assert not list(home.glob(".balls*")) and not list(home.glob(".others*"))


def test_a_refused_lesson_leaves_no_folder_behind(home: Path) -> None:
    assert teach("-m", "./base", "-o", "new/deep/balls", "base") == 66
    assert not (home / "new").exists()
    assert teach("-m", "./base", "-o", "new/deep/balls", "photos") == 0
