"""Folders and archives of pictures, by whoever packed them, and those that are not to be trusted."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from lessons import encoded, pictures

from picam_infer.core import NoInput, PicamError
from picam_infer.training.teach import intake


def packed(path: Path, *entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def taken(given: Path, tmp_path: Path) -> dict[str, int]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = intake.read(given, scratch)
    labels = [one.label for one in found.pictures]
    assert all(one.path.is_file() for one in found.pictures)
    return {label: labels.count(label) for label in found.labels}


RED, BLUE = encoded("red", 1, ".jpg"), encoded("blue", 2)


def test_one_folder_a_class(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 3)
    (folder / "red" / "deeper").mkdir()
    (folder / "red" / "deeper" / "x.png").write_bytes(RED)
    (folder / ".hidden").mkdir()
    assert taken(folder, tmp_path) == {"blue": 3, "green": 3, "red": 4}


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 2)
    (folder / "loose.png").write_bytes(RED)
    (folder / "red" / "notes.txt").write_text("x")
    found = intake.read(folder, tmp_path)
    assert any("not in a class's folder: loose.png" in remark for remark in found.remarks)
    assert any("left out of red: notes.txt" in remark for remark in found.remarks)


def test_a_class_without_pictures_is_refused(tmp_path: Path) -> None:
    (pictures(tmp_path / "p", 2) / "empty").mkdir()
    with pytest.raises(NoInput, match=r"class 'empty' has no pictures \(looked for .*\); put some into its folder, or"):
        intake.read(tmp_path / "p", tmp_path)


@pytest.mark.parametrize("top", ["", "my photos/"])
def test_a_zip_of_folders(top: str, tmp_path: Path) -> None:
    given = packed(tmp_path / "z.zip", (f"{top}cat/1.jpg", RED), (f"{top}dog/1.png", BLUE), (f"{top}dog/._1.png", b"x"),
                   ("__MACOSX/x", b"x"))  # fmt: skip
    assert taken(given, tmp_path) == {"cat": 1, "dog": 1}


def test_a_teachable_machine_project(tmp_path: Path) -> None:
    samples = [(f"Class {k}-!-{n}.jpg", encoded("red", 10 * k + n, ".jpg")) for k in (1, 2, 10) for n in range(12)]
    manifest = ("manifest.json", b'{"type":"image","version":"2.4.10","appdata":{}}')
    given = packed(tmp_path / "project.tm", manifest, *samples)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = intake.read(given, scratch)
    assert found.labels == ["Class 1", "Class 2", "Class 10"]
    assert [one.shown for one in found.pictures][:12] == [f"Class 1-!-{n}.jpg" for n in range(12)]


@pytest.mark.parametrize(
    ("name", "label"),
    [("Striped-samples.zip", "Striped"), ("Striped-samples (1).zip", "Striped"), ("socks.zip", "socks")],
)
def test_the_samples_of_one_class(name: str, label: str, tmp_path: Path) -> None:
    given = packed(tmp_path / name, ("0.jpg", RED), ("1.jpg", BLUE))
    assert taken(given, tmp_path) == {label: 2}


def test_a_folder_of_such_downloads(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, data in (("A-samples.zip", RED), ("B-samples.zip", BLUE)):
        packed(tmp_path / "d" / name, ("0.jpg", data))
    assert taken(tmp_path / "d", tmp_path) == {"A": 1, "B": 1}


def test_the_zip_of_kept_pictures_with_its_table(tmp_path: Path) -> None:
    table = {"cat-1234": "Cat 🐱", "unknown": None}
    given = packed(
        tmp_path / "kept.zip",
        ("labels.json", json.dumps(table).encode()),
        ("cat-1234/1.jpg", RED),
        ("unknown/2.png", BLUE),
    )
    found = intake.read(given, tmp_path)
    assert found.labels == ["Cat 🐱"]
    assert any("not labelled yet" in remark and "1 picture of unknown" in remark for remark in found.remarks)


def test_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        for name, data in (("a/1.jpg", RED), ("b/1.png", BLUE)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    assert taken(tmp_path / "t.tar.gz", tmp_path) == {"a": 1, "b": 1}


def _link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("a/link.jpg")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("../a/1.jpg", RED)], "leads out of it"),
        ([("/etc/1.jpg", RED)], "leads out of it"),
        ([("a\\..\\..\\1.jpg", RED)], "leads out of it"),
        ([(_link(), b"/etc/passwd")], "holds a link"),
        ([("a/1.jpg", b"\0" * 80_000_000)], "zip bomb"),
        ([("a/1.jpg", RED), ("a\\1.jpg", RED)], "two files of the same name"),
    ],
)
def test_hostile_zips_are_refused_and_leave_nothing_outside(entries: list, said: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "scratch").mkdir(parents=True)
    packed(tmp_path / "evil.zip", *entries)
    with pytest.raises(PicamError, match=said):
        intake.read(tmp_path / "evil.zip", tmp_path / "in" / "scratch")
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["scratch"]


@pytest.mark.parametrize("cut", [10, 200])
def test_a_zip_that_is_cut_short(cut: int, tmp_path: Path) -> None:
    given = packed(tmp_path / "z.zip", ("a/1.jpg", RED))
    given.write_bytes(given.read_bytes()[:cut])
    with pytest.raises(PicamError, match=r"cut short|neither"):
        intake.read(given, tmp_path)


def test_other_things_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(RED)
    (tmp_path / "empty").mkdir()
    packed(tmp_path / "none.zip", ("readme.txt", b"x"))
    for given, said in (
        ("nope", "there is no"),
        ("a.jpg", "neither a folder nor an archive"),
        ("empty", "no pictures of any class"),
        ("none.zip", "no pictures of any class"),
    ):
        with pytest.raises(PicamError, match=said):
            intake.read(tmp_path / given, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_class_without_pictures_is_refused_in_an_archive_too(kind: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / "full").mkdir(parents=True)
    (tmp_path / "photos" / "empty").mkdir()
    (tmp_path / "photos" / "full" / "1.png").write_bytes(encoded("red", 1))
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "photos"))
    with pytest.raises(NoInput, match="'empty' has no pictures"):
        taken(packed, tmp_path)


def nested(path: Path, entry: tuple[str, bytes], names: list[str]) -> Path:
    """Write a zip that holds an entry inside of further zips of these names, the innermost first."""
    packed(path, entry)
    for name in names:
        packed(path, (name, path.read_bytes()))
    return path


def test_zips_inside_each_other_are_opened_up_to_a_depth(tmp_path: Path) -> None:
    given = nested(tmp_path / "p.zip", ("red.png", RED), ["red.zip", "b.zip", "c.zip"])
    assert taken(given, tmp_path) == {"red": 1}
    for more in (1, 200):
        given = nested(tmp_path / "p.zip", ("red.png", RED), ["red.zip", "b.zip", "c.zip", *["n.zip"] * more])
        with pytest.raises(PicamError, match="lies in 4 archives inside each other") as error:
            intake.read(given, tmp_path / "scratch")
        assert error.value.hint == "unpack them, and give the pictures"


@pytest.mark.parametrize("spread", ["one in the other", "side by side", "in a folder"])
def test_zips_that_are_harmless_alone_are_a_bomb_together(spread: str, tmp_path: Path) -> None:
    """Each unpacks to less than is free for anybody; all together to hundreds of times what was given."""
    (tmp_path / "scratch").mkdir()
    hollow = [packed(tmp_path / f"c{at}.zip", ("x.jpg", bytes(30_000_000))).read_bytes() for at in range(4)]
    given = tmp_path / "p.zip"
    if spread == "in a folder":
        (tmp_path / "p").mkdir()
        for at, data in enumerate(hollow):
            (tmp_path / "p" / f"c{at}.zip").write_bytes(data)
        given = tmp_path / "p"
    elif spread == "side by side":
        packed(given, *((f"c{at}.zip", data) for at, data in enumerate(hollow)))
    else:
        packed(given, ("x.jpg", bytes(30_000_000)))
        for _ in range(3):
            packed(given, ("n.zip", given.read_bytes()), ("c/x.jpg", bytes(30_000_000)))
    with pytest.raises(PicamError) as error:
        intake.read(given, tmp_path / "scratch")
    assert "zip bomb" in error.value.hint and "MB together with those around it, from" in error.value.message
    assert sum(path.stat().st_size for path in (tmp_path / "scratch").rglob("*") if path.is_file()) <= 2 * 30_100_000


def test_what_is_packed_in_a_strange_way_is_told_of_pictures(tmp_path: Path) -> None:
    given = packed(tmp_path / "p.zip", ("red/1.jpg", RED))
    data = bytearray(given.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    given.write_bytes(data)
    with pytest.raises(PicamError, match="is encrypted") as error:
        intake.read(given, tmp_path)
    assert error.value.hint == "unpack it with its password, and give the pictures in it"
