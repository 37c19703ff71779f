"""Reads the configuration file into typed data; a mistake is named with file, line and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from picam_infer.config.schema import Config
from picam_infer.config.yaml_tree import compose, line_of, node_at, one_line
from picam_infer.core import ConfigError
from picam_infer.models.bundle import Card, Chain

T = TypeVar("T")


def load(path: Path) -> Config:
    """Read a configuration file. Raises `ConfigError` naming file, line, key, what was expected."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return a configuration file's text. Raises `ConfigError`."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file", "give one with -c, or leave -c out for the defaults") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "check its owner and permissions") from error
    except UnicodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error


def parse(text: str, where: str = "config") -> Config:
    """Return the configuration that YAML text describes; `where` names it in errors."""
    root = compose(text, where)
    if root is None:
        return Config()
    try:
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {one_line(error)}", "correct the value") from error
    return _convert(plain, Config, root, where)


def _convert(plain: Any, kind: type[T], root: yaml.Node, where: str) -> T:
    try:
        return msgspec.convert(plain, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(str(error), kind, root, where) from error


def _explain(message: str, kind: type[Any], root: yaml.Node, where: str) -> ConfigError:
    text, _, path = message.partition(" - at `")
    keys = [part for part in re.split(r"[.\[\]`]+", path.removeprefix("$")) if part]
    unknown = re.search(r"unknown field `(.*)`", text)
    if unknown:
        keys.append(unknown[1])
    line = line_of(root, keys)
    place = f"{where}:{line}: {'.'.join(keys)}" if keys else f"{where}:{line}"
    if unknown:
        options = _fields(kind, keys[:-1])
        near = difflib.get_close_matches(unknown[1], options, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"keys here: {', '.join(options)}"
        return ConfigError(f"{place}: no such key", hint)
    return ConfigError(f"{place}: {_plain_words(text)}", _options_hint(kind, keys, root))


def _plain_words(text: str) -> str:
    words = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
             "object": "a block of keys", "null": "nothing"}  # fmt: skip
    named = re.sub(
        r"`(\w+(?: \| \w+)*)`", lambda m: " or ".join(words.get(w, f"`{w}`") for w in m[1].split(" | ")), text
    )
    named = re.sub(r" matching regex '.*'", " of another form", named)
    return named[:1].lower() + named[1:]


def _options_hint(kind: type[Any], keys: Sequence[str], root: yaml.Node) -> str:
    at = _type_at(kind, keys)
    options = [str(option) for option in get_args(at) if isinstance(option, (str, int))]
    if keys and keys[-1] == "kind" and not options:
        options = [str(k.__struct_config__.tag) for k in _structs(_type_at(kind, keys[:-1]))]
    if not options:
        return _forms(kind, keys) or "see the shipped picam-infer.yaml for what it takes"
    node = node_at(root, keys)
    given = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    near = difflib.get_close_matches(given, options, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"one of: {', '.join(options)}"


def _forms(kind: type[Any], keys: Sequence[str]) -> str:
    """Return the example that a key's `Meta` has."""
    for struct in _structs(_type_at(kind, keys[:-1])):
        for field in msgspec.structs.fields(struct):
            examples = [m.examples for m in get_args(field.type)[1:] if isinstance(m, Meta)]
            if field.name == keys[-1] and examples and examples[0]:
                return f"for example {examples[0][0]}"
    return ""


def _type_at(kind: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if key.isdigit() and get_origin(kind) in (tuple, list):
            kind = get_args(kind)[0]
            continue
        fields = {f.name: f.type for k in _structs(kind) for f in msgspec.structs.fields(k)}
        if key not in fields:
            return None
        kind = fields[key]
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    return [k for k in (kind, *get_args(kind)) if _is_struct(k)]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fields(kind: type[Any], keys: Sequence[str]) -> list[str]:
    names = [f.encode_name for k in _structs(_type_at(kind, keys)) for f in msgspec.structs.fields(k)]
    return list(dict.fromkeys(names))


def tuned(card: Card, overrides: Mapping[str, Any], where: str = "preprocess") -> Chain:
    """Return the card's chain with the configuration's `preprocess` overrides. Raises `ConfigError`."""
    chain = card.preprocess
    try:
        return msgspec.convert({**msgspec.to_builtins(chain), **overrides}, type(chain), strict=True)
    except msgspec.ValidationError as error:
        text = _plain_words(str(error).replace("$.", "").replace("Object contains unknown field", "no such key"))
        known = ", ".join(f.name for f in msgspec.structs.fields(type(chain)))
        name = msgspec.to_builtins(chain)["chain"]
        raise ConfigError(f"{where}: {text}", f"model {card.name} uses the chain {name}: {known}") from error
