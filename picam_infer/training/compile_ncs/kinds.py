"""The Keras layers that the stick runs, each as operators of TensorFlow 1.9, channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from picam_infer.convert.layers.convolution import same_pads
from picam_infer.convert.layers.registry import Layer


@dataclass(frozen=True)
class Value:
    """A tensor, and zeros still to be added around it: ((top, bottom), (left, right))."""

    tensor: Any
    pads: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def shape(self) -> list[int]:
        """Its shape without the padding, batch first."""
        return [int(side) for side in self.tensor.shape]


@dataclass(frozen=True)
class Place:
    """A layer, where it is built, and the scope that names its operators."""

    building: Any
    layer: Layer
    scope: str

    @property
    def op(self) -> Any:
        """TensorFlow's single operators."""
        return self.building.op

    def name(self, operator: str) -> str:
        """Return an operator's name."""
        return f"{self.scope}/{operator}"

    def constant(self, values: Any, name: str) -> Any:
        """Return a constant of this layer."""
        return self.building.constant(values, self.name(name))

    def weight(self, name: str, *shape: int | None) -> Any:
        """Return a weight of this layer as a variable."""
        return self.building.variable(self.layer.weight(name, *shape), self.name(name))

    def one(self, fed: Sequence[Value], rank: int | None = None) -> Value:
        """Return the only value, padding still pending; `rank` is how many axes it must have."""
        if len(fed) != 1 or (rank is not None and len(fed[0].shape) != rank):
            self.layer.fail("its inputs are not what the stick can run")
        return fed[0]


Build = Callable[[Place, Sequence[Value]], Value]
KINDS: dict[str, Build] = {}


def _kind(*names: str) -> Callable[[Build], Build]:
    def enter(build: Build) -> Build:
        KINDS.update(dict.fromkeys(names, build))
        return build

    return enter


def plain(building: Any, value: Value, scope: str) -> Any:
    """Return the tensor with its padding carried out."""
    if value.pads is None:
        return value.tensor
    paddings = building.constant(np.array([(0, 0), *value.pads, (0, 0)], np.int32), f"{scope}/paddings")
    return building.op.Pad(input=value.tensor, paddings=paddings, name=f"{scope}/Pad")


def _tensor(at: Place, fed: Sequence[Value], rank: int | None = None) -> Any:
    return plain(at.building, at.one(fed, rank), at.scope)


def _last(at: Place) -> None:
    if at.layer.order != "channels_last":
        at.layer.fail("the stick does not run channels_first", "train the model with channels_last")


# -- activations ---------------------------------------------------------


def _leaky(at: Place, x: Any, slope: float) -> Any:
    low = at.op.Mul(x=x, y=at.constant(np.float32(slope), "alpha"), name=at.name("mul"))
    return at.op.Maximum(x=low, y=x, name=at.name("Maximum"))


_ACTIVATIONS: dict[str, Callable[[Place, Any], Any]] = {
    "linear": lambda at, x: x,
    "relu": lambda at, x: at.op.Relu(features=x, name=at.name("Relu")),
    "relu6": lambda at, x: at.op.Relu6(features=x, name=at.name("Relu6")),
    "elu": lambda at, x: at.op.Elu(features=x, name=at.name("Elu")),
    "sigmoid": lambda at, x: at.op.Sigmoid(x=x, name=at.name("Sigmoid")),
    "tanh": lambda at, x: at.op.Tanh(x=x, name=at.name("Tanh")),
    "softmax": lambda at, x: at.op.Softmax(logits=x, name=at.name("Softmax")),
    "leaky_relu": lambda at, x: _leaky(at, x, 0.2),
}


def _activate(at: Place, x: Any, spec: Any) -> Value:
    while isinstance(spec, dict):  # Keras 3 writes {"class_name": "function", "config": name}
        spec = spec.get("config")
    name = "linear" if spec is None else str(spec).rpartition(">")[2].lower()
    if name not in _ACTIVATIONS:
        at.layer.fail(f"the stick has no activation {spec!r}", "use relu, elu, sigmoid, tanh or softmax")
    return Value(_ACTIVATIONS[name](at, x))


@_kind("Activation")
def _activation(at: Place, fed: Sequence[Value]) -> Value:
    return _activate(at, _tensor(at, fed), at.layer.config.get("activation"))


@_kind("Softmax")
def _softmax(at: Place, fed: Sequence[Value]) -> Value:
    x = _tensor(at, fed)
    if at.layer.config.get("axis", -1) not in (-1, len(x.shape) - 1):
        at.layer.fail("the stick's softmax works along the last axis only")
    return _activate(at, x, "softmax")


@_kind("ReLU")
def _relu(at: Place, fed: Sequence[Value]) -> Value:
    me, most = at.layer, at.layer.config.get("max_value")
    if most not in (None, 6, 6.0) or me.number("threshold", 0.0) or (most and me.number("negative_slope", 0.0)):
        me.fail("the stick has ReLU and ReLU6, not this one")
    if slope := me.number("negative_slope", 0.0):
        return Value(_leaky(at, _tensor(at, fed), slope))
    return _activate(at, _tensor(at, fed), "relu6" if most else "relu")


@_kind("LeakyReLU")
def _leaky_relu(at: Place, fed: Sequence[Value]) -> Value:
    me = at.layer
    slope = me.number("negative_slope", me.number("alpha", 0.3))
    return Value(_leaky(at, _tensor(at, fed), slope))


@_kind("ELU")
def _elu(at: Place, fed: Sequence[Value]) -> Value:
    if at.layer.number("alpha", 1.0) != 1:
        at.layer.fail("the stick's ELU has an alpha of 1")
    return _activate(at, _tensor(at, fed), "elu")


# -- convolutions and dense layers ---------------------------------------


def _padded(at: Place, fed: Sequence[Value], window: Sequence[int], strides: Sequence[int]) -> tuple[Any, bytes]:
    """Return the tensor and the padding's name; zeros put around by a layer before become SAME where they equal it."""
    _last(at)
    value, mode = at.one(fed, 4), at.layer.text("padding", "valid")
    if mode not in ("valid", "same"):
        at.layer.fail(f"padding {mode!r} is not supported")
    if mode == "valid" and value.pads:
        begin, end = same_pads(value.shape[1:3], window, strides)
        if value.pads == tuple(zip(begin, end, strict=True)):
            return value.tensor, b"SAME"
    return plain(at.building, value, at.scope), mode.upper().encode()


def _bias(at: Place, x: Any, spec: Any) -> Value:
    if at.layer.flag("use_bias", True):
        x = at.op.BiasAdd(value=x, bias=at.weight("bias", int(x.shape[-1])), name=at.name("BiasAdd"))
    return _activate(at, x, spec)


def _strides(at: Place, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    if at.layer.sizes("dilation_rate", 2, 1) != [1, 1]:
        at.layer.fail("the stick has no dilated convolutions")
    strides = at.layer.sizes("strides", 2, 1)
    return strides, list(kernel)


@_kind("Conv2D", "Convolution2D")
def _conv(at: Place, fed: Sequence[Value]) -> Value:
    me, kernel = at.layer, at.layer.sizes("kernel_size", 2)
    if me.integer("groups", 1) != 1:
        me.fail("the stick has no grouped convolutions", "use DepthwiseConv2D or groups=1")
    strides, window = _strides(at, kernel)
    x, padding = _padded(at, fed, window, strides)
    weight = at.weight("kernel", *kernel, int(x.shape[-1]), me.integer("filters"))
    out = at.op.Conv2D(input=x, filter=weight, strides=[1, *strides, 1], padding=padding, name=at.name("Conv2D"))
    return _bias(at, out, me.config.get("activation"))


def _depthwise(at: Place, fed: Sequence[Value]) -> Any:
    me, kernel = at.layer, at.layer.sizes("kernel_size", 2)
    strides, window = _strides(at, kernel)
    x, padding = _padded(at, fed, window, strides)
    name = "depthwise_kernel" if me.has("depthwise_kernel") else "kernel"
    weight = at.weight(name, *kernel, int(x.shape[-1]), me.integer("depth_multiplier", 1))
    return at.op.DepthwiseConv2dNative(
        input=x, filter=weight, strides=[1, *strides, 1], padding=padding, name=at.name("depthwise")
    )


@_kind("DepthwiseConv2D")
def _depthwise_conv(at: Place, fed: Sequence[Value]) -> Value:
    return _bias(at, _depthwise(at, fed), at.layer.config.get("activation"))


@_kind("SeparableConv2D", "SeparableConvolution2D")
def _separable(at: Place, fed: Sequence[Value]) -> Value:
    x = _depthwise(at, fed)
    weight = at.weight("pointwise_kernel", 1, 1, int(x.shape[-1]), at.layer.integer("filters"))
    out = at.op.Conv2D(input=x, filter=weight, strides=[1, 1, 1, 1], padding=b"VALID", name=at.name("pointwise"))
    return _bias(at, out, at.layer.config.get("activation"))


@_kind("Dense")
def _dense(at: Place, fed: Sequence[Value]) -> Value:
    me, x = at.layer, _tensor(at, fed)
    if len(x.shape) != 2:
        me.fail("the stick's dense layers take flat input", "put a Flatten before it")
    weight = at.weight("kernel", int(x.shape[-1]), me.integer("units"))
    out = at.op.MatMul(a=x, b=weight, name=at.name("MatMul"))
    return _bias(at, out, me.config.get("activation"))


@_kind("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2")
def _batch_normalization(at: Place, fed: Sequence[Value]) -> Value:
    """A product and a sum for each channel; the compiler merges them into the preceding convolution."""
    me, x = at.layer, _tensor(at, fed)
    axis, size = me.config.get("axis", -1), int(x.shape[-1])
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if axis not in (-1, len(x.shape) - 1):
        me.fail("the stick normalises over the last axis only", "train the model with channels_last")
    mean, variance = (me.weight(name, size).astype(np.float64) for name in ("moving_mean", "moving_variance"))
    scale = 1 / np.sqrt(variance + me.number("epsilon", 1e-3))
    scale = scale * me.weight("gamma", size) if me.flag("scale", True) else scale
    shift = -mean * scale + (me.weight("beta", size) if me.flag("center", True) else 0)
    out = at.op.Mul(x=x, y=at.building.variable(scale, at.name("scale")), name=at.name("mul"))
    return Value(at.op.Add(x=out, y=at.building.variable(shift, at.name("shift")), name=at.name("add")))


# -- pooling -------------------------------------------------------------


def _pool(at: Place, fed: Sequence[Value], function: str, argument: str) -> Value:
    me, window = at.layer, at.layer.sizes("pool_size", 2, 2)
    strides = window if me.config.get("strides") is None else me.sizes("strides", 2)
    _last(at)
    x = _tensor(at, fed, 4)
    shape = {"ksize": [1, *window, 1], "strides": [1, *strides, 1]}
    padding = me.text("padding", "valid").upper().encode()
    return Value(getattr(at.op, function)(**{argument: x}, **shape, padding=padding, name=at.name(function)))


@_kind("MaxPooling2D", "MaxPool2D")
def _max_pool(at: Place, fed: Sequence[Value]) -> Value:
    return _pool(at, fed, "MaxPool", "input")


@_kind("AveragePooling2D", "AvgPool2D")
def _average_pool(at: Place, fed: Sequence[Value]) -> Value:
    return _pool(at, fed, "AvgPool", "value")


def _global(at: Place, fed: Sequence[Value], function: str, argument: str) -> Value:
    _last(at)
    x = _tensor(at, fed, 4)
    _, height, width, channels = (int(side) for side in x.shape)
    shape = {"ksize": [1, height, width, 1], "strides": [1, 1, 1, 1]}
    out = getattr(at.op, function)(**{argument: x}, **shape, padding=b"VALID", name=at.name(function))
    return Value(out) if at.layer.flag("keepdims", False) else _reshape(at, out, [channels])


@_kind("GlobalAveragePooling2D", "GlobalAvgPool2D")
def _global_average(at: Place, fed: Sequence[Value]) -> Value:
    return _global(at, fed, "AvgPool", "value")


@_kind("GlobalMaxPooling2D", "GlobalMaxPool2D")
def _global_max(at: Place, fed: Sequence[Value]) -> Value:
    return _global(at, fed, "MaxPool", "input")


# -- shapes and joins ----------------------------------------------------


def _reshape(at: Place, x: Any, sides: Sequence[int]) -> Value:
    shape = at.constant(np.array([1, *sides], np.int32), "shape")
    return Value(at.op.Reshape(tensor=x, shape=shape, name=at.name("Reshape")))


@_kind("Flatten")
def _flatten(at: Place, fed: Sequence[Value]) -> Value:
    _last(at)
    x = _tensor(at, fed)
    return _reshape(at, x, [int(np.prod(x.shape[1:]))])


@_kind("Reshape")
def _reshape_layer(at: Place, fed: Sequence[Value]) -> Value:
    x, target = _tensor(at, fed), at.layer.config.get("target_shape")
    if not isinstance(target, list | tuple) or not all(isinstance(side, int | None) for side in target):
        at.layer.fail(f"target_shape is {target!r}")
    sides = [-1 if side is None else side for side in target]
    known = int(np.prod([side for side in sides if side != -1]))
    return _reshape(at, x, [int(np.prod(x.shape[1:])) // known if side == -1 else side for side in sides])


@_kind("ZeroPadding2D")
def _zero_padding(at: Place, fed: Sequence[Value]) -> Value:
    _last(at)
    value = at.layer.config.get("padding", 1)
    pairs = [value, value] if isinstance(value, int) else list(value)
    top, left = (tuple(p) if isinstance(p, list | tuple) else (p, p) for p in pairs)
    return Value(_tensor(at, fed, 4), (top, left))


@_kind(
    "InputLayer", "Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness",
)  # fmt: skip
def _nothing(at: Place, fed: Sequence[Value]) -> Value:
    return at.one(fed)


@_kind("Rescaling")
def _rescaling(at: Place, fed: Sequence[Value]) -> Value:
    me, x = at.layer, _tensor(at, fed)
    scale, offset = np.float32(me.number("scale", 1.0)), np.float32(me.number("offset", 0.0))
    out = at.op.Mul(x=x, y=at.constant(scale, "scale"), name=at.name("mul"))
    return Value(at.op.Add(x=out, y=at.constant(offset, "offset"), name=at.name("add")))


def _join(at: Place, fed: Sequence[Value], function: str) -> Value:
    tensors = [plain(at.building, value, f"{at.scope}/{i}") for i, value in enumerate(fed)]
    total = tensors[0]
    for index, tensor in enumerate(tensors[1:]):
        name = at.name(function.lower() if index == 0 else f"{function.lower()}_{index}")
        total = getattr(at.op, function)(x=total, y=tensor, name=name)
    return Value(total)


@_kind("Add")
def _add(at: Place, fed: Sequence[Value]) -> Value:
    return _join(at, fed, "Add")


@_kind("Multiply")
def _multiply(at: Place, fed: Sequence[Value]) -> Value:
    return _join(at, fed, "Mul")


@_kind("Maximum")
def _maximum(at: Place, fed: Sequence[Value]) -> Value:
    return _join(at, fed, "Maximum")


@_kind("Concatenate")
def _concatenate(at: Place, fed: Sequence[Value]) -> Value:
    tensors = [plain(at.building, value, f"{at.scope}/{i}") for i, value in enumerate(fed)]
    axis = at.layer.integer("axis", -1)
    axis = axis + len(tensors[0].shape) if axis < 0 else axis
    where = at.constant(np.int32(axis), "axis")
    return Value(at.op.ConcatV2(values=tensors, axis=where, name=at.name("concat")))
