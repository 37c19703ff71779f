"""The YAML configuration: strict reading into typed data, and writing single keys back with comments kept."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from picam_infer.bundle import Card, Chain
from picam_infer.core import ConfigError, Flip

INSTALLED = Path("/etc/picam-infer/config.yaml")

Count = Annotated[int, Meta(ge=0)]
Side = Annotated[int, Meta(ge=16, le=16384)]
Unit = Annotated[float, Meta(ge=0, le=1)]
T = TypeVar("T")
_YOUNG_S = 60
_PORT = "(0*[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_LISTEN = rf"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]*):{_PORT}$"
_URL = rf"^https?://([^\s/?#@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:{_PORT})?([/?#]\S*)?$"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block of the file; a key it does not know is an error."""


class Capture(Section, frozen=True):
    """What is asked of the camera; what it grants is logged."""

    width: Side = 1280
    height: Side = 720
    fps: Annotated[int, Meta(ge=1, le=240)] = 30
    format: Literal["mjpg", "yuyv", "any"] = "mjpg"
    rotate: Literal[0, 90, 180, 270] = 0
    flip: Flip = "none"


class EngineSettings(Section, frozen=True):
    """Where the network runs."""

    kind: Literal["auto", "openvino", "ncs"] = "auto"
    device: str = "CPU"
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    precision: Literal["default", "f32", "f16", "bf16"] = "default"
    deadline_s: Annotated[float, Meta(gt=0, le=60)] = 2.0


class Decide(Section, frozen=True):
    """How scores become a decision."""

    threshold: Unit = 0.6
    margin: Unit = 0.0
    top: Annotated[int, Meta(ge=1, le=100)] = 3
    smooth: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    hold: Annotated[int, Meta(ge=1, le=1000)] = 1


class DisplaySettings(Section, frozen=True):
    """What the monitor shows."""

    kind: Literal["auto", "window", "kms", "framebuffer", "none"] = "auto"
    fullscreen: bool = True
    inset: bool = True
    stats: bool = True


class Web(Section, frozen=True):
    """The page and what other programs read."""

    listen: Annotated[str, Meta(pattern=_LISTEN, examples=["0.0.0.0:8080"])] = "127.0.0.1:8080"
    hosts: tuple[str, ...] = ()
    token: Literal["remote", "always"] = "remote"
    token_file: Annotated[str, Meta(min_length=1)] = "/var/lib/picam-infer/web-token"
    tls_cert: str = ""
    tls_key: str = ""
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 64
    fps: Annotated[float, Meta(gt=0, le=60)] = 15.0
    stale_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0


class Outlet(Section, frozen=True, kw_only=True):
    """What every kind of event outlet takes."""

    about: tuple[Literal["label", "lost", "found"], ...] = ("label",)
    labels: tuple[str, ...] = ()
    min_score: Unit = 0.0
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Jsonl(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="jsonl"):
    """One JSON object a line, in a file that is rotated by size, or on stdout."""

    path: Annotated[str, Meta(min_length=1)]
    max_mb: Annotated[float, Meta(gt=0)] = 10.0
    files: Annotated[int, Meta(ge=1, le=100)] = 5


class Mqtt(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="mqtt"):
    """An MQTT broker, with Home Assistant's discovery."""

    host: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]*$", examples=["front-door"])] = ""
    prefix: Annotated[str, Meta(pattern=r"^[^#+]+$")] = "picam-infer"
    user: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    discovery: Annotated[str, Meta(pattern=r"^[^#+]*$")] = "homeassistant"
    snapshot: bool = True


class Webhook(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """A JSON POST."""

    url: Annotated[str, Meta(pattern=_URL, examples=["https://example.org/hook"])]
    secret_file: str = ""
    snapshot: bool = False
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    retries: Annotated[int, Meta(ge=0, le=100)] = 5
    ca_file: str = ""


class Command(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    """A program that gets the event as JSON on its standard input; no shell."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0


Event = Jsonl | Mqtt | Webhook | Command


class Keep(Section, frozen=True):
    """Which pictures are saved to train with later."""

    when: Literal["unknown", "uncertain", "change", "every"] = "uncertain"
    below: Unit = 0.8
    every_s: Annotated[float, Meta(ge=0.1, le=1e6)] = 10.0
    folder: Annotated[str, Meta(min_length=1)] = "/var/lib/picam-infer/kept"
    max_mb: Annotated[float, Meta(gt=0)] = 200.0
    reserve_mb: Annotated[float, Meta(ge=0)] = 500.0


class Log(Section, frozen=True):
    """What the journal gets."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """The whole file. Every key has a default: an empty file is a good one."""

    source: Annotated[str, Meta(min_length=1)] = "camera"
    capture: Capture = Capture()
    model: Annotated[str, Meta(min_length=1)] = "digits"
    engine: EngineSettings = EngineSettings()
    preprocess: dict[str, Any] = {}
    decide: Decide = Decide()
    display: DisplaySettings = DisplaySettings()
    web: Web | bool = Web()
    events: tuple[Event, ...] = ()
    keep: Keep | bool = False
    log: Log = Log()


def chosen(section: T | bool, kind: type[T]) -> T | None:
    """Return a section that may be switched off: None for `off`, all defaults for `on`."""
    if isinstance(section, bool):
        return kind() if section else None
    return section


def load(path: Path) -> Config:
    """Read a configuration file. Raises `ConfigError` naming file, line, key, what was expected."""
    return parse(_read(path), str(path))


def _read(path: Path) -> str:
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
    root = _compose(text, where)
    if root is None:
        return Config()
    try:
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {_one_line(error)}", "correct the value") from error
    return _convert(plain, Config, root, where)


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}:{line}: not valid YAML: {problem}", "check indentation and quotes") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML: {_one_line(error)}", "save it as plain text") from error
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
    line = _line(root, keys)
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
    node = _node(root, keys)
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


def _entry(node: yaml.Node, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return node.value[int(key)], node.value[int(key)]
    return None


def _node(root: yaml.Node, keys: Sequence[str]) -> yaml.Node | None:
    node = root
    for key in keys:
        entry = _entry(node, key)
        if entry is None:
            return None
        node = entry[1]
    return node


def _line(root: yaml.Node, keys: Sequence[str]) -> int:
    node, line = root, 0
    for key in keys:
        entry = _entry(node, key)
        if entry is None:
            break
        line, node = entry[0].start_mark.line, entry[1]
    return line + 1


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


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


def keep(path: Path, values: Mapping[str, Any]) -> None:
    """Write values (dotted key → value) into the file; every other character of it stays. Raises `ConfigError`."""
    text = _read(path) if path.exists() else ""
    for dotted, value in values.items():
        text = with_value(text, dotted.split("."), value)
    parse(text, str(path))
    _write(path, text)


def with_value(text: str, keys: Sequence[str], value: Any) -> str:
    """Return YAML text with one key set: in place where it stands, else added to its block."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    literal = _literal(value)
    node = _node(root, keys) if root is not None else None
    if node is not None and node.start_mark.index < node.end_mark.index and not _is_block(node):
        return text[: node.start_mark.index] + literal + text[node.end_mark.index :]
    parent = _node(root, keys[:-1]) if root is not None else None
    if isinstance(parent, yaml.MappingNode) and parent.flow_style:
        at = int(parent.end_mark.index) - 1
        comma = ", " if parent.value else ""
        return text[:at].rstrip() + f"{comma}{keys[-1]}: {literal}" + text[at:]
    if isinstance(parent, yaml.MappingNode) and parent.value:
        first = parent.value[0][0].start_mark
        start, column = int(first.index), int(first.column)
        return text[:start] + f"{keys[-1]}: {literal}\n" + " " * column + text[start:]
    block = literal
    for key in reversed(keys[1:]):
        block = f"{{{key}: {block}}}"
    return text + ("" if not text or text.endswith("\n") else "\n") + f"{keys[0]}: {block}\n"


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _literal(value: Any) -> str:
    flow: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return str(flow).removesuffix("\n").removesuffix("\n...").strip()


def _write(path: Path, text: str) -> None:
    # A new file in its place, synced before the rename: after a power cut there is the old one or the new one.
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                status = path.stat()
                os.chmod(temporary, status.st_mode & 0o7777)  # noqa: PTH101
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, status.st_uid, status.st_gid)
            else:
                Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _sweep(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})", "the settings live on until a restart; "
                          "check the file's owner and the disk") from error  # fmt: skip


def _sweep(path: Path) -> None:
    """Remove what earlier writes left when the power was cut; a young file may be another's, still being written."""
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            ours = left.name.startswith(f".{path.name}.") and len(left.name) == len(path.name) + 10
            if ours and abs(time.time() - left.stat().st_mtime) > _YOUNG_S:
                left.unlink()
