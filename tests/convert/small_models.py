"""Small networks in several formats, made on the spot: each answers by how red, green and blue a picture is."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import openvino as ov
import openvino.opset13 as op
import pytest

SIZE = 32
EACH = 8 * np.eye(3)
"""Each class is a colour."""
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0), "black": (0, 0, 0), "white": (255,) * 3}


def paint(folder: Path, *names: str, size: tuple[int, int] = (SIZE, SIZE)) -> list[Path]:
    """Save pictures of one colour, (width, height), called after it."""
    paths = []
    for name in names:
        paths.append(folder / f"{name}.png")
        cv2.imwrite(str(paths[-1]), np.full((size[1], size[0], 3), COLOURS[name.split(".")[0]], np.uint8))
    return paths


# -- Keras -----------------------------------------------------------------------


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def keras(
    path: Path,
    layers: Sequence[dict[str, Any]],
    arrays: dict[str, dict[str, np.ndarray]],
    shape: Sequence[int | None] = (None, SIZE, SIZE, 3),
    loss: Any = None,
) -> Path:
    """Write a sequential Keras 2 file."""
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": list(shape), "name": "in"}}
    topology = {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [first, *layers]},
        "keras_version": "2.4.0",
    }
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(topology)
        if loss is not None:
            file.attrs["training_config"] = json.dumps({"loss": loss, "optimizer_config": {}})
        _weights(file, arrays)
    return path


def _weights(file: Any, arrays: dict[str, dict[str, np.ndarray]]) -> None:
    weights = file.create_group("model_weights")
    weights.attrs["layer_names"] = [name.encode() for name in arrays]
    weights.attrs["keras_version"] = b"2.4.0"
    for name, values in arrays.items():
        group = weights.create_group(name)
        group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in values]
        for key, value in values.items():
            group[f"{name}/{key}:0"] = np.asarray(value, np.float32)


def dense(
    kernel: Any, bias: Any = 0.0, activation: str = "linear", name: str = "d"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a Dense layer on the means of the channels, and its weights."""
    kernel = np.asarray(kernel, np.float32)
    bias = np.zeros(kernel.shape[1]) + bias
    return layer("Dense", name, units=kernel.shape[1], activation=activation), {name: {"kernel": kernel, "bias": bias}}


def colour_keras(
    path: Path,
    kernel: Any = EACH,
    bias: Any = 0.0,
    activation: str = "softmax",
    before: Sequence[dict[str, Any]] = (),
    arrays: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Write means of the channels → Dense, with layers of scaling before."""
    last, weights = dense(kernel, bias, activation)
    pool = layer("GlobalAveragePooling2D", "g")
    return keras(path, [*before, pool, last], {**(arrays or {}), **weights}, **more)


# -- OpenVINO --------------------------------------------------------------------


def network(
    finish: Callable[[Any], Any],
    begin: Callable[[Any], Any] = lambda x: x,
    kernel: Any = EACH,
    shape: Sequence[int] = (1, SIZE, SIZE, 3),
    conv: bool = True,
) -> Any:
    """Return begin → a convolution that changes nothing → means of the channels → MatMul → finish."""
    source = op.parameter(list(shape), np.float32, name="in")
    x = begin(source)
    if shape[3] == 3:
        x = op.transpose(x, np.array([0, 3, 1, 2]))
    if conv:
        x = op.convolution(x, np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    means = op.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    answer = finish(op.matmul(means, op.constant(np.asarray(kernel, np.float32)), False, False))
    results = [op.result(one) for one in (answer if isinstance(answer, list) else [answer])]
    for at, result in enumerate(results):
        result.output(0).get_tensor().set_names({f"out{at}"})
    return ov.Model(results, [source], "colours")


def save_ir(path: Path, model: Any) -> Path:
    ov.save_model(model, path, compress_to_fp16=False)
    return path


# -- ONNX ------------------------------------------------------------------------


def onnx_file(
    path: Path,
    nodes: Sequence[tuple[str, list[str], list[str], dict[str, Any]]],
    constants: dict[str, Any],
    outputs: dict[str, Sequence[Any]],
    shape: Sequence[Any] = (1, 3, SIZE, SIZE),
    maker: str = "pytorch",
    notes: dict[str, str] | None = None,
    kind: Any = None,
) -> Path:
    """Write an ONNX file of nodes (operator, inputs, outputs, attributes); its input is `x`."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed (extra `test`)")
    from onnx import TensorProto, helper, numpy_helper

    made = [helper.make_node(kind_, inputs, outs, **attributes) for kind_, inputs, outs, attributes in nodes]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        made,
        "colours",
        [helper.make_tensor_value_info("x", kind or TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sides)) for name, sides in outputs.items()],
        held,
    )
    model = helper.make_model(graph, producer_name=maker, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (notes or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    return path


def colour_onnx(
    path: Path, last: str = "Softmax", front: Sequence[Any] = (), constants: Any = None, **more: Any
) -> Path:
    """Write front → 1×1 convolution → means → Gemm → last (empty: logits), (1, 3, H, W)."""
    start = front[-1][2][0] if front else "x"
    nodes = [
        *front,
        ("Conv", [start, "one"], ["c"], {}),
        ("GlobalAveragePool", ["c"], ["g"], {}),
        ("Flatten", ["g"], ["f"], {}),
        ("MatMul", ["f", "k"], ["logits" if last else "y"], {}),
    ]
    if last:
        nodes.append((last, ["logits"], ["y"], {"axis": 1} if "oftmax" in last else {}))
    one = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    held = {"one": one, "k": (8 * np.eye(3)).astype(np.float32), **(constants or {})}
    return onnx_file(path, nodes, held, {"y": (1, 3)}, **more)


# -- TensorFlow Lite -------------------------------------------------------------


def tflite(
    path: Path,
    *,
    quantised: bool = False,
    last: str = "SOFTMAX",
    scale: float = 1 / 255,
    zero: int = 0,
    metadata: bytes | None = None,
    files: dict[str, str] | None = None,
    gain: float = 8.0,
) -> Path:
    """Write MEAN → FULLY_CONNECTED → last; `quantised`: uint8 at both ends, the input by `scale` and `zero`."""
    flatbuffers = pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra `test`)")
    s = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed (extra `test`)"
    )

    model = s.ModelT()
    model.version, model.description = 3, "colours"
    model.buffers = [s.BufferT()]

    def buffer(data: bytes) -> int:
        block = s.BufferT()
        block.data = np.frombuffer(data, np.uint8)
        model.buffers.append(block)
        return len(model.buffers) - 1

    def tensor(name: str, shape: list[int], kind: int, data: Any = None, q: tuple[float, int] | None = None) -> Any:
        one = s.TensorT()
        one.name, one.shape, one.type = name.encode(), shape, kind
        one.buffer = buffer(np.asarray(data).tobytes()) if data is not None else 0
        if q:
            one.quantization = s.QuantizationParametersT()
            one.quantization.scale, one.quantization.zeroPoint = [q[0]], [q[1]]
        return one

    real, byte, int32 = s.TensorType.FLOAT32, s.TensorType.UINT8, s.TensorType.INT32
    kind = byte if quantised else real
    kernel = (
        np.round(np.eye(3) * gain / (gain / 255)).astype(np.uint8)
        if quantised
        else (gain * np.eye(3)).astype(np.float32)
    )
    graph = s.SubGraphT()
    graph.name = b"main"
    entry, weights = ((scale, zero), (gain / 255, 0)) if quantised else (None, None)
    graph.tensors = [
        tensor("x", [1, SIZE, SIZE, 3], kind, q=entry),
        tensor("axes", [2], int32, np.array([1, 2], np.int32)),
        tensor("means", [1, 3], kind, q=entry),
        tensor("k", [3, 3], kind, kernel, weights),
        tensor("logits", [1, 3], kind, q=(gain * 2 / 255, 127) if quantised else None),
        tensor("y", [1, 3], kind, q=(1 / 256, 0) if quantised else None),
    ]
    ops = [("MEAN", [0, 1], [2], "ReducerOptions"), ("FULLY_CONNECTED", [2, 3, -1], [4], "FullyConnectedOptions")]
    if last:
        ops.append((last, [4], [5], "SoftmaxOptions" if last == "SOFTMAX" else "NONE"))
    model.operatorCodes, graph.operators = [], []
    for at, (name, inputs, outs, options) in enumerate(ops):
        code = s.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(s.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
        one = s.OperatorT()
        one.opcodeIndex, one.inputs, one.outputs = at, inputs, outs
        if options != "NONE":
            one.builtinOptionsType = getattr(s.BuiltinOptions, options)
            one.builtinOptions = getattr(s, f"{options}T")()
            if options == "SoftmaxOptions":
                one.builtinOptions.beta = 1.0
        graph.operators.append(one)
    graph.inputs, graph.outputs = [0], [5 if last else 4]
    model.subgraphs = [graph]
    if metadata is not None:
        about = s.MetadataT()
        about.name, about.buffer = b"TFLITE_METADATA", buffer(metadata)
        model.metadata = [about]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    data = bytes(builder.Output())
    if files:
        packed = io.BytesIO(data)
        packed.seek(0, io.SEEK_END)
        with zipfile.ZipFile(packed, "a") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        data = packed.getvalue()
    path.write_bytes(data)
    return path


def tflite_metadata(mean: Sequence[float] = (), std: Sequence[float] = (), labels: str = "") -> bytes:
    """Return TensorFlow Lite's metadata: how pixels are normalised, and the name of the file of labels."""
    flatbuffers = pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra `test`)")
    b = flatbuffers.Builder(1024)

    def floats(values: Sequence[float]) -> int:
        b.StartVector(4, len(values), 4)
        for value in reversed(values):
            b.PrependFloat32(value)
        return int(b.EndVector())

    def table(fields: dict[int, int], kinds: dict[int, int] | None = None) -> int:
        numbers = [*fields, *(kinds or {})]
        b.StartObject(max(numbers, default=0) + 1)
        for number, offset in fields.items():
            b.PrependUOffsetTRelativeSlot(number, offset, 0)
        for number, value in (kinds or {}).items():
            b.PrependInt8Slot(number, value, 0)
        return int(b.EndObject())

    def tables(offsets: Sequence[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    units = []
    if mean:
        options = table({0: floats(mean), 1: floats(std)})
        units = [table({1: options}, {0: 1})]
    tensor_in = table({4: tables(units)}) if units else table({})
    listed = [table({0: b.CreateString(labels)}, {2: 2})] if labels else []
    tensor_out = table({6: tables(listed)}) if listed else table({})
    graph = table({2: tables([tensor_in]), 3: tables([tensor_out])})
    name = b.CreateString("colours")
    b.Finish(table({0: name, 3: tables([graph])}), b"M001")
    return bytes(b.Output())
