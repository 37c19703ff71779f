"""From a Keras graph and its weights to an OpenVINO model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from picam_infer.convert import layers
from picam_infer.convert.keras_config import Graph, LayerSpec, Node, TensorRef, references
from picam_infer.convert.layers.operations import canonical, function_of, operation
from picam_infer.convert.layers.registry import Call, Layer
from picam_infer.convert.tensor import Tensor, whole
from picam_infer.convert.weights import Path, Stored, Weights, part_path
from picam_infer.core import PicamError

MAX_BUILDS = 50_000
"""A limit for nested models used twice each, many levels deep."""
MAX_ELEMENTS = 1 << 26
MAX_WORK = 1e11
"""Multiplications for one picture; NASNetLarge needs 2.4e10, EfficientNetB7 3.7e10."""
FREE_SIDE = 224
"""Height and width where the model leaves them open."""

VENDOR_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, AttributeError)
"""What OpenVINO and NumPy raise for shapes and settings that do not fit."""


@dataclass
class Network:
    """An OpenVINO model and what is known about it."""

    model: Any
    layers: int
    parameters: int
    output: str
    """The output layer's name."""
    kinds: Counter[str] = field(default_factory=Counter)
    intermediate: bool = False
    """The output is not the one the model was trained for."""
    own_scale: bool = False
    """The model's description says that it scales its input itself."""
    quantised: bool = False
    """Its input is of whole numbers, one for each level of a pixel."""
    offset: float = 0.0
    """What such a model wants added to a pixel (0…255) first."""
    loss: str = ""
    """What it was trained with, in Keras's words: `categorical_crossentropy`, `mse`…; empty: unknown."""
    name: str = ""
    notes: list[str] = field(default_factory=list)


def build(graph: Graph, weights: Weights, output_layer: str | None = None) -> Network:
    """Build the network up to its outputs, all of them, or `output_layer` alone. Raises `PicamError`."""
    builder = _Builder(weights)
    parameters = [_parameter(graph, ref, builder.notes) for ref in _inputs(graph)]
    if not parameters:
        raise PicamError("the model has no input layer", "save the whole model, not only its weights")
    outputs = builder.run(graph, [Tensor(node) for node in parameters], ())
    named = [(tensor, output_name(graph, ref)) for ref, tensor in zip(graph.outputs, outputs, strict=True)]
    final = {name: tensor for tensor, name in named}
    if output_layer:
        named = [builder.pick(output_layer, final)]
    used = set().union(*(_reachable(tensor.plain()) for tensor, _ in named))
    kept = [node for node in parameters if node.get_friendly_name() in used]
    if not kept:
        raise PicamError(f"output {named[0][1]} does not depend on the input", "choose another with --output-layer")
    results = []
    for tensor, name in named:
        result = op.result(tensor.plain())
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    first = named[0][1]
    return Network(
        ov.Model(results, kept, graph.name), sum(builder.kinds.values()), builder.parameters, first, builder.kinds,
        intermediate=first not in final, own_scale=scales_itself(graph), name=graph.name, notes=builder.notes,
    )  # fmt: skip


def _inputs(graph: Graph) -> list[TensorRef]:
    return list(graph.inputs) or [TensorRef(n, 0, 0) for n, s in graph.specs.items() if s.kind == "InputLayer"]


_SCALING = frozenset({"divide", "multiply", "subtract", "add"})


def scales_itself(graph: Graph) -> bool:
    """Tell whether the model brings pixels to its own range: by a layer for that, or by arithmetic on its input."""
    if any(spec.kind in ("Rescaling", "Normalization") for spec in graph.all_specs()):
        return True
    raw = {spec.name for spec in graph.specs.values() if spec.kind == "InputLayer"}
    for spec in graph.specs.values():
        sources = [ref.layer for node in spec.nodes for ref in references(node)]
        if sources and set(sources) <= raw:
            if spec.operation and canonical(function_of(Layer(spec.name, spec.kind, spec.config))) in _SCALING:
                return True
            if spec.operation or spec.kind.startswith("Random"):
                raw.add(spec.name)
    return False


class UnknownLayer(PicamError):
    """A layer is of a kind that is not built here."""

    def __init__(self, spec: LayerSpec) -> None:
        self.layer = f"{spec.name} ({spec.kind})"
        super().__init__(
            f"layer {self.layer} is not supported",
            "replace it by standard layers, or export the model as SavedModel, TFLite or ONNX",
        )


def refuse_unknown(graph: Graph) -> None:
    """Raise `PicamError` for the first layer that cannot be built, before its weights are looked for.

    `UnknownLayer` if its kind is not known, though another library may know it.
    """
    for spec in graph.all_specs():
        if spec.kind == "Lambda":
            raise PicamError(
                f"layer {spec.name} is a Lambda: Python code inside the model, which is never run",
                "rebuild the model with standard layers and save it again",
            )
        known = spec.graph or spec.operation or spec.kind == "TimeDistributed" or layers.find(spec.kind)
        if not known:
            raise UnknownLayer(spec)


def output_name(graph: Graph, ref: TensorRef) -> str:
    """Return the name of the layer that a graph's output comes from, inside nested models too."""
    spec = graph.specs[ref.layer]
    while spec.graph and len(spec.graph.outputs) > ref.tensor:
        ref = spec.graph.outputs[ref.tensor]
        spec = spec.graph.specs[ref.layer]
    return spec.name


def _parameter(graph: Graph, ref: TensorRef, notes: list[str]) -> Any:
    spec = graph.specs[ref.layer]
    name = spec.name if spec.name != "(input)" else f"{graph.name}_input"
    shape = input_shape(graph, ref)
    if not isinstance(shape, list | tuple) or not shape:
        raise PicamError("the model does not say the shape of its input", "save it after it was built or trained")
    sides = list(shape[1:])
    if len(sides) == 3 and None in sides:
        channels_first = sides[0] in (1, 3) and sides[1] is None
        free = (1, 2) if channels_first else (0, 1)
        if sides[3 - sum(free)] is not None:
            sides = [FREE_SIDE if side is None and at in free else side for at, side in enumerate(sides)]
            notes.append(f"the model leaves the picture's size open: {FREE_SIDE}×{FREE_SIDE} was taken")
    good = all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 1 << 20 for side in sides)
    if not good or not sides or math.prod(sides) > MAX_ELEMENTS:
        raise PicamError(f"the model's input has the shape {str(sides)[:80]}", "no camera picture fits that")
    node = op.parameter([1, *sides], np.float32, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def input_shape(graph: Graph, ref: TensorRef) -> Any:
    """Return the shape, batch first, that the file gives an input; None if none."""
    spec: LayerSpec | None = graph.specs[ref.layer]
    for _ in range(64):
        if spec is None:
            return None
        for key in ("batch_input_shape", "batch_shape"):
            if isinstance(spec.config.get(key), list | tuple):
                return spec.config[key]
        if isinstance(spec.config.get("input_shape"), list):
            return [None, *spec.config["input_shape"]]
        inner = spec.graph
        spec = inner.specs[inner.inputs[0].layer] if inner and inner.inputs else None
    return None


def _reachable(node: Any) -> set[str]:
    """Return the names of the parameters that a value depends on."""
    found, seen, pending = set(), set(), [node.get_node() if hasattr(node, "get_node") else node]
    while pending:
        current = pending.pop()
        name = current.get_friendly_name()
        if name in seen:
            continue
        seen.add(name)
        if current.get_type_name() == "Parameter":
            found.add(name)
        pending.extend(source.get_node() for source in (port.get_source_output() for port in current.inputs()))
    return found


class _Builder:
    """Walks a graph; counts what it builds so that a hostile file ends."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.builds, self.named, self.work, self.parameters = 0, 0, 0.0, 0
        self.seen: dict[Path, Tensor] = {}
        self.kinds: Counter[str] = Counter()
        self.notes: list[str] = []

    def run(self, graph: Graph, feeds: Sequence[Tensor], path: Path) -> list[Tensor]:
        """Return a graph's outputs for these inputs."""
        inputs = _inputs(graph)
        if len(inputs) != len(feeds):
            raise PicamError(f"model {graph.name} has {len(inputs)} inputs and gets {len(feeds)}", "export it again")
        values: dict[tuple[str, int], list[Tensor]] = {}
        for ref, feed in zip(inputs, feeds, strict=True):
            if graph.specs[ref.layer].kind == "InputLayer":
                values[ref.layer, ref.node] = [feed]
            else:
                values[ref.layer, ref.node] = self._call(graph.specs[ref.layer], Node([feed]), path, [feed])
        pending = [(ref.layer, ref.node) for ref in reversed(graph.outputs)]
        open_: set[tuple[str, int]] = set()
        while pending:
            key = pending[-1]
            if key in values:
                pending.pop()
                continue
            spec, node = _find_node(graph, key)
            needs = [(ref.layer, ref.node) for ref in references(node)]
            missing = [need for need in needs if need not in values]
            if not missing:
                values[key] = self._call(spec, _filled(node, values, spec), path)
                pending.pop()
            elif key in open_:
                raise PicamError(f"layer {spec.name} depends on itself", "export the model again")
            else:
                open_.add(key)
                pending.extend(reversed(missing))
        return [_choose(values[ref.layer, ref.node], ref, graph.specs[ref.layer]) for ref in graph.outputs]

    def _call(self, spec: LayerSpec, node: Node, path: Path, feeds: Sequence[Tensor] | None = None) -> list[Tensor]:
        here = (*path, spec.name)
        call_args = Call(Layer(spec.name, spec.kind, spec.config), node.args, node.kwargs)
        if spec.graph:
            outputs = self.run(spec.graph, feeds or call_args.tensors(), here)
        else:
            outputs = [self._layer(spec, node, here)]
        self.seen.setdefault(here, outputs[0])
        return outputs

    def _layer(self, spec: LayerSpec, node: Node, path: Path) -> Tensor:
        self.builds += 1
        if self.builds > MAX_BUILDS:
            raise PicamError(f"the model uses its layers more than {MAX_BUILDS} times", "no real network does")
        owner = self._weighted(spec, path)
        try:
            if spec.kind == "TimeDistributed":
                out = self._time_distributed(spec, Call(owner, node.args, node.kwargs), path)
            else:
                kind = layers.find(spec.kind)
                function = operation if spec.operation or kind is None else kind.build
                out = function(Call(owner, node.args, node.kwargs))
            self._count(owner, out, path)
        except VENDOR_ERRORS:
            owner.fail("its settings, weights and input do not fit together", "export the model again")
        self.named += 1  # not `builds`: a layer inside a wrapper has a name of its own
        _name(out, path[-1], self.named)
        return out

    def _weighted(self, spec: LayerSpec, path: Path) -> Layer:
        """Return the layer with its weights read."""
        sublayers = tuple(
            self._weighted(part, part_path(spec, path, index))
            for index, part in enumerate(spec.sublayers)
            if not part.graph and spec.kind != "TimeDistributed"
        )
        stored: Mapping[str, Stored] = self.weights.get(path, {})
        arrays = {name: array.read() for name, array in stored.items()}
        return Layer(spec.name, spec.kind, spec.config, arrays, sublayers)

    def _count(self, owner: Layer, out: Tensor, path: Path) -> None:
        shape = out.shape
        if math.prod(shape) > MAX_ELEMENTS:
            owner.fail(f"it makes {math.prod(shape):,} values at once", "no real network does")
        arrays = [*owner.weights.values(), *(w for part in owner.sublayers for w in part.weights.values())]
        for values in arrays:
            if values.ndim > 1:
                self.work += math.prod(shape) / max(shape[-1], 1) * values.size
        if self.work > MAX_WORK:
            owner.fail(
                "up to here the network needs more work than a computer of this size can do", "use a smaller one"
            )
        if path not in self.seen:
            self.kinds[owner.kind] += 1
            self.parameters += sum(int(values.size) for values in arrays)

    def _time_distributed(self, spec: LayerSpec, call: Call, path: Path) -> Tensor:
        """Apply the inner layer to every step: (N, T, …) → (N·T, …) → layer → (N, T, …)."""
        x, part = call.one(), spec.sublayers[0]
        if x.rank < 3:
            call.layer.fail(f"its input has {x.rank} axes, it needs 3 or more")
        batch, steps, *rest = x.shape
        flat = Tensor(op.reshape(x.plain(), whole([batch * steps, *rest]), False))
        where = part_path(spec, path, 0)
        out = self.run(part.graph, [flat], where)[0] if part.graph else self._layer(part, Node([flat]), where)
        return Tensor(op.reshape(out.plain(), whole([batch, steps, *out.shape[1:]]), False))

    def pick(self, wanted: str, final: Mapping[str, Tensor]) -> tuple[Tensor, str]:
        """Return the output of the layer of that name: `inner` or `outer/inner`."""
        if wanted in final:
            return final[wanted], wanted
        parts = tuple(wanted.split("/"))
        found = {
            path: tensor for path, tensor in self.seen.items() if path[-len(parts) :] == parts or path == (wanted,)
        }
        if len(found) == 1:
            path, tensor = next(iter(found.items()))
            return tensor, path[-1]
        if found:
            choice = ", ".join("/".join(path) for path in list(found)[:4])
            raise PicamError(f"{len(found)} layers are called {wanted!r}", f"say which: {choice}")
        last = ", ".join(path[-1] for path in list(self.seen)[-6:])
        raise PicamError(f"the model has no layer {wanted!r} on the way to its output", f"the last ones are: {last}")


def _find_node(graph: Graph, key: tuple[str, int]) -> tuple[LayerSpec, Node]:
    spec = graph.specs[key[0]]
    if spec.kind == "InputLayer":
        raise PicamError(f"input {spec.name} is not among the model's inputs", "export the model again")
    if key[1] >= len(spec.nodes):
        raise PicamError(f"the model refers to node {key[1]} of layer {spec.name}, which it lacks", "export it again")
    return spec, spec.nodes[key[1]]


def _choose(outputs: Sequence[Tensor], ref: TensorRef, spec: LayerSpec) -> Tensor:
    if ref.tensor >= len(outputs):
        raise PicamError(
            f"the model uses output {ref.tensor} of layer {spec.name} ({spec.kind}), only the first is supported",
            "layers that return their state are not supported",
        )
    return outputs[ref.tensor]


def _filled(node: Node, values: Mapping[tuple[str, int], list[Tensor]], spec: LayerSpec) -> Node:
    """Put the tensors in the places of their references."""

    def fill(value: Any) -> Any:
        if isinstance(value, TensorRef):
            return _choose(values[value.layer, value.node], value, spec)
        if isinstance(value, list):
            return [fill(item) for item in value]
        return {key: fill(item) for key, item in value.items()} if isinstance(value, dict) else value

    return Node(fill(list(node.args)), fill(dict(node.kwargs)))


def _name(out: Tensor, name: str, count: int) -> None:
    node = out.node.get_node()
    if node.get_type_name() not in ("Parameter", "Constant"):
        node.set_friendly_name(f"{name}#{count}")
