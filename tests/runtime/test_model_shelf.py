"""Models that are brought in, found on sticks, and deleted."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from makers import make_bundle

from picam_infer.core import NoInput, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.platform.removable import Medium
from picam_infer.runtime import model_shelf


@pytest.mark.parametrize("given", ["x" * 300, "./" + "x" * 300, "~nobody-of-this-name/m"])
def test_a_name_that_cannot_be_looked_up_is_one_line(given: str, tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"cannot be read|no model called"):
        model_shelf.install(given, folder=tmp_path)


def stick(tmp_path: Path) -> Medium:
    folder = tmp_path / "stick"
    make_bundle(folder / "a bundle")
    (folder / "converted_keras (1).zip").write_bytes(b"PK")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/m.tflite").write_bytes(b"x")
    (folder / "notes.txt").write_text("no model")
    (folder / ".Trashes").mkdir()
    (folder / ".Trashes/old.h5").write_bytes(b"x")
    return Medium("sda1", "SanDisk", folder)


def test_what_is_on_a_stick(tmp_path: Path) -> None:
    medium = stick(tmp_path)
    assert [one.path.name for one in model_shelf.offers([medium, Medium("sdb1", "x", None)])] == [
        "converted_keras (1).zip",
        "a bundle",
        "m.tflite",
    ]


def test_a_bundle_is_copied_and_the_stick_stays_as_it_is(shelf: Path, tmp_path: Path) -> None:
    medium = stick(tmp_path)
    assert medium.folder is not None
    before = sorted((path, path.stat().st_mtime_ns) for path in medium.folder.rglob("*"))
    assert model_shelf.install(str(medium.folder / "a bundle")) == "a-bundle"
    assert bundles.load("a-bundle").labels == ("dark", "bright")
    assert sorted((path, path.stat().st_mtime_ns) for path in medium.folder.rglob("*")) == before


def test_a_group_shares_what_one_member_brought_in(shelf: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    shelf.chmod(0o2775)
    before = os.umask(0o077)
    try:
        model_shelf.install(f"{tmp_path}/m")
    finally:
        os.umask(before)
    for path in (shelf / "m", *(shelf / "m").iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o2775 if path.is_dir() else 0o664), f"{path.name}: {mode:o}"


def test_deleting(shelf: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        make_bundle(shelf / name)
    (tmp_path / "etc/bench.yaml").write_text("model: two\n")
    model_shelf.delete("one", model_shelf.in_use())
    assert not (shelf / "one").exists() and bundles.names() == ["digits", "three", "two"]
    assert not list(shelf.glob(".deleted*")), "nothing is left of it"
    cases = (("two", PicamError, "in use"), ("digits", PicamError, "built in"), ("none", NoInput, "none"))
    for name, kind, said in cases:
        with pytest.raises(kind, match=said):
            model_shelf.delete(name, model_shelf.in_use())
    with pytest.raises(PicamError):
        model_shelf.delete(str(shelf / "three"), [])
    assert (shelf / "three").is_dir()


def test_a_broken_model_can_be_deleted_unless_it_is_in_use(shelf: Path) -> None:
    for name in ("lacking", "damaged"):
        make_bundle(shelf / name)
    (shelf / "lacking/model.bin").unlink()
    (shelf / "damaged/model.yaml").write_bytes(b"\xff")
    with pytest.raises(PicamError, match="in use"):
        model_shelf.delete("lacking", [str(shelf / "lacking")])
    model_shelf.delete("lacking", [])
    model_shelf.delete("damaged", [])
    assert bundles.names() == ["digits"]


def test_a_model_being_written_or_deleted_is_not_listed(shelf: Path) -> None:
    make_bundle(shelf / "m")
    shutil.copytree(shelf / "m", shelf / ".deleted.m.0123abcd")
    assert bundles.names() == ["digits", "m"]
