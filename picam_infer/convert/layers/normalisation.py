"""Normalisations with stored statistics or over the value itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.registry import Call, Layer, layer
from picam_infer.convert.tensor import Array, Node, Tensor, constant, whole


def _affine(me: Layer, extra: tuple[str, ...]) -> tuple[str, ...]:
    names = ("gamma",) * me.flag("scale", True) + ("beta",) * me.flag("center", True)
    return names + extra


def _axes(me: Layer, default: int = -1) -> list[int]:
    axis: Any = me.config.get("axis", default)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if not axes or not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        me.fail(f"axis is {axis!r}")
    return axes


@layer(
    "BatchNormalization",
    "BatchNormalizationV1",
    "BatchNormalizationV2",
    "SyncBatchNormalization",
    weights=lambda me: _affine(me, ("moving_mean", "moving_variance")),
)
def batch_normalization(call: Call) -> Tensor:
    """(x − mean) / √(variance + ε) · gamma + beta, folded into one product and one sum in float64."""
    me, x = call.layer, call.one()
    axes = sorted(axis + x.rank if axis < 0 else axis for axis in _axes(me))
    if me.integer("mode", 0) not in (0, 2):
        me.fail("mode 1 (sample-wise) is not supported")
    mean, variance = (_spread_out(me, x, name, axes).astype(np.float64) for name in ("moving_mean", "moving_variance"))
    spread = variance + me.number("epsilon", 1e-3)
    if (spread <= 0).any():
        me.fail("its moving_variance is negative", "train the model again")
    scale = 1 / np.sqrt(spread)
    if me.flag("scale", True):
        scale = scale * _spread_out(me, x, "gamma", axes)
    shift = -mean * scale
    if me.flag("center", True):
        shift = shift + _spread_out(me, x, "beta", axes)
    factor, offset = x.lay(scale), x.lay(shift)
    return x.map(lambda node: op.add(op.multiply(node, factor), offset))


def _spread_out(me: Layer, x: Tensor, name: str, axes: list[int]) -> Array:
    """Return a weight with as many axes as x has: its own on `axes` (sorted), 1 on the others.

    Keras stores it flat along those axes, in an order that its versions do not agree on.
    """
    sides = [x.shape[axis] for axis in axes]
    values = me.weight(name)
    if sorted(side for side in values.shape if side > 1) != sorted(side for side in sides if side > 1):
        me.weight(name, *sides)
    return values.reshape([side if axis in axes else 1 for axis, side in enumerate(x.shape)])


def _standardised(node: Node, axes: list[int], epsilon: float) -> Node:
    return op.mvn(node, whole(axes), True, epsilon, "inside_sqrt")


@layer("LayerNormalization", weights=lambda me: _affine(me, ()))
def layer_normalization(call: Call) -> Tensor:
    """(x − mean) / √(variance + ε) · gamma + beta over axes of each example."""
    me, x = call.layer, call.one()
    if me.flag("rms_scaling", False):
        me.fail("rms_scaling is not supported")
    where = sorted(axis + x.rank if axis < 0 else axis for axis in _axes(me))
    mapped = [x.axis(axis) for axis in where]
    out = x.map(lambda node: _standardised(node, mapped, me.number("epsilon", 1e-3)))
    for name, join in (("gamma", op.multiply), ("beta", op.add)):
        if name in _affine(me, ()):
            values = out.lay(_spread_out(me, x, name, where))
            out = Tensor(join(out.node, values), out.moved)
    return out


@layer("GroupNormalization", weights=lambda me: _affine(me, ()))
def group_normalization(call: Call) -> Tensor:
    """Layer normalisation over groups of channels."""
    me, x = call.layer, call.one()
    axis = _axes(me)[0]
    if axis not in (-1, x.rank - 1):
        me.fail("only the last axis is supported")
    groups, channels = me.integer("groups", 32), x.shape[-1]
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        me.fail(f"{channels} channels cannot be split into {groups} groups")
    node = x.first()
    shape = [int(side) for side in node.get_shape()]
    split = op.reshape(node, whole([shape[0], groups, -1]), False)
    out = Tensor(op.reshape(_standardised(split, [2], me.number("epsilon", 1e-3)), whole(shape), False), x.rank > 2)
    for name, join in (("gamma", op.multiply), ("beta", op.add)):
        if name in _affine(me, ()):
            out = Tensor(join(out.node, out.along(me.weight(name, channels), -1)), out.moved)
    return out


@layer("UnitNormalization")
def unit_normalization(call: Call) -> Tensor:
    """X / √(max(Σx², 1e-12)) over axes."""
    x = call.one()
    axes = whole([x.axis(axis) for axis in _axes(call.layer)])

    def build(node: Node) -> Node:
        square = op.reduce_sum(op.multiply(node, node), axes, True)
        return op.divide(node, op.sqrt(op.maximum(square, constant(1e-12))))

    return x.map(build)


def _statistics(me: Layer, x: Tensor, name: str) -> Array:
    """Return a mean or variance laid out along the layer's axes, from the weights or the configuration."""
    value = me.config.get(name)
    if me.has(name):
        values = me.weight(name)
    else:
        try:
            values = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            me.fail(f"its {name} is {value!r}")
        if value is None or not np.isfinite(values).all():
            me.fail(f"the file has no {name} for it", "give the file that holds the weights with --weights")
    axis = me.config.get("axis", -1)
    axes = [] if axis in (None, []) else sorted(a + x.rank if a < 0 else a for a in _axes(me))
    shape = [side if at in axes else 1 for at, side in enumerate(x.shape)]
    if values.size == 1:
        return values.reshape([1] * x.rank)
    if values.size != int(np.prod(shape)):
        me.fail(f"its {name} has {values.size} values, it needs {int(np.prod(shape))}")
    return values.reshape(shape)


def _normalization_names(me: Layer) -> tuple[str, ...]:
    return ("mean", "variance", "count") if me.config.get("mean") is None else ()


@layer("Normalization", weights=_normalization_names)
def normalization(call: Call) -> Tensor:
    """(x − mean) / max(√variance, 1e-7), or with `invert` mean + x · max(√variance, 1e-7)."""
    me, x = call.layer, call.one()
    mean = _statistics(me, x, "mean").astype(np.float64)
    spread = np.maximum(np.sqrt(np.maximum(_statistics(me, x, "variance"), 0)), 1e-7).astype(np.float64)
    scale, shift = (spread, mean) if me.flag("invert", False) else (1 / spread, -mean / spread)
    factor, offset = x.lay(scale), x.lay(shift)
    return x.map(lambda node: op.add(op.multiply(node, factor), offset))


@layer("LayerScale", weights=lambda _: ("gamma",))
def layer_scale(call: Call) -> Tensor:
    """X · gamma, ConvNeXt's own layer."""
    x = call.one()
    gamma = x.along(call.layer.weight("gamma", x.shape[-1]), -1)
    return x.map(lambda node: op.multiply(node, gamma))
