"""Preprocessing that a model carries inside."""

from __future__ import annotations

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.registry import Call, layer
from picam_infer.convert.layers.shaping import cut, resize
from picam_infer.convert.tensor import Node, Tensor, constant, from_first, whole


def _values(call: Call, key: str, default: float, x: Tensor) -> Node:
    value = call.layer.config.get(key)
    if isinstance(value, dict):  # Keras 3 wraps arrays
        value = value.get("config", {}).get("value")
    if not isinstance(value, list | tuple):
        return x.lay(call.layer.number(key, default))
    try:
        values = np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        call.layer.fail(f"{key} is {value!r}")
    if not np.isfinite(values).all():
        call.layer.fail(f"{key} is {value!r}")
    return x.along(values, 1 if call.layer.order == "channels_first" else -1)


@layer("Rescaling")
def rescaling(call: Call) -> Tensor:
    """X · scale + offset."""
    x = call.one()
    scale, offset = _values(call, "scale", 1.0, x), _values(call, "offset", 0.0, x)
    return x.map(lambda node: op.add(op.multiply(node, scale), offset))


@layer("Resizing")
def resizing(call: Call) -> Tensor:
    """Resize (N, H, W, C) to height × width, cropped or padded to that shape first if the layer says so."""
    me = call.layer
    node = call.one(4).first(me.order)
    height, width = me.sizes("height", 1)[0], me.sizes("width", 1)[0]
    if height * width > 1 << 24:
        me.fail(f"{height}×{width} is a size that no real network has")
    if me.flag("crop_to_aspect_ratio", False):
        node = _crop_to(node, height, width)
    elif me.flag("pad_to_aspect_ratio", False):
        node = _pad_to(call, node, height, width)
    method, antialias = me.text("interpolation", "bilinear"), me.flag("antialias", False)
    return from_first(resize(call, node, height, width, method, antialias), me.order)


def _pad_to(call: Call, node: Node, height: int, width: int) -> Node:
    """Put (N, C, H, W) into the middle of the smallest picture of the aspect ratio of height × width."""
    if call.layer.text("fill_mode", "constant") != "constant":
        call.layer.fail("its fill_mode is not supported", "use constant")
    _, _, rows, columns = (int(side) for side in node.get_shape())
    more_rows = max(int(columns * height / width) - rows, 0)
    more_columns = max(int(rows * width / height) - columns, 0)
    if max(more_rows, more_columns) > 1 << 14:
        call.layer.fail(f"it would add {max(more_rows, more_columns):,} rows, which no real network does")
    edge = whole([0, 0, more_rows // 2, more_columns // 2])  # the same on both sides, as Keras does, also if odd
    return op.pad(node, edge, edge, "constant", constant(call.layer.number("fill_value", 0.0)))


@layer("CenterCrop", "RandomCrop")
def center_crop(call: Call) -> Tensor:
    """Cut out the centre; a picture that is too small is first enlarged."""
    me = call.layer
    node = call.one(4).first(me.order)
    height, width = me.sizes("height", 1)[0], me.sizes("width", 1)[0]
    _, _, rows, columns = (int(side) for side in node.get_shape())
    if rows < height or columns < width:
        node = resize(call, _crop_to(node, height, width), height, width, "bilinear")
    else:
        top, left = (rows - height) // 2, (columns - width) // 2
        node = cut(node, [top, left], [top + height, left + width], [2, 3])
    return from_first(node, me.order)


def _crop_to(node: Node, height: int, width: int) -> Node:
    """Cut (N, C, H, W) to the aspect ratio of height × width (keras.utils.smart_resize)."""
    _, _, rows, columns = (int(side) for side in node.get_shape())
    crop_rows = min(rows, int(columns * height / width))
    crop_columns = min(columns, int(rows * width / height))
    top, left = int((rows - crop_rows) / 2), int((columns - crop_columns) / 2)
    return cut(node, [top, left], [top + crop_rows, left + crop_columns], [2, 3])
