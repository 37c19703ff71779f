"""Pooling. Averages leave the padding out, as TensorFlow's do."""

from __future__ import annotations

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.convolution import pads
from picam_infer.convert.layers.registry import Call, layer
from picam_infer.convert.tensor import Tensor, from_first, whole


def pool(call: Call, x: Tensor, rank: int, largest: bool) -> Tensor:
    """Pool (N, spatial…, C) by the layer's pool_size, strides and padding."""
    me = call.layer
    node = x.first(me.order)
    window = me.sizes("pool_size", rank, 2)
    strides = window if me.config.get("strides") is None else me.sizes("strides", rank)
    if any(w > 4096 for w in window):
        me.fail(f"its pool_size is {window}, which no real network has")
    begin, end = pads(me, node, window, strides)
    if largest:
        out = op.max_pool(node, strides, [1] * rank, begin, end, window).output(0)
    else:
        out = op.avg_pool(node, strides, begin, end, window, exclude_pad=True).output(0)
    return Tensor(out, moved=me.order == "channels_last")


@layer("MaxPooling1D", "MaxPool1D")
def max_pool_1d(call: Call) -> Tensor:
    """The largest of each window of (N, length, C)."""
    return pool(call, call.one(3), 1, largest=True)


@layer("MaxPooling2D", "MaxPool2D")
def max_pool_2d(call: Call) -> Tensor:
    """The largest of each window of (N, H, W, C)."""
    return pool(call, call.one(4), 2, largest=True)


@layer("AveragePooling1D", "AvgPool1D")
def average_pool_1d(call: Call) -> Tensor:
    """The mean of each window of (N, length, C)."""
    return pool(call, call.one(3), 1, largest=False)


@layer("AveragePooling2D", "AvgPool2D")
def average_pool_2d(call: Call) -> Tensor:
    """The mean of each window of (N, H, W, C)."""
    return pool(call, call.one(4), 2, largest=False)


def _global(call: Call, rank: int, largest: bool) -> Tensor:
    me, x = call.layer, call.one(rank + 2)
    keep = me.flag("keepdims", False)
    node = x.first(me.order)
    reduce = op.reduce_max if largest else op.reduce_mean
    out = reduce(node, whole(np.arange(2, rank + 2)), keep)
    return from_first(out, me.order) if keep else Tensor(out)


@layer("GlobalMaxPooling1D", "GlobalMaxPool1D")
def global_max_1d(call: Call) -> Tensor:
    """The largest over the length."""
    return _global(call, 1, largest=True)


@layer("GlobalMaxPooling2D", "GlobalMaxPool2D")
def global_max_2d(call: Call) -> Tensor:
    """The largest over height and width."""
    return _global(call, 2, largest=True)


@layer("GlobalAveragePooling1D", "GlobalAvgPool1D")
def global_average_1d(call: Call) -> Tensor:
    """The mean over the length."""
    return _global(call, 1, largest=False)


@layer("GlobalAveragePooling2D", "GlobalAvgPool2D")
def global_average_2d(call: Call) -> Tensor:
    """The mean over height and width."""
    return _global(call, 2, largest=False)
