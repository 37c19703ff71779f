"""Whatever a network does twice with the same weights becomes one part with a batch of two, which reads them once.

The digit model, for example, looks at its input and at a copy shifted by a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import openvino as ov

_BEGINS = ("Convolution", "GroupConvolution", "MatMul", "MaxPool")
"""Operations that are worth making a batch of two for; others are merged where they follow."""


def merge(model: ov.Model) -> int:
    """Merge a network's twins in place, for inputs with a batch of one; return how many operations that saves.

    The answers stay the same: each operation that is merged treats the pictures of a batch each by itself.
    """
    seen: dict[tuple[object, ...], list[ov.Node]] = {}
    saved = 0
    for node in model.get_ordered_ops():
        if not _by_itself(node):
            continue
        others = seen.setdefault(_kind(node), [])
        for other in others:
            source = _common_source(other, node) if _same_constants(other, node) else None
            if source is not None:
                _join(other, node, source)
                others.remove(other)
                saved += 1
                break
        else:
            others.append(node)
    if saved:
        model.validate_nodes_and_infer_types()
    return saved


def _kind(node: ov.Node) -> tuple[object, ...]:
    attributes = tuple(sorted((name, str(value)) for name, value in node.get_attributes().items()))
    return node.get_type_name(), attributes, tuple(str(port.get_partial_shape()) for port in node.inputs())


def _by_itself(node: ov.Node) -> bool:
    """Tell whether a node works on one picture, and would on two of a batch, each by itself."""
    check = _CHECKS.get(node.get_type_name())
    if check is None or any(port.get_target_inputs() for port in node.outputs()[1:]):
        return False
    shapes = node.input(0).get_partial_shape(), node.output(0).get_partial_shape()
    if not all(shape.is_static and len(shape) > 1 and shape[0].get_length() == 1 for shape in shapes):
        return False
    constants = [_constant(port) for port in node.input_values()[1:]]
    known = [value for value in constants if value is not None]
    return len(known) == len(constants) and _constant(node.input_value(0)) is None and check(node, known)


def _constant(port: ov.Output) -> npt.NDArray[np.generic] | None:
    node = port.get_node()
    if node.get_type_name() == "Convert":  # weights kept in half precision
        node = node.input_value(0).get_node()
    return np.array(node.get_data()) if node.get_type_name() == "Constant" else None


def _same_constants(one: ov.Node, other: ov.Node) -> bool:
    pairs = zip(one.input_values()[1:], other.input_values()[1:], strict=True)
    values = [(_constant(a), _constant(b)) for a, b in pairs]
    return all(a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b) for a, b in values)


def _common_source(one: ov.Node, other: ov.Node) -> ov.Output | None:
    """Return the common source of both pictures as one batch; None: they cannot be merged."""
    from openvino import opset13 as ops

    a, b = one.input_value(0), other.input_value(0)
    split, second = a.get_node(), b.get_node()
    if split.get_type_name() == "Split" and split.get_instance_id() == second.get_instance_id():
        return split.input_value(0) if (a.get_index(), b.get_index()) == (0, 1) else None
    if one.get_type_name() not in _BEGINS or _depends(second, one):
        return None
    return ops.concat([a, b], 0).output(0)


def _depends(node: ov.Node, on: ov.Node) -> bool:
    """Tell whether a node needs what another one gives: two that are applied one after the other are not twins."""
    waiting, met = [node], set()
    while waiting:
        now = waiting.pop()
        if now.get_instance_id() == on.get_instance_id():
            return True
        if now.get_instance_id() not in met:
            met.add(now.get_instance_id())
            waiting += [port.get_node() for port in now.input_values()]
    return False


def _join(one: ov.Node, other: ov.Node, source: ov.Output) -> None:
    from openvino import opset13 as ops

    users = one.output(0).get_target_inputs(), other.output(0).get_target_inputs()
    one.input(0).replace_source_output(source)
    if one.get_type_name() == "Reshape":
        target = _constant(one.input_value(1))
        assert target is not None
        target[0] = 2
        one.input(1).replace_source_output(ops.constant(target).output(0))
    one.validate_and_infer_types()
    halves = ops.split(one.output(0), 0, 2)
    for index, inputs in enumerate(users):
        for each in inputs:
            each.replace_source_output(halves.output(index))


def _always(node: ov.Node, constants: list[npt.NDArray[np.generic]]) -> bool:
    return True


def _one_for_all(node: ov.Node, constants: list[npt.NDArray[np.generic]]) -> bool:
    rank = len(node.input(0).get_partial_shape())
    return all(value.ndim < rank or (value.ndim == rank and value.shape[0] == 1) for value in constants)


def _keeps_batch(node: ov.Node, constants: list[npt.NDArray[np.generic]]) -> bool:
    return bool(constants) and constants[0].size > 0 and int(constants[0].flat[0]) == 0


def _reshapes_one(node: ov.Node, constants: list[npt.NDArray[np.generic]]) -> bool:
    return bool(constants) and constants[0].size > 1 and int(constants[0].flat[0]) == 1


def _by_rows(node: ov.Node, constants: list[npt.NDArray[np.generic]]) -> bool:
    return not node.get_attributes().get("transpose_a") and all(value.ndim == 2 for value in constants)


_CHECKS: dict[str, Callable[[ov.Node, list[npt.NDArray[np.generic]]], bool]] = {
    "Convolution": _always, "GroupConvolution": _always, "MaxPool": _always, "AvgPool": _always, "Relu": _always,
    "Clamp": _always, "Add": _one_for_all, "Multiply": _one_for_all, "Subtract": _one_for_all,
    "Transpose": _keeps_batch, "Reshape": _reshapes_one, "MatMul": _by_rows,
}  # fmt: skip
"""Which operations are merged, and when."""
