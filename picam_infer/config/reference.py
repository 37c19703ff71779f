"""A list of every key of the configuration, with what it takes and its default: for the manual and the docs."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from picam_infer.config.schema import Config, Event

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


class Key(msgspec.Struct, frozen=True):
    """One key."""

    name: str
    """`engine.kind`; of an item of a list `events[].host`."""
    takes: str
    """What its value may be: `number, 0 to 1`."""
    default: str
    """As YAML; empty: it must be given."""


def keys() -> list[Key]:
    """Return all keys, in the schema's order."""
    return list(_keys(Config, ""))


def _keys(kind: type[Any], prefix: str) -> Iterator[Key]:
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.encode_name}"
        below = _sections(field.type)
        if field.name == "events":
            yield Key(name, "list of outlets", "[]")
            for one in get_args(Event):
                tag = str(one.__struct_config__.tag)
                yield Key(f"{name}[].kind", tag, "")
                yield from _keys(one, f"{name}[{tag}].")
        elif below:
            if takes(field.type):
                yield Key(name, f"{takes(field.type)}, or a block of keys", _default(field))
            for one in below:
                yield from _keys(one, f"{name}.")
        elif items := [one for part in get_args(_bare(field.type)) for one in _sections(part)]:
            yield Key(name, "list", _default(field))
            for one in items:
                yield from _keys(one, f"{name}[].")
        else:
            yield Key(name, takes(field.type), _default(field))


def _sections(kind: Any) -> list[type[Any]]:
    parts = [_bare(kind), *(_bare(part) for part in _union(kind))]
    return list(dict.fromkeys(p for p in parts if isinstance(p, type) and issubclass(p, msgspec.Struct)))


def _union(kind: Any) -> tuple[Any, ...]:
    bare = _bare(kind)
    return get_args(bare) if get_origin(bare) in (Union, types.UnionType) else ()


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def takes(kind: Any) -> str:
    """Return a type in words; empty for a block of keys."""
    if parts := _union(kind):
        return " or ".join(dict.fromkeys(words for part in parts if (words := takes(part))))
    bare, origin = _bare(kind), get_origin(_bare(kind))
    if origin is Literal:
        return ", ".join(str(one) for one in get_args(bare))
    if origin in (tuple, list):
        return _list(get_args(bare))
    if origin is dict or bare is dict:
        return "block of keys"
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return ""
    if bare is Any:
        return "anything"
    return _WORDS.get(bare, "text") + _bounds(kind)


def _list(items: tuple[Any, ...]) -> str:
    if Ellipsis in items or len(items) == 1:
        return f"list of {takes(items[0]) or 'blocks'}"
    words, bounds = [_WORDS.get(_bare(item), "text") for item in items], {_bounds(item) for item in items}
    same = bounds.pop() if len(bounds) == 1 else ""
    return f"[{', '.join(words)}]{same}" if same or not bounds else f"[{', '.join(takes(item) for item in items)}]"


def _bounds(kind: Any) -> str:
    metas = []
    while get_origin(kind) is Annotated:
        metas += [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta)]
        kind = get_args(kind)[0]
    low = next((_limit(m.ge, "above", m.gt) for m in metas if (m.ge, m.gt) != (None, None)), "")
    high = next((_limit(m.le, "below", m.lt) for m in metas if (m.le, m.lt) != (None, None)), "")
    if low and high:
        return f", {low} to {high}"
    return f", {low} or more" if low and not low.startswith("above") else f", {low or high}" if low or high else ""


def _limit(included: float | None, word: str, excluded: float | None) -> str:
    return f"{included:g}" if included is not None else f"{word} {excluded:g}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    value = msgspec.to_builtins(value)
    if isinstance(value, Mapping) and value:
        return ""
    if value is False and _sections(field.type):
        return "off"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return str(text).removesuffix("\n").removesuffix("\n...").strip()


def markdown() -> str:
    """Return the list as a Markdown table."""
    rows = [f"| `{key.name}` | {key.takes} | {f'`{key.default}`' if key.default else ''} |" for key in keys()]
    return "\n".join(["| key | takes | default |", "|---|---|---|", *rows]) + "\n"
