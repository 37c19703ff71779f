"""Layers that join several values into one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.registry import Call, layer
from picam_infer.convert.tensor import Node, Tensor, constant, together, whole


def _same_rank(tensors: list[Tensor]) -> list[Tensor]:
    """Give every value the rank of the largest by axes of 1 after the batch, as Keras's merging layers do."""
    rank = max(tensor.rank for tensor in tensors)
    return [
        t if t.rank == rank else Tensor(op.unsqueeze(t.plain(), whole(np.arange(1, 1 + rank - t.rank))))
        for t in tensors
    ]


def _fold(call: Call, join: Callable[[Node, Node], Node]) -> Tensor:
    tensors = call.tensors()
    if not tensors:
        call.layer.fail("it has no inputs")
    if any(isinstance(value, int | float) for value in call.args):
        call.layer.fail("it joins a value with a number, which only a bare function does", "export as .keras")
    nodes, moved = together(_same_rank(tensors))
    total = nodes[0]
    for node in nodes[1:]:
        total = join(total, node)
    return Tensor(total, moved)


@layer("Add")
def add(call: Call) -> Tensor:
    """The sum."""
    return _fold(call, op.add)


@layer("Subtract")
def subtract(call: Call) -> Tensor:
    """First minus second."""
    if len(call.tensors()) != 2:
        call.layer.fail(f"it gets {len(call.tensors())} inputs, it needs 2")
    return _fold(call, op.subtract)


@layer("Multiply")
def multiply(call: Call) -> Tensor:
    """The product."""
    return _fold(call, op.multiply)


@layer("CustomScaleLayer")
def scaled_sum(call: Call) -> Tensor:
    """First plus scale · second, Inception-ResNet's own layer."""
    scale = constant(call.layer.number("scale"))
    return _fold(call, lambda one, other: op.add(one, op.multiply(other, scale)))


@layer("Maximum")
def maximum(call: Call) -> Tensor:
    """The larger, element by element."""
    return _fold(call, op.maximum)


@layer("Minimum")
def minimum(call: Call) -> Tensor:
    """The smaller, element by element."""
    return _fold(call, op.minimum)


@layer("Average")
def average(call: Call) -> Tensor:
    """The mean, element by element."""
    share = constant(1 / max(len(call.tensors()), 1))
    return _fold(call, op.add).map(lambda node: op.multiply(node, share))


def concatenated(call: Call, tensors: list[Tensor], axis: int) -> Tensor:
    """Join along Keras's axis."""
    if not tensors:
        call.layer.fail("it has no inputs")
    nodes, moved = together(tensors)
    where = Tensor(nodes[0], moved).axis(axis)
    return Tensor(op.concat(nodes, where) if len(nodes) > 1 else nodes[0], moved)


@layer("Concatenate")
def concatenate(call: Call) -> Tensor:
    """Join along an axis."""
    return concatenated(call, call.tensors(), call.layer.integer("axis", -1))


@layer("Dot")
def dot(call: Call) -> Tensor:
    """Sum of products along one axis of each input, batch by batch; `normalize` makes it the cosine."""
    me, tensors = call.layer, call.tensors()
    if len(tensors) != 2 or not all(2 <= t.rank <= 6 for t in tensors):
        me.fail("it needs two inputs of 2 to 6 axes")
    axes = me.config.get("axes", -1)
    pair = list(axes) if isinstance(axes, list | tuple) else [axes, axes]
    if len(pair) != 2 or not all(isinstance(axis, int) for axis in pair):
        me.fail(f"axes is {axes!r}")
    nodes, letters = [], []
    for tensor, axis, kept in zip(tensors, pair, ("cdefg", "hijkl"), strict=True):
        where, node = axis + tensor.rank if axis < 0 else axis, tensor.plain()
        if not 0 < where < tensor.rank:
            me.fail(f"axes is {axes!r}")
        if me.flag("normalize", False):
            square = op.reduce_sum(op.multiply(node, node), whole([where]), True)
            node = op.divide(node, op.sqrt(op.maximum(square, constant(1e-12))))
        word = ["a", *kept[: tensor.rank - 2]]
        word.insert(where, "b")
        nodes.append(node)
        letters.append("".join(word))
    answer = "a" + "".join(letter for word in letters for letter in word if letter not in "ab")
    out = op.einsum(nodes, f"{letters[0]},{letters[1]}->{answer}")
    return Tensor(op.unsqueeze(out, whole([1])) if len(answer) == 1 else out)


_MERGES = {"sum": add, "mul": multiply, "ave": average, "max": maximum, "min": minimum}


@layer("Merge")
def merge(call: Call) -> Tensor:
    """Keras 1's one layer for all of these."""
    me = call.layer
    mode = me.text("mode", "sum")
    if mode == "concat":
        return concatenated(call, call.tensors(), me.integer("concat_axis", -1))
    if mode not in _MERGES:
        me.fail(f"mode {mode!r} is not supported")
    return _MERGES[mode](call)
