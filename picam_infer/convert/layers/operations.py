"""Bare functions in functional models: Keras 3 operations, and Keras 2's TFOpLambda and TensorFlowOpLayer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.activation import activate, softmax
from picam_infer.convert.layers.merging import concatenated
from picam_infer.convert.layers.pooling import pool
from picam_infer.convert.layers.registry import Call, Layer, find, layer
from picam_infer.convert.layers.shaping import reshape_to, resize
from picam_infer.convert.tensor import Node, Tensor, constant, from_first, together, whole

_FIRST = ("x", "x1", "a", "features", "input", "input_tensor", "tensor", "inputs", "value")
_SECOND = ("y", "x2", "b", "bias")


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
    "abs": "absolute", "swish": "silu", "reducemin": "min", "amin": "min", "avgpool": "averagepool",
    "stridedslice": "getitem", "pack": "stack",
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
    "relu6", "sigmoid", "tanh", "selu", "softplus", "softsign", "mish", "hard_swish", "hard_sigmoid",
)  # fmt: skip
_LAYERS = {"relu": "ReLU", "elu": "ELU"}
"""Functions that take the same settings as a layer."""
_HARMLESS = frozenset({"name", "dtype", "trainable", "function", "node_def", "constants", "data_format"})


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


def _settings(call: Call) -> dict[str, Any]:
    """Return a function's arguments other than tensors."""
    told = {**call.layer.config, **{k: v for k, v in call.kwargs.items() if not isinstance(v, Tensor)}}
    return {k: v for k, v in told.items() if v is not None and k not in _HARMLESS and not k.startswith("_")}


def _bare(call: Call) -> Tensor:
    """Return the only tensor of a function that must not have settings: ignoring one would answer wrongly."""
    told = [str(value)[:40] for value in call.args if not isinstance(value, Tensor | None)]
    told += sorted(_settings(call))
    if told:
        call.layer.fail(f"its settings ({', '.join(told)}) are not supported", "use a standard layer instead")
    return call.one()


def _as_layer(call: Call, kind: str) -> Tensor:
    known = find(kind)
    assert known is not None
    return known.build(Call(Layer(call.layer.name, kind, {**call.layer.config, **_settings(call)}), [call.one()]))


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


def _silu(call: Call) -> Tensor:
    beta = _option(call, "beta", 1.0)
    if not isinstance(beta, int | float):
        call.layer.fail(f"its beta is {beta!r}")
    return call.one().map(lambda node: op.swish(node, op.constant(np.float32(beta))))


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


def _get_item(call: Call) -> Tensor:
    """`x[…]` with slices, numbers, an ellipsis and None; the batch must stay whole."""
    x = call.one()
    spec = _option(call, "slice_spec", next((a for a in call.args if not isinstance(a, Tensor)), None))
    parts = list(spec) if isinstance(spec, list | tuple) else [spec]
    dots = [at for at, part in enumerate(parts) if _kind(part) == "__ellipsis__" or part == "..."]
    if len(dots) > 1 or sum(part is not None for part in parts) - len(dots) > x.rank:
        call.layer.fail(f"its index is {str(spec)[:80]}")
    if dots:
        whole_axes: list[Any] = [{}] * (x.rank - sum(part is not None for part in parts) + 1)
        parts[dots[0] : dots[0] + 1] = whole_axes
    node, axis, drop, fresh, place = x.plain(), 0, [], [], 0
    for part in parts:
        if part is None:
            fresh.append(place)
            place += 1
            continue
        start, stop, step = _bounds(call, part, x.shape[axis], axis)
        if isinstance(part, int):
            drop.append(axis)
        else:
            place += 1
        if (start, stop, step) != (0, x.shape[axis], 1):
            node = op.slice(node, whole([start]), whole([stop]), whole([step]), whole([axis]))
        axis += 1
    node = op.squeeze(node, whole(drop)) if drop else node
    return Tensor(op.unsqueeze(node, whole(fresh)) if fresh else node)


def _kind(part: Any) -> Any:
    return part.get("class_name") if isinstance(part, Mapping) else None


def _bounds(call: Call, part: Any, side: int, axis: int) -> tuple[int, int, int]:
    """Return one axis's begin, end and step for OpenVINO, whose end before the first element is −side − 1."""
    if isinstance(part, int) and not isinstance(part, bool) and -side <= part < side and axis:
        return part % side, part % side + 1, 1
    inner = part.get("config", part) if isinstance(part, Mapping) else None
    values = [inner.get(key) for key in ("start", "stop", "step")] if isinstance(inner, Mapping) else ["?"]
    if not all(v is None or (isinstance(v, int) and abs(v) < 1 << 31) for v in values) or values[-1] == 0:
        call.layer.fail(f"its index is {str(part)[:80]}")
    start, stop, step = slice(*values).indices(side)
    if axis == 0 and (start, stop, step) != (0, side, 1):
        call.layer.fail("it takes a part of the batch")
    return start, stop if stop >= 0 else -side - 1, step


def _pad(call: Call) -> Tensor:
    x, widths = call.one(), _option(call, "pad_width", _option(call, "paddings"))
    value, mode = _option(call, "constant_values", 0) or 0, str(_option(call, "mode", "constant")).lower()
    pairs = [list(pair) for pair in widths if isinstance(pair, list | tuple)] if isinstance(widths, list) else []
    flat = [n for pair in pairs for n in pair]
    good = len(pairs) == x.rank and len(flat) == 2 * x.rank and all(isinstance(n, int) and 0 <= n < 4096 for n in flat)
    if not good or flat[:2] != [0, 0] or mode not in ("constant", "reflect", "symmetric"):
        call.layer.fail(f"its padding is {str(widths)[:80]}, {mode}")
    if not isinstance(value, int | float) or isinstance(value, bool):
        call.layer.fail(f"it pads with {str(value)[:40]}")
    return Tensor(op.pad(x.plain(), whole(flat[::2]), whole(flat[1::2]), mode, constant(value)))


def _stack(call: Call) -> Tensor:
    tensors, axis = call.tensors(), _option(call, "axis", 0)
    if not tensors or not isinstance(axis, int) or axis == 0:
        call.layer.fail(f"its axis is {axis!r}")
    axis = axis if axis > 0 else axis + tensors[0].rank + 1
    return Tensor(op.concat([op.unsqueeze(tensor.plain(), whole([axis])) for tensor in tensors], axis))


def _pooled(call: Call, largest: bool) -> Tensor:
    x, settings = call.one(), {**call.layer.config, **_settings(call)}
    if not isinstance(settings.get("pool_size"), int | list | tuple) or x.rank not in (3, 4):
        call.layer.fail("its settings are not supported", "use a pooling layer instead")
    me = Layer(call.layer.name, call.layer.kind, settings)
    return pool(Call(me, [x]), x, x.rank - 2, largest)


def _resize(call: Call) -> Tensor:
    x, size = call.one(4), _option(call, "size")
    method = str(_option(call, "interpolation", _option(call, "method", "bilinear"))).lower()
    pair = list(size) if isinstance(size, list | tuple) and len(size) == 2 else [0]
    good = all(isinstance(n, int) and 0 < n < 1 << 14 for n in pair)
    odd = [f"{key}_aspect_ratio" for key in ("preserve", "crop_to", "pad_to") if _option(call, f"{key}_aspect_ratio")]
    if not good or odd or call.layer.config.get("data_format") == "channels_first":
        call.layer.fail(f"its size is {str(size)[:40]} {' '.join(odd)}".rstrip())
    return from_first(resize(call, x.first(), pair[0], pair[1], method, bool(_option(call, "antialias", False))))


_SPECIAL: dict[str, Callable[[Call], Tensor]] = {
    "mean": lambda call: _reduce(call, op.reduce_mean),
    "sum": lambda call: _reduce(call, op.reduce_sum),
    "max": lambda call: _reduce(call, op.reduce_max),
    "min": lambda call: _reduce(call, op.reduce_min),
    "reshape": _reshape,
    "expanddims": _expand,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "clip": _clip,
    "softmax": lambda call: _softmax(call, log=False),
    "log_softmax": lambda call: _softmax(call, log=True),
    "gelu": _gelu,
    "silu": _silu,
    "leaky_relu": _leaky,
    "concatenate": _concatenate,
    "getitem": _get_item,
    "pad": _pad,
    "stack": _stack,
    "maxpool": lambda call: _pooled(call, largest=True),
    "averagepool": lambda call: _pooled(call, largest=False),
    "resize": _resize,
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
        return (call.one() if name == "identity" else _bare(call)).map(_UNARY[name])
    if name in _LAYERS:
        return _as_layer(call, _LAYERS[name])
    if name in _ACTIVATIONS:
        return activate(_bare(call), name, call.layer)
    return call.layer.fail(f"the function {function_of(call.layer)} is not supported", "use a standard layer instead")


layer("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")(operation)
