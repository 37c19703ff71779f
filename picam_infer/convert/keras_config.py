"""The many ways in which Keras 1, 2, 3 and TensorFlow.js describe a network, read into one form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from picam_infer.core import PicamError

MAX_LAYERS = 20_000
MAX_DEPTH = 24
"""How deep models may be nested in one another."""
_MODELS = frozenset({"Sequential", "Model", "Functional", "Pipeline"})
_IGNORED = frozenset({"mask", "training", "name"})


@dataclass(frozen=True)
class TensorRef:
    """One output of one call of a layer."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True)
class Node:
    """One call of a layer: its arguments, with a `TensorRef` wherever a tensor goes."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a graph. A nested model has a `graph`, a wrapper has `sublayers`."""

    name: str
    kind: str
    config: Mapping[str, Any]
    nodes: Sequence[Node]
    graph: Graph | None = None
    sublayers: tuple[LayerSpec, ...] = ()
    operation: bool = False
    """A bare function (Keras 3 operation, TFOpLambda) rather than a layer."""

    @property
    def trainable(self) -> bool:
        """Whether training may change its weights, which decides their place in a file."""
        return self.config.get("trainable") is not False


@dataclass(frozen=True)
class Graph:
    """A network: its layers by name, in the file's order."""

    name: str
    specs: Mapping[str, LayerSpec]
    inputs: Sequence[TensorRef]
    outputs: Sequence[TensorRef]

    def all_specs(self) -> Iterator[LayerSpec]:
        """Yield every layer at any depth."""
        for spec in self.specs.values():
            yield spec
            yield from spec.sublayers
            for part in (spec, *spec.sublayers):
                if part.graph:
                    yield from part.graph.all_specs()


@dataclass(frozen=True)
class KerasVersion:
    """What the layers' configurations do not say themselves."""

    keras: int
    backend: str = ""


def load_json(text: str | bytes, name: str) -> Any:
    """Parse JSON that may be hostile. Raises `PicamError`."""
    try:
        value = json.loads(text)
        value = json.loads(value) if isinstance(value, str) else value
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates in names would fail far from here
        return _plain(value)
    except (ValueError, RecursionError, MemoryError) as error:
        raise PicamError(f"{name} is not valid JSON ({type(error).__name__})", "export the model again") from error


def _plain(value: Any) -> Any:
    """Return JSON with tuples, shapes and arrays as lists and numbers, however the writer wrapped them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return [_plain(item) for item in value["items"]]
    if kind in ("__numpy__", "__array__", "__tensor__", "__ndarray__") and isinstance(config, dict):
        return config.get("value")
    if value.get("type") == "ndarray" and "value" in value:
        return value["value"]
    return {key: _plain(item) for key, item in value.items()}


def read_graph(topology: Any, version: str = "", backend: str = "") -> Graph:
    """Return the network that a Keras configuration describes. Raises `PicamError` naming what is wrong."""
    if not isinstance(topology, dict):
        raise PicamError("the model's configuration is not a JSON object", "export the model again")
    version = str(topology.get("keras_version") or version)
    backend = str(topology.get("backend") or backend)
    nested = topology.get("model_config")
    topology = nested if isinstance(nested, dict) else topology
    if "node" in topology and "class_name" not in topology:
        hint = "export it as a Keras model or as a TensorFlow.js layers model (Teachable Machine does)"
        raise PicamError("this is a TensorFlow.js graph model, not a layers model", hint)
    if "class_name" not in topology or "config" not in topology:
        raise PicamError("the file describes no Keras model", "save the whole model, or give its config and --weights")
    major = int(version[0]) if version[:1] in ("1", "2", "3") and not version.startswith("tfjs") else _guess(topology)
    kind = str(topology["class_name"])
    if not _is_model(kind, topology["config"]):
        raise PicamError(f"the model's class is {kind!r}, written in Python", "only Sequential and functional models")
    reader = _Reader(KerasVersion(major, backend))
    return reader.model(kind, topology["config"], 0)


def _guess(topology: Any) -> int:
    text = json.dumps(topology)
    if '"nb_filter"' in text or '"output_dim"' in text or '"dim_ordering"' in text:
        return 1
    return 3 if '"registered_name"' in text or '"batch_shape"' in text else 2


def _is_model(kind: str, config: Any) -> bool:
    if kind in _MODELS:
        return True
    return isinstance(config, dict) and "layers" in config and "output_layers" in config


class _Reader:
    """Reads one file; knows the version that wrote it and counts the layers."""

    def __init__(self, version: KerasVersion) -> None:
        self.version = version
        self.count = 0

    def model(self, kind: str, config: Any, depth: int) -> Graph:
        if depth > MAX_DEPTH:
            raise PicamError(f"models are nested more than {MAX_DEPTH} deep", "no real network is")
        name = str(config.get("name", kind)) if isinstance(config, dict) else kind.lower()
        layers = config.get("layers") if isinstance(config, dict) else config
        if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
            raise PicamError(f"model {name} has no list of layers", "export the model again")
        self.count += len(layers)
        if self.count > MAX_LAYERS:
            raise PicamError(f"the model has more than {MAX_LAYERS} layers", "no real network has")
        if kind == "Sequential" or not (isinstance(config, dict) and "output_layers" in config):
            return self._sequential(name, layers, config, depth)
        return self._functional(name, layers, config, depth)

    def _sequential(self, name: str, layers: list[Any], config: Any, depth: int) -> Graph:
        specs: dict[str, LayerSpec] = {}
        previous: TensorRef | None = None
        for entry in layers:
            if previous is None and entry.get("class_name") != "InputLayer":
                shape = _input_shape(entry)
                if shape is None and isinstance(config, dict):
                    shape = config.get("build_input_shape")
                first = LayerSpec("(input)", "InputLayer", {"batch_input_shape": shape}, [Node([])])
                specs[first.name], previous = first, TensorRef(first.name, 0, 0)
            nodes = [Node([previous] if previous else [])]
            spec = self.spec(entry, depth, nodes)
            if spec.name in specs:
                raise PicamError(f"model {name} has two layers called {spec.name}", "export the model again")
            specs[spec.name] = spec
            previous = TensorRef(spec.name, 0, 0)
        if previous is None:
            raise PicamError(f"model {name} has no layers", "export the model again")
        return Graph(name, specs, [TensorRef(next(iter(specs)), 0, 0)], [previous])

    def _functional(self, name: str, layers: list[Any], config: Mapping[str, Any], depth: int) -> Graph:
        names = {_name_of(entry) for entry in layers}
        if len(names) < len(layers):
            raise PicamError(f"model {name} has two layers of the same name", "export the model again")
        specs = {}
        for entry in layers:
            nodes = _nodes(entry.get("inbound_nodes"), names)
            spec = self.spec(entry, depth, nodes)
            specs[spec.name] = spec
        graph = Graph(name, specs, _refs(config.get("input_layers"), names), _refs(config.get("output_layers"), names))
        if not graph.outputs:
            raise PicamError(f"model {name} names no output layer", "export the model again")
        return _renumber(graph)

    def spec(self, entry: Mapping[str, Any], depth: int, nodes: Sequence[Node] = ()) -> LayerSpec:
        """Read one layer."""
        kind, config = str(entry.get("class_name")), entry.get("config")
        name = _name_of(entry)
        if _is_model(kind, config):
            own = config if isinstance(config, dict) else {}
            return LayerSpec(
                name, kind, {"trainable": own.get("trainable")}, nodes, self.model(kind, config, depth + 1)
            )
        if not isinstance(config, dict):
            raise PicamError(f"layer {name} ({kind}) has no configuration", "export the model again")
        module = str(entry.get("module") or "")
        policy = config.get("dtype")
        if isinstance(policy, dict) and "Quantized" in str(policy.get("class_name")):
            raise PicamError(f"layer {name} ({kind}) is quantised", "save the model before it is quantised")
        config = self._settings(kind, config)
        sublayers: tuple[LayerSpec, ...] = ()
        if kind in ("TimeDistributed", "Bidirectional"):
            sublayers = self._sublayers(name, kind, config, depth)
        # Keras 3's .h5 files drop the module: a bare function then shows by a configuration that no layer has.
        layerlike = module or kind == "InputLayer" or {"trainable", "dtype"} & set(config)
        bare = self.version.keras == 3 and not layerlike
        function = ".ops." in module or module.endswith(".activations.activations")
        operation = function or bare or kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
        return LayerSpec(name, kind, config, nodes, None, sublayers, operation)

    def _sublayers(self, name: str, kind: str, config: Mapping[str, Any], depth: int) -> tuple[LayerSpec, ...]:
        inner = config.get("layer")
        if not isinstance(inner, dict) or depth > MAX_DEPTH:
            raise PicamError(f"layer {name} ({kind}) wraps nothing", "export the model again")
        first = self.spec(inner, depth + 1)
        if kind == "TimeDistributed":
            return (first,)
        other = config.get("backward_layer")
        if isinstance(other, dict):
            return first, self.spec(other, depth + 1)
        turned = {**first.config, "go_backwards": not first.config.get("go_backwards")}
        return first, LayerSpec(first.name, first.kind, turned, ())

    def _settings(self, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
        settings = _from_keras_1(kind, config) if self.version.keras == 1 else dict(config)
        settings["_keras"] = self.version.keras
        settings["_oihw"] = self.version.keras == 1 and settings.get("data_format") == "channels_first"
        # Theano flips its kernels. Keras 1 did not record the backend; channels first was Theano's habit.
        guessed = not self.version.backend and settings["_oihw"]
        settings["_theano"] = self.version.backend == "theano" or guessed
        return settings


def _name_of(entry: Mapping[str, Any]) -> str:
    config = entry.get("config")
    name = entry.get("name")
    if not isinstance(name, str) and isinstance(config, dict):
        name = config.get("name")
    if not isinstance(name, str):
        name = str(entry.get("class_name", "layer")).lower()
    return name


def _input_shape(entry: Mapping[str, Any]) -> Any:
    """Return the input shape, batch first, that a first layer carries itself; None if it carries none."""
    config = entry.get("config")
    if isinstance(config, list):
        return _input_shape(config[0]) if config and isinstance(config[0], dict) else None
    if not isinstance(config, dict):
        return None
    for key in ("batch_input_shape", "batch_shape"):
        if isinstance(config.get(key), list):
            return config[key]
    if isinstance(config.get("input_shape"), list):
        return [None, *config["input_shape"]]
    if isinstance(config.get("input_dim"), int):
        return [None, config["input_dim"]]
    inner = config.get("layer")
    layers = config.get("layers")
    if isinstance(layers, list) and layers and isinstance(layers[0], dict):
        return _input_shape(layers[0]) or config.get("build_input_shape")
    return _input_shape(inner) if isinstance(inner, dict) else None


def _nodes(nodes: Any, names: set[str]) -> list[Node]:
    if nodes in (None, []):
        return [Node([])]
    if not isinstance(nodes, list):
        raise PicamError("the model's inbound_nodes are not a list", "export the model again")
    return [_node(node, names) for node in nodes]


def _node(node: Any, names: set[str]) -> Node:
    if isinstance(node, dict):  # Keras 3
        args = [_tree(arg, names) for arg in node.get("args") or []]
        kwargs = {k: _tree(v, names) for k, v in (node.get("kwargs") or {}).items() if k not in _IGNORED}
        return Node(args, kwargs)
    if not isinstance(node, list):
        raise PicamError("the model's inbound_nodes are of an unknown kind", "export the model again")
    single = bool(node) and isinstance(node[0], str)
    entries = [node] if single else node
    values, kwargs = [], {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) < 3:
            raise PicamError("the model's inbound_nodes are of an unknown kind", "export the model again")
        constant = entry[0] == "_CONSTANT_VALUE"
        values.append(entry[2] if constant else _ref(entry, names))
        if len(entry) > 3 and isinstance(entry[3], dict):
            kwargs.update({k: _tree(v, names) for k, v in entry[3].items() if k not in _IGNORED})
    return Node(values, kwargs)


def _ref(entry: Sequence[Any], names: set[str]) -> TensorRef:
    name, node, tensor = entry[:3]
    if name not in names:
        raise PicamError(f"the model refers to a layer {str(name)[:80]!r} that it does not have", "export it again")
    if not isinstance(node, int) or not isinstance(tensor, int) or node < 0 or tensor < 0:
        raise PicamError(f"the model refers to layer {name} in an unknown way", "export the model again")
    return TensorRef(name, node, tensor)


def _looks_like_ref(value: Any, names: set[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in names
        and all(isinstance(index, int) for index in value[1:3])
    )


def _tree(value: Any, names: set[str]) -> Any:
    """Return an argument with a `TensorRef` for every tensor in it."""
    if _looks_like_ref(value, names):
        return _ref(value, names)
    if isinstance(value, list):
        return [_tree(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, dict) and isinstance(config.get("keras_history"), list):
        return _ref([*config["keras_history"], None, None, None][:3], names)
    return {key: _tree(item, names) for key, item in value.items()}


def _refs(value: Any, names: set[str]) -> list[TensorRef]:
    """Return all references in `input_layers` or `output_layers`, whatever their nesting."""
    if _looks_like_ref(value, names):
        return [_ref(value, names)]
    items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if len(items) >= 3 and isinstance(items[0], str) and isinstance(items[1], int):
        return [_ref(items, names)]
    return [ref for item in items for ref in _refs(item, names)]


def _renumber(graph: Graph) -> Graph:
    """Count every layer's nodes from 0: Keras counts a nested functional model's own creation as its node 0."""
    used: dict[str, set[int]] = {}
    pending: list[Any] = [*graph.inputs, *graph.outputs]
    for spec in graph.specs.values():
        for node in spec.nodes:
            pending += [*node.args, *node.kwargs.values()]
    for ref in _walk(pending):
        used.setdefault(ref.layer, set()).add(ref.node)
    shift = {
        name
        for name, nodes in used.items()
        if graph.specs[name].graph
        and 0 not in nodes
        and (graph.specs[name].kind != "Sequential" or max(nodes) >= len(graph.specs[name].nodes))
    }

    def moved(value: Any) -> Any:
        if isinstance(value, TensorRef):
            return TensorRef(value.layer, value.node - 1, value.tensor) if value.layer in shift else value
        if isinstance(value, list):
            return [moved(item) for item in value]
        return {key: moved(item) for key, item in value.items()} if isinstance(value, dict) else value

    specs = {
        name: LayerSpec(
            spec.name,
            spec.kind,
            spec.config,
            [Node(moved(list(node.args)), moved(dict(node.kwargs))) for node in spec.nodes],
            spec.graph,
            spec.sublayers,
            spec.operation,
        )
        for name, spec in graph.specs.items()
    }
    return Graph(graph.name, specs, moved(list(graph.inputs)), moved(list(graph.outputs)))


def _walk(values: list[Any]) -> Iterator[TensorRef]:
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, TensorRef):
            yield value
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())


def references(node: Node) -> list[TensorRef]:
    """Return every tensor that a call takes."""
    return list(_walk([*node.args, *node.kwargs.values()]))


_KERAS_1 = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "pool_length": "pool_size",
    "stride": "strides",
    "inner_activation": "recurrent_activation",
}
_UNITS = frozenset({"Dense", "TimeDistributedDense", "LSTM", "GRU", "SimpleRNN"})


def _from_keras_1(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Keras 1 configuration under Keras 2's names; one that has them already is kept."""
    settings = {_KERAS_1.get(key, key): value for key, value in config.items()}
    if "nb_row" in config and "nb_col" in config:
        settings["kernel_size"] = [config["nb_row"], config["nb_col"]]
    if kind in _UNITS and "output_dim" in config:
        settings["units"] = config["output_dim"]
    if "dim_ordering" in config:
        settings["data_format"] = "channels_first" if config["dim_ordering"] == "th" else "channels_last"
    if kind in ("LSTM", "GRU", "SimpleRNN") and "inner_activation" in config:
        settings["reset_after"] = False
    return settings
