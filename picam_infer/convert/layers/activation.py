"""Activations: by name, as layers, and as `activation` of other layers. Source: keras.io/api/layers/activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.registry import Call, Layer, layer
from picam_infer.convert.tensor import Node, Tensor, constant, whole

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _clipped(x: Node, low: float, high: float) -> Node:
    return op.clamp(x, low, high)


def _hard_sigmoid(x: Node, slope: float) -> Node:
    return _clipped(op.add(op.multiply(x, constant(slope)), constant(0.5)), 0.0, 1.0)


def _shrink(x: Node, threshold: float, soft: bool) -> Node:
    size = op.abs(x)
    outside = op.convert(op.greater(size, constant(threshold)), "f32")
    kept = op.multiply(op.sign(x), op.subtract(size, constant(threshold))) if soft else x
    return op.multiply(kept, outside)


def _squareplus(x: Node, b: float) -> Node:
    return op.multiply(op.add(x, op.sqrt(op.add(op.multiply(x, x), constant(b)))), constant(0.5))


def _celu(x: Node, alpha: float) -> Node:
    low = op.subtract(op.exp(op.divide(op.minimum(x, constant(0)), constant(alpha))), constant(1))
    return op.add(op.relu(x), op.multiply(low, constant(alpha)))


def _sparse_sigmoid(x: Node) -> Node:
    return _clipped(op.multiply(op.add(x, constant(1)), constant(0.5)), 0.0, 1.0)


def _sparse_plus(x: Node) -> Node:
    ramp = op.add(_clipped(x, -1.0, 1.0), constant(1))
    return op.add(op.multiply(op.multiply(ramp, ramp), constant(0.25)), op.relu(op.subtract(x, constant(1))))


def _softplus(x: Node) -> Node:
    # log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), the logarithm by the series of 2·artanh, whose next term is 1e-8 at
    # most: OpenVINO's own softplus and logarithm are off by 3e-4 on arm64.
    small = op.exp(op.negative(op.abs(x)))
    part = op.divide(small, op.add(small, constant(2)))
    square = op.multiply(part, part)
    series = constant(1 / 13)
    for divisor in (11, 9, 7, 5, 3, 1):
        series = op.add(op.multiply(series, square), constant(1 / divisor))
    return op.add(op.relu(x), op.multiply(op.multiply(part, series), constant(2)))


def _squash(x: Node) -> Node:
    return op.divide(x, op.add(op.abs(x), constant(1)))


_PLAIN: dict[str, Callable[[Node], Node]] = {
    "relu": op.relu,
    "relu6": lambda x: _clipped(x, 0.0, 6.0),
    "sigmoid": op.sigmoid,
    "tanh": op.tanh,
    "elu": lambda x: op.elu(x, 1.0),
    "selu": lambda x: op.selu(x, constant(_SELU_ALPHA), constant(_SELU_SCALE)),
    "exponential": op.exp,
    "exp": op.exp,
    "softplus": _softplus,
    "softsign": _squash,
    "soft_sign": _squash,
    "swish": lambda x: op.swish(x),
    "silu": lambda x: op.swish(x),
    "gelu": lambda x: op.gelu(x, "erf"),
    "gelu_new": lambda x: op.gelu(x, "tanh"),
    "mish": op.mish,
    "hard_swish": op.hswish,
    "hardswish": op.hswish,
    "hard_silu": op.hswish,
    "leaky_relu": lambda x: op.prelu(x, constant([0.2])),
    "hard_tanh": lambda x: _clipped(x, -1.0, 1.0),
    "hard_shrink": lambda x: _shrink(x, 0.5, soft=False),
    "soft_shrink": lambda x: _shrink(x, 0.5, soft=True),
    "tanh_shrink": lambda x: op.subtract(x, op.tanh(x)),
    "squareplus": lambda x: _squareplus(x, 4.0),
    "celu": lambda x: _celu(x, 1.0),
    "log_sigmoid": lambda x: op.negative(_softplus(op.negative(x))),
    "logsigmoid": lambda x: op.negative(_softplus(op.negative(x))),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
    "threshold_relu": op.relu,
}


def softmax(x: Tensor, axis: int = -1, log: bool = False) -> Tensor:
    """Softmax, or its logarithm, along Keras's axis."""
    where = x.axis(axis)
    return x.map(lambda node: op.log_softmax(node, where) if log else op.softmax(node, where))


def _sparsemax(x: Tensor) -> Tensor:
    """Return max(x − τ, 0) along the last axis, with the τ of Keras 3: it sums cumulative sums, the paper values."""
    node, last, count = x.plain(), x.rank - 1, x.shape[-1]
    ordered = op.topk(node, op.constant(np.int64(count)), last, "max", "value").output(0)
    total = op.cum_sum(ordered, op.constant(np.int64(last)))
    ranks = constant(np.arange(1, count + 1).reshape([1] * last + [count]))
    inside = op.convert(op.greater(op.multiply(ordered, ranks), op.subtract(total, constant(1))), "f32")
    kept, axis = op.reduce_sum(inside, whole([last]), True), whole([last])
    tau = op.divide(op.subtract(op.reduce_sum(op.multiply(total, inside), axis, True), constant(1)), kept)
    return Tensor(op.relu(op.subtract(node, tau)))


def activate(x: Tensor, spec: Any, owner: Layer) -> Tensor:
    """Apply an activation given as Keras writes it: nothing, a name, or a class with a configuration."""
    if spec is None:
        return x
    if isinstance(spec, dict):
        return _activate_object(x, spec, owner)
    if not isinstance(spec, str):
        owner.fail(f"activation {spec!r} is not supported")
    name = spec.rpartition(">")[2].lower()
    if name in ("linear", "identity"):
        return x
    if name in ("softmax", "log_softmax"):
        return softmax(x, log=name == "log_softmax")
    if name == "hard_sigmoid":
        return x.map(lambda node: _hard_sigmoid(node, 1 / 6 if owner.config.get("_keras") == 3 else 0.2))
    if name == "sparsemax":
        return _sparsemax(x)
    if name == "glu":
        half = op.split(x.plain(), op.constant(np.int64(x.rank - 1)), 2)
        return Tensor(op.multiply(half.output(0), op.sigmoid(half.output(1))))
    if name not in _PLAIN:
        owner.fail(f"activation {spec!r} is not supported", "replace it in the model by a standard one")
    return x.map(_PLAIN[name])


def _activate_object(x: Tensor, spec: dict[str, Any], owner: Layer) -> Tensor:
    config = spec.get("config")
    if spec.get("class_name") == "function" and isinstance(config, str):
        return activate(x, config, owner)
    if isinstance(config, str) and "class_name" not in spec:
        return activate(x, config, owner)
    name = str(spec.get("class_name", "")).rpartition(">")[2]
    if name in _LAYERS and isinstance(config, dict | None):
        inner = Layer(owner.name, name, {"_keras": owner.config.get("_keras"), **(config or {})}, owner.weights)
        return _LAYERS[name](Call(inner, [x]))
    return owner.fail(f"activation {name or spec!r} is not supported", "replace it in the model by a standard one")


@layer("Activation")
def activation(call: Call) -> Tensor:
    """An activation as a layer."""
    return activate(call.one(), call.layer.config.get("activation"), call.layer)


@layer("ReLU", "Relu", "ThresholdedReLU")
def relu(call: Call) -> Tensor:
    """Return max_value if x ≥ max_value, x if x ≥ threshold, else negative_slope·(x − threshold)."""
    me, x = call.layer, call.one()
    threshold = me.number("theta", 1.0) if me.kind == "ThresholdedReLU" else me.number("threshold", 0.0)
    slope = me.number("negative_slope", 0.0)
    most = None if me.config.get("max_value") is None else me.number("max_value")
    if threshold == 0 and slope == 0:
        return x.map(op.relu if most is None else lambda node: _clipped(node, 0.0, most))

    def build(node: Node) -> Node:
        passes = op.greater if me.kind == "ThresholdedReLU" else op.greater_equal
        low = op.multiply(op.subtract(node, constant(threshold)), constant(slope))
        out = op.select(passes(node, constant(threshold)), node, low)
        return out if most is None else op.minimum(out, constant(most))

    return x.map(build)


@layer("LeakyReLU")
def leaky_relu(call: Call) -> Tensor:
    """x if x ≥ 0, else slope·x."""
    slope = call.layer.config.get("negative_slope", call.layer.config.get("alpha", 0.3))
    if isinstance(slope, list) and len(slope) == 1:
        slope = slope[0]
    if not isinstance(slope, int | float) or not math.isfinite(slope):
        call.layer.fail(f"its slope is {slope!r}")
    return call.one().map(lambda node: op.prelu(node, constant([slope])))


@layer("PReLU", weights=lambda _: ("alpha",))
def prelu(call: Call) -> Tensor:
    """x if x ≥ 0, else alpha·x; alpha has the input's shape, 1 where axes share it."""
    x = call.one()
    alpha = call.layer.weight("alpha")
    alpha = x.lay(alpha[np.newaxis])
    return x.map(lambda node: op.add(op.relu(node), op.multiply(op.minimum(node, constant(0)), alpha)))


@layer("ELU")
def elu(call: Call) -> Tensor:
    """x if x ≥ 0, else alpha·(e^x − 1)."""
    alpha = call.layer.number("alpha", 1.0)
    return call.one().map(lambda node: op.elu(node, alpha))


@layer("Softmax")
def softmax_layer(call: Call) -> Tensor:
    """Softmax along an axis, or over several together."""
    x, axis = call.one(), call.layer.config.get("axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if not axes or not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        call.layer.fail(f"softmax over axes {axis!r} is not supported")
    if len(axes) == 1:
        return softmax(x, axes[0])
    where = whole([x.axis(a) for a in axes])

    def build(node: Node) -> Node:
        grown = op.exp(op.subtract(node, op.reduce_max(node, where, True)))
        return op.divide(grown, op.reduce_sum(grown, where, True))

    return x.map(build)


_LAYERS: dict[str, Callable[[Call], Tensor]] = {
    "ReLU": relu,
    "ThresholdedReLU": relu,
    "LeakyReLU": leaky_relu,
    "PReLU": prelu,
    "ELU": elu,
    "Softmax": softmax_layer,
    "Activation": activation,
}
