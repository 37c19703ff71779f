"""Bare functions in functional models: Keras 3 operations, and Keras 2's TFOpLambda and TensorFlowOpLayer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openvino.opset13 as op

from picam_infer.convert.layers.activation import activate, softmax
from picam_infer.convert.layers.merging import concatenated
from picam_infer.convert.layers.registry import Call, Layer, layer
from picam_infer.convert.layers.shaping import reshape_to
from picam_infer.convert.tensor import Node, Tensor, constant, together, whole

_FIRST = ("x", "x1", "a", "features", "input", "input_tensor", "tensor", "inputs")
_SECOND = ("y", "x2", "b")


def canonical(name: str) -> str:
    """`math.truediv`, `TrueDivide` and `RealDiv` are one thing: return its one name."""
    bare = name.rpartition(".")[2].replace("_", "").lower()
    return _SAME.get(bare, bare)


_SAME = {
    "addv2": "add", "biasadd": "add", "mul": "multiply", "sub": "subtract", "truediv": "divide", "truedivide": "divide",
    "realdiv": "divide", "div": "divide", "divnonan": "divide", "reducemean": "mean", "reducesum": "sum",
    "reducemax": "max", "amax": "max", "pow": "power", "neg": "negative", "concat": "concatenate",
    "concatv2": "concatenate", "clipbyvalue": "clip", "hardswish": "hard_swish", "hardsilu": "hard_swish",
    "hardsigmoid": "hard_sigmoid", "leakyrelu": "leaky_relu", "logsoftmax": "log_softmax", "transpose": "transpose",
    "stopgradient": "identity", "cast": "identity", "converttotensor": "identity", "dropout": "identity",
    "abs": "absolute", "swish": "silu",
}  # fmt: skip

_BINARY: dict[str, Callable[[Node, Node], Node]] = {
    "add": op.add,
    "subtract": op.subtract,
    "multiply": op.multiply,
    "divide": op.divide,
    "maximum": op.maximum,
    "minimum": op.minimum,
    "power": op.power,
}
_UNARY: dict[str, Callable[[Node], Node]] = {
    "negative": op.negative,
    "absolute": op.abs,
    "exp": op.exp,
    "log": op.log,
    "sqrt": op.sqrt,
    "rsqrt": lambda x: op.divide(constant(1.0), op.sqrt(x)),
    "square": lambda x: op.multiply(x, x),
    "reciprocal": lambda x: op.divide(constant(1.0), x),
    "identity": lambda x: x,
}
_ACTIVATIONS = (
    "relu", "relu6", "sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "silu", "mish", "hard_swish",
    "hard_sigmoid", "leaky_relu",
)  # fmt: skip


def _operands(call: Call) -> list[Any]:
    values = list(call.args)
    for keys in (_FIRST, _SECOND):
        values += [call.kwargs[key] for key in keys if key in call.kwargs]
    constants = call.layer.config.get("constants")
    if isinstance(constants, Mapping):  # TensorFlowOpLayer: argument's place → value
        for place, value in sorted(constants.items(), key=lambda item: str(item[0])):
            values.insert(int(place) if str(place).isdigit() else len(values), value)
    return values


def _option(call: Call, key: str, default: Any = None) -> Any:
    value = call.kwargs.get(key)
    return call.layer.config.get(key, default) if value is None else value


def _numbers(call: Call, value: Any) -> Any:
    try:
        values = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        call.layer.fail(f"its argument {str(value)[:60]!r} is not supported")
    if not np.isfinite(values).all() or values.size > 1 << 20:
        call.layer.fail("its argument holds values that are not numbers")
    return values


def _binary(call: Call, join: Callable[[Node, Node], Node]) -> Tensor:
    operands = _operands(call)
    if len(operands) == 1 and isinstance(operands[0], list):
        operands = operands[0]
    if len(operands) != 2:
        call.layer.fail(f"it gets {len(operands)} arguments, it needs 2")
    tensors = [value for value in operands if isinstance(value, Tensor)]
    if len(tensors) == 2:
        nodes, moved = together(tensors)
        return Tensor(join(nodes[0], nodes[1]), moved)
    if len(tensors) != 1:
        call.layer.fail("it gets no tensor")
    x = tensors[0]
    values = [None if value is x else _numbers(call, value) for value in operands]
    if any(v is not None and v.ndim > x.rank for v in values):
        call.layer.fail("its argument has more axes than its input")

    def lay(v: Any) -> Node:
        return x.node if v is None else x.lay(v if v.ndim == 0 else v.reshape([1] * (x.rank - v.ndim) + list(v.shape)))

    return Tensor(join(lay(values[0]), lay(values[1])), x.moved)


def _axes(call: Call, x: Tensor) -> list[int]:
    axis = _option(call, "axis", _option(call, "reduction_indices"))
    if axis is None:
        return list(range(x.rank))
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if not all(isinstance(a, int) for a in axes):
        call.layer.fail(f"axis is {axis!r}")
    return [a + x.rank if a < 0 else a for a in axes]


def _reduce(call: Call, reduction: Callable[..., Node]) -> Tensor:
    x = call.one()
    axes, keep = _axes(call, x), bool(_option(call, "keepdims", _option(call, "keep_dims", False)))
    if keep:
        return x.map(lambda node: reduction(node, whole([x.axis(a) for a in axes]), True))
    if x.moved and sorted(axes) == list(range(1, x.rank - 1)):
        return Tensor(reduction(x.node, whole([x.axis(a) for a in axes]), False))
    return Tensor(reduction(x.plain(), whole(axes), False))


def _reshape(call: Call) -> Tensor:
    x = call.one()
    shape = _option(call, "newshape", _option(call, "shape", _option(call, "target_shape")))
    shape = next((a for a in call.args if isinstance(a, list | tuple)), None) if shape is None else shape
    if not isinstance(shape, list | tuple) or not shape:
        call.layer.fail(f"its new shape is {shape!r}")
    # The batch is the first side: written as None, as -1, or as the number it was built with.
    return reshape_to(call, x, [-1 if side is None else side for side in shape[1:]])


def _expand(call: Call) -> Tensor:
    axis = _option(call, "axis")
    x = call.one()
    if not isinstance(axis, int) or not -x.rank - 1 <= axis <= x.rank:
        call.layer.fail(f"axis is {axis!r}")
    return Tensor(op.unsqueeze(x.plain(), whole([axis])))


def _squeeze(call: Call) -> Tensor:
    x = call.one()
    axes = _axes(call, x)
    if _option(call, "axis") is None:
        axes = [at for at, side in enumerate(x.shape) if side == 1 and at]
    return Tensor(op.squeeze(x.plain(), whole(axes)))


def _transpose(call: Call) -> Tensor:
    x = call.one()
    order = _option(call, "axes", _option(call, "perm"))
    if not isinstance(order, list | tuple) or sorted(order) != list(range(x.rank)):
        call.layer.fail(f"its order of axes is {order!r}")
    return Tensor(op.transpose(x.plain(), whole(order)))


def _clip(call: Call) -> Tensor:
    low = _option(call, "x_min", _option(call, "clip_value_min"))
    high = _option(call, "x_max", _option(call, "clip_value_max"))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low > high:
        call.layer.fail(f"its limits are {low!r} and {high!r}")
    return call.one().map(lambda node: op.clamp(node, float(low), float(high)))


def _softmax(call: Call, log: bool) -> Tensor:
    axis = _option(call, "axis", -1)
    if not isinstance(axis, int):
        call.layer.fail(f"axis is {axis!r}")
    return softmax(call.one(), axis, log)


def _gelu(call: Call) -> Tensor:
    # keras.ops.gelu approximates by default, tf.nn.gelu does not.
    default = call.layer.config.get("_keras") == 3
    mode = "tanh" if _option(call, "approximate", default) else "erf"
    return call.one().map(lambda node: op.gelu(node, mode))


def _leaky(call: Call) -> Tensor:
    slope = _option(call, "negative_slope", _option(call, "alpha", 0.2))
    if not isinstance(slope, int | float):
        call.layer.fail(f"its slope is {slope!r}")
    return call.one().map(lambda node: op.prelu(node, constant([slope])))


def _concatenate(call: Call) -> Tensor:
    axis = _option(call, "axis", -1)
    if not isinstance(axis, int):
        call.layer.fail(f"axis is {axis!r}")
    return concatenated(call, call.tensors(), axis)


_SPECIAL: dict[str, Callable[[Call], Tensor]] = {
    "mean": lambda call: _reduce(call, op.reduce_mean),
    "sum": lambda call: _reduce(call, op.reduce_sum),
    "max": lambda call: _reduce(call, op.reduce_max),
    "reshape": _reshape,
    "expanddims": _expand,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "clip": _clip,
    "softmax": lambda call: _softmax(call, log=False),
    "log_softmax": lambda call: _softmax(call, log=True),
    "gelu": _gelu,
    "leaky_relu": _leaky,
    "concatenate": _concatenate,
}


def function_of(me: Layer) -> str:
    """Return what a bare function's layer computes, for people and for the table."""
    config = me.config
    if me.kind in ("TFOpLambda", "SlicingOpLambda"):
        return str(config.get("function", "?"))
    if me.kind == "TensorFlowOpLayer" and isinstance(config.get("node_def"), Mapping):
        return str(config["node_def"].get("op", "?"))
    return me.kind


def operation(call: Call) -> Tensor:
    """Build a bare function."""
    name = canonical(function_of(call.layer))
    if name in _SPECIAL:
        return _SPECIAL[name](call)
    if name in _BINARY:
        return _binary(call, _BINARY[name])
    if name in _UNARY:
        return call.one().map(_UNARY[name])
    if name in _ACTIVATIONS:
        return activate(call.one(), name, call.layer)
    return call.layer.fail(f"the function {function_of(call.layer)} is not supported", "use a standard layer instead")


layer("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")(operation)
