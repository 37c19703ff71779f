"""How a network ends, read from its graph: the kind of numbers in an output, whatever the file format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from picam_infer.convert import graph
from picam_infer.convert.tensor import Array

Kind = Literal["softmax", "sigmoid", "tanh", "linear", "activation", "pooled", "normalised", "index"]
Shape = Literal["vector", "map", "rows", "unknown"]

_ADDRESSED = frozenset({"Result", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "ConvertLike", "Identity"})
_ARITHMETIC = frozenset({"Multiply", "Subtract", "Add", "Divide"})
_KINDS: dict[str, Kind] = {
    "Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid", "Tanh": "tanh", "NormalizeL2": "normalised",
    "Relu": "activation", "PRelu": "activation", "Elu": "activation", "Swish": "activation",
    "HSwish": "activation", "Gelu": "activation", "Selu": "activation", "SoftPlus": "activation",
    "ReduceMean": "pooled", "AvgPool": "pooled", "MaxPool": "pooled", "ReduceMax": "pooled", "TopK": "index",
}  # fmt: skip
_ANSWERS = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual", "LogicalNot"})
"""Yes or no, which become 1 or 0."""
_EMBEDDINGS = frozenset({64, 96, 128, 160, 192, 256, 320, 384, 512, 576, 640, 768, 960, 1024, 1280, 1408, 1536, 1792,
                         1920, 2048, 2208, 2304, 2560, 4096})  # fmt: skip
"""How many numbers networks that describe a picture use to answer with."""
FEW = 16
"""Networks that describe a picture need more numbers than this."""


@dataclass(frozen=True)
class Ending:
    """What an output's numbers are."""

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    """Their bounds, if the graph has them."""

    @property
    def probability(self) -> bool:
        """Whether they are probabilities as they are."""
        return self.kind in ("softmax", "sigmoid") and self.low > -0.02 and self.high < 1.02

    @property
    def percent(self) -> bool:
        """Whether they are probabilities times a hundred."""
        return self.kind in ("softmax", "sigmoid") and abs(self.low) < 1 and abs(self.high - 100) < 1


@dataclass
class _Line:
    """The arithmetic between a node and the output: output = a · value + b."""

    a: float = 1.0
    b: float = 0.0

    def before(self, a: float, b: float) -> None:
        """Put another line before this one."""
        self.a, self.b = self.a * a, self.a * b + self.b


def read(output: Any) -> Ending:
    """Return how the graph ends before an output (a Result's or any node's output port)."""
    node, line = output.get_node(), _Line()
    for _ in range(64):
        kind = node.get_type_name()
        if kind in _KINDS:
            return _bounded(_KINDS[kind], line)
        if kind in _ANSWERS:
            return _bounded("sigmoid", line)
        if (held := _bounds(node)) is not None:
            return _clamped(*held, line)
        if kind == "Concat":
            return _of_parts(node, line)
        if kind == "FakeQuantize":
            _quantised(node, line)
        elif kind in _ARITHMETIC:
            following = _arithmetic(node, line)
            if following is None:
                return _bounded("sigmoid", line) if _is_logistic(node) else Ending("linear")
            node = following
            continue
        elif kind not in _ADDRESSED:
            return _bounded("sigmoid", line) if _is_logistic(node) else Ending("linear")
        node = graph.sources(node)[0]
    return Ending("linear")


def _bounded(kind: Kind, line: _Line) -> Ending:
    if kind == "tanh":
        low, high = sorted((line.b - line.a, line.b + line.a))
        # (tanh + 1) / 2 is a logistic function.
        return Ending("sigmoid" if low > -0.02 and high < 1.02 else "tanh", low, high)
    if kind in ("softmax", "sigmoid"):
        low, high = sorted((line.b, line.a + line.b))
        return Ending(kind, low, high)
    return Ending(kind)


def _bounds(node: Any) -> tuple[Any, float, float] | None:
    """Return the output that is clamped here, and its bounds; None for any other node."""
    kind = node.get_type_name()
    if kind == "Clamp":
        bounds = node.get_attributes()
        return node.input_value(0), float(bounds["min"]), float(bounds["max"])
    if kind not in ("Minimum", "Maximum"):
        return None
    limits = [graph.single(source) for source in graph.sources(node)]
    at = next((at for at, limit in enumerate(limits) if limit is not None), None)
    if at is None:
        return None
    inside = node.input_value(1 - at)
    output, low, high = _bounds(inside.get_node()) or (inside, -math.inf, math.inf)
    limit = float(limits[at] or 0.0)
    return (output, low, min(high, limit)) if kind == "Minimum" else (output, max(low, limit), high)


def _clamped(inside: Any, least: float, most: float, line: _Line) -> Ending:
    """Return the kind of numbers that are clamped between two bounds: probabilities, if these are 0 and 1 in the end.

    That is how a hard sigmoid is written, and a straight line that somebody trained to be one; cutting off what
    probabilities never reach changes nothing.
    """
    low, high = sorted((line.a * least + line.b, line.a * most + line.b))
    before = read(inside)
    if before.probability and line.a == 1 and line.b == 0 and low < 0.02 and high > 0.98:
        return before
    if abs(low) < 1e-3 and abs(high - 1) < 1e-3:
        return Ending("sigmoid", low, high)
    return Ending("activation")


def _of_parts(node: Any, line: _Line) -> Ending:
    """Several outputs side by side are what each of them is, if they are all the same."""
    parts = [read(port.get_source_output()) for port in node.inputs()]
    kinds = {part.kind for part in parts}
    if kinds == {"sigmoid"} or (kinds == {"softmax"} and len(parts) == 1):
        ends = [line.a * end + line.b for part in parts for end in (part.low, part.high)]
        return Ending("sigmoid", min(ends), max(ends))
    return Ending("linear")


def _quantised(node: Any, line: _Line) -> None:
    ends = [graph.single(source) for source in graph.sources(node)[1:5]]
    low, high, first, last = (end if end is not None else math.nan for end in ends)
    if high > low and last > first:
        scale = (last - first) / (high - low)
        line.before(scale, first - low * scale)


def _arithmetic(node: Any, line: _Line) -> Any:
    """Take one step back through arithmetic with one number; None where it is of another kind."""
    left, right = graph.sources(node)
    kind = node.get_type_name()
    number = graph.single(right)
    if number is not None:
        if kind == "Divide" and number == 0:
            return None
        step = {"Multiply": (number, 0.0), "Divide": (1 / number if number else 0.0, 0.0), "Add": (1.0, number)}
        line.before(*step.get(kind, (1.0, -number)))
        return left
    number = graph.single(left)
    if number is None or kind == "Divide":
        return None
    line.before(*{"Multiply": (number, 0.0), "Add": (1.0, number)}.get(kind, (-1.0, number)))
    return right


def _is_logistic(node: Any) -> bool:
    """Tell whether a node is 1 / (1 + exp(−x)), written out."""
    kind, inside = node.get_type_name(), graph.sources(node)
    if kind == "Divide" and graph.single(inside[0]) == 1:
        below = inside[1]
    elif kind == "Power" and graph.single(inside[1]) == -1:
        below = inside[0]
    else:
        return False
    if below.get_type_name() != "Add":
        return False
    terms = graph.sources(below)
    return any(t.get_type_name() == "Exp" for t in terms) and any(graph.single(t) == 1 for t in terms)


def refined(found: Ending, answers: Array) -> Ending:
    """Return the ending, corrected by what the network answered, (pictures, values): some write a softmax out."""
    two = found.kind == "sigmoid" and found.probability and answers.shape[1] == 2
    if (found.kind in ("softmax", "sigmoid", "index") and not two) or answers.shape[1] < 2 or len(answers) < 2:
        return found
    if answers.min() >= -1e-6 and np.abs(answers.sum(1) - 1).max() < 1e-3 and answers.max() <= 1 + 1e-3:
        return Ending("softmax", 0.0, 1.0)
    if answers.shape[1] >= FEW and np.abs(np.linalg.norm(answers, axis=1) - 1).max() < 1e-3:
        return Ending("normalised")
    return found


def is_embedding(found: Ending, count: int) -> bool:
    """Tell whether numbers without labels describe a picture (an embedding) instead of its classes."""
    if count <= FEW or found.kind in ("softmax", "sigmoid", "index"):
        return False
    return found.kind in ("pooled", "normalised", "activation") or count in _EMBEDDINGS


def shape_of(output: Any) -> tuple[Shape, list[int]]:
    """Return what form an output has, and its sides without the batch (0: of any length)."""
    partial = output.get_partial_shape()
    if partial.rank.is_dynamic:
        return "unknown", []
    sides = [int(side.get_length()) if side.is_static else 0 for side in partial]
    sides = sides if len(sides) == 1 else sides[1:]  # a list alone has lost its batch
    if 0 in sides:
        return "unknown", sides
    if sum(side > 1 for side in sides) <= 1:
        return "vector", sides
    return ("map" if len(sides) >= 3 and sides[0] > 1 else "rows"), sides


def what(output: Any, height: int, width: int) -> str:
    """Return in words what an output that does not list classes is, of a network that takes height × width pixels."""
    shape, sides = shape_of(output)
    written = "×".join(str(side) if side else "?" for side in sides)
    if shape == "unknown":
        return f"a list of any length ({written or 'of no fixed shape'}), as networks that find objects answer"
    if shape == "rows":
        if sides[-2:] == [height, width]:
            return f"a number for every pixel ({written}): it divides a picture into regions (segmentation)"
        if read(output).kind == "softmax":
            return f"{sides[-2]} answers in a row ({written}), as networks that read text give"
        return f"a list of boxes ({written}): it finds objects in a picture (detection)"
    for rows, columns, channels in ((sides[0], sides[1], sides[2]), (sides[1], sides[2], sides[0])):
        if rows * width == columns * height and rows * 4 >= height:
            if channels == 3 and read(output).kind not in ("softmax", "index"):
                return f"another picture ({written})"
            return f"a value for every part of the picture ({written}): it divides it into regions (segmentation)"
    if any(
        channels % 3 == 0 and 15 <= channels <= 3 * 100 and channels not in (192, 96, 48)
        for channels in (sides[0], sides[-1])
    ):
        return f"a grid of boxes ({written}): it finds objects in a picture (detection)"
    return f"a map of features ({written}), from the inside of a network"
