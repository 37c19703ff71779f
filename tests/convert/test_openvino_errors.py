"""Twin of `picam_infer.convert.openvino_errors`: what a file lacks is found in the file, whatever OpenVINO says."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.convert import openvino_errors
from picam_infer.core import NoInput, PicamError

UNKNOWN = "No conversion rule found for operations: "


def said(path: Path, kind: str, text: str) -> str:
    return str(openvino_errors.explain(path, kind, RuntimeError(text)))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A file of protocol buffers: field 1 is a number, field 2 has three bytes, fields 3 and 4 have eight and four."""
    path = tmp_path / "m.pb"
    path.write_bytes(b"\x08\x96\x01" + b"\x12\x03abc" + b"\x19" + bytes(8) + b"\x25" + bytes(4))
    return path


def test_a_file_that_ends_within_a_field_is_cut_short(whole: Path) -> None:
    data = whole.read_bytes()
    assert "cannot be read as TensorFlow frozen graph" in said(whole, "pb", "?")
    for end in (1, 2, 4, 6, 10, 20):
        whole.write_bytes(data[:end])
        assert "m.pb is cut short" in said(whole, "pb", "?"), end
    whole.write_bytes(b"\x0b nothing of the kind")
    assert "cannot be read" in said(whole, "onnx", "?")


def test_weights_in_a_file_of_their_own_are_asked_for(whole: Path) -> None:
    error = openvino_errors.explain(whole, "onnx", RuntimeError("externally stored data in file (m.data, offset 0)"))
    assert isinstance(error, NoInput) and "lacks its weights, m.data" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (UNKNOWN + "Unique", "an operation that OpenVINO does not have: Unique; replace it in the network, or try"),
        (UNKNOWN + "Unique, Where-13", "operations that OpenVINO does not have: Unique, Where;"),
        (UNKNOWN + "A, B, C, D, E, F", "A, B, C, D, E …"),
        (UNKNOWN + "DecodeJpeg", "takes encoded pictures (DecodeJpeg), a camera feeds pixels"),
        (UNKNOWN + "RandomUniform", "holds random layers, for training (RandomUniform)"),
        ("OpenCV doesn't contain the operation with type: Mystery of set", "does not have: Mystery"),
        ("std::bad_alloc", "needs more memory than there is"),
        ("anything else", "cannot be read as ONNX"),
    ],
)
def test_operations_that_are_not_there_are_named(whole: Path, text: str, words: str) -> None:
    assert words in said(whole, "onnx", text)
    assert "needs more memory" in str(openvino_errors.explain(whole, "onnx", MemoryError()))


def test_a_flatbuffer_that_leads_out_of_the_file(whole: Path) -> None:
    assert "its tables lead out of the file" in said(whole, "tflite", "FlatBuffer verification failed")
    assert "cannot be read as TensorFlow Lite" in said(whole, "tflite", "?")


def test_what_an_ir_lacks(tmp_path: Path) -> None:
    xml, weights = tmp_path / "m.xml", tmp_path / "m.bin"
    weights.write_bytes(bytes(100))
    xml.write_text('<net version="11"><data offset="90" size="10"/></net>\n')
    assert "cannot be read as OpenVINO IR" in said(xml, "ir", "?")
    weights.write_bytes(bytes(99))
    assert "m.bin is cut short, or belongs to another model: 99 bytes, m.xml needs 100" in said(xml, "ir", "?")
    xml.write_text('<net version="11"><data offset="90"')
    assert "m.xml is cut short" in said(xml, "ir", "?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html></html>", "not an OpenVINO network"),
        ("<net name='a' version='7'>", "OpenVINO IR version 7, made before 2020"),
        ("<net name='a'>", "a version without a number"),
    ],
)
def test_other_and_old_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.xml").write_text(text)
    with pytest.raises(PicamError, match=words):
        openvino_errors.refuse_old_ir(tmp_path / "m.xml")
    (tmp_path / "m.xml").write_text('<net name="a" version="10">')
    openvino_errors.refuse_old_ir(tmp_path / "m.xml")


def test_what_a_saved_model_lacks(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(whole.read_bytes())
    index, first = folder / "variables/variables.index", folder / "variables/variables.data-00000-of-00002"
    assert "lacks variables.index or variables.data" in said(folder, "savedmodel", "v is not initialized")
    first.touch()
    index.write_bytes(b"cut")
    assert "variables.index is cut short" in said(folder, "savedmodel", "?")
    index.write_bytes((0xDB4775248B80FB57).to_bytes(8, "little"))
    assert "holds 1 of 2 files variables.data" in said(folder, "savedmodel", "?")
    (folder / "variables/variables.data-00001-of-00002").touch()
    assert "the weights in saved/variables are cut short" in said(folder, "savedmodel", "it would exceed data size")
    assert "cannot be read as TensorFlow SavedModel" in said(folder, "savedmodel", "?")
    (folder / "saved_model.pb").write_bytes(whole.read_bytes()[:5])
    assert "saved_model.pb is cut short" in said(folder, "savedmodel", "?")
    (folder / "saved_model.pb").write_bytes(whole.read_bytes())
    for path in (folder / "variables").iterdir():
        path.unlink()
    (folder / "variables").rmdir()
    assert "lacks its folder variables" in said(folder, "savedmodel", "v is not initialized")
