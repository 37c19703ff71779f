"""Reads the configuration file into typed data; mistakes are reported with file, line and key."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from picam_infer.config.locations import Kind, located
from picam_infer.config.reference import takes
from picam_infer.config.schema import INSTALLED, Config, path_kind
from picam_infer.config.yaml_tree import compose, dotted, line_of, node_at, one_line, quote, refuse_old_numbers, values
from picam_infer.core import ConfigError, NoInput
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Card, Chain
from picam_infer.platform.yaml_errors import UNFIT

T = TypeVar("T")
_MOST_BYTES = 1_000_000
_TAKEN_FOR_A_SECRET = ("token",)
"""Keys into which people may write the secret itself: their values are never shown."""
_LAST_PORT = 65535
_SHIPPED = "see the shipped picam-infer.yaml for what it takes"
_LOGIN = re.compile(r"[!&*]?\w*:?/{0,2}[^\s@]*:[^\s]*@")


def file_to_read(given: Path | None) -> Path | None:
    """Return the configuration file of a command: the one given, else the installed one, else None."""
    return given or (INSTALLED if INSTALLED.exists() else None)


def load(path: Path | None) -> Config:
    """Read a configuration file; None: the defaults. Raises `ConfigError`: file, line, key and what was expected."""
    return parse(read_text(path), str(path), _folder(path)) if path else Config()


def _folder(path: Path) -> Path:
    """Return the folder that relative paths in a settings file start from."""
    if _made_by_shell(path):
        return Path.cwd()
    return Path(os.path.abspath(path)).parent  # noqa: PTH100 - of a link, the folder in which it stands


def _made_by_shell(path: Path) -> bool:
    return path.is_relative_to("/dev") or path.is_relative_to("/proc")


def named_model(config: Config, path: Path | None) -> Bundle:
    """Return the model that a configuration names. Raises `NoInput` (with file and line) or `BundleError`."""
    try:
        return bundles.load(config.model)
    except NoInput as error:
        with contextlib.suppress(ConfigError):
            root = compose(read_text(path), str(path)) if path is not None else None
            named = root is not None and node_at(root, ["model"]) is not None
            if root is not None and named and load(path).model == config.model:  # else the command line named it
                error.add_hint(f"it is named in {path}:{line_of(root, ['model'])}: model")
        raise


def is_key(dotted: str) -> bool:
    """Whether there is a key of that name in the file."""
    return _type_at(Config, dotted.split(".")) is not None


def read_text(path: Path) -> str:
    """Return a configuration file's text, its line endings unchanged. Raises `ConfigError`."""
    try:
        # Reading a pipe without a writer would hang; one that a shell made for this command has its writer.
        if stat.S_ISFIFO(path.stat().st_mode) and not _made_by_shell(path):
            raise ConfigError(f"{path}: is not a file", "give a configuration file with -c")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ConfigError(f"{path}: is larger than a configuration can be", "is it another file?")
        return _decoded(data, path)
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder", "name the file in it") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file", "check the path, or leave -c out for the defaults") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "check its owner and permissions") from error


def _decoded(data: bytes, path: Path) -> str:
    """Return a configuration file's text. Raises `ConfigError`: the advice for text would not help with a picture."""
    try:
        return data.decode()
    except UnicodeError as error:
        if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ConfigError(f"{path}: is not text", "give a configuration file with -c") from error
        raise ConfigError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error


def parse(text: str, where: str = "config", folder: Path | None = None) -> Config:
    """Return the configuration that YAML text describes; `where` names it in errors.

    `folder`: what relative paths in it start from; None: they are left as they are.
    """
    try:
        return _parsed(text.removeprefix("\ufeff"), where, folder)
    except ConfigError as error:
        if "@" not in str(error):
            raise
        # Not `from`: the cause quotes the file as well.
        raise ConfigError(_without_logins(error.message), _without_logins(error.hint)) from None


def _without_logins(text: str) -> str:
    """Return a message without user and password, should an address have been written in place of a key or value."""
    return _LOGIN.sub("…@", text)


def _parsed(text: str, where: str, folder: Path | None) -> Config:
    root = compose(text, where)
    if root is None:
        return Config()
    try:
        given = values(root)
    except UNFIT as error:
        raise ConfigError(f"{where}: {one_line(error)}", "correct the value") from error
    config = _convert(given, Config, root, where)
    refuse_old_numbers(root, where)
    return _with_paths(config, lambda text, kind, keys: _located(_expanded(text, root, where, keys), kind, folder), [])


def _located(path: str, kind: Kind, folder: Path | None) -> str:
    return path if folder is None else located(path, kind, folder)


def _with_paths(section: T, whole: Callable[[str, Kind, list[str]], str], keys: list[str]) -> T:
    """Return a section with its paths made absolute; `whole` gets a path, its kind and its keys."""
    changes: dict[str, Any] = {}
    for name, kind in ((field.name, field.type) for field in msgspec.structs.fields(section)):  # type: ignore[arg-type]
        value, at = getattr(section, name), [*keys, name]
        if isinstance(value, msgspec.Struct):
            changes[name] = _with_paths(value, whole, at)
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            changes[name] = tuple(_with_paths(item, whole, [*at, str(n)]) for n, item in enumerate(value))
        elif isinstance(value, str) and (path := path_kind(kind)):
            changes[name] = whole(value, path, at)
        elif isinstance(value, tuple) and (path := path_kind(kind)):  # a program and its arguments
            changes[name] = (whole(value[0], path, at), *value[1:])
    return msgspec.structs.replace(section, **changes)  # type: ignore[type-var]


def _expanded(text: str, root: yaml.Node, where: str, keys: list[str]) -> str:
    path = os.path.expanduser(text)  # noqa: PTH111 - an empty text is none, `-` may mean standard output
    if path.startswith("~"):
        place = f"{where}:{line_of(root, keys)}: {dotted(root, keys)}"
        raise ConfigError(f"{place}: {text.partition('/')[0]} is not a user's home here", "write the whole path")
    return path


def _convert(given: Any, kind: type[T], root: yaml.Node, where: str) -> T:
    try:
        return msgspec.convert(given, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(str(error), kind, root, where) from error


def refused(message: str, kind: type[Any], where: str) -> ConfigError:
    """Return the error for a value from outside the file; `message` is msgspec's, `where` its section."""
    text, _, path = message.partition(" - at `")
    keys = _keys(path)
    return ConfigError(f"{'.'.join([where, *keys])}: {_plain_words(text)}",
                       _wanted(kind, keys) or _SHIPPED)  # fmt: skip


def _keys(path: str) -> list[str]:
    """Return the keys in the path that msgspec puts after its message."""
    return [part for part in re.split(r"[.\[\]`]+", path.removeprefix("$")) if part]


def _explain(message: str, kind: type[Any], root: yaml.Node, where: str) -> ConfigError:
    text, _, path = message.partition(" - at `")
    keys = _keys(path)
    unknown = re.search(r"unknown field `(.*)`", text)
    if unknown:
        keys.append(unknown[1])
    line = line_of(root, keys)
    place = f"{where}:{line}: {dotted(root, keys)}" if keys else f"{where}:{line}"
    if unknown:
        options = _fields(kind, keys[:-1])
        near = difflib.get_close_matches(unknown[1], options, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"keys here: {', '.join(options)}"
        return ConfigError(f"{place}: no such key", hint)
    if keys and keys[-1] in _TAKEN_FOR_A_SECRET:
        text = "invalid value"
    lacking = re.search(r"missing required field `(.*)`", text)
    if lacking:
        hint = _options_hint(kind, [*keys, lacking[1]], root) or _wanted(kind, [*keys, lacking[1]])
        return ConfigError(f"{place}: the key {lacking[1]} is missing", hint)
    hint = _options_hint(kind, keys, root) or _rewritten(text, kind, keys, root) or _wanted(kind, keys)
    fault = _fault(kind, keys, root) if "matching regex" in text else ""
    return ConfigError(f"{place}: {fault or _plain_words(text)}", hint or _SHIPPED)


def _fault(kind: type[Any], keys: Sequence[str], root: yaml.Node) -> str:
    """Return what is wrong with a malformed text; empty: that cannot be told."""
    node = node_at(root, keys)
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    port = re.search(r":([0-9]+)(?:[/?#]|\Z)", text)
    if port and (port[1][5:] or int(port[1]) > _LAST_PORT):
        return f"{port[1][:20]} is not a port: {_LAST_PORT} is the highest"
    form = next((meta.description for meta in _metas(kind, keys) if meta.description), "")
    return f"expected {form}" if form else ""


def _wanted(kind: type[Any], keys: Sequence[str]) -> str:
    """Return what a key takes, in words; empty where that depends on the keys below it."""
    fields = {f.encode_name: f.type for k in _structs(_type_at(kind, keys[:-1])) for f in msgspec.structs.fields(k)}
    if not keys or keys[-1] not in fields:
        return ""
    below = _fields(kind, keys)
    blocks = f"a block of these keys: {', '.join(below)}" if below else ""
    listed = get_origin(_type_at(kind, keys)) in (tuple, list)
    words = takes(fields[keys[-1]])
    if words.startswith("["):  # a list of so many items, no fewer and no more
        written = words
    elif listed and below:
        return f"it takes a list of blocks with these keys: {', '.join(below)}; a block begins with `- `"
    elif listed:
        written = "a list: [one, another], or a line each that begins with `- `"
    else:
        written = re.sub(r"\b(?=((whole )?number|block of keys)\b)(?<!whole )", "a ", words)
    wanted = " or ".join(part for part in (written, blocks) if part)
    return f"it takes {wanted}" if wanted else ""


def _rewritten(text: str, kind: type[Any], keys: Sequence[str], root: yaml.Node) -> str:
    """Return how a value should have been written, if only its form is wrong."""
    node = node_at(root, keys)
    if not isinstance(node, yaml.ScalarNode):
        return ""
    wanted, _, got = text.partition(", got ")
    if got == "`null`" and not node.value:
        return "give it a value, or remove the line"
    if "`str`" in wanted and got:
        fits = all(re.search(meta.pattern, str(node.value)) for meta in _metas(kind, keys) if meta.pattern)
        return quote(node) if fits else ""
    if got != "`str`":
        return ""
    if "`bool" in wanted and node.value.lower() in ("on", "off", "yes", "no", "true", "false"):
        return f"without quotes: {node.value}"
    if "`int" in wanted or "`float" in wanted:
        return _as_number(node.value)
    return ""


def _as_number(text: str) -> str:
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        return ""
    return f"write {number:g}" if abs(number) < 1e15 else ""


def _plain_words(text: str) -> str:
    words = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
             "object": "a block of keys", "null": "nothing", "date": "a date", "datetime": "a date"}  # fmt: skip
    named = re.sub(
        r"`(\w+(?: \| \w+)*)`", lambda m: " or ".join(words.get(w, f"`{w}`") for w in m[1].split(" | ")), text
    )
    named = re.sub(r" matching regex '.*'", " of another form", named).replace("enum value", "value")
    bounds = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}
    named = re.sub(r"(<=|>=|<|>) (-?\d+(?:\.\d+)?)\b", lambda m: f"{bounds[m[1]]} {float(m[2]):g}", named)
    return named[:1].lower() + named[1:]


def _options_hint(kind: type[Any], keys: Sequence[str], root: yaml.Node) -> str:
    at = _type_at(kind, keys)
    options = [str(option) for option in get_args(at) if isinstance(option, (str, int))]
    if keys and keys[-1] == "kind" and not options:
        options = [str(k.__struct_config__.tag) for k in _structs(_type_at(kind, keys[:-1]))]
    if not options:
        return _forms(kind, keys)
    node = node_at(root, keys)
    given = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    near = difflib.get_close_matches(given, options, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"one of: {', '.join(options)}"


def _forms(kind: type[Any], keys: Sequence[str]) -> str:
    """Return the example that a key's `Meta` has."""
    examples = [meta.examples for meta in _metas(kind, keys) if meta.examples]
    return f"for example {examples[0][0]}" if examples else ""


def _metas(kind: type[Any], keys: Sequence[str]) -> list[Meta]:
    """Return the `Meta`s of a key, of each kind of block that it may stand in."""
    fields = [f for struct in _structs(_type_at(kind, keys[:-1])) for f in msgspec.structs.fields(struct)]
    found = [field.type for field in fields if keys and field.name == keys[-1]]
    parts = [part for one in found for part in (one, *get_args(one))]
    return [meta for part in parts for meta in get_args(part)[1:] if isinstance(meta, Meta)]


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


def tuned(card: Card, overrides: Mapping[str, Any], path: Path | None = None) -> Chain:
    """Return the card's chain with the overrides that `preprocess` in the file `path` has. Raises `ConfigError`."""
    chain = card.preprocess
    try:
        return msgspec.convert({**msgspec.to_builtins(chain), **overrides}, type(chain), strict=True)
    except msgspec.ValidationError as error:
        raise _not_of_chain(str(error), card, path) from error


def _not_of_chain(message: str, card: Card, path: Path | None) -> ConfigError:
    text, _, at = message.partition(" - at `$.")
    unknown = re.search(r"unknown field `(.*)`", text)
    keys = ["preprocess", *_keys(at), *([unknown[1]] if unknown else [])]
    chain = type(card.preprocess)
    fields = [field.name for field in msgspec.structs.fields(chain)]
    name = msgspec.to_builtins(card.preprocess)["chain"]
    known = f"model {card.name} uses the chain {name}: {', '.join(fields)}"
    if unknown:
        near = difflib.get_close_matches(unknown[1], fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else known
    elif keys[1:2] and keys[1] in fields:
        now = json.dumps(msgspec.to_builtins(getattr(card.preprocess, keys[1])))
        hint = f"{_wanted(chain, keys[1:2])}, such as {keys[1]}: {now}"
    else:
        hint = known
    if keys[1:2] == ["roi"]:
        hint = "a share of the picture's height, such as 0.4, or {x: 0.3, y: 0.5, size: 0.4} for a square elsewhere"
    place = ".".join(keys)
    root = compose(read_text(path), str(path)) if path is not None else None
    if root is not None:
        place = f"{path}:{line_of(root, keys)}: {place}"
    return ConfigError(f"{place}: {'no such key' if unknown else _plain_words(text)}", hint)
