"""How a picture becomes a network's input: size, part, colours and scaling, and how certain that is."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import openvino as ov

from picam_infer.convert import front, graph
from picam_infer.convert.front import RANGES, Front
from picam_infer.convert.metadata import Metadata
from picam_infer.convert.network import Network
from picam_infer.core import PicamError, UsageError
from picam_infer.models.bundle import Chain, Colour, Edges, Fit, Input, Photo
from picam_infer.models.normalisation import Factor, Normalisation

# A network is known by its own name, or, inside somebody's model, by a layer that only its family has.
_MINUS_ONE = re.compile(
    r"(?i:mobilenet|inception|xception|nasnet|resnet(50|101|152)_?v2)|"
    r"(bn_Conv1|Conv1_relu|conv_dw_13|mixed10|conv_7b_bn|block14_sepconv2|post_bn|block_16_project_BN)\Z"
)
_CAFFE = re.compile(r"(?i:vgg1[69]|resnet(50|101|152))|(block5_conv3|conv5_block3_out|res5c_branch2c)\Z")
_TORCH = re.compile(r"(?i:densenet)|(conv5_block16_concat)\Z")
_BACKBONE = frozenset({"Conv1_pad", "block_16_project_BN"})
DIGITS = (10, 11)
"""How many classes a model of digits has: the digits, and maybe `none of them`."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Means and deviations of ImageNet's pictures, red, green, blue, of pixels 0…1."""
CAFFE = (103.939, 116.779, 123.68)
"""The same means as blue, green, red of pixels 0…255."""


@dataclass(frozen=True)
class View:
    """The network's input, seen as a picture."""

    input: Input
    picture: bool
    """False: nothing that a camera delivers fits it."""


@dataclass(frozen=True)
class InputOptions:
    """What the user says about the input."""

    scale: str | None = None
    """`LOW..HIGH`: the range that the network wants pixels 0…255 brought to."""
    mean: str | None = None
    std: str | None = None
    """(pixel − mean) / std: one number or three, of pixels 0…1 if they are all that small, else 0…255."""
    colour: Colour | None = None
    fit: Fit | None = None
    chain: Literal["edges", "photo"] | None = None


@dataclass
class InputSpec:
    """The chain, and what of it is not known but assumed."""

    chain: Chain
    notes: list[str] = field(default_factory=list)
    """What was assumed, for the card."""
    hints: list[str] = field(default_factory=list)
    """What is as usual and can be changed, for the report alone."""
    open: frozenset[str] = frozenset()
    """What pictures with known classes could decide: `scale`, `colour`, `fit`, `chain`."""


@dataclass(frozen=True)
class Known:
    """What the files say."""

    names: Sequence[str]
    """The names of the models and layers inside, which tell a family."""
    teachable: bool
    """It is an image model of Teachable Machine."""
    squashed: bool
    """It comes from Keras or TensorFlow, whose usual loaders squash pictures."""
    metadata: Metadata
    outputs: int = 0


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
        return View(Input((1, sides[0], sides[1], 1)), sides[0] == sides[1] or _looks_around(network.model))
    count = math.prod(sides)
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if len(sides) == 1 and side >= 8 and side * side * channels == count:
            return View(Input((1, side, side, channels)), True)
    return View(Input((1, 1, count, 1)), False)


def _looks_around(model: Any) -> bool:
    """Whether a network looks at what lies side by side in two directions, as only networks for pictures do."""
    kinds = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")
    return any(node.get_type_name() in kinds and len(node.input(0).get_partial_shape()) == 4
               and all(side.is_dynamic or side.get_length() > 1 for side in list(node.input(0).get_partial_shape())[2:])
               for node in model.get_ops())  # fmt: skip


def refuse_no_picture(network: Network) -> None:
    """Raise `PicamError` for a network that cannot be fed with one camera's picture."""
    inputs = network.model.inputs
    if len(inputs) > 1:
        names = ", ".join(f"{graph.name_of(port)} {_sides(port)}" for port in inputs[:4])
        raise PicamError(
            f"the network needs {len(inputs)} inputs at once ({names}), a camera feeds one",
            "choose an output that needs only one of them with --output-layer, or use another model",
        )
    sides = [int(side) for side in inputs[0].shape][1:]
    if view(network).picture or len(sides) == 2:  # a table of numbers converts, see `decide`
        return
    what = _not_a_picture(sides)
    raise PicamError(
        f"the network's input is {what}: a camera's picture does not fit it",
        "picam-infer runs networks that take one grey or colour picture",
    )


def _sides(port: Any) -> str:
    return "×".join(str(int(side)) for side in list(port.shape)[1:]) or "1"


def _not_a_picture(sides: Sequence[int]) -> str:
    written = "×".join(map(str, sides))
    if len(sides) == 3:
        channels = sides[0] if sides[0] < min(sides[1:]) else sides[2]
        alpha = ", the fourth being transparency, which a camera does not have" if channels == 4 else ""
        return f"{written}, a picture of {channels} channels{alpha}"
    if len(sides) == 4:
        return f"{written}, a clip of several pictures"
    if len(sides) == 1:
        return f"a vector of {sides[0]:,} numbers"
    return f"{written}, a series or table of numbers" if sides else "a single number"


def parse_scale(text: str) -> tuple[float, float]:
    """Return scale and offset for `LOW..HIGH`, the range that pixels 0…255 are brought to. Raises `UsageError`."""
    match = re.fullmatch(r"\s*([-+]?[0-9.]+)\s*(?:\.\.|…)\s*([-+]?[0-9.]+)\s*", text)
    try:
        low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(f"--scale {text!r} is not a range", "write LOW..HIGH, for example -1..1, 0..1 or 0..255")
    return (high - low) / 255, low


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Return one number or three. Raises `UsageError`."""
    try:
        numbers = tuple(float(part) for part in re.split(r"[,;\s]+", text.strip(" []()")))
    except ValueError:
        numbers = ()
    good = len(numbers) in (1, 3) and all(map(math.isfinite, numbers)) and (option != "--std" or all(numbers))
    if not good:
        raise UsageError(f"{option} {text!r} is not one number or three", "for example 127.5 or 0.485,0.456,0.406")
    return numbers


def scaling(options: InputOptions) -> tuple[Factor, Factor] | None:
    """Return the scale and offset that the user asks for; None if nothing. Raises `UsageError`."""
    asked = _asked(options)
    if asked is not None and not (made := Normalisation.of(*asked)).usable:
        low, high = made.limits()
        given = [f"--{name}" for name in ("scale", "mean", "std") if getattr(options, name) is not None]
        raise UsageError(
            f"{' and '.join(given)}: pixels would become {low:g}…{high:g}, which leaves nothing of the picture",
            "give the numbers of its training, for example --scale -1..1, or --mean 127.5 --std 127.5",
        )
    return asked


def _asked(options: InputOptions) -> tuple[Factor, Factor] | None:
    if options.mean is None and options.std is None:
        return parse_scale(options.scale) if options.scale is not None else None
    mean = parse_numbers(options.mean, "--mean") if options.mean is not None else (0.0,)
    std = parse_numbers(options.std, "--std") if options.std is not None else (1.0,)
    if options.scale is not None:
        factor, low = parse_scale(options.scale)
    else:
        factor, low = (1 / 255, 0.0) if max(map(abs, (*mean, *std))) <= 1.0 else (1.0, 0.0)
    return normalised(mean, std, factor, low)


def normalised(
    mean: Sequence[float], std: Sequence[float], factor: float = 1.0, low: float = 0.0
) -> tuple[Factor, Factor]:
    """Return scale and offset for ((pixel · factor + low) − mean) / std, for each channel where they differ."""
    count = max(len(mean), len(std))
    means, deviations = ((*numbers * (count // len(numbers)),) for numbers in (tuple(mean), tuple(std)))
    pairs = [(factor / d, (low - m) / d) for m, d in zip(means, deviations, strict=True)]
    if len(set(pairs)) == 1:
        return pairs[0]
    (a, b, c) = pairs
    return (a[0], b[0], c[0]), (a[1], b[1], c[1])


def decide(network: Network, seen: View, known: Known, options: InputOptions) -> InputSpec:
    """Return the chain: as the user says, else as the files and the graph say, else the most likely one.

    Raises `UsageError` for what the user cannot have meant.
    """
    _refuse_useless(options, seen)
    asked = scaling(options)
    digits = _shaped_for_digits(seen) and known.outputs in DIGITS
    edges = options.chain == "edges" or (
        digits and options.chain is None and options.colour is None and options.fit is None
    )
    spec = _range(network, seen, known, edges, options.colour)
    if asked is not None:
        spec = InputSpec(_rescaled(spec.chain, *asked), hints=spec.hints, open=spec.open - {"scale"})
    if edges:
        return _as_edges(spec, seen, digits and options.chain is None)
    chain = spec.chain
    assert isinstance(chain, Photo)
    if options.colour is not None:
        spec.chain, spec.open = _recoloured(chain, options.colour), spec.open - {"colour"}
    if seen.input.channels == 1:
        spec.open -= {"colour"}
    _tell_photo(spec, seen, known)
    if not seen.picture:
        spec.notes.append(
            f"its input is {_not_a_picture(tuple(network.model.input(0).shape)[1:])}: a camera cannot feed it"
        )
        return spec
    return _fitted(spec, seen, known, options)


def _refuse_useless(options: InputOptions, seen: View) -> None:
    """Raise `UsageError` for an option that would have no effect on this network."""
    pictures = [f"--{name}" for name in ("colour", "fit") if getattr(options, name) is not None]
    if options.chain == "edges" and pictures:
        raise UsageError(
            f"{' and '.join(pictures)} would have no effect: --chain edges feeds outlines", "leave one or the other out"
        )
    if seen.input.channels == 1 and options.colour not in (None, "grey"):
        raise UsageError(
            f"--colour {options.colour} would have no effect: the network takes grey pictures", "leave it out"
        )


def of_digits(seen: View, spec: InputSpec, outputs: int) -> bool:
    """Whether a network is one of digits: by the shape of its input and the outlines that it gets."""
    return isinstance(spec.chain, Edges) and _shaped_for_digits(seen) and outputs in DIGITS


def _shaped_for_digits(seen: View) -> bool:
    return (seen.input.height, seen.input.width, seen.input.channels) == (28, 28, 1)


def _rescaled(chain: Chain, scale: Factor, offset: Factor) -> Chain:
    if isinstance(chain, Edges):
        return Edges(chain.roi, chain.canny, _mean(scale), _mean(offset))
    return Photo(chain.roi, chain.colour, scale, offset, chain.fit)


def _mean(factor: Factor) -> float:
    return sum(factor) / 3 if isinstance(factor, tuple) else factor


def _recoloured(chain: Photo, colour: Colour) -> Photo:
    """Return the chain for another order of the channels; numbers of their own go with their channels."""
    scale, offset = chain.scale, chain.offset
    if {colour, chain.colour} == {"rgb", "bgr"}:
        scale, offset = (f[::-1] if isinstance(f, tuple) else f for f in (scale, offset))
    return Photo(chain.roi, colour, scale, offset, chain.fit)


def _as_edges(spec: InputSpec, seen: View, by_itself: bool) -> InputSpec:
    if isinstance(spec.chain, Photo):
        spec.chain = Edges(scale=_mean(spec.chain.scale), offset=_mean(spec.chain.offset))
    if by_itself:
        spec.notes.append(
            "it is taken for a model of digits and gets the outlines of what the camera sees; "
            "--chain photo feeds the picture itself"
        )
    spec.open = frozenset({"chain"}) if by_itself else frozenset()
    return spec


def _tell_photo(spec: InputSpec, seen: View, known: Known) -> None:
    if _shaped_for_digits(seen) and known.outputs not in DIGITS:
        spec.hints.append(
            f"with {known.outputs} outputs it is not a model of digits: it gets the picture itself; "
            "--chain edges feeds outlines"
        )


# -- scaling and colours ---------------------------------------------------------


def _range(network: Network, seen: View, known: Known, edges: bool, asked: Colour | None) -> InputSpec:
    """Return the chain with scale and colour from the most reliable source."""
    colour: Colour = "grey" if seen.input.channels == 1 else "rgb"
    metadata = known.metadata
    if network.quantised:
        note = (
            "the model is quantised: it gets pixels minus 128"
            if network.offset
            else "the model scales pixels itself: it gets 0…255"
        )
        return InputSpec(
            Photo(colour=metadata.colour or colour, scale=1.0, offset=network.offset), [note], open=_WITHOUT_SCALE
        )
    first = front.read(network.model, seen.input)
    found = _from_metadata(metadata, metadata.colour or colour) or _from_graph(
        network, first, seen, metadata.colour or colour
    )
    if found is not None:
        return found
    if edges and not known.teachable:
        return InputSpec(Edges())
    if known.teachable:
        return InputSpec(Photo(colour=colour))
    spec = _guess(colour, known, seen, first)
    if metadata.colour and isinstance(spec.chain, Photo):
        spec.chain, spec.open = _recoloured(spec.chain, metadata.colour), spec.open - {"colour"}
    return spec


def _from_metadata(metadata: Metadata, colour: Colour) -> InputSpec | None:
    """Return what the file's own metadata says; None if that is nothing, or leaves nothing of a picture."""
    if not (metadata.mean and metadata.std):
        return None
    scale, offset = normalised(metadata.mean, metadata.std)
    if not Normalisation.of(scale, offset).usable:
        return None
    said = f"minus {_listed(metadata.mean)}, divided by {_listed(metadata.std)}"
    note = f"pixels are scaled as the file's own metadata says: {said}"
    return InputSpec(Photo(colour=colour, scale=scale, offset=offset), [note], open=_WITHOUT_SCALE)


_WITHOUT_SCALE = frozenset({"colour", "fit"})
_ALL = frozenset({"scale", "colour", "fit"})


def _from_graph(network: Network, first: Front | None, seen: View, colour: Colour) -> InputSpec | None:
    """Return what the network's own arithmetic on its input asks for; None if it does not tell."""
    wants = first.wants if first is not None else None
    open_ = _WITHOUT_SCALE
    if first is not None and first.colour is not None:
        colour, open_ = ("bgr" if first.colour == "bgr" else "rgb"), frozenset({"fit"})
    if wants is None and network.own_scale:
        wants = "0..255"
    if wants is None:
        return None
    scale, offset = RANGES[wants]
    plain = wants.replace("..", "…")
    if wants == "0..255":
        note = "the model scales pixels itself: it gets 0…255"
    elif first is not None and first.plain:
        note = f"pixels are scaled to {plain}, the range that the model is quantised for"
    else:
        note = f"the model normalises what it gets itself; its numbers are for pixels scaled to {plain}"
    return InputSpec(Photo(colour=colour, scale=scale, offset=offset), [note], open=open_)


def _guess(colour: Colour, known: Known, seen: View, first: Front | None) -> InputSpec:
    hint = "; if its training used another range, say --scale LOW..HIGH"
    colours = colour == "rgb"
    torch = known.metadata.maker == "pytorch"
    held = first.quantised if first is not None else None
    if colours and ((torch and seen.input.height >= 160) or any(map(_TORCH.match, known.names)) or _is_imagenets(held)):
        scale, offset = normalised(*IMAGENET, factor=1 / 255)
        note = "pixels are normalised by ImageNet's means and deviations, as networks of this kind are trained"
        return InputSpec(
            Photo(colour=colour, scale=scale, offset=offset), [note + hint + " or --mean and --std"], open=_ALL
        )
    if not torch and any(map(_MINUS_ONE.match, known.names)):
        note = f"pixels are scaled to -1…1, as this family of networks is trained{hint}"
        return InputSpec(Photo(colour=colour), [note], open=_ALL)
    if not torch and colours and any(map(_CAFFE.match, known.names)):
        scale, offset = normalised(CAFFE, (1.0,))
        note = "pixels are BGR minus the means that this family of networks is trained with"
        return InputSpec(Photo(colour="bgr", scale=scale, offset=offset), [note + hint], open=_ALL)
    note = f"pixels are scaled to 0…1, which is an assumption{hint}"
    return InputSpec(Photo(colour=colour, scale=1 / 255, offset=0.0), [note], open=_ALL)


def _is_imagenets(held: tuple[float, float] | None) -> bool:
    return held is not None and -2.6 < held[0] < -1.5 and 2.0 < held[1] < 3.0


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


# -- the part of the picture -----------------------------------------------------


def _fitted(spec: InputSpec, seen: View, known: Known, options: InputOptions) -> InputSpec:
    chain = spec.chain
    assert isinstance(chain, Photo)
    size = f"{seen.input.width}×{seen.input.height}"
    if options.fit is not None:
        fit = options.fit
        spec.open -= {"fit"}
    elif known.teachable:
        fit = "crop"  # what its web page does
        spec.open -= {"fit"}
    elif seen.input.width != seen.input.height:
        fit = "crop"
        spec.hints.append(
            f"the part of the picture that has the input's proportions, {size}, is used; "
            "--fit squash or --fit pad use all of it"
        )
    elif known.squashed:
        fit = "squash"
        spec.notes.append(
            f"the whole picture is squashed to {size}, as Keras and TensorFlow load pictures; "
            "--fit crop uses its middle square"
        )
    else:
        fit = "crop"
        spec.hints.append(
            f"the middle square of the picture is used, at {size}; --fit squash or --fit pad use all of it"
        )
    spec.chain = Photo(chain.roi, chain.colour, chain.scale, chain.offset, fit)
    return spec


# -- Teachable Machine -----------------------------------------------------------


def is_teachable(network: Network, seen: View, names: Collection[str]) -> bool:
    """Tell a network that Teachable Machine trained: its MobileNet by name or by its shape, and the head it puts on."""
    if seen.input.shape[1:] != (224, 224, 3):
        return False
    head = _dense_layers(network.model)
    if not (len(head) == 2 and head[0] == (1280, 100) and head[1][0] == 100):
        return False
    return set(names) >= _BACKBONE or _is_small_mobilenet(network.model)


def _dense_layers(model: Any) -> list[tuple[int, int]]:
    """Return inputs and outputs of the fully connected layers, in order."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul":
            shapes = [
                [int(side.get_length()) if side.is_static else 0 for side in node.get_input_partial_shape(at)]
                for at in (0, 1)
            ]
            result = node.get_output_partial_shape(0)
            if result.rank.is_static and shapes[0] and result[-1].is_static:
                found.append((shapes[0][-1], int(result[-1].get_length())))
    return found


def _is_small_mobilenet(model: Any) -> bool:
    """Tell MobileNetV2 with α = 0.35: 17 depthwise convolutions, 16 filters first, 1280 last."""
    nodes = model.get_ordered_ops()
    depthwise = sum(node.get_type_name() == "GroupConvolution" for node in nodes)
    filters = [_filters(node) for node in nodes if node.get_type_name() == "Convolution"]
    return depthwise == 17 and bool(filters) and filters[0] == 16 and filters[-1] == 1280


def _filters(node: Any) -> int:
    shape = node.get_output_partial_shape(0)
    return int(shape[1].get_length()) if shape.rank.is_static and len(shape) == 4 and shape[1].is_static else 0


def require_float(model: Any) -> None:
    """Raise `PicamError` unless both ends are float32."""
    for port in [*model.inputs, *model.outputs]:
        if port.get_element_type() != ov.Type.f32:
            raise PicamError(f"the network has an input or output of type {port.get_element_type()}", "export as float")


def variants(spec: InputSpec, seen: View) -> tuple[list[Chain], list[Fit]]:
    """Return the chains of other scalings and colours, and the fits, that are open; the first of both are ours."""
    chain = spec.chain
    if "chain" in spec.open and isinstance(chain, Edges):
        return [chain, Photo(colour="grey", scale=chain.scale, offset=chain.offset, fit="squash")], []
    if not isinstance(chain, Photo):
        return [chain], []
    scalings: list[tuple[Factor, Factor]] = [(chain.scale, chain.offset)]
    if "scale" in spec.open:
        scalings += [*RANGES.values(), *([normalised(*IMAGENET, factor=1 / 255)] if seen.input.channels == 3 else [])]
    ways: list[Chain] = []
    for at, (scale, offset) in enumerate(scalings):
        base = (
            chain if at == 0 else replace_photo(chain, "rgb" if chain.colour == "bgr" else chain.colour, scale, offset)
        )
        ways.append(base)
        if "colour" in spec.open and base.colour in ("rgb", "bgr"):
            ways.append(_recoloured(base, "bgr" if base.colour == "rgb" else "rgb"))
    fits: list[Fit] = [chain.fit]
    if "fit" in spec.open:
        fits += [fit for fit in get_args(Fit) if fit != chain.fit]
    return list(dict.fromkeys(ways)), fits


def replace_photo(chain: Photo, colour: Colour, scale: Factor, offset: Factor) -> Photo:
    """Return the chain with another scaling and order of channels."""
    return Photo(chain.roi, colour, scale, offset, chain.fit)
