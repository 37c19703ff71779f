"""Keras and TensorFlow.js files: find the configuration and its weights, and build the network."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picam_infer.convert import keras_config, keras_library, network, tfjs, weights
from picam_infer.convert.container import Found, sniff
from picam_infer.convert.hdf5 import Hdf5, open_hdf5
from picam_infer.convert.keras_config import Graph
from picam_infer.convert.network import Network
from picam_infer.convert.weights import Weights
from picam_infer.core import NoInput, PicamError
from picam_infer.platform import regular_file

MAX_JSON = 64 << 20


@dataclass(frozen=True)
class Keras:
    """A built network and what was seen on the way."""

    network: Network
    format: str
    names: Sequence[str]
    """The names of the models inside, which tell a family."""
    notes: Sequence[str] = ()


Inspect = Callable[[Graph, Weights], None]


def read(found: Found, given: Path | None, output_layer: str | None, inspect: Inspect | None = None) -> Keras:
    """Read and build; `given` is the file of `--weights`. Raises `PicamError` or `NoInput`.

    `inspect` is called with the graph and its weights while their file is open.
    """
    given = _weights(found, given) if given is not None else None
    if found.format == "json":
        return _from_json(found, given, output_layer, inspect)
    if found.format == "keras":
        return _from_keras(found, given, output_layer, inspect)
    return _from_hdf5(found, given, output_layer, inspect)


def _weights(found: Found, given: Path) -> Path:
    """Return the file of weights that is given, or the folder of those that the configuration names itself."""
    try:
        if not given.exists():
            raise NoInput(f"there are no weights {given}", "check the name")
        if given.is_dir():
            return given if _names_its_files(found) else _only_hdf5(given, found.path.stem, f"in {given}")
        regular_file.require(given)
    except OSError as error:
        raise regular_file.unreadable(given, error) from error
    return given


def _text(path: Path) -> bytes:
    try:
        if regular_file.require(path).st_size > MAX_JSON:
            raise PicamError(f"{path.name} is too large for a model's description", "it is no Keras model")
        return path.read_bytes()
    except OSError as error:
        raise regular_file.unreadable(path, error) from error


def _graph(topology: Any, version: str = "", backend: str = "") -> Graph:
    graph = keras_config.read_graph(topology, version, backend)
    network.refuse_unknown(graph)
    return graph


def _finish(
    graph: Graph,
    assigned: Weights,
    output_layer: str | None,
    kind: str,
    notes: Sequence[str] = (),
    inspect: Inspect | None = None,
    training: Any = None,
) -> Keras:
    if inspect is not None:
        inspect(graph, assigned)
    built = network.build(graph, assigned, output_layer)
    built.loss = _loss(training)
    return Keras(built, kind, _names(graph), notes)


def _names(graph: Graph) -> list[str]:
    return [graph.name, *(name for spec in graph.all_specs() for name in _telling(spec))]


def _loss(training: Any) -> str:
    """Return the loss of a training configuration, `binary_crossentropy`; empty for none or several."""
    if isinstance(training, str | bytes):
        try:
            training = json.loads(training)
        except (ValueError, RecursionError):
            return ""
    loss = training.get("loss") if isinstance(training, dict) else None
    for _ in range(4):
        if isinstance(loss, dict):
            kind, only = loss.get("class_name"), next(iter(loss.values()), None) if len(loss) == 1 else None
            loss = loss.get("config") if kind in ("function", None) and "config" in loss else kind or only
        elif isinstance(loss, list):
            loss = loss[0] if len(loss) == 1 else None
    if not isinstance(loss, str):
        return ""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss).lower()[:80]


def _telling(spec: keras_config.LayerSpec) -> list[str]:
    return [spec.name, *([spec.graph.name] if spec.graph else [])]


def _assign(graph: Graph, content: Hdf5) -> Weights:
    if content.groups is not None:
        return weights.from_groups(graph, content.groups)
    return weights.from_tree(graph, content.tree)


def _from_hdf5(found: Found, given: Path | None, output_layer: str | None, inspect: Inspect | None) -> Keras:
    with open_hdf5(found.path, found.path.name) as content:
        if content.config is None:
            if any("model" in path[-1] for path in content.tree if path) or not (content.groups or content.tree):
                raise PicamError(f"{found.path.name} is an HDF5 file, but not one of Keras", "give a Keras model")
            hint = f"give the configuration too: picam-infer convert model.json --weights {found.path.name}"
            raise PicamError(f"{found.path.name} holds only weights, no network", hint)
        graph = _graph(keras_config.load_json(content.config, found.path.name), content.version, content.backend)
        major = content.version[:1] if content.version[:1].isdigit() else ""
        kind = " ".join(["Keras", *([major] if major else []), "HDF5"])
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(open_hdf5(given, given.name)) if given else content
            return _finish(
                graph, _assign(graph, source), output_layer, kind, inspect=inspect, training=content.training
            )


def _from_keras(found: Found, given: Path | None, output_layer: str | None, inspect: Inspect | None) -> Keras:
    folder = found.path
    metadata = (
        keras_config.load_json(_text(folder / "metadata.json"), "metadata.json")
        if (folder / "metadata.json").is_file()
        else {}
    )
    version = str(metadata.get("keras_version") or "3") if isinstance(metadata, dict) else "3"
    config = keras_config.load_json(_text(folder / "config.json"), "config.json")
    graph = keras_config.read_graph(config, version)
    training = config.get("compile_config") if isinstance(config, dict) else None
    try:
        network.refuse_unknown(graph)
    except network.UnknownLayer as refusal:
        whole = None if given or inspect else keras_library.build(folder, config, output_layer)
        if whole is None:
            raise
        return _from_library(graph, *whole, version, output_layer, training, refusal)
    with open_hdf5(given or folder / "model.weights.h5", (given or folder / "model.weights.h5").name) as content:
        assigned, kind = _assign(graph, content), f"Keras {version[:1]} archive"
        return _finish(graph, assigned, output_layer, kind, inspect=inspect, training=training)


def _from_library(
    graph: Graph, built: Network, by: str, version: str, output_layer: str | None, training: Any,
    why: network.UnknownLayer,
) -> Keras:  # fmt: skip
    built.loss = _loss(training)
    built.output = output_layer or network.output_name(graph, graph.outputs[0])
    built.model.output(0).get_tensor().set_names({built.output})  # Keras numbers them differently each time
    built.intermediate = output_layer is not None
    note = f"built by Keras {by}: {why.layer} is a layer that is not built here"
    return Keras(built, f"Keras {version[:1]} archive", _names(graph), [note])


def _from_json(found: Found, given: Path | None, output_layer: str | None, inspect: Inspect | None) -> Keras:
    config = keras_config.load_json(_text(found.path), found.path.name)
    if tfjs.is_tfjs(config):
        if config.get("format") == "graph-model":
            hint = "export it as a Keras model or as a TensorFlow.js layers model (Teachable Machine does)"
            raise PicamError(f"{found.path.name} is a TensorFlow.js graph model, not a layers model", hint)
        graph = _graph(config.get("modelTopology"))
        arrays = tfjs.read_weights(config, found.folder, given)
        topology = config.get("modelTopology")
        training = topology.get("training_config") if isinstance(topology, dict) else None
        assigned = weights.from_list(graph, arrays)
        return _finish(graph, assigned, output_layer, "TensorFlow.js layers model", inspect=inspect, training=training)
    graph = _graph(config)
    notes = []
    if given is None:
        given = _beside(found)
        notes.append(f"weights from {given.name}, which is next to {found.path.name}")
    version = str(config.get("keras_version") or "")
    with _weights_file(given) as content:
        if not version:
            graph = _graph(config, content.version, content.backend)
        return _finish(graph, _assign(graph, content), output_layer, "Keras JSON and HDF5 weights", notes, inspect)


@contextlib.contextmanager
def _weights_file(path: Path) -> Iterator[Hdf5]:
    if sniff(path) != "hdf5":
        raise PicamError(f"{path.name} is no HDF5 file", "give the weights as .h5")
    with open_hdf5(path, path.name) as content:
        yield content


def _beside(found: Found) -> Path:
    """Return the only HDF5 file beside a configuration."""
    return _only_hdf5(found.folder, found.path.stem, f"beside {found.path.name}")


def _only_hdf5(folder: Path, stem: str, where: str) -> Path:
    """Return a folder's only HDF5 file, or the only one of several that has the configuration's name."""
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".h5", ".hdf5") and path.is_file())
    same = [path for path in inside if path.stem.split(".")[0] == stem]
    chosen = same if len(same) == 1 else inside
    if len(chosen) != 1:
        reason = "no weights lie" if not chosen else f"{len(chosen)} weights files lie"
        raise PicamError(
            f"{reason} {where if where.startswith('beside') else f'in {where}'}", "name them with --weights FILE"
        )
    return chosen[0]


def _names_its_files(found: Found) -> bool:
    """Tell whether the configuration says itself which weights' files it needs: a folder of them will do."""
    return found.format == "json" and tfjs.is_tfjs(keras_config.load_json(_text(found.path), found.path.name))
