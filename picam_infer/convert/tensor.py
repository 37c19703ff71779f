"""A value on its way through the network, stored in whichever axis order needs the fewest transposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from openvino import opset13 as op

Order = Literal["channels_last", "channels_first"]
Array = npt.NDArray[Any]
Node = Any
"""An OpenVINO node or output; the vendor's own types do not survive mypy's strict mode."""


class Tensor:
    """A node and how its axes lie.

    `moved`: Keras sees (N, …, C), the node holds (N, C, …). OpenVINO convolves channels first, Keras mostly
    channels last; a chain of layers stays moved, and only layers that mix axes pay for a transpose.
    """

    def __init__(self, node: Node, moved: bool = False) -> None:
        self.node = node.output(0) if hasattr(node, "outputs") else node
        self.moved = moved
        self._other: Node | None = None

    @property
    def rank(self) -> int:
        """How many axes it has, the batch included."""
        return len(self.node.get_shape())

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as Keras sees it."""
        shape = tuple(int(side) for side in self.node.get_shape())
        return (shape[0], *shape[2:], shape[1]) if self.moved else shape

    def plain(self) -> Node:
        """Return a node whose axes lie as Keras sees them."""
        if not self.moved:
            return self.node
        if self._other is None:
            self._other = transpose(self.node, [0, *range(2, self.rank), 1])
        return self._other

    def first(self, order: Order = "channels_last") -> Node:
        """Return a node (N, C, …), given which axis Keras keeps the channels on."""
        if order == "channels_first" or self.rank < 3:
            return self.plain()
        if self.moved:
            return self.node
        if self._other is None:
            self._other = transpose(self.node, [0, self.rank - 1, *range(1, self.rank - 1)])
        return self._other

    def axis(self, axis: int) -> int:
        """Return where the node holds Keras's axis, which may be negative."""
        axis = axis + self.rank if axis < 0 else axis
        if not 0 <= axis < self.rank:
            raise ValueError(f"axis {axis} does not exist in {self.rank} dimensions")
        if not self.moved or axis == 0:
            return axis
        return 1 if axis == self.rank - 1 else axis + 1

    def map(self, function: Callable[[Node], Node]) -> Tensor:
        """Return the result of something that treats every element alike, in the same order of axes."""
        return Tensor(function(self.node), self.moved)

    def lay(self, values: Array | float) -> Node:
        """Return a constant that broadcasts against the node; `values` has as many axes as Keras sees, or none."""
        values = np.asarray(values, np.float32)
        if self.moved and values.ndim == self.rank:
            values = np.moveaxis(values, -1, 1)
        elif values.ndim not in (0, self.rank):
            raise ValueError(f"values of shape {values.shape} do not fit {self.shape}")
        return constant(values)

    def along(self, values: Array, axis: int) -> Node:
        """Return a constant that broadcasts `values` (n,) along Keras's axis."""
        shape = [1] * self.rank
        where = self.axis(axis)
        shape[where] = -1
        length = int(self.node.get_shape()[where])
        if values.size not in (1, length):
            raise ValueError(f"{values.size} values for an axis of {length}")
        return constant(np.asarray(values, np.float32).reshape(shape if values.size == length else [1] * self.rank))


def from_first(node: Node, order: Order = "channels_last") -> Tensor:
    """Wrap a node (N, C, …) as Keras sees it in that order."""
    return Tensor(node, moved=order == "channels_last" and len(node.get_output_shape(0)) >= 3)


def constant(values: Array | Sequence[float] | float) -> Node:
    """Return a float32 constant."""
    return op.constant(np.asarray(values, dtype=np.float32, order="C"))


def whole(values: Sequence[int] | Array) -> Node:
    """Return an int64 constant, for shapes and axes."""
    return op.constant(np.asarray(values, np.int64))


def transpose(node: Node, order: Sequence[int]) -> Node:
    """Return the node with its axes in that order."""
    return op.transpose(node, whole(order)).output(0)


def together(tensors: Sequence[Tensor]) -> tuple[list[Node], bool]:
    """Return nodes in one common order of axes, and whether it is the moved one."""
    same_rank = len({tensor.rank for tensor in tensors}) == 1
    if same_rank and any(tensor.moved for tensor in tensors):
        return [tensor.first() for tensor in tensors], True
    return [tensor.plain() for tensor in tensors], False
