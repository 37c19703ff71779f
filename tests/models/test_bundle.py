"""Model folders: found, read strictly, written whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
from makers import make_bundle

from picam_infer.core import NoInput, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, BundleError, Card, Edges, Input, Origin, Photo

CARD = Card(name="m", input=Input((1, 28, 28, 1)), preprocess=Edges(), origin=Origin("a.h5", "abc"), reject="none")
FILES = {"model.xml": b"<xml/>", "model.bin": b"\0"}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = bundles.save(tmp_path / "m", CARD, ["0", "고양이", "none"], FILES)
    loaded = bundles.load(tmp_path / "m")
    assert loaded == saved
    assert loaded.card == CARD
    assert loaded.labels == ("0", "고양이", "none")
    assert loaded.graph is None
    assert (loaded.card.input.height, loaded.card.input.channels) == (28, 1)


def test_the_same_card_is_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        bundles.save(tmp_path / name, CARD, ["x"], FILES)
    for part in ("model.yaml", "labels.txt"):
        assert (tmp_path / "a" / part).read_bytes() == (tmp_path / "b" / part).read_bytes()


def test_found_by_name_installed_before_built_in(tmp_path: Path) -> None:
    installed, built_in = tmp_path / "i", tmp_path / "b"
    bundles.save(built_in / "m", CARD, ["built-in"], FILES)
    assert bundles.load("m", (installed, built_in)).labels == ("built-in",)
    bundles.save(installed / "m", CARD, ["installed"], FILES)
    assert bundles.load("m", (installed, built_in)).labels == ("installed",)
    assert bundles.names((installed, built_in)) == ["m"]


def test_a_name_is_never_looked_up_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles.save(tmp_path / "here" / "m", CARD, ["x"], FILES)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(NoInput, match=r"a folder is written with a slash: \./m"):
        bundles.load("m", (tmp_path / "installed",))
    assert bundles.load("./m", (tmp_path / "installed",)).labels == ("x",)


def test_a_file_in_place_of_a_name_is_to_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my model.zip").touch()
    for given in ("my model.zip", "./my model.zip"):
        with pytest.raises(NoInput, match=r"my model\.zip is a file, .*: picam-infer convert 'my model\.zip'$"):
            bundles.load(given, (tmp_path / "installed",))


def test_a_name_that_no_folder_can_have_is_not_found() -> None:
    with pytest.raises(NoInput, match="no model called 'xxx"):
        bundles.load("x" * 300)


def test_a_folder_of_models_that_cannot_be_looked_into_hides_no_other(tmp_path: Path) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    search = (tmp_path / ("x" * 300), tmp_path)  # as for a home that may not be entered, the system says more than "no"
    assert bundles.names(search) == ["m"] and bundles.load("m", search).labels == ("x",)


def test_a_folder_that_is_not_a_bundle_is_explained(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.h5").touch()
    for model, said in (
        ("nope", "no model called 'nope'"),
        ("~nobody-of-this-name/m", "no such user"),
        (str(tmp_path / "nope"), "there is no model folder"),
        (str(tmp_path / "folder"), "has no model.yaml"),
        (str(tmp_path / "file.h5"), "picam-infer convert"),
    ):
        with pytest.raises(NoInput, match=said) as caught:
            bundles.load(model, (tmp_path,))
        assert caught.value.exit_code == 66


@pytest.mark.parametrize("part", ["model.xml", "model.bin", "labels.txt"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    (tmp_path / "m" / part).unlink()
    with pytest.raises(BundleError, match=f"has no {part}"):
        bundles.load(tmp_path / "m")


@pytest.mark.parametrize("text", ["", "[", "name: x\n", "a: !!python/object:os.system {}", "\x00", "- 1",
                                  "{name: m, input: {shape: [1, 2]}, preprocess: {chain: edges}}",
                                  "x: 2024-13-45", "x: !!int ''", "x: !!timestamp q", "x: !!bool q",
                                  f"x: {'9' * 5000}", 'name: "\\uDCE9"'], ids=range(13))  # fmt: skip
def test_a_broken_card_is_one_line(tmp_path: Path, text: str) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    (tmp_path / "m" / "model.yaml").write_text(text)
    with pytest.raises(BundleError) as caught:
        bundles.load(tmp_path / "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [".inf", ".nan", "0.0", "1.0e+39"])
def test_a_scale_that_leaves_nothing_of_the_picture_is_told(tmp_path: Path, number: str) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    card = tmp_path / "m" / "model.yaml"
    card.write_text(re.sub(r"scale: .*", f"scale: {number}", card.read_text()))
    with pytest.raises(BundleError, match=r"model\.yaml is not a model card: with its scale and offset, pixels become"):
        bundles.load(tmp_path / "m")


def test_a_name_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    card = tmp_path / "m" / "model.yaml"
    card.write_text(re.sub(r"name: .*", r'name: "\\uDCE9"', card.read_text(), count=1))
    with pytest.raises(BundleError, match=r"model\.yaml is not a model card: it has a bad character"):
        bundles.load(tmp_path / "m")


@pytest.mark.parametrize("part", ["model.yaml", "labels.txt", "model.xml"])
def test_a_part_that_would_take_all_memory_is_not_read(tmp_path: Path, part: str) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    os.truncate(tmp_path / "m" / part, 1 << 40)
    with pytest.raises(BundleError, match=rf"{re.escape(part)} is larger than such a file can be"):
        bundles.load(tmp_path / "m")


def test_broken_labels(tmp_path: Path) -> None:
    bundles.save(tmp_path / "m", CARD, ["x"], FILES)
    (tmp_path / "m" / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match=r"labels\.txt"):
        bundles.load(tmp_path / "m")
    (tmp_path / "m" / "labels.txt").write_bytes(b"")
    with pytest.raises(BundleError, match="empty"):
        bundles.load(tmp_path / "m")


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    bundles.save(tmp_path / "m", CARD, ["old"], FILES)
    (tmp_path / "m" / "graph").write_bytes(b"for the stick")
    bundles.save(tmp_path / "m", CARD, ["new"], FILES)
    assert bundles.load(tmp_path / "m").labels == ("new",)
    assert bundles.load(tmp_path / "m").graph, "the same network keeps its graph"
    other = Card(name="m", input=Input((1, 8, 8, 3)), preprocess=Photo(), origin=Origin("b.h5", "other"))
    bundles.save(tmp_path / "m", other, ["new"], FILES)
    assert bundles.load(tmp_path / "m").graph is None, "another network must not get the old one's graph"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_failed_save_keeps_the_old_one(tmp_path: Path) -> None:
    bundles.save(tmp_path / "m", CARD, ["old"], FILES)
    with pytest.raises(PicamError):
        bundles.save(tmp_path / "m", CARD, ["new"], {**FILES, "no/such/folder": b""})
    assert bundles.load(tmp_path / "m").labels == ("old",)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_is_not_a_model_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.jpg").touch()
    with pytest.raises(PicamError, match="not a model folder"):
        bundles.save(tmp_path / "photos", CARD, ["x"], FILES)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["precious.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PicamError, match="cannot write"):
        bundles.save(tmp_path / "m", CARD, ["x"], FILES)


def test_the_helper_makes_a_real_bundle(tmp_path: Path) -> None:
    made: Bundle = make_bundle(tmp_path / "t")
    assert bundles.load(tmp_path / "t") == made


def test_newer_keys_are_on_a_card_only_where_they_differ_from_the_default(tmp_path: Path) -> None:
    plain = Card(name="m", input=Input((1, 8, 8, 3)), preprocess=Photo(), origin=Origin("b.h5", "x"))
    assert not {b"task", b"units", b"fit"} & set(bundles.dump_card(plain).replace(b":", b"").split())
    card = msgspec.structs.replace(
        plain,
        preprocess=Photo(scale=(0.1, 0.2, 0.3), offset=(-1.0, -2.0, -3.0), fit="pad"),
        task="regression",
        units=("°",),
    )
    for each in (plain, card):
        bundles.save(tmp_path / "m", each, ("angle",), {"model.xml": b"x", "model.bin": b"y"})
        assert bundles.load(tmp_path / "m").card == each
    assert not card.softmax and msgspec.structs.replace(plain, probabilities=False).softmax
