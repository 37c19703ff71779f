"""A Kubernetes manifest held against a schema: the keys that each kind of block has, and their types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Mapping[str, str]]
"""Kind of block → key → type: `str`, `int`, `float`, `bool`, `object`, `list[TYPE]`, `dict(str, TYPE)` or a kind."""

PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "object": object,
}  # fmt: skip


def wrong(value: Any, kind: str, where: str, schema: Schema) -> Iterator[str]:
    """Yield what is not as the type says."""
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield f"{where}: no list"
            return
        for number, item in enumerate(value):
            yield from wrong(item, kind[5:-1], f"{where}[{number}]", schema)
    elif kind.startswith("dict("):
        if not isinstance(value, dict):
            yield f"{where}: no block of keys"
            return
        for key, item in value.items():
            yield from wrong(item, kind[5:-1].split(", ")[1], f"{where}.{key}", schema)
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind in ("int", "float")):
            yield f"{where}: {value!r} is no {kind}"
    elif not isinstance(value, dict):
        yield f"{where}: no block of keys"
    else:
        for key, item in value.items():
            if key not in schema.get(kind, {}):
                yield f"{where}.{key}: no such key of {kind}"
            else:
                yield from wrong(item, schema[kind][key], f"{where}.{key}", schema)
