"""The folder of taught pictures: names, limits, a table of labels, what people do to it by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lessons import encoded
from small_disk import SmallDisk

from picam_infer.core import PicamError
from picam_infer.training.teach.picture_set import PictureSet, clean_label, label_order, original_name


def test_pictures_come_back_in_one_order_whatever_order_they_went_in(tmp_path: Path) -> None:
    data = [encoded("red", seed) for seed in range(5)]
    for folder, order in (("a", range(5)), ("b", reversed(range(5)))):
        pictures = PictureSet(tmp_path / folder)
        for at in order:
            pictures.add(f"shelf {10 if at % 2 else 2}", data[at], f"{at}.png")
    one, other = (list(PictureSet(tmp_path / folder)) for folder in "ab")
    assert one == other
    assert [picture.label for picture in one] == ["shelf 2"] * 3 + ["shelf 10"] * 2
    assert {original_name(picture) for picture in one} == {f"{at}.png" for at in range(5)}


@pytest.mark.parametrize(
    "label", ["con", "a/b", "..", "🐱", "ÄÖ ü", "unknown", "x" * 300, ".removed", "=,;'\"", "日本"]
)
def test_any_label_has_a_folder_and_comes_back(label: str, tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    pictures.add(label, encoded("red", 1), "a.png")
    pictures.add(label.upper() + "!", encoded("red", 2), "a.png")
    again = PictureSet(tmp_path / "set")
    assert {picture.label for picture in again} == {label, label.upper() + "!"}
    assert all((tmp_path / "set") in again.path(picture).parents for picture in again)
    assert all(again.read(picture) for picture in again)


def test_odd_names_become_plain_ones(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    for seed, name in enumerate(
        ("../../x.png", "", ".png", "a b\n.jpg", "é" * 200 + ".png", "-", "a-0123456789ab.jpg")
    ):
        picture = pictures.add("c", encoded("red", seed), name)
        assert "/" not in picture.name and len(picture.name.encode()) < 90 and picture.name.endswith(".png")
    assert len(PictureSet(tmp_path / "set")) == 7


def test_removing_can_be_taken_back_until_it_is_forgotten(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    picture = pictures.add("c", encoded("red", 1), "a.png")
    assert pictures.remove(picture.id) == picture and len(PictureSet(tmp_path / "set")) == 0
    pictures.restore(picture)
    assert list(PictureSet(tmp_path / "set")) == [picture]
    pictures.remove(picture.id)
    pictures.forget_removed()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["labels.json"]
    assert json.loads((tmp_path / "set" / "labels.json").read_text()) == {}


def test_the_folder_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    data = encoded("red", 1)
    pictures = PictureSet(tmp_path / "set", max_mb=2.5 * len(data) / 1e6)
    pictures.add("c", data, "a.png")
    with pytest.raises(PicamError, match=r"more than .* MB.*--max-mb"):
        for seed in range(2, 9):
            pictures.add("c", encoded("red", seed), "b.png")
    assert sum(path.stat().st_size for path in (tmp_path / "set").rglob("*.png")) <= 2.5 * len(data)


def test_what_people_put_into_the_folder_is_taken_up(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    pictures.add("c", encoded("red", 1), "a.png")
    (tmp_path / "set" / "c" / "mine.png").write_bytes(encoded("red", 2))
    (tmp_path / "set" / "c" / "notes.txt").write_text("hello")
    (tmp_path / "set" / "new").mkdir()
    (tmp_path / "set" / "new" / "n.jpg").write_bytes(encoded("blue", 3, ".jpg"))
    (tmp_path / "set" / "new" / "link.jpg").symlink_to("/etc/passwd")
    again = PictureSet(tmp_path / "set")
    found = sorted((picture.label, original_name(picture)) for picture in again)
    assert found == [("c", "a.png"), ("c", "mine.png"), ("new", "n.jpg")]
    assert list(PictureSet(tmp_path / "set")) == list(again)


@pytest.mark.parametrize("table", ["", "[]", "{", '{"c": 3}', "\x00", '{"c": ""}', '{"c": "a\\nb"}', "[" * 5000])
def test_a_broken_table_loses_no_picture(table: str, tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    pictures.add("c", encoded("red", 1), "a.png")
    (tmp_path / "set" / "labels.json").write_text(table)
    assert len(PictureSet(tmp_path / "set")) == 1


def test_features_are_kept_for_one_backbone_and_damage_is_no_harm(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    picture = pictures.add("c", encoded("red", 1), "a.png")
    pictures.save_features("net", {picture.id: np.arange(3, dtype=np.float32)})
    assert pictures.load_features("net")[picture.id].tolist() == [0, 1, 2]
    assert pictures.load_features("other") == {}
    (tmp_path / "set" / ".features.npz").write_bytes(b"PK\x03\x04 nothing")
    assert pictures.load_features("net") == {}


def test_a_picture_is_found_as_people_call_it(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    (tmp_path / "a.png").write_bytes(encoded("red", 1))
    one = pictures.add("c", encoded("red", 1), "a.png")
    other = pictures.add("d", encoded("red", 2), "a.png")
    assert pictures.find(one.id) == pictures.find(one.name) == pictures.find("c/a.png") == [one]
    assert pictures.find("a.png") == [one, other]
    assert pictures.find(str(tmp_path / "a.png")) == [one]
    assert pictures.find("nope") == pictures.find("") == pictures.find("\0") == []


def test_labels_are_one_line_in_natural_order() -> None:
    assert clean_label(" a\n\tb\x1b[0m\u2028c ") == "a b [0m c"
    assert sorted(["b", "shelf 10", "Shelf 2", "a"], key=label_order) == ["a", "b", "Shelf 2", "shelf 10"]


def test_a_full_disk_neither_keeps_it_open_nor_loses_a_label(tmp_path: Path, small_disk: SmallDisk) -> None:
    kept = PictureSet(tmp_path / "set")
    for label in ("a/b", "c"):
        kept.add(label, encoded("red", len(label)), "one.png")
    for picture in list(kept):
        if picture.label == "c":
            kept.remove(picture.id)
    small_disk.fill()
    with pytest.raises(OSError, match="No space left"):
        kept.add("d/e", encoded("blue", 1), "two.png")
    kept.forget_removed()
    small_disk.full = False
    kept.add("d/e", encoded("blue", 1), "two.png")
    assert {picture.label for picture in PictureSet(tmp_path / "set")} == {"a/b", "d/e"}


def test_a_label_may_have_more_digits_than_python_reads() -> None:
    long = "9" * 5000
    assert sorted([f"x{long}", "x10", "x9", "x007"], key=label_order) == ["x007", "x9", "x10", f"x{long}"]


def test_labels_that_somebody_has_written_into_the_table_meanwhile_stay(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path / "set")
    pictures.add("ring", encoded("red", 1), "a.png")
    table = tmp_path / "set" / "labels.json"
    (tmp_path / "set" / "by hand").mkdir()
    table.write_text(json.dumps({**json.loads(table.read_bytes()), "by hand": "a/b", "gone": "c"}))
    pictures.add("cross", encoded("blue", 2), "b.png")
    assert json.loads(table.read_bytes()) == {"ring": "ring", "cross": "cross", "by hand": "a/b"}
