"""Writes single keys back into the configuration file; every other character of it stays."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from picam_infer.config.reader import parse, read_text
from picam_infer.config.yaml_tree import node_at
from picam_infer.core import ConfigError

_YOUNG_S = 60


def keep(path: Path, values: Mapping[str, Any]) -> None:
    """Write values (dotted key → value) into the file; every other character of it stays. Raises `ConfigError`."""
    text = read_text(path) if path.exists() else ""
    for dotted, value in values.items():
        text = with_value(text, dotted.split("."), value)
    parse(text, str(path))
    _write(path, text)


def with_value(text: str, keys: Sequence[str], value: Any) -> str:
    """Return YAML text with one key set: in place where it stands, else added to its block."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    literal = _literal(value)
    node = node_at(root, keys) if root is not None else None
    if node is not None and node.start_mark.index < node.end_mark.index and not _is_block(node):
        return text[: node.start_mark.index] + literal + text[node.end_mark.index :]
    for depth in range(len(keys) - 1, 0, -1):
        parent = node_at(root, keys[:depth]) if root is not None else None
        entry = f"{keys[depth]}: {_nested(keys[depth + 1 :], literal)}"
        if isinstance(parent, yaml.MappingNode) and parent.flow_style:
            at = int(parent.end_mark.index) - 1
            comma = ", " if parent.value else ""
            return text[:at].rstrip() + f"{comma}{entry}" + text[at:]
        if isinstance(parent, yaml.MappingNode) and parent.value:
            first = parent.value[0][0].start_mark
            start, column = int(first.index), int(first.column)
            return text[:start] + f"{entry}\n" + " " * column + text[start:]
    return text + ("" if not text or text.endswith("\n") else "\n") + f"{keys[0]}: {_nested(keys[1:], literal)}\n"


def _nested(keys: Sequence[str], literal: str) -> str:
    """Return a literal as the value of nested keys: `{b: {c: 1}}`."""
    for key in reversed(keys):
        literal = f"{{{key}: {literal}}}"
    return literal


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _literal(value: Any) -> str:
    flow: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
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
