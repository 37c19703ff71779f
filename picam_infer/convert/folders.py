"""A folder of files that appears whole or not at all, and never replaces somebody else's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from picam_infer.core import PicamError
from picam_infer.platform import atomic_folder, disk

MARK = ".picam-infer.json"
"""Names what was written, so that a second export knows its own files."""


def write(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Write files by path into a folder; False: they are all there already. Raises `PicamError`.

    A folder with anything in it that was not written so, or was changed since, stays untouched.
    """
    try:
        before = _ours(folder)
        if before == {name: _digest(content) for name, content in files.items()}:
            return False
        with atomic_folder.replacing(folder) as fresh:  # what is there is empty, or all ours
            _fill(fresh, files)
    except OSError as error:
        raise disk.unwritable(folder, error, option="-o") from error
    return True


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    known = {name: _digest(content) for name, content in sorted(files.items())}
    for name, content in {**files, MARK: (json.dumps(known, indent=1) + "\n").encode()}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _ours(folder: Path) -> dict[str, str]:
    """Return what is in a folder that `write` wrote, or nothing in an empty one. Raises `PicamError`."""
    if not folder.exists():
        return {}
    other = PicamError(f"{folder} exists and holds other files", "choose a new folder with -o, or remove that one")
    if not folder.is_dir():
        raise other
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    if not there:
        return {}
    try:
        known = {str(k): str(v) for k, v in json.loads((folder / MARK).read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        raise other from None
    if there != {*known, MARK} or any(_digest((folder / name).read_bytes()) != known[name] for name in known):
        raise PicamError(
            f"{folder} was changed since it was exported", "choose a new folder with -o, or remove that one"
        )
    return known


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
