"""HDF5 files, read so that a hostile one cannot reach other files or fill the memory."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from picam_infer.convert.weights import Group, Stored, Tree
from picam_infer.core import PicamError
from picam_infer.platform import regular_file

MAX_ITEMS = 100_000
MAX_DEPTH = 40
MAX_BYTES = 4 * 2**30
MAX_RATIO = 200
"""How many times larger than the file its unpacked weights may be."""

_AGAIN = "copy or export it again"


@dataclass(frozen=True)
class Hdf5:
    """What a Keras HDF5 file holds: maybe a configuration, and weights as layer groups or as a tree."""

    config: str | None
    version: str
    backend: str
    groups: list[Group] | None
    """Keras 1, 2 and 3 `.h5`: the layers' weights in the file's own order."""
    tree: Tree
    """Keras 3 `.weights.h5`: arrays by path."""
    training: str | None = None
    """How it was trained, in Keras's JSON."""


@contextlib.contextmanager
def open_hdf5(source: Path | bytes, name: str) -> Iterator[Hdf5]:
    """Read a file's structure; its arrays are read when asked for, while the context is open. Raises `PicamError`."""
    size = len(source) if isinstance(source, bytes) else _size(source)
    try:
        file = h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(name, error) from error
    with contextlib.closing(file):
        try:
            content = _structure(file, size)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError, AttributeError) as error:
            raise PicamError(f"{name} is damaged: its inner tables do not agree", _AGAIN) from error
        yield content


def _size(path: Path) -> int:
    """Return how large a file is that can be read. Raises `NoInput`."""
    try:
        regular_file.require(path)
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise regular_file.unreadable(path, error) from error


def _unreadable(name: str, error: BaseException) -> PicamError:
    """Return our error for a file that HDF5's library does not open."""
    sizes = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", str(error))
    if sizes:
        return PicamError(f"{name} is cut short: {int(sizes[1]):,} of {int(sizes[2]):,} bytes", _AGAIN)
    return PicamError(f"{name} begins as an HDF5 file and goes on as something else: it is damaged", _AGAIN)


def _structure(file: Any, size: int) -> Hdf5:
    weights = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        link = file.get("model_weights", getlink=True)
        if isinstance(link, h5py.HardLink) and isinstance(file["model_weights"], h5py.Group):
            weights = file["model_weights"]
    config = _text(file.attrs.get("model_config"))
    version = _text(weights.attrs.get("keras_version")) or _text(file.attrs.get("keras_version")) or ""
    backend = _text(weights.attrs.get("backend")) or _text(file.attrs.get("backend")) or ""
    training = _text(file.attrs.get("training_config"))
    budget = _Budget(min(MAX_BYTES, max(size * MAX_RATIO, 1 << 26)))
    if "layer_names" in weights.attrs or "layer_names0" in weights.attrs:
        return Hdf5(config, version, backend, _groups(weights, budget), {}, training)
    return Hdf5(config, version, backend, None, _tree(weights, budget), training)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | np.bytes_):
        return bytes(value).decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def _names(group: Any, key: str) -> list[str]:
    """Return a list of names; Keras splits one that is too long for an attribute into key0, key1…"""
    if key in group.attrs:
        parts = [group.attrs[key]]
    else:
        parts = []
        while f"{key}{len(parts)}" in group.attrs and len(parts) < MAX_ITEMS:
            parts.append(group.attrs[f"{key}{len(parts)}"])
    return [_text(name) or "" for part in parts for name in np.asarray(part, object).ravel().tolist()]


class _Budget:
    """How many items and bytes may still be read."""

    def __init__(self, size: int) -> None:
        self.size, self.items = size, MAX_ITEMS

    def spend(self, size: int, name: str) -> None:
        self.size -= size
        self.items -= 1
        if self.size < 0 or self.items < 0:
            raise PicamError(f"the weights in {name} are far larger than the file", "do not trust this file")


def _groups(weights: Any, budget: _Budget) -> list[Group]:
    groups = []
    for name in _names(weights, "layer_names"):
        group = _follow(weights, name)
        if not isinstance(group, h5py.Group):
            raise PicamError(f"the file lists a layer {name[:80]!r} whose weights it does not hold", _AGAIN)
        arrays = []
        for weight in _names(group, "weight_names"):
            item = _follow(group, weight)
            if not isinstance(item, h5py.Dataset):
                raise PicamError(f"the file lists a weight {weight[:80]!r} that it does not hold", _AGAIN)
            arrays.append(_stored(item, weight, budget))
        groups.append(Group(name, arrays))
    return groups


def _follow(group: Any, path: str) -> Any:
    """Return what lies at a path, by hard links only: others lead out of the file or in circles."""
    whole = group.get(path, getlink=True) if "/" not in path else None
    if whole is not None:
        return group[path] if isinstance(whole, h5py.HardLink) else None
    for part in [part for part in path.split("/") if part]:
        if part in (".", "..") or not isinstance(group, h5py.Group) or part not in group:
            return None
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        group = group[part]
    return group


def _stored(item: Any, name: str, budget: _Budget) -> Stored:
    shape = tuple(int(side) for side in item.shape or ())
    if item.dtype.kind not in "fiub" or item.shape is None:
        raise PicamError(f"weight {name[:80]} is of an unknown kind ({item.dtype})", "export the model again")
    size = int(np.prod(shape, dtype=object)) * max(item.dtype.itemsize, 4)
    budget.spend(size, name[:80])
    if size and not item.id.get_storage_size():
        raise PicamError(f"weight {name[:80]} has a shape but no values in the file", _AGAIN)
    if item.external:
        raise PicamError(f"weight {name[:80]} lies in another file", "export the model as one file")

    def read() -> Any:
        try:
            return np.asarray(item[()], np.float32).reshape(shape)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise PicamError(f"weight {name[:80]} cannot be read: the file is damaged", _AGAIN) from error

    return Stored(name, shape, read)


def _tree(weights: Any, budget: _Budget) -> Tree:
    """Return every array by its path; some writers put backslashes in the names."""
    tree: Tree = {}
    pending: list[tuple[Any, tuple[str, ...]]] = [(weights, ())]
    while pending:
        group, path = pending.pop()
        if len(path) > MAX_DEPTH:
            raise PicamError("the file's groups are nested too deep", _AGAIN)
        for key in group:
            budget.spend(0, "the file")
            where = (*path, *[part for part in re.split(r"[\\/]", key) if part])
            if where[0] in ("optimizer", "optimizer_weights") or not isinstance(
                group.get(key, getlink=True), h5py.HardLink
            ):
                continue
            item = group[key]
            if isinstance(item, h5py.Group):
                pending.append((item, where))
            elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
                tree[where] = _stored(item, "/".join(where), budget)
    return tree
