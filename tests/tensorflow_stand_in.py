"""TensorFlow's graph building, as far as compile-ncs uses it: TensorFlow itself is too large for the test environment.

Operators become nodes of a GraphDef as graph.proto lays it out, so that a real reader can say what they compute. Only
shapes are worked out here. Variables' values are kept in a .npz where TensorFlow would write a checkpoint.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import saved_models
from saved_models import FLOAT, INT32

Shape = list[int]
# An operator's inputs, in order; what else it is given are attributes.
INPUTS = {
    "Conv2D": "input filter", "DepthwiseConv2dNative": "input filter", "BiasAdd": "value bias", "MatMul": "a b",
    "MaxPool": "input", "AvgPool": "value", "Reshape": "tensor shape", "Pad": "input paddings", "Identity": "input",
    "Relu": "features", "Relu6": "features", "Elu": "features", "Sigmoid": "x", "Tanh": "x", "Softmax": "logits",
    "Mul": "x y", "Add": "x y", "Maximum": "x y", "ConcatV2": "values axis", "Assign": "ref value", "VariableV2": "",
    "SaveV2": "prefix tensor_names shape_and_slices tensors", "RestoreV2": "prefix tensor_names shape_and_slices",
    "NoOp": "",
}  # fmt: skip


# The attribute for the type of an operator's indices.
INDICES = {"Reshape": "Tshape", "Pad": "Tpaddings", "ConcatV2": "Tidx"}


@dataclass
class Node:
    """One operator: a NodeDef, with its result's shape and its value (a constant's) or first input."""

    name: str
    kind: str
    input: list[str]
    attr: dict[str, bytes]
    shape: Shape
    value: Any = None

    @property
    def op(self) -> Node:
        """The operator that made this tensor: itself."""
        return self

    def encoded(self) -> bytes:
        """Return it as a field of a GraphDef."""
        return saved_models.node(self.kind, self.name, *self.input, **self.attr)


@dataclass
class Graph:
    """The nodes of a graph under construction, in order; also a GraphDef."""

    node: list[Node] = field(default_factory=list)
    versions: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(producer=9999, min_consumer=1))

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Add what is made from now on."""
        _open.append(self)
        yield self
        _open.pop()

    def ClearField(self, name: str) -> None:  # noqa: N802
        """It has no other fields."""

    def SerializeToString(self, deterministic: bool) -> bytes:  # noqa: N802
        """Return the GraphDef."""
        versions = saved_models.field(4, saved_models.field(1, self.versions.producer))
        return b"".join(one.encoded() for one in self.node) + versions


class MetaGraph(SimpleNamespace):
    """A MetaGraphDef, as far as it is looked at."""

    def SerializeToString(self, deterministic: bool) -> bytes:  # noqa: N802
        """Return it with the graph alone."""
        return saved_models.field(2, self.graph_def.SerializeToString(deterministic=True))


_open: list[Graph] = []


def _added(node: Node) -> Node:
    assert node.name not in {one.name for one in _open[-1].node}, f"TensorFlow would rename {node.name}"
    _open[-1].node.append(node)
    return node


def _encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return saved_models.field(2, value)
    if isinstance(value, list):
        return saved_models.field(1, b"".join(saved_models.field(3, int(side)) for side in value))
    return saved_models.field(6, int(value))


def _window(kind: str, fed: Sequence[Node], more: dict[str, Any]) -> Shape:
    _, height, width, channels = fed[0].shape
    window = fed[1].shape[:2] if len(fed) > 1 else more["ksize"][1:3]
    sides = [
        math.ceil(side / stride) if more["padding"] == b"SAME" else (side - size) // stride + 1
        for side, size, stride in zip((height, width), window, more["strides"][1:3], strict=True)
    ]
    filters = {"Conv2D": lambda: fed[1].shape[3], "DepthwiseConv2dNative": lambda: channels * fed[1].shape[3]}
    return [1, *sides, filters.get(kind, lambda: channels)()]


def _shape(kind: str, fed: Sequence[Node], more: dict[str, Any]) -> Shape:
    if kind in ("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"):
        return _window(kind, fed, more)
    if kind == "VariableV2":
        return list(more["shape"])
    if kind == "MatMul":
        return [fed[0].shape[0], fed[1].shape[1]]
    if kind == "Reshape":
        return [int(side) for side in fed[1].value]
    if kind == "Pad":
        return [side + int(sum(pair)) for side, pair in zip(fed[0].shape, fed[1].value, strict=True)]
    if kind == "ConcatV2":
        axis = int(fed[-1].value)
        joined = sum(one.shape[axis] for one in fed[:-1])
        return [joined if at == axis else side for at, side in enumerate(fed[0].shape)]
    return max((one.shape for one in fed), key=len) if fed else []


class RawOps:
    """tf.raw_ops: each operator by its name, given its inputs and attributes by theirs."""

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        return lambda name="", **given: self._made(kind, name or kind, given)

    def _made(self, kind: str, name: str, given: dict[str, Any]) -> Any:
        inputs = [given.pop(word) for word in INPUTS[kind].split()]
        fed = [one for each in inputs for one in (each if isinstance(each, list) else [each]) if isinstance(one, Node)]
        names = [one.name for one in fed]
        if kind == "RestoreV2":
            return [_added(Node(f"{name}_{at}", kind, names, {}, [])) for at in range(len(given["dtypes"]))]
        attributes = {key: _encoded(value) for key, value in given.items()}
        if kind in INDICES:
            attributes[INDICES[kind]] = _encoded(INT32)
        if kind == "ConcatV2":
            attributes["N"] = saved_models.field(3, len(fed) - 1)
        if kind not in ("SaveV2", "NoOp", "VariableV2"):
            attributes["T"] = _encoded(FLOAT)
        return _added(Node(name, kind, names, attributes, _shape(kind, fed, given), inputs[0] if inputs else None))


class Session:
    """A session that can save: it writes what the constants given to SaveV2 hold."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def run(self, saved: Node) -> None:
        """Write the tensors beside the prefix."""
        values = {node.name: node.value for node in _open[-1].node}
        np.savez(Path(f"{saved.value}.npz"), *[values[name] for name in saved.input])


def constant(values: Any, name: str = "") -> Node:
    """Return a Const; of texts without their contents."""
    array = np.asarray(values)
    attributes = {}
    if array.dtype in (np.float32, np.int32):
        encoded = saved_models.field(1, FLOAT if array.dtype == np.float32 else INT32)
        sides = b"".join(saved_models.field(2, saved_models.field(1, side)) for side in array.shape)
        tensor = encoded + saved_models.field(2, sides) + saved_models.field(4, array.tobytes())
        attributes = {"dtype": saved_models.field(6, FLOAT if array.dtype == np.float32 else INT32),
                      "value": saved_models.field(8, tensor)}  # fmt: skip
    return _added(Node(name or f"Const_{len(_open[-1].node)}", "Const", [], attributes, list(array.shape), array))


def _placeholder(dtype: int, shape: Sequence[int], name: str) -> Node:
    sides = b"".join(saved_models.field(2, saved_models.field(1, side)) for side in shape)
    attributes = {"dtype": _encoded(dtype), "shape": saved_models.field(7, sides)}
    return _added(Node(name, "Placeholder", [], attributes, list(shape)))


def _exported(strip_default_attrs: bool, saver_def: Any = None) -> MetaGraph:
    return MetaGraph(graph_def=_open[-1], meta_info_def=SimpleNamespace(), saver_def=saver_def)


class SaverDef(SimpleNamespace):
    """What restores the variables."""

    V2 = 2


raw_ops = RawOps()
float32 = FLOAT
control_dependencies = contextlib.nullcontext
compat = SimpleNamespace(
    v1=SimpleNamespace(
        placeholder=_placeholder,
        Session=Session,
        train=SimpleNamespace(export_meta_graph=_exported, SaverDef=SaverDef),
    )
)
