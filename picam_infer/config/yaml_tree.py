"""The nodes of a YAML file: what is refused before any value is read, and the line of each key."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from picam_infer.core import ConfigError
from picam_infer.platform.yaml_errors import UNFIT

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_KINDS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")}
_KINDS_OF = {f"{_TAG}map": yaml.MappingNode, f"{_TAG}seq": yaml.SequenceNode}
_MOST = 10_000
"""Values in a file, those behind aliases counted wherever they are referred to."""
_SHOWN = 60
"""Characters of a value that a message shows."""
_OLD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Octal and base-60 numbers, as YAML 1.1 reads `0640` and `1:30`."""
QUICK_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader written in C, if PyYAML has it: all services of a machine read their settings while it boots."""
_READ_OTHERWISE = re.compile(r"[\t\ufeff]|:[}\],]|[{\[][^}\]]*\?")
"""Text that one of the two loaders, in C and in Python, accepts and the other does not."""
_constructor = yaml.constructor.SafeConstructor()


def compose(text: str, where: str) -> yaml.Node | None:
    """Return the file's tree of nodes, None for an empty file. Raises `ConfigError`."""
    try:
        root = _composed(text)
        if isinstance(root, yaml.ScalarNode) and not root.value:  # there is nothing between the document markers
            root = None
        if root is not None:
            _Checked(where, root).size(root, [])
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        hint = "use spaces, not tabs" if "'\\t'" in problem else "check indentation and quotes"
        raise ConfigError(f"{where}:{line}: not valid YAML: {problem}", hint) from error
    except RecursionError as error:
        raise ConfigError(f"{where}: its blocks are nested too deeply", "see the shipped picam-infer.yaml") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {one_line(error)}", "save it as plain text") from error
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{where}:1: expected `key: value` lines", "see the shipped picam-infer.yaml")
    return root


def values(root: yaml.Node) -> Any:
    """Return the values of a tree, which stays as it is. Raises what `UNFIT` names."""
    return _Values().of(root)


def _composed(text: str) -> yaml.Node | None:
    if not _READ_OTHERWISE.search(text):
        with contextlib.suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=QUICK_LOADER)
    return yaml.compose(text, Loader=yaml.SafeLoader)  # its errors are clearer


class _Values(yaml.constructor.SafeConstructor):
    """The values of a tree. PyYAML moves merged keys in it; they are put back to the lines that they stand on."""

    def __init__(self) -> None:
        super().__init__()
        self._as_written: dict[int, tuple[yaml.MappingNode, list[tuple[yaml.Node, yaml.Node]]]] = {}

    def of(self, root: yaml.Node) -> Any:
        try:
            return self.construct_document(root)
        finally:
            for node, pairs in self._as_written.values():
                node.value = pairs

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        self._as_written.setdefault(id(node), (node, list(node.value)))
        super().flatten_mapping(node)


class _Checked:
    """A walk through a tree that raises `ConfigError` for anything that is not allowed."""

    def __init__(self, where: str, root: yaml.Node) -> None:
        self._where, self._root = where, root
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node, keys: list[str]) -> int:
        """Return how many values a node stands for."""
        if id(node) in self._open:
            self._refuse(node, keys, "refers to itself", "write out what is meant instead of the * alias")
        if id(node) not in self._sizes:
            self._open.add(id(node))
            self._sizes[id(node)] = 1 + self._inside(node, keys)
            self._open.discard(id(node))
        if self._sizes[id(node)] > _MOST:
            self._refuse(node, keys, f"stands for more than {_MOST} values", "use fewer * aliases")
        return self._sizes[id(node)]

    def _inside(self, node: yaml.Node, keys: list[str]) -> int:
        if node.tag not in _KINDS or _KINDS_OF.get(node.tag, yaml.ScalarNode) is not type(node):
            if node.tag == f"{_TAG}value":
                self._refuse(node, keys, f"{node.value} has a meaning of its own in YAML", quote(node))
            self._refuse(node, keys, f"the tag {node.tag.replace(_TAG, '!!')} is not supported here", "remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return sum(self.size(item, [*keys, str(number)]) for number, item in enumerate(node.value))
        self._scalar(node, keys)
        return 0

    def _mapping(self, node: yaml.MappingNode, keys: list[str]) -> int:
        seen: dict[str, int] = {}
        total = 0
        for (before, whole), (key, value) in itertools.pairwise([(node, node), *node.value]):
            name, line = str(key.value), key.start_mark.line + 1
            if _is_whole(whole) and _is_whole(key) and value.value == "":  # in {threshold: 0,6}
                told = f"YAML reads {whole.value},{name} as two entries"
                self._refuse(key, [*keys, str(before.value)], told, f"write {whole.value}.{name}")
            if key.tag == _MERGE:
                self._merge(value, keys)
            elif not isinstance(key, yaml.ScalarNode):
                self._refuse(key, keys, "a list or a block cannot be a key", "write one word before the colon")
            elif key.tag == f"{_TAG}value":
                self._inside(key, [*keys, name])
            elif key.tag != f"{_TAG}str":
                self._refuse(key, [*keys, name], f"a key must be text, this is {_kind(key)}", quote(key))
            if name in seen:  # in YAML the last one wins silently: a setting would be lost
                self._refuse(key, [], f"{name} is set twice (first in line {seen[name]})", "keep one")
            seen[name] = line
            self._scalar(key, keys)
            total += self.size(value, [*keys, name])
        return total

    def _merge(self, value: yaml.Node, keys: list[str]) -> None:
        blocks = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(block, yaml.MappingNode) for block in blocks):
            self._refuse(value, [*keys, "<<"], "only blocks of keys can be merged", "name the anchor of one: <<: *name")

    def _scalar(self, node: yaml.Node, keys: list[str]) -> None:
        if node.tag == _MERGE:
            return
        try:
            value = _constructor.construct_object(node)
        except UNFIT:
            self._refuse(node, keys, f"{_short(node.value)} looks like {_kind(node)} but is not one", quote(node))
        if isinstance(value, float) and math.isnan(value):
            self._refuse(node, keys, f"{node.value} is not a number", f"write one, or {quote(node)}")
        if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" for c in node.value):
            self._refuse(node, keys, "there is a control character in it", "remove it")

    def _refuse(self, node: yaml.Node, keys: list[str], what: str, hint: str) -> None:
        place = f"{self._where}:{node.start_mark.line + 1}: " + (f"{dotted(self._root, keys)}: " if keys else "")
        raise ConfigError(place + what, hint)


def refuse_old_numbers(root: yaml.Node, where: str) -> None:
    """Raise `ConfigError` for numbers that YAML reads differently from a person."""
    for node, keys in _scalars(root, []):
        number = node.tag in (f"{_TAG}int", f"{_TAG}float")
        if number and _OLD_NUMBER.fullmatch(node.value) and node.value.strip("+-0_"):
            plain = node.value.lstrip("+-0").replace("_", "") if ":" not in node.value else ""
            hint = f"write {plain}, or {quote(node)}" if plain else quote(node)
            place = f"{where}:{node.start_mark.line + 1}: {dotted(root, keys)}"
            raise ConfigError(f"{place}: YAML reads {node.value} as {_constructor.construct_object(node)}", hint)


def _scalars(node: yaml.Node, keys: list[str]) -> Iterator[tuple[yaml.ScalarNode, list[str]]]:
    """Yield the values below a node that have none below them, each with its keys."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            yield from _scalars(item, [*keys, str(key.value)])
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _scalars(item, [*keys, str(index)])
    elif isinstance(node, yaml.ScalarNode):
        yield node, keys


def quote(node: yaml.Node) -> str:
    """Return the advice to quote a scalar."""
    text = _short(str(node.value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'quote it: "{text}"'


def _is_whole(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}int"


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"


def _kind(node: yaml.Node) -> str:
    names = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
    return names.get(node.tag.removeprefix(_TAG), "a text")


def entry(node: yaml.Node, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key and of its value, merged ones too; of an item of a list twice the item."""
    if isinstance(node, yaml.SequenceNode):
        index = list_index(key, len(node.value))
        return None if index is None else (node.value[index], node.value[index])
    if not isinstance(node, yaml.MappingNode):
        return None
    own = next(((k, v) for k, v in node.value if k.value == key), None)
    merged = [v for k, v in node.value if k.tag == _MERGE]
    blocks = [b for v in merged for b in (v.value if isinstance(v, yaml.SequenceNode) else [v])]
    return own or next((found for block in blocks if (found := entry(block, key))), None)


def list_index(key: str, length: int) -> int | None:
    """Return which item of a list of `length` items a key names; None: it names none of them."""
    # The key may be anything, also thousands of digits, which Python refuses to convert: numbers become text instead.
    return next((index for index in range(length) if str(index) == key), None)


def node_at(root: yaml.Node, keys: Sequence[str]) -> yaml.Node | None:
    """Return the node of the value below these keys."""
    node = root
    for key in keys:
        found = entry(node, key)
        if found is None:
            return None
        node = found[1]
    return node


def dotted(root: yaml.Node, keys: Sequence[str]) -> str:
    """Return keys as the reference writes them: `preprocess.canny.0`, and `events[mqtt].host` of a list of blocks."""
    name = ""
    for depth, key in enumerate(keys):
        block = node_at(root, keys[: depth + 1])
        if isinstance(node_at(root, keys[:depth]), yaml.SequenceNode) and isinstance(block, yaml.MappingNode):
            kind = None if keys[depth + 1 : depth + 2] == ["kind"] else node_at(block, ["kind"])
            name += f"[{kind.value}]" if isinstance(kind, yaml.ScalarNode) and kind.value.isalpha() else "[]"
        else:
            name += f".{key}" if name else key
    return name


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
