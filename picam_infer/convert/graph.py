"""Walking an OpenVINO graph: where a value comes from, and what is constant in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError

_FOLDED = frozenset(
    {"Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Multiply", "Subtract", "Add", "Divide"}
)
MAX_CONSTANT = 1 << 22
_WEIGHTED = frozenset({
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul", "Multiply",
    "BatchNormInference", "PRelu",
})  # fmt: skip
"""Operations to which infinity is of no use; elsewhere it may be a limit, or mask a value."""


def sources(node: Any) -> list[Any]:
    """Return the nodes whose values go into a node, in order."""
    return [port.get_source_output().get_node() for port in node.inputs()]


def upstream(*nodes: Any) -> Iterator[Any]:
    """Yield the nodes and all that their values depend on, each once."""
    seen: set[str] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node.get_friendly_name() not in seen:
            seen.add(node.get_friendly_name())
            yield node
            pending.extend(sources(node))


def parameters(*nodes: Any) -> list[Any]:
    """Return the model's inputs that the nodes depend on."""
    return [node for node in upstream(*nodes) if node.get_type_name() == "Parameter"]


def constant(node: Any) -> Array | None:
    """Return a constant's values as float64, through mere unpacking or reshaping; None if it is not one."""
    kind = node.get_type_name()
    if kind == "Constant":
        if int(np.prod(list(node.get_output_shape(0)), dtype=object)) > MAX_CONSTANT:
            return None
        try:
            return np.asarray(node.get_data(), np.float64)
        except (RuntimeError, TypeError, ValueError):
            return None
    if kind not in _FOLDED:
        return None
    first = constant(sources(node)[0])
    if first is None or kind in ("Convert", "Squeeze", "Unsqueeze", "Reshape", "Transpose"):
        return first if first is None or kind == "Convert" else _shaped(first, node)
    second = constant(sources(node)[1])
    if second is None:
        return None
    work = {"Multiply": np.multiply, "Subtract": np.subtract, "Add": np.add, "Divide": np.divide}[kind]
    with np.errstate(all="ignore"):
        return np.asarray(work(first, second))


def _shaped(values: Array, node: Any) -> Array | None:
    shape = node.get_output_partial_shape(0)
    if shape.is_dynamic:
        return None
    if node.get_type_name() == "Transpose":
        order = constant(sources(node)[1])
        return None if order is None else values.transpose([int(axis) for axis in order.ravel()])
    return values.reshape([int(side.get_length()) for side in shape])


def require_numbers(model: Any) -> None:
    """Raise `PicamError` if the weights of a network are not numbers: activations can hide that from its answers."""
    for node in _operations(model):
        if node.get_type_name() != "Constant" or not node.get_output_element_type(0).is_real():
            continue
        values = np.asarray(node.get_data())
        if np.isfinite(values).all():
            continue
        users = list(_users(node))
        if np.isnan(values).any() or any(user.get_type_name() in _WEIGHTED for user in users):
            layer = (users or [node])[0].get_friendly_name()
            raise PicamError(
                f"layer {layer}: its weights hold values that are not numbers (NaN or infinity)",
                "train the model again",
            )


def _operations(model: Any) -> Iterator[Any]:
    """Yield a network's operations, those inside its branches and loops too."""
    for node in model.get_ordered_ops():
        yield node
        for body in bodies(node):
            yield from _operations(body)


def bodies(node: Any) -> tuple[Any, ...]:
    """Return the networks inside an operation: those of a branch or a loop."""
    kind = node.get_type_name()
    if kind == "If":
        return node.get_then_body(), node.get_else_body()
    return (node.get_function(),) if kind in ("Loop", "TensorIterator") else ()


def _users(node: Any) -> Iterator[Any]:
    """Yield the operations that a value goes into, through what only unpacks or reshapes it."""
    for target in node.output(0).get_target_inputs():
        user = target.get_node()
        if user.get_type_name() in ("Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose"):
            yield from _users(user)
        else:
            yield user


def single(node: Any) -> float | None:
    """Return a constant that is one number, however often it is repeated; None for anything else."""
    values = constant(node)
    if values is None or not values.size or not np.isfinite(values).all() or np.ptp(values) > 0:
        return None
    return float(values.ravel()[0])


def name_of(port: Any) -> str:
    """Return the name of a model's input or output."""
    return next(iter(sorted(port.get_names())), "") or str(port.get_node().get_friendly_name())
