"""`use` and `instance` against a systemctl that answers like the real one: the lowest thing that cannot be here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import make_bundle
from small_disk import SmallDisk

from picam_infer import config as configs
from picam_infer.cli import main
from picam_infer.models import bundle as bundles
from picam_infer.sources import v4l2


def settings(machine: Path) -> str:
    return (machine / "etc/config.yaml").read_text()


def test_a_bundle_is_installed_used_and_taken_back(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(machine / "home/plants")
    assert main(["use", str(machine / "home/plants")]) == 0
    assert settings(machine) == "# mine\nmodel: plants  # the first\nsource: demo\n"
    assert bundles.load("plants").labels == ("dark", "bright")
    assert "sees bright" in capsys.readouterr().out
    assert "reload-or-restart picam-infer.service" in (machine / "bin/calls").read_text()
    assert main(["use", "--undo"]) == 0
    assert "model: digits  # the first" in settings(machine)
    assert main(["use", "--undo"]) == 0, "and forth again"
    assert "model: plants  # the first" in settings(machine)


def test_a_model_beside_the_settings_is_gone_back_to_from_anywhere(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(machine / "etc/mine/plants")
    make_bundle(machine / "var/models/shoes")
    (machine / "etc/config.yaml").write_text("# mine\nmodel: mine/plants\nsource: demo\n")
    (machine / "home").mkdir(exist_ok=True)
    monkeypatch.chdir(machine / "home")
    assert main(["use", "shoes"]) == 0
    assert settings(machine) == "# mine\nmodel: shoes\nsource: demo\n"
    assert main(["use", "--undo"]) == 0
    assert bundles.load(configs.load(machine / "etc/config.yaml").model).folder == machine / "etc/mine/plants"


def test_what_an_instance_is_given_is_relative_to_the_shell(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(machine / "home/plants")
    (machine / "home/clips").mkdir()
    monkeypatch.chdir(machine / "home")
    assert main(["instance", "bench", "--source", "clips", "--model", "./plants", "--no-start"]) == 0
    made = configs.load(machine / "etc/bench.yaml")
    assert (made.source, made.model) == (str(machine / "home/clips"), str(machine / "home/plants"))


def test_a_model_that_is_there_is_used_by_its_name(machine: Path) -> None:
    make_bundle(machine / "var/models/plants")
    assert main(["use", "plants"]) == 0
    assert "model: plants" in settings(machine)
    assert not (machine / "var/models/plants-2").exists()


def test_two_models_of_one_name_do_not_replace_each_other(machine: Path) -> None:
    for place in ("a", "b"):
        make_bundle(machine / place / "converted_keras")
        assert main(["use", str(machine / place / "converted_keras")]) == 0
    assert "model: converted_keras-2" in settings(machine)


def test_what_cannot_be_used_changes_nothing(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = settings(machine)
    cv2.imwrite(str(machine / "cat.png"), np.zeros((4, 4, 3), np.uint8))
    for words, code, said in (
        (["use", "nope"], 66, "no model called 'nope'"),
        (["use", str(machine / "nope.h5")], 66, "there is no"),
        (["use", str(machine / "cat.png")], 1, "cat.png"),
        (["use", "--undo"], 66, "no model was used before"),
        (["use", "digits", "--instance", "no such"], 2, "cannot be the name of a service"),
        (["use", "digits", "--instance", "bench"], 69, "there is no service"),
    ):
        assert main(words) == code, words
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err
    assert settings(machine) == before
    assert not (machine / "bin/calls").exists()


def test_settings_that_do_not_fit_the_model_are_named(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "etc/config.yaml").write_text("preprocess: {canny: [90, 30]}\n")
    make_bundle(machine / "plants")
    assert main(["use", str(machine / "plants")]) == 78
    assert "preprocess" in capsys.readouterr().err
    assert settings(machine) == "preprocess: {canny: [90, 30]}\n"


def test_a_full_disk_is_a_failure_and_not_a_wrong_configuration(
    machine: Path, small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    before = settings(machine)
    make_bundle(machine / "var/models/plants")
    small_disk.fill()
    assert main(["use", "plants"]) == 1
    err = capsys.readouterr().err
    assert err.endswith("cannot be written (No space left on device); make room on that disk\n"), err
    assert err.count("\n") == 1 and settings(machine) == before


def test_settings_that_cannot_be_saved_alone_are_not_a_configuration_error(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what would keep the service from starting is."""
    make_bundle(machine / "var/models/plants")
    (machine / "etc/config.yaml").write_text("model: &one >-\n  digits\nkeep: {folder: *one}\n")
    assert main(["use", "plants"]) == 1
    assert "model cannot be changed here" in capsys.readouterr().err


def test_a_refusal_of_systemd_says_what_to_do(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "bin/refuse").touch()
    assert main(["use", "digits"]) == 69
    err = capsys.readouterr().err
    assert "put sudo in front" in err and err.count("\n") == 1


def test_systemd_may_be_slow_while_the_model_is_loaded(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "bin/slow-later").write_text("once\ntwice\n")
    assert main(["use", "digits"]) == 0
    assert "sees bright" in capsys.readouterr().out
    assert not (machine / "bin/slow").read_text(), "it was asked again"


def test_a_service_that_does_not_see_anything_is_told(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "bin/says").write_text("camera lost: it was unplugged; plug it in")
    assert main(["use", "digits"]) == 1
    assert "camera lost" in capsys.readouterr().out


def test_an_instance_has_a_camera_a_port_and_no_monitor_of_its_own(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["instance", "bench", "--source", "rtsp://cam/1"]) == 0
    made = configs.load(machine / "etc/bench.yaml")
    assert (made.source, made.display.kind) == ("rtsp://cam/1", "none")
    assert made.web == configs.Web(listen="127.0.0.1:8081")
    assert "enable --now --quiet picam-infer@bench.service" in (machine / "bin/calls").read_text()
    assert main(["instance", "door", "--source", "demo", "--no-start"]) == 0
    assert configs.load(machine / "etc/door.yaml").web == configs.Web(listen="127.0.0.1:8082")
    capsys.readouterr()
    assert main(["instance"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == [
        "picam-infer.service", "picam-infer@bench.service", "picam-infer@door.service"]  # fmt: skip


def test_a_full_disk_leaves_no_half_settings_of_an_instance(
    machine: Path, capsys: pytest.CaptureFixture[str], small_disk: SmallDisk
) -> None:
    small_disk.fill()
    assert main(["instance", "bench", "--source", "demo", "--no-start"]) == 1
    said = capsys.readouterr().err
    assert "bench.yaml cannot be written (No space left on device); make room on that disk" in said
    assert not (machine / "etc/bench.yaml").exists()
    small_disk.full = False
    assert main(["instance", "bench", "--source", "demo", "--no-start"]) == 0
    assert (machine / "etc/bench.yaml").stat().st_mode & 0o777 == 0o664


def test_what_another_service_has_is_refused(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "etc/config.yaml").write_text("source: camera:C270\n")
    for words, said in (
        (["--source", "camera:C270"], "picam-infer.service has the camera camera:C270"),
        (["--source", "demo", "--port", "8080"], "picam-infer.service has the port 8080"),
        (["--source", "demo", "--display", "kms"], "picam-infer.service has the monitor"),
        *([] if v4l2.discover() else [([], "no camera is free")]),
    ):
        assert main(["instance", "bench", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err
    assert main(["instance", "config"]) == 2
    assert main(["instance", "../x"]) == 2
    assert not (machine / "etc/bench.yaml").exists()


def test_a_folder_with_everything_in_it_is_refused_before_it_is_read(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.convert.archives.MAX_ENTRIES", 10)
    (machine / "home/all").mkdir(parents=True)
    for number in range(12):
        (machine / f"home/all/{number}").touch()
    assert main(["use", str(machine / "home/all")]) == 1
    assert capsys.readouterr().err == "picam-infer use: all holds more than 10 files; name the model file itself\n"
