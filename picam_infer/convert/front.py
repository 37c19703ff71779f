"""What a network does to its picture before its first real layer, found by running that part.

Files write the same scaling in many ways: layers, arithmetic with constants, channels taken apart and put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from picam_infer.convert import graph, ir
from picam_infer.convert.tensor import Array
from picam_infer.models.bundle import Input

_PIXELWISE = frozenset({
    "Parameter", "Convert", "ConvertLike", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Multiply", "Add",
    "Subtract", "Divide", "Power", "Sqrt", "FakeQuantize", "Clamp", "Split", "VariadicSplit", "Concat", "Gather",
    "StridedSlice", "Slice", "Reverse", "Interpolate", "Pad", "MVN", "Maximum", "Minimum", "Identity", "Negative",
    "BatchNormInference",
})  # fmt: skip
_STATISTICS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "SquaredDifference", "ReduceL2", "Abs"})
MAX_NODES = 200
_RANGES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
"""What may have been fed in training: pixel × scale + offset."""
_USUAL = ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (0.0, 2.0), (0.0, 255.0), (-128.0, 127.0), (-127.5, 127.5))
_IMAGENET = np.array([0.485, 0.456, 0.406])
_CLEAR = 0.6
"""By how much one range has to fit better than the next."""


@dataclass(frozen=True)
class Front:
    """The arithmetic between the input and the first real layer: inside = scale · input + offset, for each channel."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    standardises: bool = False
    """Each picture is brought to mean 0 by its own statistics: its range does not matter."""
    quantised: tuple[float, float] | None = None
    """The range that the first quantisation of the input holds."""

    @property
    def plain(self) -> bool:
        """Whether nothing is done."""
        return (
            np.allclose(self.scale, 1, atol=1e-3) and np.allclose(self.offset, 0, atol=1e-3) and not self.standardises
        )

    @property
    def colour(self) -> str | None:
        """The order of the channels, where the means that are subtracted are ImageNet's."""
        if len(self.scale) != 3 or self.plain or not np.all(self.scale):
            return None
        means = -np.array(self.offset) / np.array(self.scale)
        for unit in (1.0, 255.0):
            if np.abs(means / unit - _IMAGENET).max() < 0.012:
                return "rgb"
            if np.abs(means / unit - _IMAGENET[::-1]).max() < 0.012:
                return "bgr"
        return None

    @property
    def wants(self) -> str | None:
        """The range of pixels that the arithmetic is meant for: a key of `RANGES`; None: it cannot be told."""
        if self.standardises:
            return "0..255"
        if self.plain:
            return _of_quantised(self.quantised)
        scores = sorted((_strangeness(self, *way), name) for name, way in _RANGES.items())
        (best, name), (second, _) = scores[0], scores[1]
        clear = second - best > (_CLEAR if best else _CLEAR / 2)  # an exact match with a usual range is no accident
        return name if best < 1.6 and clear else None


RANGES = _RANGES


def _of_quantised(held: tuple[float, float] | None) -> str | None:
    if held is None:
        return None
    low, high = held
    for name, (a, b) in (("0..1", (0.0, 1.0)), ("-1..1", (-1.0, 1.0)), ("0..255", (0.0, 255.0))):
        if abs(low - a) < 0.03 * (b - a) and abs(high - b) < 0.03 * (b - a):
            return name
    return None


def _strangeness(front: Front, scale: float, offset: float) -> float:
    """Return how implausible pixels × scale + offset are as a network's input; 0: a usual range."""
    ends = [
        [a * (pixel * scale + offset) + b for pixel in (0.0, 255.0)]
        for a, b in zip(front.scale, front.offset, strict=True)
    ]
    low, high = min(map(min, ends)), max(map(max, ends))
    span = max(high - low, 1e-9)
    if any(abs(low - first) + abs(high - last) < 0.03 * (last - first) for first, last in _USUAL):
        return 0.0
    small = abs(np.log(span / 4)) + abs(high + low) / span
    # ImageNet's means taken off pixels; their own deviations are left in.
    large = 4 * abs(np.log(span / 275)) + (0.2 if 60 < -low < 160 else 2.0)
    return float(min(small, large))


def read(model: Any, seen: Input) -> Front | None:
    """Return what a network of one input does first; None if that cannot be told."""
    if len(model.inputs) != 1:
        return None
    copy = model.clone()
    front, standardises = _front_nodes(copy)
    port = _frontier(copy, front)
    if standardises or port is None:
        return Front((1.0,), (0.0,), standardises=True) if standardises else None
    nodes = list(graph.upstream(port.get_node()))
    if len(nodes) > MAX_NODES:
        return None
    if port.get_node().get_type_name() == "Parameter":
        return Front((1.0,) * seen.channels, (0.0,) * seen.channels)
    return _asked(copy, port, seen, _quantisation(nodes))


def _front_nodes(model: Any) -> tuple[dict[str, Any], bool]:
    """Return the nodes before the first real layer by name, and whether the picture's own statistics are taken off."""
    front: dict[str, Any] = {}
    fed: set[str] = set()
    statistics: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        inside = [source.get_friendly_name() for source in graph.sources(node)]
        if kind == "Parameter" or any(source in fed for source in inside):
            fed.add(name)
            whole = all(source not in fed or source in front or source in statistics for source in inside)
            if kind == "Subtract" and inside[0] in front and inside[1] in statistics:
                return front, True
            if kind == "MVN" and inside[0] in front:
                return front, True
            if kind in _STATISTICS and whole and kind.startswith("Reduce") and _keeps_batch(node):
                statistics.add(name)
            elif (
                (kind in _PIXELWISE or _scales_channels(node))
                and whole
                and not any(source in statistics for source in inside)
            ):
                front[name] = node
    return front, False


def _scales_channels(node: Any) -> bool:
    """Tell whether a convolution only multiplies each channel by a number, as some write a scaling."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution") or node.get_attributes()["strides"] != [1, 1]:
        return False
    weights = graph.constant(graph.sources(node)[1])
    if weights is None or weights.shape[-2:] != (1, 1):
        return False
    if node.get_type_name() == "GroupConvolution":
        return tuple(weights.shape[1:3]) == (1, 1)
    square = weights[..., 0, 0]
    return len(square) == square.shape[-1] and not np.any(square - np.diag(np.diag(square)))


def _keeps_batch(node: Any) -> bool:
    """Tell whether a mean is taken over rows and columns at once, as the statistics of a picture are."""
    axes = graph.constant(graph.sources(node)[1])
    return axes is not None and axes.size >= 2


def _frontier(model: Any, front: dict[str, Any]) -> Any:
    """Return the output that the first real layer takes; None if there is none or they are many."""
    found: dict[str, Any] = {}
    for node in model.get_ordered_ops():
        if node.get_friendly_name() in front or node.get_type_name() in ("ShapeOf", "Result", "Constant"):
            continue
        for port in node.inputs():
            source = port.get_source_output()
            if source.get_node().get_friendly_name() in front:
                found.setdefault(f"{source.get_node().get_friendly_name()}:{source.get_index()}", source)
    return next(iter(found.values()), None)


def _quantisation(nodes: list[Any]) -> tuple[float, float] | None:
    for node in nodes:
        if node.get_type_name() == "FakeQuantize":
            ends = [graph.single(source) for source in graph.sources(node)[1:3]]
            if ends[0] is not None and ends[1] is not None:
                return ends[0], ends[1]
    return None


def _asked(model: Any, port: Any, seen: Input, quantised: tuple[float, float] | None) -> Front | None:
    """Feed the front part black, and one level in every channel and in each, and read its line off the answers."""
    try:
        part = ov.Model([op.result(port)], model.get_parameters(), "front")
        run = ir.compiled(part)
        shape = tuple(int(side) for side in model.input(0).shape)
        dark, light = (_middle(run([np.full(shape, level, np.float32)])[0], seen) for level in (0.0, 1.0))
        rises = [_middle(run([_one_channel(shape, seen, channel)])[0], seen) for channel in range(seen.channels)]
    except (RuntimeError, ValueError):
        return None
    if dark is None or light is None:
        return None
    scale = light - dark
    if len(dark) == seen.channels == 3 and all(rise is not None for rise in rises):
        # Which inner channel each channel of the input goes to: some files swap them.
        reach = np.abs(np.array([rise - dark for rise in rises if rise is not None]))
        places = reach.argmax(1)
        if sorted(places) == [0, 1, 2]:
            scale, dark = scale[places], dark[places]
    if not (np.isfinite(scale).all() and np.isfinite(dark).all()) or not np.all(scale):
        return None
    if (
        quantised
        and np.ptp(quantised) > 0
        and np.allclose(scale, 1, atol=np.ptp(quantised) / 64)
        and np.allclose(dark, 0, atol=np.ptp(quantised) / 64)
    ):
        scale, dark = np.ones_like(scale), np.zeros_like(dark)
    return Front(tuple(map(float, scale)), tuple(map(float, dark)), quantised=quantised)


def _one_channel(shape: tuple[int, ...], seen: Input, channel: int) -> Array:
    picture = np.zeros((seen.height, seen.width, seen.channels), np.float32)
    picture[:, :, channel] = 1
    return (picture if seen.layout == "NHWC" else picture.transpose(2, 0, 1)).reshape(shape)


def _middle(values: Array, seen: Input) -> Array | None:
    """Return what the front part answers for the middle of the picture, one number for each channel."""
    values = np.asarray(values, np.float64)
    if values.ndim == 4 and seen.channels in values.shape[1:]:
        axis = 1 + [*values.shape[1:]].index(seen.channels) if values.shape[3] != seen.channels else 3
        rest = np.moveaxis(values[0], axis - 1, -1)
        return np.asarray(rest[rest.shape[0] // 2, rest.shape[1] // 2])
    flat = values.ravel()
    if flat.size % seen.channels:
        return None
    centre = flat.size // 2 // seen.channels * seen.channels
    return np.full(seen.channels, flat[centre]) if np.ptp(flat) < 1e-9 + 1e-6 * np.abs(flat).max() else None
