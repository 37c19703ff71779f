"""Random layers left over from training: removed, just as Keras skips them for predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openvino import frontend

_RANDOM = re.compile(r"(?:Stateless)?(?:Random|TruncatedNormal|Multinomial|SampleDistorted)")
_ASKS = frozenset({"ShapeOf", "Shape", "Size", "Rank"})
"""Operations that only look at a tensor's shape."""
_LAYOUT = frozenset({"Transpose", "Squeeze", "Unsqueeze", "Reshape"})
_LAYERS = frozenset({"Convolution", "GroupConvolution", "MaxPool", "AvgPool", "MatMul", "Pad", "ReduceMean", *_ASKS})
MAX_LAYERS = 64


def read_without(path: Path) -> tuple[Any, list[str]] | None:
    """Read a TensorFlow file that has operations OpenVINO lacks, and drop its random layers.

    Returns the model and the layers' names; None if something else that is unknown remains. Raises what OpenVINO does.
    """
    front = frontend.FrontEndManager().load_by_framework("tf")
    model = front.convert_partially(front.load(str(path)))
    dropped = drop(model)
    if not dropped or any(map(_unknown, model.get_ordered_ops())):
        return None
    return model, dropped


def drop(model: Any) -> list[str]:
    """Take random layers out of a model, in place: its input is connected to what follows it. Returns their names.

    A layer is the largest part of one name that draws random numbers, takes one tensor and gives one. What is random
    in another way (it draws what its answer is made of) stays.
    """
    dropped: list[str] = []
    for _ in range(MAX_LAYERS):
        nodes = model.get_ordered_ops()
        layer = next((found for node in nodes if _RANDOM.match(_kind(node)) and (found := _layer(node, nodes))), None)
        if layer is None:
            break
        name, entry, leaving = layer
        for target in leaving.get_target_inputs():
            target.replace_source_output(entry)
        dropped.append(name)
    if dropped:
        model.validate_nodes_and_infer_types()
    return dropped


def _kind(node: Any) -> str:
    """Return a node's type; for one that OpenVINO does not know, its name, which TensorFlow makes of the type."""
    if _unknown(node):
        return str(node.get_friendly_name().rpartition("/")[2])
    return str(node.get_type_name())


def _unknown(node: Any) -> bool:
    return str(node.get_type_name()).endswith("FrameworkNode")


def _layer(node: Any, nodes: list[Any]) -> tuple[str, Any, Any] | None:
    """Return name, entering output and leaving output of the innermost layer around a random node."""
    parts, fed = node.get_friendly_name().split("/"), _fed(nodes)
    for depth in range(len(parts) - 1, 0, -1):
        name = "/".join(parts[:depth])
        inside = _members(name, nodes)
        entries, exits = _entries(inside, fed), _exits(inside)
        if len(entries) == 1 and len(exits) == 1:
            return (name, entries[0], exits[0]) if _ends(exits[0], inside) else None
    return None


def _ends(leaving: Any, inside: dict[str, Any]) -> bool:
    """Tell whether the layer surely ends there: OpenVINO may have moved its last steps on and taken their names."""
    pending = [target.get_node() for target in leaving.get_target_inputs()]
    while pending:
        node = pending.pop()
        if node.get_friendly_name() in inside:
            continue
        if node.get_type_name() in _LAYOUT:
            pending.extend(_users(node))
        elif _nameless(node) and node.get_type_name() not in _LAYERS:
            return False
    return True


def _fed(nodes: list[Any]) -> set[str]:
    """Return the names of the nodes whose values come from the network's input."""
    fed: set[str] = set()
    for node in nodes:
        sources = (port.get_source_output().get_node().get_friendly_name() for port in node.inputs())
        if node.get_type_name() == "Parameter" or (
            node.get_type_name() not in _ASKS and any(s in fed for s in sources)
        ):
            fed.add(node.get_friendly_name())
    return fed


def _members(name: str, nodes: list[Any]) -> dict[str, Any]:
    """Return a layer's nodes by name: those under its name, and the nameless ones that only they need."""
    inside = {n.get_friendly_name(): n for n in nodes if n.get_friendly_name().startswith(f"{name}/")}
    for node in reversed(nodes):
        own = node.get_friendly_name()
        users = _users(node)
        if _nameless(node) and own not in inside and users and node.get_type_name() != "Parameter" \
                and all(user.get_friendly_name() in inside for user in users):  # fmt: skip
            inside[own] = node
    return inside


def _nameless(node: Any) -> bool:
    """Tell whether OpenVINO named a node, not the network's author."""
    return re.fullmatch(r"[A-Za-z]+_\d+", node.get_friendly_name()) is not None


def _users(node: Any) -> list[Any]:
    return [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]


def _entries(inside: dict[str, Any], fed: set[str]) -> list[Any]:
    """Return the outputs outside of a layer whose values go into it."""
    return _distinct(
        source
        for node in inside.values()
        if node.get_type_name() not in _ASKS
        for port in node.inputs()
        if (name := (source := port.get_source_output()).get_node().get_friendly_name()) in fed and name not in inside
    )


def _exits(inside: dict[str, Any]) -> list[Any]:
    """Return the outputs of a layer that are used outside for more than their shape."""
    return _distinct(
        output
        for node in inside.values()
        for output in node.outputs()
        if any(target.get_node().get_friendly_name() not in inside for target in output.get_target_inputs())
    )


def _distinct(outputs: Iterable[Any]) -> list[Any]:
    found: dict[tuple[str, int], Any] = {}
    for output in outputs:
        found.setdefault((output.get_node().get_friendly_name(), output.get_index()), output)
    return list(found.values())
