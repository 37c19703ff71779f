"""What cannot be converted: one line, exit 1, nothing left behind."""

from __future__ import annotations

import io
import json
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from picam_infer.convert import container, sandbox
from picam_infer.convert.conversion import Options, convert, default_output
from picam_infer.core import NoInput, PicamError, UsageError
from picam_infer.models import bundle


def dense(units: int = 2, **more: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": "d", "units": units, "activation": "softmax", **more}}


def sequential(*layers: dict[str, Any], shape: Any = (None, 8, 8, 3)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": list(shape), "name": "in"}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [first, *layers]}, "keras_version": "2.4.0"}


def flat() -> dict[str, Any]:
    return {"class_name": "Flatten", "config": {"name": "f"}}


def write_h5(path: Path, topology: Any, arrays: dict[str, dict[str, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(topology)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in arrays]
        weights.attrs["keras_version"] = b"2.4.0"
        for layer, values in arrays.items():
            group = weights.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in values]
            for name, value in values.items():
                group[f"{layer}/{name}:0"] = value
    return path


def good_arrays(inputs: int = 192, units: int = 2) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(inputs, units)).astype(np.float32)
    return {"d": {"kernel": kernel, "bias": np.zeros(units, np.float32)}}


def good(path: Path) -> Path:
    return write_h5(path, sequential(flat(), dense()), good_arrays())


def refused(source: Path, out: Path, options: Options | None = None) -> str:
    with pytest.raises(PicamError) as caught:
        convert(source, out, options)
    assert not out.exists() and not [p for p in out.parent.iterdir() if p.name.startswith(f".{out.name}")]
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500 and caught.value.hint
    return text


def test_what_is_in_the_way_is_named_before_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").touch()
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for name in ("file", "folder"):
        with pytest.raises(PicamError, match=f"{name} exists and is not a model folder; choose another with -o"):
            convert(tmp_path / "broken.h5", tmp_path / name)


def test_a_model_that_is_replaced_is_named(tmp_path: Path) -> None:
    first = convert(good(tmp_path / "m.h5"), tmp_path / "out")
    assert not [note for note in first.notes if "replaces" in note]
    again = convert(good(tmp_path / "n.h5"), tmp_path / "out")
    assert f"it replaces the model that was in {tmp_path / 'out'}, made from m.h5" in again.notes


def test_the_report_writes_shares_in_per_cent_and_small_sizes_in_kilobytes(tmp_path: Path) -> None:
    report = convert(good(tmp_path / "m.h5"), tmp_path / "out")
    said = "\n".join(report.lines())
    assert " kB as f16" in said and "0.0 MB" not in said
    assert re.search(r"f16 weights change answers by (at most \d+\.\d|less than 0\.1) %", said)
    report.difference, report.close_call, report.labels = 0.028, 0.0969, [f"class {at}" for at in range(12)]
    said = "\n".join(report.lines())
    assert "change answers by at most 2.8 %, by at most 9.6 % where classes are close" in said
    assert "class 7, …\n" in said


def test_a_good_file_converts(tmp_path: Path) -> None:
    report = convert(good(tmp_path / "m.h5"), tmp_path / "out")
    assert report.labels == ["class 0", "class 1"] and any("no labels" in note for note in report.notes)
    assert any("0…1" in note for note in report.notes)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAAA", None, None]}}, "never run"),
        ({"class_name": "MyLayer", "config": {"name": "mine"}}, "mine (MyLayer)"),
        ({"class_name": "Custom>Thing", "config": {"name": "thing"}}, "thing (Custom>Thing)"),
        ({"class_name": "UpSampling2D", "config": {"name": "up", "size": [50000, 50000]}}, "up (UpSampling2D)"),
        ({"class_name": "Conv2D", "config": {"name": "c", "filters": 10**9, "kernel_size": [3, 3]}}, "do not fit"),
        ({"class_name": "ZeroPadding2D", "config": {"name": "z", "padding": [60000, 60000]}}, "z (ZeroPadding2D)"),
        ({"class_name": "Reshape", "config": {"name": "r", "target_shape": [7, 5]}}, "cannot become"),
        ({"class_name": "Resizing", "config": {"name": "r", "height": 10**6, "width": 10**6}}, "r (Resizing)"),
        ({"class_name": "Activation", "config": {"name": "a", "activation": "os.system"}}, "os.system"),
        ({"class_name": "Cropping2D", "config": {"name": "k", "cropping": 4}}, "everything"),
        ({"class_name": "Permute", "config": {"name": "p", "dims": [1, 1, 2]}}, "p (Permute)"),
        ({"class_name": "MaxPooling2D", "config": {"name": "m", "pool_size": [0, 2]}}, "m (MaxPooling2D)"),
        ({"class_name": "MaxPooling2D", "config": {"name": "m", "pool_size": "x"}}, "m (MaxPooling2D)"),
        ({"class_name": "Dropout", "config": None}, "no configuration"),
    ],
)
def test_layers_that_cannot_be_built_are_named(layer: dict[str, Any], said: str, tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(layer, flat(), dense()), good_arrays())
    assert said in refused(source, tmp_path / "out")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(flat(), dense()), good_arrays(inputs=191))
    assert "192×2, the file has 191×2" in refused(source, tmp_path / "out")
    source = write_h5(
        tmp_path / "n.h5", sequential(flat(), dense()), {"other": {}, "d2": good_arrays()["d"], "x": {"a": np.ones(1)}}
    )
    assert "2 layers have weights in the file, 1 in the model" in refused(source, tmp_path / "out")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    arrays = good_arrays()
    arrays["d"]["kernel"][3, 1] = np.nan
    assert "NaN" in refused(write_h5(tmp_path / "m.h5", sequential(flat(), dense()), arrays), tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = good(tmp_path / "m.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "cut.h5", tmp_path / "out")


def test_weights_alone_ask_for_the_configuration(tmp_path: Path) -> None:
    with h5py.File(good(tmp_path / "m.h5"), "a") as file:
        del file.attrs["model_config"]
    assert "--weights" in refused(tmp_path / "m.h5", tmp_path / "out")


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    good(tmp_path / "other.h5")
    for link in (h5py.ExternalLink("other.h5", "/model_weights/d/d/kernel:0"), h5py.SoftLink("/model_weights/d")):
        with h5py.File(good(tmp_path / "m.h5"), "a") as file:
            del file["model_weights/d/d/kernel:0"]
            file["model_weights/d/d/kernel:0"] = link
        assert "does not hold" in refused(tmp_path / "m.h5", tmp_path / "out")


def test_a_dataset_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    with h5py.File(good(tmp_path / "m.h5"), "a") as file:
        del file["model_weights/d/d/kernel:0"]
        file.create_dataset("model_weights/d/d/kernel:0", (192, 1 << 30), "f4", chunks=(1, 1024))
    assert "far larger" in refused(tmp_path / "m.h5", tmp_path / "out")


def test_json_that_nests_for_ever_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"class_name":' * 100_000)
    assert "not valid JSON" in refused(tmp_path / "model.json", tmp_path / "out")
    (tmp_path / "model.json").write_text('{"class_name": "Sequential", "config": {"name": "\\ud800"}}')
    assert "not valid JSON" in refused(tmp_path / "model.json", tmp_path / "out")
    topology: Any = sequential(flat(), dense())
    for _ in range(60):
        topology = {"class_name": "Sequential", "config": {"name": "s", "layers": [topology]}}
    assert "nested" in refused(write_h5(tmp_path / "m.h5", topology, good_arrays()), tmp_path / "out")


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    def node(name: str, source: str) -> dict[str, Any]:
        return {"class_name": "ReLU", "name": name, "config": {"name": name}, "inbound_nodes": [[[source, 0, 0, {}]]]}

    layers = [
        {
            "class_name": "InputLayer",
            "name": "in",
            "config": {"batch_input_shape": [None, 4], "name": "in"},
            "inbound_nodes": [],
        },
        node("a", "b"),
        node("b", "a"),
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["b", 0, 0]]}
    source = write_h5(tmp_path / "m.h5", {"class_name": "Model", "config": config}, {})
    assert "depends on itself" in refused(source, tmp_path / "out")


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../evil.h5", "/etc/evil.h5", "a/../../evil.h5", "..\\evil.h5", "C:/evil.h5"])
def test_a_path_that_climbs_out_of_the_zip_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = zipped(tmp_path / "in" / "m.zip", (zipfile.ZipInfo(name), b"x"))
    assert "leads out" in refused(source, tmp_path / "out")
    assert not list(tmp_path.rglob("evil*"))


def test_a_zip_bomb_and_a_link_are_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", ("keras_model.h5", bytes(100 << 20)))
    assert "would unpack" in refused(bomb, tmp_path / "out")
    link = zipfile.ZipInfo("keras_model.h5")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "a link" in refused(zipped(tmp_path / "link.zip", (link, b"/etc/passwd")), tmp_path / "out")


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "m.zip", ("keras_model.h5", b"\x89HDF\r\n\x1a\n" + bytes(5000))).read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    (tmp_path / "m.zip").write_bytes(data)
    refused(tmp_path / "m.zip", tmp_path / "out")


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for name, data in (
        ("a.txt", b"hello"),
        ("b.h5", b"hello"),
        ("c.tflite", b"hello"),
        ("d.zip", b"PK\x03\x04"),
        ("e.keras", b""),
    ):
        (tmp_path / name).write_bytes(data)
        assert name in refused(tmp_path / name, tmp_path / "out")
    edge = bytes(4) + b"TFL3" + bytes(40) + b"edgetpu-custom-op"
    (tmp_path / "model_edgetpu.tflite").write_bytes(edge)
    assert "Edge TPU" in refused(tmp_path / "model_edgetpu.tflite", tmp_path / "out")
    with pytest.raises(NoInput):
        convert(tmp_path / "none.h5", tmp_path / "out")


def test_the_child_process_converts_and_passes_errors_on(tmp_path: Path) -> None:
    report = sandbox.convert(good(tmp_path / "m.h5"), tmp_path / "out", {"precision": "f32"})
    assert report["precision"] == "f32" and bundle.load(tmp_path / "out").labels == ("class 0", "class 1")
    with pytest.raises(NoInput):
        sandbox.convert(good(tmp_path / "m.h5"), tmp_path / "new", {"labels": tmp_path / "none.txt"})


def test_a_failure_keeps_the_bundle_that_was_there(tmp_path: Path) -> None:
    convert(good(tmp_path / "m.h5"), tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    (tmp_path / "labels.txt").write_text("only one\n")
    with pytest.raises(PicamError, match="1 labels, the network has 2 outputs"):
        convert(good(tmp_path / "m.h5"), tmp_path / "out", Options(labels=tmp_path / "labels.txt"))
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}


def test_int8_and_calibrate_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        convert(good(tmp_path / "m.h5"), tmp_path / "out", Options(precision="int8"))


def test_default_output_is_named_after_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_output(Path("/x/converted_keras.zip")) == Path("converted_keras")
    (tmp_path / "saved").mkdir()
    assert default_output(Path("saved")) == Path("saved-bundle")


def test_sniffing_goes_by_content(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert container.sniff(tmp_path / "model.bin") == "hdf5"
    archive = io.BytesIO(b"")
    assert archive.read() == b""


def test_what_a_zip_may_look_like(tmp_path: Path) -> None:
    model, names = good(tmp_path / "m.h5").read_bytes(), b"0 one\n1 two\n"
    junk = ("__MACOSX/x/._KERAS_MODEL.H5", b"\0\5\x16\7")
    for at, entries in enumerate(
        [
            [("x/KERAS_MODEL.H5", model), ("x/Labels.TXT", names), junk],
            [("x\\keras_model.h5", model), ("x\\labels.txt", names)],
            [("model/keras_model.h5", model), ("labels.txt", names)],
            [("model/keras_model.h5", model), ("other/labels.txt", names)],
        ]
    ):
        report = convert(zipped(tmp_path / f"{at}.zip", *entries), tmp_path / "out" / str(at))
        assert report.labels == ["one", "two"]


def test_a_keras_archive_may_lie_in_a_zip_or_a_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for at, name in enumerate(("kernel", "bias")):
            file[f"_layer_checkpoint_dependencies\\dense\\vars/{at}"] = good_arrays()["d"][name]
    (tmp_path / "in").mkdir()
    archive = zipped(
        tmp_path / "in" / "m.keras",
        ("config.json", json.dumps(sequential(flat(), dense())).encode()),
        ("metadata.json", b'{"keras_version": "2.13.1"}'),
        ("model.weights.h5", buffer.getvalue()),
    )
    outer = zipped(tmp_path / "outer.zip", ("deep/m.keras", archive.read_bytes()), ("labels.txt", b"one\ntwo\n"))
    assert convert(tmp_path / "in", tmp_path / "a").parameters == convert(outer, tmp_path / "b").parameters == 386
    assert bundle.load(tmp_path / "b").labels == ("one", "two")


def test_zips_of_twins_are_refused(tmp_path: Path) -> None:
    twins = zipped(tmp_path / "twins.zip", ("a/keras_model.h5", b"x"), ("a\\keras_model.h5", b"y"))
    assert "same name" in refused(twins, tmp_path / "out")


def test_tuples_and_arrays_may_be_wrapped(tmp_path: Path) -> None:
    relu = {"name": "r", "max_value": {"type": "ndarray", "value": 6.0}}
    topology = sequential({"class_name": "ReLU", "config": relu}, flat(), dense())
    first = topology["config"]["layers"][0]["config"]
    first["batch_input_shape"] = {"class_name": "__tuple__", "items": first["batch_input_shape"]}
    assert convert(write_h5(tmp_path / "m.h5", topology, good_arrays()), tmp_path / "out").input == [1, 8, 8, 3]


def test_weights_may_be_given_as_their_folder(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(sequential(flat(), dense())))
    (tmp_path / "w").mkdir()
    good(tmp_path / "w" / "w.h5")
    assert convert(tmp_path / "model.json", tmp_path / "out", Options(weights=tmp_path / "w")).parameters == 386
    good(tmp_path / "w" / "v.h5")
    assert "2 weights files" in refused(tmp_path / "model.json", tmp_path / "new", Options(weights=tmp_path / "w"))


def test_quantised_layers_are_named(tmp_path: Path) -> None:
    policy = {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}
    source = write_h5(tmp_path / "m.h5", sequential(flat(), dense(dtype=policy)), good_arrays())
    assert "layer d (Dense) is quantised" in refused(source, tmp_path / "out")


def test_a_function_with_unknown_settings_is_not_built_without_them(tmp_path: Path) -> None:
    node = {
        "class_name": "TFOpLambda",
        "name": "t",
        "config": {"name": "t", "function": "math.tanh", "dtype": "float32"},
    }
    first = {"class_name": "InputLayer", "name": "in", "config": {"batch_input_shape": [None, 4], "name": "in"}}
    node["inbound_nodes"] = [["in", 0, 0, {"steepness": 2.0}]]
    config = {"name": "m", "layers": [{**first, "inbound_nodes": []}, node]}
    config |= {"input_layers": [["in", 0, 0]], "output_layers": [["t", 0, 0]]}
    source = write_h5(tmp_path / "m.h5", {"class_name": "Model", "config": config}, {})
    assert "steepness" in refused(source, tmp_path / "out")


def test_several_models_and_bundles_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        good(tmp_path / "in" / name / "keras_model.h5")
    assert "a/keras_model.h5, b/keras_model.h5" in refused(tmp_path / "in", tmp_path / "out")
    convert(tmp_path / "in" / "a", tmp_path / "bundle")
    assert "bundle already" in refused(tmp_path / "bundle", tmp_path / "out")
