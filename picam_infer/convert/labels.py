"""Class names, as people and exports write them down."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picam_infer.convert.keras_config import load_json
from picam_infer.core import NoInput, PicamError

MAX_BYTES = 4 << 20
# Everything that `str.splitlines` or a terminal would take for more than a character.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Labels:
    """Names by output, and what was noticed about them."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    source: str = ""


def find(folder: Path) -> Path | None:
    """Return the labels' file beside a model, if there is one: `labels.txt` in any case, or `metadata.json`."""
    try:
        files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError:
        return None
    for name in ("labels.txt", "label.txt", "classes.txt", "metadata.json"):
        if name in files and (name != "metadata.json" or _listed(files[name]) is not None):
            return files[name]
    return None


def find_near(folder: Path, root: Path | None) -> Path | None:
    """Return the labels' file beside a model, above it up to `root`, or the only one anywhere in `root`."""
    if root is None or not folder.is_relative_to(root):
        return find(folder)
    above = [folder, *folder.parents]
    places = above[: above.index(root) + 1]
    return next((found for place in places if (found := find(place))), None) or _only_one(root)


def _only_one(root: Path) -> Path | None:
    inside = [path for path in root.rglob("*") if path.name.lower() == "labels.txt" and path.is_file()]
    inside = [path for path in inside if "__MACOSX" not in path.parts and not path.is_symlink()]
    return inside[0] if len(inside) == 1 else None


def _listed(path: Path) -> list[Any] | None:
    """Return the list of names in a Teachable Machine `metadata.json`."""
    try:
        content = load_json(_bytes(path), path.name)
    except PicamError:
        return None
    if not isinstance(content, dict):
        return None
    names = content.get("labels", content.get("wordLabels"))
    return names if isinstance(names, list) and names else None


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PicamError(f"{path.name} is too large for a list of labels", "one class a line")
        return path.read_bytes()
    except OSError as error:
        raise NoInput(f"the labels {path} cannot be read ({error.strerror})", "check the name") from error


def read(path: Path) -> Labels:
    """Read a labels file: one class a line, with or without Teachable Machine's index. Raises `PicamError`."""
    data = _bytes(path)
    if path.suffix.lower() == ".json":
        return _clean([str(name) for name in _listed(path) or []], [], path.name)
    notes: list[str] = []
    text = _decode(data, path.name, notes)
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    return _clean(_without_index(lines), notes, path.name)


def _decode(data: bytes, name: str, notes: list[str]) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{name} is not UTF-8; it was read as Windows-1252")
        return data.decode("cp1252", "replace")


def _without_index(lines: list[str]) -> list[str]:
    """Drop the index if every line has its own; a label that merely begins with a number keeps it."""
    filled = [line for line in lines if line]
    matches = [re.fullmatch(rf"{at}(?:\s(.*))?", line) for at, line in enumerate(filled)]
    named = any(match and (match[1] or "").strip() for match in matches)
    if filled and named and all(matches):
        return [(match[1] or "").strip() if match else "" for match in matches]
    return lines


def _clean(names: list[str], notes: list[str], source: str) -> Labels:
    if not names:
        raise PicamError(f"{source} holds no labels", "one class a line")
    cleaned = [_CONTROL.sub(" ", name).replace("\ufeff", "").strip() for name in names]
    empty = [at for at, name in enumerate(cleaned) if not name]
    if empty:
        notes.append(f"{source} has no name for class {', '.join(map(str, empty[:8]))}")
    cleaned = [name or f"class {at}" for at, name in enumerate(cleaned)]
    twice = [name for name, count in Counter(cleaned).items() if count > 1]
    if twice:
        notes.append(f"{source} has the same name for several classes: {', '.join(twice[:4])}")
    return Labels(tuple(cleaned), tuple(notes), source)


def numbered(count: int) -> Labels:
    """Return names for classes of which nobody told one."""
    note = f"no labels found: they are called class 0 … class {count - 1}; name them in labels.txt or with --labels"
    return Labels(tuple(f"class {at}" for at in range(count)), (note,))


def check(labels: Labels, outputs: int) -> None:
    """Raise `PicamError` if there is not one name for each output."""
    if len(labels.names) != outputs:
        raise PicamError(
            f"{labels.source} has {len(labels.names)} labels, the network has {outputs} outputs",
            "give the labels that belong to this model with --labels",
        )
