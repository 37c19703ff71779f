"""Layers that only rearrange values, and those that do nothing outside training."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.registry import Call, layer
from picam_infer.convert.layers.resampling import METHODS, matrix
from picam_infer.convert.tensor import Node, Tensor, constant, from_first, whole


@layer(
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "StochasticDepth", "DropPath", "Identity", "InputLayer", "StopGradient", "FixedDropout",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness",
    "RandomHeight", "RandomWidth", "RandomShear", "RandomHue", "RandomSaturation", "RandomSharpness",
    "RandomGrayscale", "RandomColorJitter", "RandomColorDegeneration", "RandomPosterization", "RandomInvert",
    "RandomErasing", "RandomGaussianBlur", "RandomPerspective", "RandomElasticTransform", "RandAugment", "AugMix",
    "AutoContrastAugment", "MixUp", "CutMix",
)  # fmt: skip
def identity(call: Call) -> Tensor:
    """Act in training only: dropout, noise, augmentation."""
    return call.one()


@layer("Flatten")
def flatten(call: Call) -> Tensor:
    """(N, …) → (N, n); channels_first is first turned to channels last, as Keras 2 and 3 do."""
    x = call.one()
    node = x.plain()
    if call.layer.config.get("data_format") == "channels_first" and x.rank > 2:
        node = op.transpose(node, whole([0, *range(2, x.rank), 1]))
    return Tensor(op.reshape(node, whole([x.shape[0], int(np.prod(x.shape[1:]))]), False))


def reshape_to(call: Call, x: Tensor, target: list[Any]) -> Tensor:
    """Give (N, …) the shape (N, target…), where one side may be −1."""
    me = call.layer
    if not target or not all(isinstance(s, int) and -1 <= s <= 1 << 28 for s in target) or target.count(-1) > 1:
        if target:
            me.fail(f"target_shape is {target!r}")
        return Tensor(op.reshape(x.plain(), whole([x.shape[0]]), False))
    have, want = int(np.prod(x.shape[1:])), int(np.prod([s for s in target if s != -1], dtype=object))
    fits = want and have % want == 0 if -1 in target else have == want
    if not fits:
        me.fail(f"its input {x.shape[1:]} cannot become {tuple(target)}")
    sides = [have // want if s == -1 else s for s in target]
    return Tensor(op.reshape(x.plain(), whole([x.shape[0], *sides]), False))


@layer("Reshape")
def reshape(call: Call) -> Tensor:
    """Give another shape to the same values."""
    target = call.layer.config.get("target_shape")
    if not isinstance(target, list | tuple):
        call.layer.fail(f"target_shape is {target!r}")
    return reshape_to(call, call.one(), [-1 if side is None else side for side in target])


@layer("Permute")
def permute(call: Call) -> Tensor:
    """Reorder the axes after the batch; `dims` count from 1."""
    x, dims = call.one(), call.layer.config.get("dims")
    if not isinstance(dims, list | tuple) or sorted(dims) != list(range(1, x.rank)):
        call.layer.fail(f"dims is {dims!r}")
    return Tensor(op.transpose(x.plain(), whole([0, *dims])))


@layer("RepeatVector")
def repeat_vector(call: Call) -> Tensor:
    """(N, C) → (N, n, C)."""
    x, count = call.one(2), call.layer.sizes("n", 1)[0]
    _bounded(call, x.shape[1] * count)
    return Tensor(op.tile(op.unsqueeze(x.plain(), whole([1])), whole([1, count, 1])))


def _bounded(call: Call, elements: int) -> None:
    if elements > 1 << 26:
        call.layer.fail(f"it would make {elements:,} values, which no real network does")


def _edges(call: Call, key: str, rank: int) -> tuple[list[int], list[int]]:
    """Return what to add or cut before and after each axis: n, (a, b) for symmetric, or ((before, after), …)."""
    value = call.layer.config.get(key, 1)
    if isinstance(value, list | tuple) and value and all(isinstance(pair, list | tuple) for pair in value):
        pairs = [list(pair) for pair in value]
    elif isinstance(value, list | tuple) and len(value) == 2 and rank == 1:
        pairs = [list(value)]
    elif isinstance(value, list | tuple) and len(value) == 4 and rank == 2:
        pairs = [list(value[:2]), list(value[2:])]
    else:
        pairs = [[side, side] for side in (value if isinstance(value, list | tuple) else [value] * rank)]
    good = len(pairs) == rank and all(len(pair) == 2 for pair in pairs)
    if not good or not all(isinstance(n, int) and 0 <= n <= 1 << 16 for pair in pairs for n in pair):
        call.layer.fail(f"{key} is {value!r}")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@layer("ZeroPadding1D", "ZeroPadding2D")
def zero_padding(call: Call) -> Tensor:
    """Put zeros around."""
    rank = 1 if call.layer.kind.endswith("1D") else 2
    before, after = _edges(call, "padding", rank)
    node = call.one(rank + 2).first(call.layer.order)
    shape = [int(side) for side in node.get_shape()]
    _bounded(call, int(np.prod([s + b + a for s, b, a in zip(shape[2:], before, after, strict=True)])) * shape[1])
    out = op.pad(node, whole([0, 0, *before]), whole([0, 0, *after]), "constant", constant(0.0))
    return from_first(out, call.layer.order)


@layer("Cropping1D", "Cropping2D")
def cropping(call: Call) -> Tensor:
    """Cut the edges off."""
    rank = 1 if call.layer.kind.endswith("1D") else 2
    before, after = _edges(call, "cropping", rank)
    node = call.one(rank + 2).first(call.layer.order)
    ends = [int(side) - cut for side, cut in zip(node.get_shape()[2:], after, strict=True)]
    if any(end <= start for start, end in zip(before, ends, strict=True)):
        call.layer.fail("it cuts everything off")
    return from_first(cut(node, before, ends, list(range(2, rank + 2))), call.layer.order)


def cut(node: Node, begin: list[int], end: list[int], axes: list[int]) -> Node:
    """Return the node from `begin` up to `end` on those axes."""
    return op.slice(node, whole(begin), whole(end), whole([1] * len(axes)), whole(axes))


@layer("UpSampling1D")
def up_sampling_1d(call: Call) -> Tensor:
    """Repeat each step of (N, length, C) `size` times."""
    x, size = call.one(3), call.layer.sizes("size", 1, call.layer.integer("length", 2))[0]
    _bounded(call, int(np.prod(x.shape)) * size)
    wide = op.tile(op.unsqueeze(x.plain(), whole([2])), whole([1, 1, size, 1]))
    return Tensor(op.reshape(wide, whole([x.shape[0], x.shape[1] * size, x.shape[2]]), False))


@layer("UpSampling2D")
def up_sampling_2d(call: Call) -> Tensor:
    """Enlarge (N, H, W, C) by whole factors; nearest repeats, bilinear has half-pixel centres."""
    me = call.layer
    node = call.one(4).first(me.order)
    factors = me.sizes("size", 2, 2)
    _, channels, height, width = (int(side) for side in node.get_shape())
    _bounded(call, channels * height * factors[0] * width * factors[1])
    return from_first(
        resize(call, node, height * factors[0], width * factors[1], me.text("interpolation", "nearest")), me.order
    )


def resize(call: Call, node: Node, height: int, width: int, method: str, antialias: bool = False) -> Node:
    """Resize (N, C, H, W) as `tf.image.resize` does, with half-pixel centres."""
    if method not in METHODS and method != "nearest":
        call.layer.fail(f"interpolation {method!r} is not supported", "use nearest or bilinear")
    channels, *sides = Tensor(node).shape[1:]
    _bounded(call, channels * max(height, sides[0]) * max(width, sides[1]))
    if method == "nearest" or (method == "bilinear" and not antialias):
        mode = "nearest" if method == "nearest" else "linear_onnx"
        return op.interpolate(
            node, whole([height, width]), mode, "sizes", axes=whole([2, 3]),
            coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil",
        )  # fmt: skip
    rows, columns = matrix(sides[0], height, method, antialias), matrix(sides[1], width, method, antialias)
    return op.matmul(op.matmul(constant(rows), node, False, False), constant(columns), False, True)
