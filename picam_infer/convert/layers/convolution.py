"""Convolutions in one and two dimensions, and Dense. Kernels as Keras stores them: spatial…, in, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.activation import activate
from picam_infer.convert.layers.registry import Call, Layer, Names, layer
from picam_infer.convert.tensor import Array, Node, Tensor, constant, from_first


def same_pads(sides: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the padding at the begin and end of each axis for `same`; the odd one goes to the end.

    TensorFlow's rule: output = ⌈side / stride⌉, total = (output − 1)·stride + window − side, begin = ⌊total / 2⌋.
    """
    totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sides, window, strides, strict=True)]
    return [total // 2 for total in totals], [total - total // 2 for total in totals]


def pads(owner: Layer, node: Node, window: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the padding of a node (N, C, …) for the layer's `padding`; `window` is the dilated kernel."""
    mode = owner.text("padding", "valid")
    if mode == "valid":
        return [0] * len(window), [0] * len(window)
    if mode == "same":
        return same_pads([int(n) for n in node.get_shape()[2:]], window, strides)
    if mode == "causal" and len(window) == 1:
        return [window[0] - 1], [0]
    return owner.fail(f"padding {mode!r} is not supported")


def _weights(*kernels: str) -> Names:
    return lambda me: (*kernels, "bias") if me.flag("use_bias", True) else kernels


def _finish(call: Call, node: Node) -> Tensor:
    """Add the bias along the channels and apply the activation."""
    me = call.layer
    if me.flag("use_bias", True):
        shape = node.get_output_shape(0)
        bias = me.weight("bias", int(shape[1]))
        node = op.add(node, constant(bias.reshape([1, -1] + [1] * (len(shape) - 2))))
    return activate(from_first(node, me.order), me.config.get("activation"), me)


def _convolve(owner: Layer, x: Node, kernel: Array, groups: int = 1, plain: bool = False) -> Node:
    """Convolve (N, C, …) with a kernel (spatial…, in / groups, out); `plain`: without stride, dilation or padding."""
    spatial = kernel.ndim - 2
    strides = [1] * spatial if plain else owner.sizes("strides", spatial, 1)
    dilations = [1] * spatial if plain else owner.sizes("dilation_rate", spatial, 1)
    window = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    begin, end = ([0] * spatial, [0] * spatial) if plain else pads(owner, x, window, strides)
    turned = np.moveaxis(kernel, (-1, -2), (0, 1))
    if groups == 1:
        return op.convolution(x, constant(turned), strides, begin, end, dilations)
    grouped = turned.reshape(groups, -1, *turned.shape[1:])
    return op.group_convolution(x, constant(grouped), strides, begin, end, dilations)


def _kernel(call: Call, name: str, rank: int, *ends: int | None) -> Array:
    """Return a kernel in Keras 2's order; Keras 1 wrote (out, in, spatial…) where channels come first."""
    me = call.layer
    sizes = me.sizes("kernel_size", rank)
    values = me.weights.get(name)
    if values is not None and name == "kernel" and values.ndim == rank + 2:
        wanted = (*sizes, *ends)
        old = (ends[1], ends[0], *sizes)
        fits = all(w in (None, v) for w, v in zip(wanted, values.shape, strict=True))
        fits_old = all(w in (None, v) for w, v in zip(old, values.shape, strict=True))
        if fits_old and (not fits or me.config.get("_oihw")):
            values = np.moveaxis(values, (0, 1), (-1, -2))
            me = Layer(me.name, me.kind, me.config, {**me.weights, name: values})
    found = me.weight(name, *sizes, *ends)
    return np.flip(found, tuple(range(rank))) if me.config.get("_theano") else found


def _channels(call: Call, node: Node, groups: int = 1) -> int:
    channels = int(node.get_shape()[1])
    if groups < 1 or channels % groups:
        call.layer.fail(f"{channels} channels cannot be split into {groups} groups")
    return channels // groups


@layer("Conv1D", "Convolution1D", weights=_weights("kernel"))
def conv1d(call: Call) -> Tensor:
    """Convolve (N, length, C)."""
    me, x = call.layer, call.one(3).first(call.layer.order)
    groups = me.integer("groups", 1)
    legacy = me.weights.get("kernel")
    if legacy is not None and legacy.ndim == 4:  # Keras 1 kept a second spatial axis of 1
        size = me.sizes("kernel_size", 1)[0]
        flat = legacy[:, 0] if legacy.shape[:2] == (size, 1) else legacy.transpose(2, 3, 1, 0)[:, 0]
        me = Layer(me.name, me.kind, me.config, {**me.weights, "kernel": flat})
        call = Call(me, call.args)
    kernel = _kernel(call, "kernel", 1, _channels(call, x, groups), me.integer("filters"))
    return _finish(call, _convolve(me, x, kernel, groups))


@layer("Conv2D", "Convolution2D", "AtrousConvolution2D", weights=_weights("kernel"))
def conv2d(call: Call) -> Tensor:
    """Convolve (N, H, W, C)."""
    me, x = call.layer, call.one(4).first(call.layer.order)
    groups = me.integer("groups", 1)
    kernel = _kernel(call, "kernel", 2, _channels(call, x, groups), me.integer("filters"))
    return _finish(call, _convolve(me, x, kernel, groups))


def _depthwise(call: Call, x: Node, rank: int) -> Node:
    """Convolve each channel with its own kernels; kernel (spatial…, C, multiplier), output channel c·multiplier + m."""
    channels = _channels(call, x)
    name = "depthwise_kernel" if "depthwise_kernel" in call.layer.weights else "kernel"
    kernel = _kernel(call, name, rank, channels, call.layer.integer("depth_multiplier", 1))
    flat = kernel.reshape(*kernel.shape[:rank], 1, -1)
    return _convolve(call.layer, x, flat, channels)


@layer("DepthwiseConv2D", "DepthwiseConv1D", weights=_weights("depthwise_kernel"))
def depthwise_conv(call: Call) -> Tensor:
    """Convolve each channel by itself."""
    rank = 1 if call.layer.kind.endswith("1D") else 2
    x = call.one(rank + 2).first(call.layer.order)
    return _finish(call, _depthwise(call, x, rank))


@layer(
    "SeparableConv2D",
    "SeparableConvolution2D",
    "SeparableConv1D",
    weights=_weights("depthwise_kernel", "pointwise_kernel"),
)
def separable_conv(call: Call) -> Tensor:
    """Convolve each channel by itself, then mix them with a 1×1 kernel."""
    me = call.layer
    rank = 1 if me.kind.endswith("1D") else 2
    x = _depthwise(call, call.one(rank + 2).first(me.order), rank)
    channels = int(x.get_output_shape(0)[1])
    pointwise = me.weight("pointwise_kernel", *[1] * rank, channels, me.integer("filters"))
    return _finish(call, _convolve(me, x, pointwise, plain=True))


@layer("Conv2DTranspose", "Deconvolution2D", "Convolution2DTranspose", "Conv1DTranspose", weights=_weights("kernel"))
def conv_transpose(call: Call) -> Tensor:
    """Transposed convolution; kernel (spatial…, out, in).

    Output length (Keras, `conv_utils.deconv_output_length`): same n·s; valid n·s + max(k − s, 0); with
    output_padding p: (n − 1)·s + k − 2·(same: ⌊k / 2⌋, valid: 0) + p. k counts the dilation.
    """
    me = call.layer
    rank = 1 if me.kind.startswith("Conv1D") else 2
    x = call.one(rank + 2).first(me.order)
    kernel = _kernel(call, "kernel", rank, me.integer("filters"), _channels(call, x))
    strides, dilations = me.sizes("strides", rank, 1), me.sizes("dilation_rate", rank, 1)
    extra = me.config.get("output_padding")
    extras = [None] * rank if extra is None else me.integers("output_padding", rank)
    same = me.text("padding", "valid") == "same"
    begin, end, grow = [], [], []
    for axis in range(rank):
        n, s = int(x.get_shape()[2 + axis]), strides[axis]
        k = (kernel.shape[axis] - 1) * dilations[axis] + 1
        more = extras[axis]
        if more is None:
            length = n * s if same else n * s + max(k - s, 0)
        else:
            length = (n - 1) * s + k - (2 * (k // 2) if same else 0) + more
        whole = (n - 1) * s + k
        begin.append(max(whole - length, 0) // 2 if same else 0)
        end.append(max(whole - begin[-1] - length, 0))
        grow.append(max(length - (whole - begin[-1]), 0))
    turned = np.moveaxis(kernel, (-1, -2), (0, 1))
    if rank == 2:
        node = op.convolution_backprop_data(x, constant(turned), strides, None, begin, end, dilations, "explicit", grow)
        return _finish(call, node)
    # In one dimension OpenVINO 2026.4 answers wrongly on arm64 (strides above 1): so as an image one row high.
    axis = constant(np.array([2], np.int64))
    row = op.convolution_backprop_data(
        op.unsqueeze(x, axis), constant(turned[:, :, np.newaxis]), [1, *strides], None, [0, *begin], [0, *end],
        [1, *dilations], "explicit", [0, *grow])  # fmt: skip
    return _finish(call, op.squeeze(row, axis))


@layer("Dense", "TimeDistributedDense", weights=_weights("kernel"))
def dense(call: Call) -> Tensor:
    """x · kernel + bias over the last axis; kernel (in, out)."""
    me, x = call.layer, call.one()
    kernel = me.weight("kernel", x.shape[-1], me.integer("units"))
    if x.moved and all(side == 1 for side in x.shape[1:-1]):
        node = op.convolution(
            x.node,
            constant(kernel.T.reshape(*kernel.T.shape, *[1] * (x.rank - 2))),
            [1] * (x.rank - 2),
            [0] * (x.rank - 2),
            [0] * (x.rank - 2),
            [1] * (x.rank - 2),
        )
        out = Tensor(node, moved=True)
    else:
        out = Tensor(op.matmul(x.plain(), constant(kernel.T), False, True))
    if me.flag("use_bias", True):
        bias = out.along(me.weight("bias", kernel.shape[1]), -1)
        out = out.map(lambda node: op.add(node, bias))
    return activate(out, me.config.get("activation"), me)
