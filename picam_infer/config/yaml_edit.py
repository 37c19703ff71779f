"""Sets one key in YAML text; every other character, comments and line endings included, stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from picam_infer.config.yaml_tree import list_index


class CannotEdit(Exception):
    """A key cannot be changed without changing other text; `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


@dataclass(eq=False)
class Spot:
    """A node as it stands in the text, an alias as itself. `start` (anchor included) and `end` count characters."""

    kind: str
    """scalar, block scalar, alias, list or mapping."""
    start: int
    end: int
    """For a block of lines: after its last value."""
    line: int
    column: int
    flow: bool = False
    anchor: str = ""
    name: str = ""
    """A scalar's text."""
    keys: list[Spot] = field(default_factory=list)
    items: list[Spot] = field(default_factory=list)
    """A list's items, a mapping's values."""

    @property
    def inline(self) -> bool:
        """Whether its text can stand anywhere on a line."""
        return self.kind == "scalar" or self.flow

    def get(self, key: str) -> Spot | None:
        """Return a mapping's value, or by its number a list's item."""
        if self.kind == "list":
            index = list_index(key, len(self.items))
            return None if index is None else self.items[index]
        return next((item for at, item in zip(self.keys, self.items, strict=True) if at.name == key), None)

    def walk(self) -> Iterator[Spot]:
        """Yield it and all within it, in the order of the text."""
        yield self
        for number, item in enumerate(self.items):
            if self.keys:
                yield from self.keys[number].walk()
            yield from item.walk()


def with_value(text: str, keys: Sequence[str], value: Any) -> str:
    """Return YAML text with one key set. Raises `CannotEdit`, also when anything else would be changed by it."""
    wanted = _put(yaml.safe_load(text), keys, value)
    made = _set(text, keys, value)
    try:
        if yaml.safe_load(made) == wanted:
            return made
    except yaml.YAMLError:
        pass
    root, _ = _spots(text)
    raise CannotEdit(_path(root, keys)[-1].line if root else 1, "other settings would change with it")


def literal(value: Any) -> str:
    """Return a value as YAML on one line."""
    flow: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return str(flow).removesuffix("\n").removesuffix("\n...").strip()


def _set(text: str, keys: Sequence[str], value: Any) -> str:
    root, end = _spots(text)
    if root is None:
        return _appended(text, end, keys, value)
    path = _path(root, keys)
    if len(path) > len(keys):
        return _replaced(text, path, keys, value)
    block, missing = path[-1], keys[len(path) - 1 :]
    for key in reversed(missing[1:]):
        value = {key: value}
    if block.kind == "scalar" and block.start == block.end:  # `decide:` with nothing behind it
        return _replaced(text, path, keys[: len(path) - 1], {missing[0]: value})
    if block.kind != "mapping":
        raise CannotEdit(block.line, f"{_what(block)} stands where a block of keys is needed")
    return _added(text, block, missing[0], value)


def _replaced(text: str, path: Sequence[Spot], keys: Sequence[str], value: Any) -> str:
    """Return the text with another value at the end of a path."""
    root, spot, new = path[0], path[-1], literal(value)
    heir = next((s for s in root.walk() if s.kind == "alias" and s.anchor == spot.anchor and s is not spot), None)
    heir = heir if spot.anchor and spot.kind != "alias" else None
    if heir is None and (parts := _parts(spot, value)):
        for key, part in parts:  # one by one, which keeps its form and its comments
            text = _set(text, [*keys, key], part)
        return text
    if heir is not None and (heir.start < spot.end or not spot.inline):
        raise CannotEdit(spot.line, f"line {heir.line} refers to it by *{spot.anchor}")
    if spot.kind in ("list", "mapping") and not spot.flow:
        return _lines_replaced(text, path[-2], spot, new)
    if spot.start == spot.end:
        new = (" " if text[spot.start - 1] == ":" else ": ") + new
    elif spot.kind == "block scalar":
        new += _line_break(text)
    if heir is not None:  # takes over the old value, and its anchor for the aliases that follow
        rest = text[spot.end : heir.start] + text[spot.start : spot.end] + text[heir.end :]
    else:
        rest = text[spot.end :]
    return text[: spot.start] + new + rest


def _parts(spot: Spot, value: Any) -> list[tuple[str, Any]]:
    """Return a value's parts by key or number, if the text has exactly the same parts."""
    if isinstance(value, list) and spot.kind == "list" and len(value) == len(spot.items):
        return [(str(number), item) for number, item in enumerate(value)]
    if isinstance(value, dict) and spot.kind == "mapping" and set(value) == {key.name for key in spot.keys}:
        return list(value.items())
    return []


def _lines_replaced(text: str, parent: Spot, spot: Spot, new: str) -> str:
    """Return the text with a value on one line, behind its key, in place of several lines."""
    at = next((key for key, item in zip(parent.keys, parent.items, strict=True) if item is spot), None)
    if at is None:
        raise CannotEdit(spot.line, "it is an item of a list")
    colon = text.index(":", at.end) + 1
    if "#" in text[colon : spot.end]:
        raise CannotEdit(spot.line, "there are comments between its lines")
    return f"{text[:colon]} {new}{text[spot.end :]}"


def _added(text: str, block: Spot, key: str, value: Any) -> str:
    """Return the text with one more key in a block."""
    line, last = f"{key}: {literal(value)}", block.items[-1] if block.items else None
    if block.flow and last is not None and last.end > last.start:
        return f"{text[: last.end]}, {line}{text[last.end :]}"
    if block.flow or last is None:
        brace = text.index("{", block.start) + 1
        return text[:brace] + line + (", " if block.items else "") + text[brace:]
    at = last.end
    if last.kind != "block scalar":
        at = text.find("\n", at) + 1 or len(text)
    gap = "" if text[at - 1] == "\n" else _line_break(text)
    return text[:at] + gap + " " * block.keys[0].column + line + _line_break(text) + text[at:]


def _appended(text: str, end: int, keys: Sequence[str], value: Any) -> str:
    """Return an empty document with its first key."""
    for key in reversed(keys[1:]):
        value = {key: value}
    before, after = text[:end], text[end:]
    gap = "" if not before or before.endswith("\n") else _line_break(text)
    return f"{before}{gap}{keys[0]}: {literal(value)}{_line_break(text)}{after}"


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _path(root: Spot, keys: Sequence[str]) -> list[Spot]:
    """Return the nodes on the way to a key: the root, and one for each key that is there."""
    path = [root]
    for key in keys:
        found = path[-1].get(key)
        if found is None:
            break
        path.append(found)
    return path


def _what(spot: Spot) -> str:
    return f"*{spot.anchor}" if spot.kind == "alias" else f"a {spot.kind}"


def _spots(text: str) -> tuple[Spot | None, int]:
    """Return the tree of a text, None when it has no content, and where its content ends."""
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    root: Spot | None = None
    end = len(text)
    for event in events:
        start = event.start_mark.index
        if isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            end = start
        elif isinstance(event, yaml.NodeEvent) and root is None:
            root = _spot(event, events)
    if root is not None and root.kind == "scalar" and root.start == root.end:
        return None, end
    return root, end


def _spot(event: Any, events: Iterator[Any]) -> Spot:
    mark = event.start_mark
    spot = Spot("scalar", mark.index, event.end_mark.index, mark.line + 1, mark.column, anchor=event.anchor or "")
    if isinstance(event, yaml.AliasEvent):
        spot.kind = "alias"
    elif isinstance(event, yaml.ScalarEvent):
        spot.kind = "block scalar" if event.style in ("|", ">") else "scalar"
        spot.name = event.value
    elif isinstance(event, yaml.CollectionStartEvent):
        mapping = isinstance(event, yaml.MappingStartEvent)
        spot.kind, spot.flow = "mapping" if mapping else "list", bool(event.flow_style)
        for inner in events:
            end = inner.end_mark.index
            if isinstance(inner, yaml.CollectionEndEvent):
                spot.end = end if spot.flow else max([spot.end, *(item.end for item in spot.items)])
                break
            if mapping and len(spot.keys) == len(spot.items):
                spot.keys.append(_spot(inner, events))
            else:
                spot.items.append(_spot(inner, events))
    return spot


def _put(plain: Any, keys: Sequence[str], value: Any) -> Any:
    if not keys:
        return value
    inside = plain if isinstance(plain, dict) else {}
    return {**inside, keys[0]: _put(inside.get(keys[0]), keys[1:], value)}
