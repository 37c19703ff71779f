"""Where a key stands in a YAML file: its node and its line."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from picam_infer.core import ConfigError


def compose(text: str, where: str) -> yaml.Node | None:
    """Return the file's tree of nodes, None for an empty file. Raises `ConfigError`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}:{line}: not valid YAML: {problem}", "check indentation and quotes") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML: {one_line(error)}", "save it as plain text") from error
    if root is not None:
        _refuse_twice(root, where)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{where}:1: expected `key: value` lines", "see the shipped picam-infer.yaml")
    return root


def _refuse_twice(node: yaml.Node, where: str) -> None:
    # YAML lets the last one win in silence: a setting would be lost.
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise ConfigError(f"{where}:{line}: {name} is set twice (first in line {seen[name]})", "keep one")
            seen[name] = line
            _refuse_twice(value, where)


def entry(node: yaml.Node, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key and of its value; of an item of a list twice the item."""
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return node.value[int(key)], node.value[int(key)]
    return None


def node_at(root: yaml.Node, keys: Sequence[str]) -> yaml.Node | None:
    """Return the node of the value below these keys."""
    node = root
    for key in keys:
        found = entry(node, key)
        if found is None:
            return None
        node = found[1]
    return node


def line_of(root: yaml.Node, keys: Sequence[str]) -> int:
    """Return the line, from 1, of the last of these keys that is there."""
    node, line = root, 0
    for key in keys:
        found = entry(node, key)
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return line + 1


def one_line(error: object) -> str:
    """Return an error's text without its line breaks."""
    return " ".join(str(error).split())
