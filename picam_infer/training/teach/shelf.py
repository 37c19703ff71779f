"""Which lessons there are, and the notes on each beside its pictures. Loads no network library."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picam_infer.models import bundle as bundles
from picam_infer.platform import atomic_file, utf8

SUFFIX = ".pictures"
"""The suffix of a lesson's folder, which lies beside its bundle."""
_NOTE = ".lesson.json"


def names() -> list[str]:
    """Return the names of the lessons, the newest first."""
    try:
        found = [
            (path.stat().st_mtime, path.name.removesuffix(SUFFIX))
            for path in bundles.home().iterdir()
            if path.name.endswith(SUFFIX) and not path.name.startswith(".") and path.is_dir()
        ]
    except (OSError, RuntimeError):
        return []
    return [name for _, name in sorted(found, reverse=True)]


def folder_of(name: str) -> Path:
    """Return where a lesson's pictures are."""
    return bundles.home() / f"{name}{SUFFIX}"


def find(name: str) -> Path | None:
    """Return the bundle's folder of a lesson that lies among the models, whether it has been made yet or not."""
    for place in bundles.places():
        with contextlib.suppress(OSError):  # it may not be entered, or no file has so long a name
            if (place / f"{name}{SUFFIX}").is_dir():
                return place / name
    return None


def note(folder: Path) -> dict[str, Any]:
    """Return the notes on a lesson: `backbone` and `classes`, where known."""
    try:
        noted = json.loads((folder / _NOTE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


def write_note(folder: Path, noted: Mapping[str, Any]) -> None:
    """Write the notes on a lesson. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_file.write(folder / _NOTE, utf8.json_bytes(noted, indent=1))
