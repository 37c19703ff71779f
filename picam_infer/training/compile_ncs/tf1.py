"""A Keras network as TensorFlow 1.x would have written it: one placeholder, reference variables, ops of TF 1.9.

TensorFlow's own Keras writes resource variables and ops that NCSDK's compiler does not know, so the graph is built
from single operators here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from picam_infer.convert.keras_config import Graph, LayerSpec, TensorRef
from picam_infer.convert.layers.registry import Layer
from picam_infer.convert.network import input_shape
from picam_infer.convert.weights import Weights
from picam_infer.core import PicamError, Unavailable
from picam_infer.training.compile_ncs import kinds

PREFIX = "tf_model"
PRODUCER = 26
"""The version of graphs that TensorFlow 1.9 wrote."""


@dataclass(frozen=True)
class Written:
    """What was written, and the names that NCSDK's tools ask for."""

    meta: Path
    frozen: Path
    input: str
    output: str


@dataclass
class Building:
    """The graph under construction, and the values of its variables by name."""

    tf: Any
    frozen: bool
    variables: dict[str, Any] = field(default_factory=dict)
    references: dict[str, Any] = field(default_factory=dict)

    @property
    def op(self) -> Any:
        """TensorFlow's single operators."""
        return self.tf.raw_ops

    def constant(self, values: Any, name: str) -> Any:
        """Return a constant."""
        return self.tf.constant(values, name=name)

    def variable(self, values: Any, name: str) -> Any:
        """Return a weight: a variable, or in a frozen graph a constant."""
        values = np.ascontiguousarray(values, np.float32)
        if self.frozen:
            return self.op.Identity(input=self.constant(values, name), name=f"{name}/read")
        reference = self.op.VariableV2(shape=list(values.shape), dtype=self.tf.float32, name=name)
        self.variables[name], self.references[name] = values, reference
        return self.op.Identity(input=reference, name=f"{name}/read")


def tensorflow() -> Any:
    """Import TensorFlow. Raises `Unavailable`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    try:
        import tensorflow
    except ImportError as error:
        raise Unavailable(
            f"TensorFlow is not installed ({error})",
            "compile-ncs needs a PC: pip install '.[train]' there, in picam-infer's folder",
        ) from error
    return tensorflow


def refuse(graph: Graph) -> None:
    """Raise `PicamError` naming every layer that the stick cannot run."""
    bad = [
        f"{s.name} ({s.kind})" for s in graph.all_specs() if not s.graph and (s.operation or s.kind not in kinds.KINDS)
    ]
    if bad:
        more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
        raise PicamError(
            f"the stick cannot run these layers: {', '.join(bad[:8])}{more}",
            "it runs convolutions, pooling, dense layers and their activations; or use the CPU",
        )


def write(graph: Graph, weights: Weights, folder: Path, output_layer: str | None) -> Written:
    """Write `TF_Model/` (checkpoint, .meta, .index, .data) and `tf_model.pb` into `folder`. Raises `PicamError`."""
    tf = tensorflow()
    refuse(graph)
    target = folder / "TF_Model"
    target.mkdir(parents=True, exist_ok=True)
    names: list[tuple[str, str]] = []
    for frozen in (True, False):
        with tf.Graph().as_default():
            building = Building(tf, frozen)
            names.append(_Walk(building, weights, output_layer).network(graph))
            if frozen:
                plain = _aged(tf.compat.v1.train.export_meta_graph(strip_default_attrs=True)).graph_def
                _prune(plain, names[0][1])
            else:
                saver = _saver(building, [v for _, v in sorted(building.references.items())])
                meta = _aged(tf.compat.v1.train.export_meta_graph(saver_def=saver, strip_default_attrs=True))
    _checkpoint(tf, target, building.variables)
    (target / f"{PREFIX}.meta").write_bytes(meta.SerializeToString(deterministic=True))
    (folder / f"{PREFIX}.pb").write_bytes(plain.SerializeToString(deterministic=True))
    return Written(target / f"{PREFIX}.meta", folder / f"{PREFIX}.pb", *names[0])


def _aged(meta: Any) -> Any:
    """Return the graph without anything that TensorFlow 1.9 cannot read."""
    meta.graph_def.versions.producer, meta.graph_def.versions.min_consumer = PRODUCER, 0
    meta.graph_def.ClearField("library")
    for node in meta.graph_def.node:
        for key in [key for key in node.attr if key.startswith("_")]:
            del node.attr[key]
    meta.meta_info_def.tensorflow_version = "1.9.0"
    meta.meta_info_def.tensorflow_git_version = ""
    return meta


def _prune(graph: Any, output: str) -> None:
    """Keep only what an operator needs: readers of a frozen graph take loose ends for outputs."""
    nodes = {node.name: node for node in graph.node}
    needed, pending = set(), [output]
    while pending:
        name = pending.pop().lstrip("^").partition(":")[0]
        if name not in needed:
            needed.add(name)
            pending.extend(nodes[name].input)
    kept = [node for node in graph.node if node.name in needed]
    del graph.node[:]
    graph.node.extend(kept)


def _saver(building: Building, references: list[Any]) -> Any:
    """Add the operators that save and restore the variables, and return their description."""
    tf, op = building.tf, building.op
    names = sorted(building.variables)
    file = building.constant(b"model", "save/Const")
    tensor_names = building.constant(names, "save/SaveV2/tensor_names")
    slices = building.constant([""] * len(names), "save/SaveV2/shape_and_slices")
    save = op.SaveV2(
        prefix=file, tensor_names=tensor_names, shape_and_slices=slices, tensors=references, name="save/SaveV2"
    )
    with tf.control_dependencies([save]):
        saved = op.Identity(input=file, name="save/control_dependency")
    read = op.RestoreV2(
        prefix=file,
        tensor_names=tensor_names,
        shape_and_slices=slices,
        dtypes=[tf.float32] * len(names),
        name="save/RestoreV2",
    )
    assigned = [
        op.Assign(ref=reference, value=value, name=f"save/Assign_{at}")
        for at, (reference, value) in enumerate(zip(references, read, strict=True))
    ]
    with tf.control_dependencies([value.op for value in assigned]):
        op.NoOp(name="save/restore_all")
    return tf.compat.v1.train.SaverDef(
        filename_tensor_name=file.name,
        save_tensor_name=saved.name,
        restore_op_name="save/restore_all",
        max_to_keep=5,
        keep_checkpoint_every_n_hours=10000.0,
        version=tf.compat.v1.train.SaverDef.V2,
    )


def _checkpoint(tf: Any, folder: Path, variables: Mapping[str, Any]) -> None:
    names = sorted(variables)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tensors = [tf.constant(variables[name]) for name in names]
        session.run(
            tf.raw_ops.SaveV2(
                prefix=str(folder / PREFIX), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
            )
        )
    text = f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n'
    (folder / "checkpoint").write_text(text)


class _Walk:
    """From a network's output back to its input, each layer once for each use."""

    def __init__(self, building: Building, weights: Weights, output_layer: str | None) -> None:
        self.building, self.weights, self.wanted = building, weights, output_layer
        self.seen: dict[tuple[str, ...], Any] = {}

    def network(self, graph: Graph) -> tuple[str, str]:
        """Build it all; return the names of the input's and the output's operators."""
        refs = list(graph.inputs)
        if len(refs) != 1:
            raise PicamError(f"the model has {len(refs)} inputs", "the stick takes one picture")
        shape = input_shape(graph, refs[0])
        if not isinstance(shape, list | tuple) or not all(isinstance(side, int) for side in shape[1:]):
            raise PicamError("the model leaves the size of its input open", "save it with a fixed input_shape")
        name = self._input_name(graph, refs[0])
        tf = self.building.tf
        feed = kinds.Value(tf.compat.v1.placeholder(tf.float32, [1, *shape[1:]], name=name))
        try:
            result = self._graph(graph, feed, ())
        except RecursionError as error:
            raise PicamError("the model is nested too deeply", "export it again") from error
        if self.wanted:
            parts = tuple(self.wanted.split("/"))
            found = [value for path, value in self.seen.items() if path[-len(parts) :] == parts]
            if len(found) != 1:
                raise PicamError(f"the model has no layer {self.wanted!r} on the way to its output", "check the name")
            result = found[0]
        return name, kinds.plain(self.building, result, "output").op.name

    def _input_name(self, graph: Graph, ref: TensorRef) -> str:
        spec = graph.specs[ref.layer]
        if spec.kind == "InputLayer" and spec.name != "(input)":
            return spec.name
        first = next((s.name for s in graph.specs.values() if s.kind != "InputLayer"), graph.name)
        return f"{first}_input"

    def _graph(self, graph: Graph, feed: Any, path: tuple[str, ...]) -> Any:
        values: dict[tuple[str, int], Any] = {}
        inputs = {(ref.layer, ref.node) for ref in graph.inputs}

        def value(ref: TensorRef) -> Any:
            key = ref.layer, ref.node
            if key not in values:
                spec = graph.specs[ref.layer]
                if key in inputs:
                    fed = [feed]
                    values[key] = feed if spec.kind == "InputLayer" else self._layer(spec, fed, path)
                else:
                    if ref.node >= len(spec.nodes):
                        raise PicamError(f"layer {spec.name} is used in an unknown way", "export the model again")
                    node = spec.nodes[ref.node]
                    values[key] = self._layer(spec, [value(r) for r in _references([node.args, node.kwargs])], path)
            return values[key]

        return value(graph.outputs[0])

    def _layer(self, spec: LayerSpec, fed: list[Any], path: tuple[str, ...]) -> Any:
        here = (*path, spec.name)
        if spec.graph:
            result = self._graph(spec.graph, fed[0], here)
        else:
            arrays = {name: stored.read() for name, stored in self.weights.get(here, {}).items()}
            layer = Layer(spec.name, spec.kind, spec.config, arrays)
            scope = "/".join(here) if here not in self.seen else f"{'/'.join(here)}_{len(self.seen)}"
            build: Callable[..., Any] = kinds.KINDS[spec.kind]
            result = build(kinds.Place(self.building, layer, scope), fed)
        self.seen[here] = result
        return result


def _references(item: Any) -> list[TensorRef]:
    if isinstance(item, TensorRef):
        return [item]
    if isinstance(item, Mapping):
        item = list(item.values())
    return [ref for part in item for ref in _references(part)] if isinstance(item, list | tuple) else []
