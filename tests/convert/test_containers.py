"""What people give: zips in zips and in folders, SavedModels as they come, and files that are not a model at all."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from makers import shared
from saved_models import augmented, linear, save_pb, save_saved_model
from test_refusals import dense, flat, good, good_arrays, refused, sequential, zipped

from picam_infer.convert.conversion import Options, convert

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 47931186\n"
NAMES = b"0 red\n1 green\n"
FORMATS = ("h5", "hdf5", "keras", "onnx", "pb", "meta", "tflite", "zip", "json", "xml", "pt")


def labels_of(source: Path, out: Path) -> list[str]:
    return convert(source, out).labels


def packed_zip(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return buffer.getvalue()


def packed_tar(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def folder_bytes(folder: Path, prefix: str) -> list[tuple[str, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes()) for path in files]


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    (tmp_path / "made").mkdir()
    return good(tmp_path / "made" / "m.h5").read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_zips_in_zips_and_in_folders_are_opened(model: bytes, home: Path, tmp_path: Path) -> None:
    inner = packed_zip(("keras_model.h5", model), ("__MACOSX/._keras_model.h5", b"\0\5\x16\7"), (".DS_Store", b"x"))
    middle = packed_zip(("Mein Modell (1)/converted_keras.zip", inner), ("labels.txt", NAMES))
    for name, content in (("one.zip", middle), ("two.zip", packed_zip(("a/b.zip", middle)))):
        (home / name).write_bytes(content)
        assert labels_of(home / name, tmp_path / name[:3]) == ["red", "green"]
    (home / "folder 日本").mkdir()
    (home / "folder 日本" / "CONVERTED.ZIP").write_bytes(inner)
    (home / "folder 日本" / "labels.txt").write_bytes(NAMES)
    assert labels_of(home / "folder 日本", tmp_path / "four") == ["red", "green"]
    assert sorted(p.name for p in (home / "folder 日本").iterdir()) == ["CONVERTED.ZIP", "labels.txt"]


def test_archives_without_end_and_several_in_a_folder_are_refused(model: bytes, home: Path, tmp_path: Path) -> None:
    content = packed_zip(("keras_model.h5", model))
    for _ in range(4):
        content = packed_zip(("deeper.zip", content))
    (home / "m.zip").write_bytes(content)
    assert "archives inside each other" in refused(home / "m.zip", tmp_path / "out")
    (home / "n.zip").write_bytes(content)
    assert "2 archives: m.zip, n.zip; name the one" in refused(home, tmp_path / "out")


def test_a_model_in_six_folders_is_found_and_one_that_lies_deeper_is_told(
    model: bytes, home: Path, tmp_path: Path
) -> None:
    (home / "six.zip").write_bytes(packed_zip(("a/b/c/d/e/f/m.h5", model)))
    assert labels_of(home / "six.zip", tmp_path / "six") == ["class 0", "class 1"]
    for name in ("g/m.h5", "g/inner.zip", "g/saved_model.pb"):
        (home / "m.zip").write_bytes(packed_zip((f"a/b/c/d/e/f/{name}", model)))
        said = refused(home / "m.zip", tmp_path / "out")
        assert said.startswith(f"{name[2:]} lies more than 6 folders deep in m.zip"), said


@pytest.mark.parametrize(("entry", "said"), [
    ("__MACOSX/._m.h5", "but hidden files"), ("a/b/c/d/e/f/g/notes", "but files more than 6 folders deep"),
    ("folder/", "it is empty"),
])  # fmt: skip
def test_what_is_not_looked_at_is_not_called_empty(entry: str, said: str, home: Path, tmp_path: Path) -> None:
    (home / "m.zip").write_bytes(packed_zip((entry, b"" if entry.endswith("/") else b"x")))
    assert said in refused(home / "m.zip", tmp_path / "out")


@pytest.mark.parametrize(("entries", "said"), [
    (["x" * 300 + ".h5"], "is too long for a file; pack it with shorter names"),
    (["a", "a/m.h5"], "a/m.h5 is in it as a file and as a folder"), (["a/m.h5", "a"], "a is in it as a file and as"),
])  # fmt: skip
@pytest.mark.parametrize("pack", [packed_zip, packed_tar])
def test_names_that_no_file_can_have_are_told(
    pack: Callable[..., bytes], entries: list[str], said: str, home: Path, tmp_path: Path
) -> None:
    (home / "m.zip").write_bytes(pack(*((entry, b"x") for entry in entries)))
    told = refused(home / "m.zip", tmp_path / "out")
    assert said in told and "disk" not in told


@pytest.mark.parametrize(("name", "pack"), [
    ("m.tar", bytes), ("m.tar.gz", gzip.compress), ("m.tgz", gzip.compress), ("m.tar.bz2", bz2.compress),
])  # fmt: skip
def test_tars_are_opened(name: str, pack: object, model: bytes, home: Path, tmp_path: Path) -> None:
    content = packed_tar(("export/keras_model.h5", model), ("export/labels.txt", NAMES))
    (home / name).write_bytes(pack(content))  # type: ignore[operator]
    assert labels_of(home / name, tmp_path / "out") == ["red", "green"]


def test_a_compressed_file_and_a_zip64_are_opened(model: bytes, home: Path, tmp_path: Path) -> None:
    (home / "keras_model.h5.gz").write_bytes(gzip.compress(model))
    assert len(labels_of(home / "keras_model.h5.gz", tmp_path / "one")) == 2
    with zipfile.ZipFile(home / "m.zip", "w") as file, file.open("keras_model.h5", "w", force_zip64=True) as entry:
        entry.write(model)
    assert len(labels_of(home / "m.zip", tmp_path / "two")) == 2


def test_zips_that_are_harmless_alone_are_a_bomb_together(home: Path, tmp_path: Path) -> None:
    inner = b"0"
    for name in ("model.h5", "c.zip", "b.zip"):
        inner = packed_zip((name, inner), ("large.bin", bytes(30_000_000)))
    (home / "bomb.zip").write_bytes(inner)
    said = refused(home / "bomb.zip", tmp_path / "out")
    assert "would unpack to 90 MB together with those around it" in said and "zip bomb" in said


def test_tars_that_lead_out_and_bombs_are_refused(home: Path, tmp_path: Path) -> None:
    (home / "m.tar").write_bytes(packed_tar(("../evil.h5", b"x")))
    assert "leads out" in refused(home / "m.tar", tmp_path / "out")
    link = tarfile.TarInfo("keras_model.h5")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(home / "link.tar", "w") as file:
        file.addfile(link)
    assert "a link" in refused(home / "link.tar", tmp_path / "out")
    (home / "bomb.h5.gz").write_bytes(gzip.compress(bytes(100 << 20)))
    assert "times its size" in refused(home / "bomb.h5.gz", tmp_path / "out")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(("magic", "said"), [
    (b"Rar!\x1a\x07\x01\x00", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard"), (b"\xff\xd8\xff\xe0", "a picture"), (b"%PDF-1.7", "a PDF"),
    (b"\x80\x04\x95", "a Python pickle"), (b"\0\5\x16\7\0\2", "macOS's extra file"), (bytes(64), "unfinished download"),
    (struct.pack("<Q", 100) + b'{"a":{"dtype"', "without a network"),
])  # fmt: skip
def test_other_files_are_named_under_any_name(magic: bytes, said: str, home: Path, tmp_path: Path) -> None:
    for suffix in ("h5", "zip", "tflite", "onnx"):
        (home / f"model.{suffix}").write_bytes(magic + bytes(100))
        told = refused(home / f"model.{suffix}", tmp_path / "out")
        assert said in told and "damaged" not in told


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "is a Git LFS pointer for 47,931,186 bytes"),
        (b"/annex/objects/SHA256E-s100--abc.h5\n", "is a git-annex pointer"),
        (b"\n\n<!DOCTYPE html>\n<html><head><title>Sign in</title>", "is a web page (“Sign in”)"),
        (b"<html lang=en><body>Google Drive can't scan this file", "Google Drive asks"),
        (b'<!DOCTYPE html><link href="https://github.githubassets.com/x">', "Download raw file"),
        (b'{"message": "Not Found", "documentation_url": "https://x"}', "not"),
        (b"", "is empty"),
    ],
)
def test_pointers_and_pages_are_named_in_every_format(
    suffix: str, content: bytes, said: str, home: Path, tmp_path: Path
) -> None:
    (home / f"model.{suffix}").write_bytes(content)
    told = refused(home / f"model.{suffix}", tmp_path / "out")
    assert said in told and f"model.{suffix}" in told and "damaged" not in told
    assert "git lfs pull" in told or content != LFS


def test_a_servers_answer_is_quoted(home: Path, tmp_path: Path) -> None:
    for content, said in (
        ({"message": "Not Found"}, "“Not Found”"),
        ({"error": {"code": 404, "message": "File not found"}}, "“File not found”"),
        ([{"detail": "gone"}], "“gone”"),
    ):
        (home / "model.h5").write_text(json.dumps(content))
        assert said in refused(home / "model.h5", tmp_path / "out")
    (home / "model.h5").write_text("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")
    assert "refusal (AccessDenied)" in refused(home / "model.h5", tmp_path / "out")


def test_pointers_inside_of_models_are_named(home: Path, tmp_path: Path) -> None:
    (home / "a.zip").write_bytes(packed_zip(("keras_model.h5", LFS), ("labels.txt", NAMES)))
    assert "keras_model.h5 is a Git LFS pointer" in refused(home / "a.zip", tmp_path / "out")
    saved = save_saved_model(home / "saved", linear())
    (saved / "variables").mkdir()
    (saved / "variables" / "variables.data-00000-of-00001").write_bytes(LFS)
    assert "variables.data-00000-of-00001 is a Git LFS" in refused(saved, tmp_path / "out")
    (saved / "saved_model.pb").write_bytes(LFS)
    assert "saved_model.pb is a Git LFS" in refused(saved, tmp_path / "out")
    (home / "ir").mkdir()
    (home / "ir" / "m.xml").write_text('<net name="m" version="11"><layers/></net>')
    (home / "ir" / "m.bin").write_bytes(LFS)
    assert "m.bin is a Git LFS pointer" in refused(home / "ir" / "m.xml", tmp_path / "out")
    (home / "model.json").write_text(json.dumps(sequential(flat(), dense())))
    (home / "w.h5").write_bytes(LFS)
    assert "w.h5 is a Git LFS pointer" in refused(home / "model.json", tmp_path / "out", Options(weights=home / "w.h5"))
    weights = [{"name": "d/kernel", "shape": [192, 2], "dtype": "float32"}]
    manifest = {
        "modelTopology": sequential(flat(), dense()),
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    (home / "model.json").write_text(json.dumps(manifest))
    (home / "w.bin").write_bytes(LFS)
    assert "w.bin is a Git LFS pointer" in refused(home / "model.json", tmp_path / "out")
    (home / "w.bin").unlink()
    assert "w.bin are missing" in refused(home / "model.json", tmp_path / "out")


def test_labels_that_are_pointers_are_named(model: bytes, home: Path, tmp_path: Path) -> None:
    (home / "m.h5").write_bytes(model)
    for content, said in ((LFS, "Git LFS pointer"), (b"<html><title>labels</title>", "a web page")):
        (home / "labels.txt").write_bytes(content)
        assert f"labels.txt is {'a ' if said[0] == 'G' else ''}{said}" in refused(home / "m.h5", tmp_path / "out")


def test_a_link_without_its_file_is_named(home: Path, tmp_path: Path) -> None:
    (home / "m.h5").symlink_to("../.git/annex/objects/ab/cd/SHA256E-s1--x/SHA256E-s1--x")
    assert "git annex get m.h5" in refused(home / "m.h5", tmp_path / "out")
    assert "git annex get m.h5" in refused(home, tmp_path / "out")
    (home / "m.h5").unlink()
    (home / "m.h5").symlink_to("elsewhere.h5")
    assert "a link to elsewhere.h5" in refused(home / "m.h5", tmp_path / "out")


def test_links_to_files_are_followed(model: bytes, home: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(model)
    (home / "keras_model.h5").symlink_to(tmp_path / "blob")
    assert len(labels_of(home, tmp_path / "out")) == 2


@pytest.mark.parametrize("name", ["project.tm", "project.zip", "keras_model.h5"])
def test_a_teachable_machine_project_is_named(name: str, home: Path, tmp_path: Path) -> None:
    manifest = b'{"type":"image","version":"2.4.10","appdata":{"trainEpochs":50}}'
    samples = [(f"Class {at}-!-{n}.jpg", b"\xff\xd8\xff") for at in (1, 2) for n in range(3)]
    (home / name).write_bytes(packed_zip(*samples, ("manifest.json", manifest)))
    told = refused(home / name, tmp_path / "out")
    assert "Teachable Machine project: its 6 samples" in told and "Export Model" in told
    (home / "outer.zip").write_bytes(packed_zip(("in.zip", (home / name).read_bytes())))
    (home / name).unlink()
    assert "Teachable Machine project" in refused(home, tmp_path / "out")


def test_a_zip_of_pictures_says_so(home: Path, tmp_path: Path) -> None:
    (home / "samples.zip").write_bytes(packed_zip(("a/1.jpg", b"x"), ("a/2.jpg", b"x")))
    told = refused(home / "samples.zip", tmp_path / "out")
    assert "2 pictures" in told and "Export Model" in told


def test_an_encrypted_zip_and_unknown_packing_are_named(home: Path, tmp_path: Path) -> None:
    data = bytearray(packed_zip(("keras_model.h5", b"x" * 100)))
    at = data.rindex(b"PK\x01\x02")
    for mark, where, value, said in ((8, 6, 1, "encrypted"), (10, 8, 9, "Deflate64")):
        changed = bytearray(data)
        struct.pack_into("<H", changed, at + mark, value)
        struct.pack_into("<H", changed, where, value)
        (home / "m.zip").write_bytes(changed)
        assert said in refused(home / "m.zip", tmp_path / "out")


def test_what_is_cut_short_says_so_and_what_is_damaged_too(model: bytes, home: Path, tmp_path: Path) -> None:
    whole = packed_zip(("keras_model.h5", model))
    (home / "m.zip").write_bytes(whole[: len(whole) // 2])
    assert "m.zip is cut short" in refused(home / "m.zip", tmp_path / "out")
    changed = bytearray(whole)
    changed[len(changed) // 3] ^= 0xFF
    (home / "m.zip").write_bytes(changed)
    assert "m.zip is damaged" in refused(home / "m.zip", tmp_path / "out")
    (home / "m.h5").write_bytes(model[: len(model) // 2])
    assert f"m.h5 is cut short: {len(model) // 2:,} of {len(model):,} bytes" in refused(home / "m.h5", tmp_path / "out")
    pb = save_pb(home / "m.pb", linear()).read_bytes()
    (home / "m.pb").write_bytes(pb[:-20])
    assert "m.pb is cut short" in refused(home / "m.pb", tmp_path / "out")


def test_stray_json_beside_a_model_is_left_alone(model: bytes, home: Path, tmp_path: Path) -> None:
    (home / "keras_model.h5").write_bytes(model)
    for name in ("package.json", "settings.json", "class_indices.json", "tokenizer.json", "a.json"):
        (home / name).write_text('{"name": "x", "version": 1}')
    (home / "list.json").write_text("[1, 2]")
    (home / "broken.json").write_text("{")
    assert len(labels_of(home, tmp_path / "out")) == 2


def test_a_saved_model_keeps_its_assets_to_itself(home: Path, tmp_path: Path) -> None:
    topology = json.dumps(sequential(flat(), dense())).encode()
    saved = save_saved_model(home / "model.savedmodel", linear())
    for folder in ("assets", "assets.extra"):
        (saved / folder).mkdir()
        (saved / folder / "saved_model.json").write_bytes(topology)
        (saved / folder / "labels.pb").write_bytes(b"x")
    (saved / "keras_metadata.pb").write_bytes(b"x")
    (saved / "fingerprint.pb").write_bytes(b"x")
    entries = folder_bytes(saved, "model.savedmodel/")
    for at, given in enumerate(
        [
            zipped(home / "a.zip", *entries, ("labels.txt", NAMES)),
            zipped(home / "flat.zip", *folder_bytes(saved, ""), ("labels.txt", NAMES)),
            zipped(home / "deep.zip", ("converted_savedmodel.zip", packed_zip(*entries, ("labels.txt", NAMES)))),
        ]
    ):
        assert labels_of(given, tmp_path / f"out{at}") == ["red", "green"]
    for at, given in enumerate([saved, saved / "saved_model.pb"]):
        assert len(labels_of(given, tmp_path / f"on{at}")) == 2


def test_two_models_are_told_or_asked_for(model: bytes, home: Path, tmp_path: Path) -> None:
    (home / "keras_model.h5").write_bytes(model)
    save_pb(home / "frozen.pb", linear())
    report = convert(home, tmp_path / "out")
    assert any("keras_model.h5 was taken; name another to convert it: frozen.pb" in note for note in report.notes)
    (home / "keras_model.h5").unlink()
    save_pb(home / "other.pb", linear())
    assert "holds 2 models: frozen.pb, other.pb; name the one" in refused(home, tmp_path / "new")


def test_a_description_without_weights_does_not_hide_a_model(home: Path, tmp_path: Path) -> None:
    save_pb(home / "frozen.pb", linear())
    (home / "architecture.json").write_text(json.dumps(sequential(flat(), dense())))
    assert len(labels_of(home, tmp_path / "out")) == 2


def test_weights_alone_do_not_hide_a_model(home: Path, tmp_path: Path) -> None:
    save_pb(home / "frozen.pb", linear())
    with h5py.File(home / "best.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((192, 2), np.float32)
    report = convert(home, tmp_path / "out")
    assert report.format == "TensorFlow frozen graph"
    (home / "frozen.pb").unlink()
    assert "holds only weights" in refused(home, tmp_path / "new")


def test_names_that_lie_about_keras_files_do_not_matter(model: bytes, home: Path, tmp_path: Path) -> None:
    (home / "a").mkdir()
    (home / "a" / "really_hdf5.keras").write_bytes(model)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for at, name in enumerate(("kernel", "bias")):
            file[f"layers/dense/vars/{at}"] = good_arrays()["d"][name]
    archive = packed_zip(
        ("config.json", json.dumps(sequential(flat(), dense())).encode()),
        ("metadata.json", b'{"keras_version": "3.1"}'),
        ("model.weights.h5", (tmp_path / "w.h5").read_bytes()),
    )
    (home / "b").mkdir()
    (home / "b" / "really_a_zip.h5").write_bytes(archive)
    for at, given in enumerate(
        [home / "a", home / "a" / "really_hdf5.keras", home / "b", home / "b" / "really_a_zip.h5"]
    ):
        assert convert(given, tmp_path / f"out{at}").parameters == 386


@pytest.mark.parametrize("version", ["2", "5", "6", "7", "9"])
def test_old_openvino_files_are_named_by_their_version(version: str, home: Path, tmp_path: Path) -> None:
    (home / "old.xml").write_text(
        f'<?xml version="1.0" ?>\n<net batch="1" name="old" version="{version}"><layers/></net>'
    )
    (home / "old.bin").write_bytes(bytes(16))
    told = refused(home / "old.xml", tmp_path / "out")
    assert f"OpenVINO IR version {version}" in told and "Keras, ONNX or TensorFlow" in told
    (home / "old.bin").unlink()
    assert f"version {version}" in refused(home / "old.xml", tmp_path / "out")


def test_openvino_files_that_lack_something_are_told(home: Path, tmp_path: Path) -> None:
    whole = '<net name="m" version="11"><layers><layer><data offset="0" size="100"/></layer></layers></net>'
    (home / "m.xml").write_text(whole)
    assert "lacks its weights, m.bin" in refused(home / "m.xml", tmp_path / "out")
    (home / "m.bin").write_bytes(bytes(16))
    assert "16 bytes, m.xml needs 100" in refused(home / "m.xml", tmp_path / "out")
    assert "give m.xml" in refused_bin(home / "m.bin", tmp_path / "out")
    (home / "m.xml").write_text(whole[:-20])
    assert "m.xml is cut short" in refused(home / "m.xml", tmp_path / "out")
    (home / "m.xml").write_text("<?xml version='1.0'?><plist><dict/></plist>")
    assert "not an OpenVINO network" in refused(home / "m.xml", tmp_path / "out")


def refused_bin(path: Path, out: Path) -> str:
    path.write_bytes(os.urandom(7) + b"\xfe" * 64)
    return refused(path, out)


@pytest.mark.parametrize("name", ["aug/random_flip", "seq/flip", "a/b/c/random_rotation_1"])
def test_random_layers_of_an_export_are_taken_out(name: str, home: Path, tmp_path: Path) -> None:
    plain = convert(save_pb(home / "plain.pb", linear()), tmp_path / "plain", Options(precision="f32"))
    saved = save_saved_model(home / "exported", augmented(name))
    report = convert(saved, tmp_path / "out", Options(precision="f32"))
    assert (tmp_path / "out" / "model.bin").read_bytes() == (tmp_path / "plain" / "model.bin").read_bytes()
    assert report.kinds == plain.kinds
    assert any(name.rpartition("/")[2] in note and "random layers" in note for note in report.notes)


def test_randomness_that_belongs_to_the_answer_is_refused(home: Path, tmp_path: Path) -> None:
    told = refused(save_pb(home / "m.pb", augmented("sampling", entries=2)), tmp_path / "out")
    assert "StatelessRandomUniformV2" in told and ".keras or .h5" in told and "http" not in told


def test_operations_that_openvino_lacks_are_listed(home: Path, tmp_path: Path) -> None:
    told = refused(save_pb(home / "m.pb", linear("MadeUpOperation")), tmp_path / "out")
    assert "MadeUpOperation" in told and "http" not in told and "front" not in told.lower()


@pytest.mark.parametrize("case", [
    "savedmodel-with-assets-json/converted_savedmodel.zip", "savedmodel-with-assets-json/model.savedmodel",
    "keras3-export-random-layers/exported", "folder-with-only-a-zip",
])  # fmt: skip
def test_the_shared_cases_convert(case: str, tmp_path: Path) -> None:
    assert len(convert(shared("cases", "models", case), tmp_path / "out").labels) == 3
