"""Which stored array belongs to which layer: by name if possible, otherwise in Keras's own order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from picam_infer.convert import layers
from picam_infer.convert.keras_config import Graph, LayerSpec
from picam_infer.convert.layers.registry import NOT_TRAINED, Layer
from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError

Path = tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """An array in a file."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    """Return it as float32."""


@dataclass(frozen=True)
class Group:
    """The arrays of one layer (or nested model) of an `.h5` file, in the file's order."""

    name: str
    arrays: Sequence[Stored]


Tree = dict[Path, Stored]
Weights = Mapping[Path, Mapping[str, Stored]]
"""A layer's path (names from the outermost model inwards) → its weights by name."""

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "_layers", "_self_tracked_trackables")
_PARTS = {"TimeDistributed": ("layer",), "Bidirectional": ("forward_layer", "backward_layer")}
_STATE = frozenset({"StateVar", "seed_generator_state"})
"""What random layers keep, which no answer depends on."""
_ALIASES = {"depthwise_kernel": ("depthwise_kernel", "kernel")}


@dataclass(frozen=True)
class Slot:
    """One weight that a layer needs."""

    path: Path
    name: str
    trained: bool


def part_path(spec: LayerSpec, path: Path, index: int) -> Path:
    """Return the path of a wrapper's inner layer."""
    return (*path, _PARTS[spec.kind][index])


def _parts(name: str) -> list[str]:
    return re.sub(r":\d+$", "", name).split("/")


def _slots(spec: LayerSpec, path: Path, frozen: bool = False) -> Iterator[Slot]:
    """Yield what a layer needs, in the order in which Keras lists its weights."""
    frozen = frozen or not spec.trainable
    if spec.graph:
        yield from graph_slots(spec.graph, path, frozen)
    for index, part in enumerate(spec.sublayers):
        yield from _slots(part, part_path(spec, path, index), frozen)
    if spec.graph or spec.sublayers or spec.operation:
        return
    kind = layers.find(spec.kind)
    if kind:
        for name in kind.names(Layer(spec.name, spec.kind, spec.config)):
            yield Slot(path, name, not frozen and name not in NOT_TRAINED)


def graph_slots(graph: Graph, path: Path = (), frozen: bool = False) -> Iterator[Slot]:
    """Yield what a whole network needs, layer by layer."""
    for spec in graph.specs.values():
        yield from _slots(spec, (*path, spec.name), frozen)


def from_groups(graph: Graph, groups: Sequence[Group]) -> Weights:
    """Assign an `.h5` file's groups to the network's layers. Raises `PicamError` if they do not fit."""
    needed = {spec.name: list(_slots(spec, (spec.name,))) for spec in graph.specs.values()}
    needed = {name: slots for name, slots in needed.items() if slots}
    by_name = {group.name: group for group in groups}
    if all(name in by_name and by_name[name].arrays for name in needed):
        pairs = [(slots, by_name[name]) for name, slots in needed.items()]
    else:
        filled = [group for group in groups if group.arrays]
        if len(filled) != len(needed):
            raise PicamError(
                f"the weights do not fit: {len(filled)} layers have weights in the file, {len(needed)} in the model",
                "give the weights that were saved with this configuration",
            )
        pairs = list(zip(needed.values(), filled, strict=True))
    found: dict[Path, dict[str, Stored]] = {}
    for slots, group in pairs:
        _share(slots, group.arrays, group.name, found)
    return found


def from_list(graph: Graph, arrays: Sequence[Stored]) -> Weights:
    """Assign one flat list (TensorFlow.js) to the network's layers."""
    found: dict[Path, dict[str, Stored]] = {}
    _share(list(graph_slots(graph)), arrays, "the weights file", found)
    return found


def _share(slots: Sequence[Slot], arrays: Sequence[Stored], owner: str, found: dict[Path, dict[str, Stored]]) -> None:
    pairs = _by_name(slots, arrays) or _in_order(slots, arrays, owner)
    for slot, array in pairs:
        found.setdefault(slot.path, {})[slot.name] = array


def _by_name(slots: Sequence[Slot], arrays: Sequence[Stored]) -> list[tuple[Slot, Stored]]:
    """Return every slot with the one array named after it; nothing if any is missing or named twice."""
    index: dict[tuple[str, str], list[Stored]] = {}
    for array in arrays:
        parts = _parts(array.name)
        for owner in {*parts[:-1], ""}:
            index.setdefault((owner, parts[-1]), []).append(array)
    single = len({slot.path for slot in slots}) == 1
    pairs, used = [], set()
    for slot in slots:
        names = _ALIASES.get(slot.name, (slot.name,))
        fitting = [a for name in names for a in index.get(("" if single else slot.path[-1], name), [])]
        if len(fitting) > 1:
            fitting = [a for a in fitting if set(slot.path) <= set(_parts(a.name))]
        if len(fitting) != 1 or id(fitting[0]) in used:
            return []
        used.add(id(fitting[0]))
        pairs.append((slot, fitting[0]))
    return pairs


def _in_order(slots: Sequence[Slot], arrays: Sequence[Stored], owner: str) -> list[tuple[Slot, Stored]]:
    """Keras lists what is trained first, then the rest, each layer by layer.

    Converters to TensorFlow.js go by outermost layer instead, or write `model.weights` down as it is, and some leave
    out the `count` of a Normalization: the order that agrees best with the arrays' names is taken.
    """
    arrays = [array for array in arrays if _parts(array.name)[-1] not in _STATE]
    if len(arrays) != len(slots):
        slots = [slot for slot in slots if slot.name != "count"]
    if len(arrays) != len(slots):
        raise PicamError(
            f"the weights do not fit: {owner} has {len(arrays)} arrays, the model needs {len(slots)}",
            "give the weights that were saved with this configuration",
        )
    tops = list(dict.fromkeys(slot.path[:1] for slot in slots))
    ranks = {slot.path: tops.index(slot.path[:1]) for slot in slots}
    orders = [
        sorted(slots, key=lambda slot: not slot.trained),
        sorted(slots, key=lambda slot: (ranks[slot.path], not slot.trained)),
        list(slots),
    ]
    pairs = [list(zip(order, arrays, strict=True)) for order in orders]
    return max(pairs, key=lambda order: sum(_parts(array.name)[-1] == slot.name for slot, array in order))


def from_tree(graph: Graph, tree: Tree) -> Weights:
    """Assign a Keras 3 weights file to the network's layers."""
    found: dict[Path, dict[str, Stored]] = {}
    _grow(graph, (), tree, (), found)
    return found


def _below(tree: Tree, root: Path) -> bool:
    return any(path[: len(root)] == root for path in tree)


def _grow(graph: Graph, at: Path, tree: Tree, path: Path, found: dict[Path, dict[str, Stored]]) -> None:
    container = next(((*at, name) for name in _CONTAINERS if _below(tree, (*at, name))), at)
    children = {p[len(container)] for p in tree if p[: len(container)] == container and len(p) > len(container)}
    needy = [spec for spec in graph.specs.values() if any(_slots(spec, (spec.name,)))]
    places = _places(needy, children)
    for spec in needy:
        _fill(spec, (*container, places[spec.name]), tree, (*path, spec.name), found)


def snake(name: str) -> str:
    """Return a class name as Keras 3 writes it in a weights file."""
    name = re.sub(r"\W+", "", name.rpartition(">")[2])
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _places(needy: Sequence[LayerSpec], children: set[str]) -> dict[str, str]:
    """Return each layer's group: its class in snake case and a running number; its own name in other writers' files."""
    classes: dict[str, list[LayerSpec]] = {}
    for spec in needy:
        classes.setdefault(snake(spec.kind), []).append(spec)
    places: dict[str, str] = {}
    for stem, specs in classes.items():
        numbered = sorted(
            (int(match[1] or 0), child) for child in children if (match := re.fullmatch(rf"{stem}(?:_(\d+))?", child))
        )
        if len(numbered) != len(specs):
            break
        places |= {spec.name: child for spec, (_, child) in zip(specs, numbered, strict=True)}
    else:
        return places
    if all(spec.name in children for spec in needy):
        return {spec.name: spec.name for spec in needy}
    missing = next(spec for spec in needy if spec.name not in places)
    raise PicamError(
        f"the weights do not fit: the file has none for layer {missing.name} ({missing.kind})",
        "give the weights that were saved with this configuration",
    )


def _fill(spec: LayerSpec, at: Path, tree: Tree, path: Path, found: dict[Path, dict[str, Stored]]) -> None:
    if spec.graph:
        _grow(spec.graph, at, tree, path, found)
    for index, part in enumerate(spec.sublayers):
        _fill(part, part_path(spec, at, index), tree, part_path(spec, path, index), found)
    if spec.graph or spec.sublayers:
        return
    slots = list(_slots(spec, path))
    arrays: list[Stored] = []
    for place in ((*at, "vars"), (*at, "cell", "vars"), at):
        inside = {p[-1]: a for p, a in tree.items() if p[:-1] == place}
        arrays = [inside[key] for key in sorted(inside, key=lambda k: (not k.isdigit(), int(k) if k.isdigit() else 0))]
        if arrays:
            break
    ordered = slots if len(arrays) == len(slots) else []
    if slots and not ordered:
        raise PicamError(
            f"the weights do not fit: layer {spec.name} ({spec.kind}) needs {len(slots)} arrays, "
            f"the file has {len(arrays)}",
            "give the weights that were saved with this configuration",
        )
    found[path] = {slot.name: array for slot, array in zip(slots, arrays, strict=True)}
