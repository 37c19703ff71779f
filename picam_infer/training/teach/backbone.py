"""The backbone: which of its values describe a picture, and the same network with taught layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from picam_infer.convert import graph
from picam_infer.core import PicamError, UsageError
from picam_infer.inference.engines.openvino import read_network
from picam_infer.inference.engines.taught_layers import FEATURES
from picam_infer.models.bundle import Bundle
from picam_infer.training.teach.calibration import MOST
from picam_infer.training.teach.head import Head

MAX_FEATURES = 4096
"""More features would need more memory than a Pi can spare: their covariance has as many rows and columns."""
ENOUGH = 32
"""A layer with fewer numbers knows little beyond its own classes."""
Vector = npt.NDArray[np.float32]

_THROUGH = frozenset({
    "Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Relu", "PRelu", "LeakyRelu", "Elu", "Selu", "Tanh", "Clamp",
    "Gelu", "Swish", "HSwish", "SoftPlus", "Mish", "FakeQuantize", "Convert", "ConvertLike", "Reshape", "Squeeze",
    "Unsqueeze", "Transpose", "Log", "Exp", "Negative", "Power", "NormalizeL2", "Identity",
})  # fmt: skip
_ARITHMETIC = frozenset({"Add", "Multiply", "Subtract", "Divide", "Minimum", "Maximum"})
_JOINS = frozenset({"Add", "Concat"})
_SHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "ConvertLike", "Identity"})
_POOLING = frozenset({"ReduceMean", "ReduceMax", "AvgPool", "MaxPool"})
_POSITIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax"})


@dataclass(frozen=True)
class Features:
    """Which of a network's values describe a picture."""

    ports: tuple[Any, ...]
    """The graph's outputs that hold them, side by side."""
    layer: str
    """Their names, for people and for `--features`."""
    count: int
    root: bool
    """Whether they are never below 0."""
    pooled: bool = False
    """Whether the mean of each of a map's channels is taken."""


# -- finding them ----------------------------------------------------------------------------------------------------


def find(model: Any, layer: str | None = None) -> Features:
    """Return what feeds the last dense layers of a network, or the layer of that name. Raises `PicamError`.

    Of several dense layers in a row the first one counts, unless that one reads a flattened map and outputs enough
    numbers: then its output describes the picture better.
    """
    ask = layer or (FEATURES if _named(model, FEATURES) else None)
    found = _asked(model, ask) if ask else _found(model)
    if found.count > MAX_FEATURES:
        raise PicamError(
            f"layer {found.layer} has {found.count} numbers, more than {MAX_FEATURES}",
            "name a later layer with --features",
        )
    return found


def _asked(model: Any, layer: str) -> Features:
    names = [name for name in layer.split(" + ") if name]
    ports = [port for name in names for port in _named(model, name)[:1]]
    if not ports or len(ports) < len(names):
        near = ", ".join(dict.fromkeys(_name(port) for level in _levels(_answer(model)) for port in level))
        raise UsageError(f"the network has no layer {layer!r}", f"the dense layers read: {near}" if near else "")
    return _features(ports, pooled=any(len(_sides(port)) > 2 and _spatial(port) for port in ports))


def _named(model: Any, name: str) -> list[Any]:
    return [
        port
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Result")
        for port in node.outputs()
        if name == node.get_friendly_name() or name in port.get_names()
    ]


def _found(model: Any) -> Features:
    answer = _answer(model)
    levels = _levels(answer)
    if not levels:
        return _before_last_map(answer)
    for level in reversed(levels):
        if not any(_flattened(port) for port in level) and _count(level) >= ENOUGH:
            return _features(level)
    wide = max(levels, key=_count)
    maps = [_map(port) for port in wide]
    if _count(wide) > MAX_FEATURES and all(found is not None for found in maps):
        return _features(maps, pooled=True)
    return _features(wide)


def _answer(model: Any) -> Any:
    return model.output(0).get_node().input_value(0)


def _levels(port: Any) -> list[list[Any]]:
    """Return what each of the last dense layers reads, the last layer's first: one port, or one for each branch."""
    levels: list[list[Any]] = []
    while True:
        node = port.get_node()
        kind = node.get_type_name()
        data = [index for index, source in enumerate(graph.sources(node)) if not _constant(source)]
        if _is_dense(node, data):
            port = node.input_value(data[0])
            levels.append([port])
        elif len(data) == 1 and (kind in _THROUGH or kind in _ARITHMETIC) and _is_vector(port):
            port = node.input_value(data[0])
        elif not levels and kind in _JOINS and len(data) > 1 and _is_vector(port):
            branches = [_levels(node.input_value(index)) for index in data]
            return [[one for branch in level for one in branch] for level in zip(*branches, strict=False)]
        else:
            return levels


def _is_dense(node: Any, data: list[int]) -> bool:
    """Tell whether a node is a dense layer: a product with constant weights, as a matrix or as a whole map's kernel."""
    if len(data) != 1:
        return False
    sides = _sides(node.input_value(data[0]))
    if node.get_type_name() == "MatMul":
        return sum(side > 1 for side in sides) <= 1
    if node.get_type_name() == "Convolution":
        return math.prod(_sides(node.output(0))[2:]) == 1 and list(node.input_value(1).get_shape())[2:] == sides[2:]
    return False


def _before_last_map(port: Any) -> Features:
    """Return the mean of what the last convolution reads: networks that end with a map for each class and its mean."""
    for _ in range(32):
        node = port.get_node()
        kind = node.get_type_name()
        data = [index for index, source in enumerate(graph.sources(node)) if not _constant(source)]
        if kind == "Convolution" and data == [0]:
            return _features([node.input_value(0)], pooled=True)
        if len(data) != 1 or kind not in _THROUGH | _ARITHMETIC | _POOLING:
            break
        port = node.input_value(data[0])
    raise PicamError("the network has no dense layer at its end", "name what describes a picture with --features LAYER")


def _features(ports: list[Any], pooled: bool = False) -> Features:
    count = sum(_sides(port)[1] if pooled and _spatial(port) else math.prod(_sides(port)) for port in ports)
    layer = " + ".join(_name(port) for port in ports)
    return Features(tuple(ports), layer, count, all(_never_negative(port) for port in ports), pooled)


def _name(port: Any) -> str:
    return str(port.get_node().get_friendly_name())


def _sides(port: Any) -> list[int]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return [0, 0]
    return [side.get_length() if side.is_static else (1 if at == 0 else 0) for at, side in enumerate(shape)]


def _count(ports: list[Any]) -> int:
    return sum(math.prod(_sides(port)) for port in ports)


def _is_vector(port: Any) -> bool:
    return sum(side != 1 for side in _sides(port)) <= 1


def _spatial(port: Any) -> bool:
    sides = _sides(port)
    return len(sides) == 4 and math.prod(sides[2:]) > 1


def _constant(node: Any, depth: int = 0) -> bool:
    """Tell whether a node's value depends on no input."""
    if node.get_type_name() == "Constant":
        return True
    inside = graph.sources(node)
    return bool(inside) and depth < 6 and all(_constant(source, depth + 1) for source in inside)


def _flattened(port: Any) -> bool:
    """Tell whether a vector is a flattened map of more than one place, or the flattened picture itself."""
    node = port.get_node()
    while node.get_type_name() in _SHAPING | {"FakeQuantize"}:
        if sum(side > 1 for side in _sides(node.input_value(0))) > 1:
            return True
        node = graph.sources(node)[0]
    return node.get_type_name() == "Parameter" or sum(side > 1 for side in _sides(node.output(0))) > 1


def _map(port: Any) -> Any | None:
    """Return the map (1, C, H, W) that was flattened into a vector."""
    while not _spatial(port):
        node = port.get_node()
        if node.get_type_name() not in _SHAPING:
            return None
        port = node.input_value(0)
    node = port.get_node()
    # After a change to channels-last the channels are elsewhere.
    return node.input_value(0) if node.get_type_name() == "Transpose" else port


def _never_negative(port: Any) -> bool:
    for _ in range(16):
        node = port.get_node()
        kind = node.get_type_name()
        if kind in _POSITIVE or (kind == "Clamp" and node.get_attributes()["min"] >= 0):
            return True
        if kind == "Concat":
            return all(_never_negative(source) for source in node.input_values())
        if kind not in _SHAPING | _POOLING | {"Gather"}:
            return False
        port = node.input_value(0)
    return False


# -- running and extending it ----------------------------------------------------------------------------------------


class Backbone:
    """A bundle's network up to its features; one thread at a time may use it."""

    def __init__(self, bundle: Bundle, layer: str | None = None, threads: int = 0) -> None:
        """Find the features and compile for the CPU in float32, for so many threads. Raises `PicamError`."""
        from picam_infer.convert import ir

        model = _read(bundle)
        found = find(model, layer)
        self.bundle = bundle
        self.layer, self.count, self.root = found.layer, found.count, found.root
        self._asked = layer
        self._shape = tuple(model.input(0).shape)
        self._request = ir.compiled(_cut(model, found), threads).create_infer_request()

    def features(self, tensor: Vector) -> Vector:
        """Return the features, (d,) float32, for the network's input as `preprocess.tensor` makes it.

        Raises `PicamError` when they are not numbers.
        """
        self._request.infer([np.ascontiguousarray(tensor, np.float32).reshape(self._shape)])
        found = np.array(self._request.get_output_tensor(0).data.reshape(-1), np.float32)
        if not np.isfinite(found).all():
            raise PicamError(
                f"{self.bundle.name} answers with values that are not numbers",
                "its weights are damaged or overflow: convert it again",
            )
        return found

    def with_head(self, head: Head) -> dict[str, bytes]:
        """Return `model.xml` and `model.bin`: the network with taught layers in place of its last ones."""
        from picam_infer.convert import ir

        model = _read(self.bundle)
        return ir.serialise(_joined(model, find(model, self._asked), head), half=False)


def described(bundle: Bundle) -> tuple[str, int]:
    """Return the layer of a bundle that describes a picture, and how many numbers it has. Raises `PicamError`."""
    found = find(_read(bundle))
    return found.layer, found.count


def _read(bundle: Bundle) -> Any:
    if bundle.card.task == "regression":
        raise PicamError(
            f"{bundle.name} measures values: it cannot be a backbone", "take a model that distinguishes classes"
        )
    return read_network(bundle)


def _vector(found: Features) -> Any:
    """Return the node of the features, (1, d) float32, called `FEATURES`."""
    from openvino import opset13 as ops

    if (
        found.layer == FEATURES
    ):  # a taught bundle: the same bytes must result as from the backbone that it was taught on
        return found.ports[0].get_node()
    parts = []
    for port in found.ports:
        part = ops.convert(port, np.float32) if port.get_element_type().get_type_name() != "f32" else port
        if found.pooled and _spatial(port):
            part = ops.reduce_mean(part, np.array([2, 3], np.int64), keep_dims=False)
        parts.append(ops.reshape(part, np.array([1, -1], np.int64), False))
    whole = ops.concat(parts, 1)
    whole.set_friendly_name(FEATURES)
    return whole


def _cut(model: Any, found: Features) -> Any:
    import openvino as ov

    return ov.Model([_vector(found)], model.get_parameters(), "features")


def _joined(model: Any, found: Features, head: Head) -> Any:
    import openvino as ov
    from openvino import opset13 as ops

    def constant(values: Any) -> Any:
        return ops.constant(np.asarray(values, np.float32))

    features = _vector(found)
    u = ops.sqrt(ops.maximum(features, constant(0.0))) if head.root else features
    u = ops.subtract(u, constant(head.centre[None]))
    logits = ops.add(ops.matmul(u, constant(head.weights), False, False), constant(head.bias[None]))
    axis = np.array([1], np.int64)
    first = ops.reduce_max(logits, axis, keep_dims=True)
    turned = ops.matmul(u, constant(head.shape), False, False)
    distance = ops.reduce_sum(ops.multiply(turned, turned), axis, keep_dims=True)
    if head.span.shape[1]:
        along = ops.matmul(u, constant(head.span), False, False)
        across = ops.subtract(u, ops.matmul(along, constant(head.span), False, True))
        across = ops.multiply(across, constant(head.rest))
        distance = ops.add(distance, ops.reduce_sum(ops.multiply(across, across), axis, keep_dims=True))
    distance = ops.subtract(distance, ops.multiply(first, constant(head.nearness)))
    unknown = ops.add(ops.multiply(distance, constant(head.gain)), constant(head.offset))
    unknown = ops.add(first, ops.clamp(unknown, -MOST, MOST))
    scores = ops.softmax(ops.concat([logits, unknown], 1), 1)
    scores.set_friendly_name("taught_scores")
    scores.output(0).get_tensor().set_names({"taught_scores"})
    return ov.Model([ops.result(scores)], model.get_parameters(), "taught")
