"""What the bundle says about a network: how a picture becomes its input and what its answer means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import openvino as ov
import openvino.opset13 as op

from picam_infer.convert.network import Network
from picam_infer.core import PicamError, UsageError
from picam_infer.models.bundle import Chain, Edges, Input, Photo

# A network is known by its own name, or, inside somebody's model, by a layer that only its family has.
_MINUS_ONE = re.compile(
    r"(?i:mobilenet|inception|xception|nasnet|resnet(50|101|152)_?v2)|"
    r"(bn_Conv1|Conv1_relu|conv_dw_13|mixed10|conv_7b_bn|block14_sepconv2|post_bn|block_16_project_BN)\Z"
)
_CAFFE = re.compile(r"(?i:vgg1[69]|resnet(50|101|152))|(block5_conv3|conv5_block3_out|res5c_branch2c)\Z")
_TORCH = re.compile(r"(?i:densenet)|(conv5_block16_concat)\Z")
_ADDRESSED = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "Result", "Multiply", "Subtract"})


@dataclass(frozen=True)
class View:
    """The network's input, seen as a picture."""

    input: Input
    picture: bool
    """False: nothing that a camera delivers fits it."""


def view(network: Network) -> View:
    """Return how a picture lies in the input; (H, W) and flat inputs are pictures without their channel axis."""
    shape = [int(side) for side in network.model.input(0).shape]
    sides = shape[1:]
    if len(sides) == 3:
        first = sides[0] in (1, 3) and sides[2] not in (1, 3)
        channels = sides[0] if first else sides[2]
        layout: Literal["NHWC", "NCHW"] = "NCHW" if first else "NHWC"
        return View(Input((1, sides[0], sides[1], sides[2]), layout), channels in (1, 3))
    if len(sides) == 2:
        return View(Input((1, sides[0], sides[1], 1)), sides[0] == sides[1])
    count = math.prod(sides)
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if len(sides) == 1 and side >= 8 and side * side * channels == count:
            return View(Input((1, side, side, channels)), True)
    return View(Input((1, 1, count, 1)), False)


def parse_scale(text: str) -> tuple[float, float]:
    """Return scale and offset for `LOW..HIGH`, the range that pixels 0…255 are brought to. Raises `UsageError`."""
    match = re.fullmatch(r"\s*([-+]?[0-9.]+)\s*\.\.\s*([-+]?[0-9.]+)\s*", text)
    try:
        low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(f"--scale {text!r} is no range", "write LOW..HIGH, for example -1..1, 0..1 or 0..255")
    return (high - low) / 255, low


def chain(network: Network, seen: View, teachable: bool, names: Iterable[str], scale: str | None) -> tuple[Chain, str]:
    """Return the chain and a line that says what was assumed, empty where nothing was."""
    colour: Literal["rgb", "grey"] = "grey" if seen.input.channels == 1 else "rgb"
    digits = (seen.input.height, seen.input.width, seen.input.channels) == (28, 28, 1)
    if scale is not None:
        factor, offset = parse_scale(scale)
        photo = Photo(colour=colour, scale=factor, offset=offset)
        return (Edges(scale=factor, offset=offset) if digits else photo), ""
    if network.own_scale:
        note = (
            "the model scales pixels itself: it gets 0…255"
            if not network.offset
            else ("the model is quantised: it gets pixels minus 128")
        )
        if digits:
            return Edges(scale=1.0, offset=network.offset), note
        return Photo(colour=colour, scale=1.0, offset=network.offset), note
    if digits:
        return Edges(), ""
    if teachable:
        return Photo(colour=colour), ""
    return _guess(colour, list(names))


def _guess(colour: Literal["rgb", "grey"], names: Sequence[str]) -> tuple[Photo, str]:
    hint = "; if its training used another range, say --scale LOW..HIGH"
    colours = colour == "rgb"
    if colours and any(map(_TORCH.match, names)):
        note = "pixels are (x / 255 - 0.449) / 0.226, the mean of the three channels' numbers"
        return Photo(colour=colour, scale=1 / 255 / 0.226, offset=-0.449 / 0.226), note + hint
    if any(map(_MINUS_ONE.match, names)):
        return Photo(colour=colour), f"pixels are scaled to -1…1, as this family of networks is trained{hint}"
    if colours and any(map(_CAFFE.match, names)):
        note = "pixels are BGR minus 114.8, the mean of the three means this family is trained with"
        return Photo(colour="bgr", scale=1.0, offset=-114.8), note + hint
    return Photo(colour=colour, scale=1 / 255, offset=0.0), f"pixels are scaled to 0…1, which is an assumption{hint}"


def outputs(network: Network) -> int:
    """Return how many values the network answers with."""
    return int(np.prod([int(side) for side in network.model.output(0).shape], dtype=object))


def closing(network: Network) -> str:
    """Return what the network ends with: `softmax`, `sigmoid` or nothing of the kind."""
    node = network.model.get_results()[0]
    for _ in range(32):
        kind = node.get_type_name()
        if kind == "Softmax":
            return "softmax"
        if kind == "Sigmoid":
            return "sigmoid"
        if kind not in _ADDRESSED and kind != "FakeQuantize":
            return ""
        node = node.input_value(0).get_node()
    return ""


def with_complement(model: Any) -> Any:
    """Return a network that answers [1 − p, p] where it answered one probability p."""
    result = model.get_results()[0]
    p = op.reshape(result.input_value(0), op.constant(np.array([1, 1], np.int64)), False)
    both = op.concat([op.subtract(op.constant(np.float32(1)), p), p], 1)
    fresh = op.result(both)
    fresh.output(0).get_tensor().set_names(set(result.output(0).get_names()) or {"output"})
    return ov.Model([fresh], model.get_parameters(), model.get_friendly_name())


def require_float(model: Any) -> None:
    """Raise `PicamError` unless both ends are float32."""
    for port in [*model.inputs, *model.outputs]:
        if port.get_element_type() != ov.Type.f32:
            raise PicamError(f"the network has an input or output of type {port.get_element_type()}", "export as float")
