"""`picam-infer models`: the list, sticks, and deleting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from makers import make_bundle

from picam_infer.cli import main
from picam_infer.models import bundle as bundles
from picam_infer.platform import removable
from picam_infer.platform.removable import Medium


def test_the_list_says_what_each_is_good_for(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(shelf / "light")
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "classify" in lines["light"] and "dark, bright" in lines["light"]
    assert "backbone for drawn signs" in lines["digits"]
    (shelf / "light/labels.txt").unlink()
    assert main(["models", "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "labels.txt" in next(one for one in told if one["name"] == "light")["error"]


def test_from_a_stick(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sticks: list[Medium] = []
    monkeypatch.setattr(removable, "media", lambda: sticks)
    assert main(["models", "import"]) == 66
    assert "no USB stick is plugged in" in capsys.readouterr().err
    sticks.append(Medium("sda1", "SanDisk", None))
    assert main(["models", "import"]) == 66
    assert "sudo mount -o ro /dev/sda1" in capsys.readouterr().err
    sticks[:] = [Medium("sda1", "SanDisk", tmp_path / "stick")]
    (tmp_path / "stick").mkdir()
    assert main(["models", "import"]) == 66
    assert "no model is on" in capsys.readouterr().err
    make_bundle(tmp_path / "stick/plants")
    assert main(["models", "import"]) == 0
    assert "picam-infer use plants" in capsys.readouterr().out and bundles.load("plants").labels == ("dark", "bright")
    make_bundle(tmp_path / "stick/socks")
    assert main(["models", "import"]) == 2
    said = capsys.readouterr()
    assert said.out.count("models import '") == 2 and "name one, as above" in said.err
    assert main(["models", "import", str(tmp_path / "stick/socks"), "--name", "feet"]) == 0
    assert bundles.load("feet").labels == ("dark", "bright")


def test_what_cannot_be_deleted_is_told_once(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(shelf / "light")
    cases = {"digits": "digits cannot be deleted: it is built in; picam-infer models lists the others",
             f"{shelf}/light": "is a folder, not the name of a model here; delete it as any other"}  # fmt: skip
    for name, said in cases.items():
        assert main(["models", "delete", name]) == 2
        assert said in capsys.readouterr().err
    assert (shelf / "light").is_dir()


def test_wrong_words_are_one_line(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shelf.parent.parent / "etc/config.yaml").write_text("model: mine\n")
    make_bundle(shelf / "mine")
    for words, code, said in (
        (["import", "nope.zip"], 66, "there is no"),
        (["delete"], 2, "no model is named"),
        (["delete", "nope"], 66, "no model called"),
        (["delete", "mine"], 2, "in use"),
        (["list", "x"], 2, "it is not clear what to do with x"),
    ):
        assert main(["models", *words]) == code, words
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err
    (shelf.parent.parent / "etc/config.yaml").write_text("model: digits\n")
    assert main(["models", "delete", "mine"]) == 0 and not (shelf / "mine").exists()
