"""Twin of `picam_infer.inference.references`: originals in their own libraries, and how far our answers are off."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import h5py
import makers
import numpy as np
import pytest
from makers import picture

from picam_infer import cli
from picam_infer.core import NoInput, PicamError, Unavailable
from picam_infer.inference.references import Reference, compare, open_reference

RNG = np.random.default_rng(5)
KERNEL = RNG.normal(size=(192, 3)).astype(np.float32) / 8


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum(), np.float32)


def answers(tensor: np.ndarray) -> np.ndarray:
    return softmax(tensor.reshape(-1) @ KERNEL)


def onnx_file(path: Path, kernel: np.ndarray = KERNEL) -> Path:
    onnx = pytest.importorskip("onnx", reason="needs onnx (pip install onnx)")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["answer"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("answer", kind, [1, kernel.shape[1]])],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def keras_file(path: Path) -> Path:
    keras = makers.keras()
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", use_bias=False)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    layers[1].set_weights([KERNEL])
    model.save(path)
    return path


def litert_file(path: Path) -> Path:
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="needs LiteRT (pip install ai-edge-litert)"
    )
    import flatbuffers

    def buffer(data: bytes = b"") -> Any:
        made = schema.BufferT()
        made.data = np.frombuffer(data, np.uint8) if data else None
        return made

    def tensor(name: str, shape: list[int], place: int = 0, kind: int = schema.TensorType.FLOAT32) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), shape, place, kind
        return made

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    def code(value: int) -> Any:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = value
        made.version = 1
        return made

    kinds, options = schema.BuiltinOperator, schema.BuiltinOptions
    soft = schema.SoftmaxOptionsT()
    soft.beta = 1.0
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("x", [1, 8, 8, 3]),
        tensor("shape", [2], 1, schema.TensorType.INT32),
        tensor("flat", [1, 192]),
        tensor("kernel", [3, 192], 2),
        tensor("logits", [1, 3]),
        tensor("answer", [1, 3]),
    ]
    graph.inputs, graph.outputs = [0], [5]
    graph.operators = [
        operator(0, [0, 1], [2], options.ReshapeOptions, schema.ReshapeOptionsT()),
        operator(1, [2, 3, -1], [4], options.FullyConnectedOptions, schema.FullyConnectedOptionsT()),
        operator(2, [4], [5], options.SoftmaxOptions, soft),
    ]
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [code(kinds.RESHAPE), code(kinds.FULLY_CONNECTED), code(kinds.SOFTMAX)]
    model.subgraphs = [graph]
    model.buffers = [buffer(), buffer(np.array([1, 192], np.int32).tobytes()), buffer(KERNEL.T.tobytes())]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


MAKERS = {"m.onnx": onnx_file, "m.keras": keras_file, "m.h5": keras_file, "m.tflite": litert_file}


@pytest.mark.parametrize("name", MAKERS)
def test_each_library_answers_as_the_network_does(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime (pip install onnxruntime)")
    reference = open_reference(MAKERS[name](tmp_path / name))
    tensor = RNG.normal(size=reference.shape).astype(np.float32)
    assert np.abs(reference.run(tensor) - answers(tensor)).max() < 1e-5


@pytest.mark.parametrize("name", MAKERS)
def test_convert_verifies_and_bench_compares(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime (pip install onnxruntime)")
    (tmp_path / "home").mkdir()
    original = MAKERS[name](tmp_path / "home" / name)
    for number, value in enumerate((10, 120, 240)):
        cv2.imwrite(str(tmp_path / "home" / f"{number}.png"), picture(value))
    monkeypatch.chdir(tmp_path)
    words = ["convert", original, "-o", "out", "--precision", "f32", "--verify", original, "--json"]
    assert cli.main([str(word) for word in words]) == 0
    verified = json.loads(capsys.readouterr().out)["verified"]
    assert verified["agrees"] and verified["pictures"] == verified["same_class"] == 3
    assert verified["difference"] < 1e-4 and verified["noise_difference"] < 1e-4
    monkeypatch.setattr("picam_infer.cli.bench.ROUNDS", 1)
    assert cli.main(["bench", "-m", str(tmp_path / "out"), "--against", str(original)]) == 0
    assert " agrees: on 3 pictures the same class on 3" in capsys.readouterr().out


def test_another_network_is_told_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime (pip install onnxruntime)")
    mine, other = onnx_file(tmp_path / "mine.onnx"), onnx_file(tmp_path / "other.onnx", KERNEL[:, ::-1].copy())
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.write(other, "other.onnx")
    for path in (other, tmp_path / "other.zip"):
        assert cli.main(["convert", str(mine), "-o", str(tmp_path / "out"), "--verify", str(path)]) == 1
        assert "ONNX Runtime" in (said := capsys.readouterr().out) and "differs: on 6 pictures" in said
    fewer = onnx_file(tmp_path / "fewer.onnx", KERNEL[:, :2].copy())
    assert cli.main(["convert", str(mine), "-o", str(tmp_path / "out"), "--verify", str(fewer)]) == 1
    assert "has 2 outputs, the model 3" in capsys.readouterr().err


def test_axes_in_another_order_are_turned() -> None:
    reference = Reference("other", (1, 3, 8, 6), lambda tensor: tensor.reshape(-1))
    tensor = RNG.normal(size=(1, 8, 6, 3)).astype(np.float32)
    assert (reference.feed(tensor) == tensor.transpose(0, 3, 1, 2)).all()
    with pytest.raises(PicamError, match="another network"):
        reference.feed(np.zeros((1, 9, 9, 3), np.float32))


def test_a_class_that_is_as_likely_is_the_same_one() -> None:
    reference = Reference("other", (1, 2), lambda _: np.array([0.5001, 0.4999], np.float32))
    inputs = [("a.png", np.zeros((1, 2), np.float32))]
    close = compare(reference, lambda _: np.array([0.4999, 0.5001], np.float32), inputs, 0, 1)
    assert (close.pictures, close.same, close.agrees) == (1, 1, True)
    far = compare(reference, lambda _: np.array([0.1, 0.9], np.float32), inputs, 0, 1)
    assert (far.same, far.agrees, far.worst) == (0, False, "a.png") and "differs" in far.line()


def test_one_probability_is_compared_with_two_classes() -> None:
    reference = Reference("other", (1, 2), lambda _: np.array([0.8], np.float32))
    inputs = [("a", np.zeros((1, 2), np.float32))]
    assert compare(reference, lambda _: np.array([0.2, 0.8], np.float32), inputs, 0, 1).on_pictures < 1e-6


def test_files_that_cannot_be_compared_cost_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoInput):
        open_reference(tmp_path / "none.h5")
    for name in ("a.pb", "a.onnx", "a.tflite", "a.keras"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(PicamError) as caught:
            open_reference(tmp_path / name)
        assert "\n" not in str(caught.value) and caught.value.hint and name in str(caught.value)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name, package in (("a.onnx", "onnxruntime"), ("a.tflite", "ai-edge-litert"), ("a.keras", "keras")):
        with pytest.raises(Unavailable, match=f"pip install {package}"):
            open_reference(tmp_path / name)


@pytest.mark.parametrize(("name", "version", "remedy"), [
    ("keras_model.h5", "2.4.0", "tensorflow tf-keras"), ("old.h5", "1.2.2", "tensorflow tf-keras"),
    ("new.h5", "3.15.1", "keras"), ("late.keras", "2.15.0", "tensorflow tf-keras"),
])  # fmt: skip
def test_the_library_that_a_files_keras_needs_is_named_at_once(
    name: str, version: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith(".h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["keras_version"] = version
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
    found = importlib.util.find_spec
    lacking = ("keras", "tf_keras")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in lacking else found(name))
    with pytest.raises(Unavailable) as caught:
        open_reference(tmp_path / name)
    assert str(caught.value).endswith(f"; pip install {remedy}")


def test_a_file_of_keras_2_that_keras_3_cannot_load_gets_the_same_remedy(tmp_path: Path) -> None:
    makers.keras()
    with h5py.File(tmp_path / "keras_model.h5", "w") as file:
        file.attrs["keras_version"] = "2.4.0"
    with pytest.raises(PicamError, match=r"keras_model\.h5 is a file of Keras 2: keras .* cannot load it; .*tf-keras"):
        open_reference(tmp_path / "keras_model.h5")
