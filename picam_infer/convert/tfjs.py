"""TensorFlow.js layers models: the weights beside `model.json`, plain or quantised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from picam_infer.convert import lookalikes
from picam_infer.convert.tensor import Array
from picam_infer.convert.weights import Stored
from picam_infer.core import NoInput, PicamError
from picam_infer.platform import regular_file
from picam_infer.platform.paths import real

_TYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint8": "u1",
    "uint16": "<u2",
    "bool": "u1",
    "int8": "i1",
}
_AGAIN = "copy or export it again"


def is_tfjs(config: Any) -> bool:
    """Tell a TensorFlow.js model from a Keras configuration."""
    return isinstance(config, Mapping) and "weightsManifest" in config


def read_weights(config: Mapping[str, Any], folder: Path, given: Path | None) -> list[Stored]:
    """Return the arrays of the manifest, in its order.

    `given` is a file in place of those that it names, or the folder where they lie.
    """
    if given and given.is_dir():
        folder, given = given, None
    manifest = config.get("weightsManifest")
    if not isinstance(manifest, list) or not all(isinstance(group, Mapping) for group in manifest):
        raise PicamError("the model.json has no list of weights", _AGAIN)
    if given and len(manifest) > 1:
        data = _joined([given])
        entries = [entry for group in manifest for entry in _entries(group)]
        return _arrays(entries, data, given.name)
    return [array for group in manifest for array in _group(group, folder, given)]


def _entries(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = group.get("weights")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise PicamError("the model.json has a group of weights without a list", _AGAIN)
    return entries


def _group(group: Mapping[str, Any], folder: Path, given: Path | None) -> list[Stored]:
    paths = group.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise PicamError("the model.json does not name its weights' files", _AGAIN)
    files = [given] if given else [_inside(folder, path) for path in paths]
    data = _joined(files)
    for file in files:
        lookalikes.refuse_part(file)
    return _arrays(_entries(group), data, ", ".join(file.name for file in files))


def _joined(files: list[Path]) -> bytes:
    """Return what files hold, one after the other. Raises `NoInput`."""
    found = []
    for file in files:
        try:
            regular_file.require(file)
            found.append(file.read_bytes())
        except OSError as error:
            if regular_file.is_closed(error):
                raise regular_file.unreadable(file, error) from error
            raise NoInput(f"the weights {file.name} are missing",
                          "put them next to model.json, or give them with --weights") from error  # fmt: skip
    return b"".join(found)


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    whole = folder / path
    if path.is_absolute() or ".." in path.parts or not real(whole).is_relative_to(real(folder)):
        raise PicamError(f"the model.json names weights outside its folder ({name[:80]})", "do not trust this file")
    return whole


def _arrays(entries: list[Mapping[str, Any]], data: bytes, source: str) -> list[Stored]:
    found, at = [], 0
    for entry in entries:
        name, shape = str(entry.get("name")), entry.get("shape")
        sides = shape if isinstance(shape, list) else [-1]
        if not all(isinstance(side, int) and 0 <= side <= 1 << 31 for side in sides):
            raise PicamError(f"weight {name[:80]} has the shape {str(shape)[:60]}", _AGAIN)
        packing = entry.get("quantization")
        packing = packing if isinstance(packing, Mapping) else {}
        kind = str(packing.get("dtype", entry.get("dtype")))
        if kind not in _TYPES:
            raise PicamError(f"weight {name[:80]} is of an unknown kind ({kind[:40]})", "export without quantisation")
        size = math.prod(sides) * np.dtype(_TYPES[kind]).itemsize
        if at + size > len(data):
            raise PicamError(f"{source} is cut short: {len(data)} bytes, weight {name[:80]} needs more", _AGAIN)
        values = np.frombuffer(data, _TYPES[kind], math.prod(sides), at).reshape(sides)
        found.append(Stored(name, tuple(sides), _reader(values, packing, name)))
        at += size
    return found


def _reader(values: Array, packing: Mapping[str, Any], name: str) -> Any:
    scale, low = packing.get("scale", 1.0), packing.get("min", 0.0)
    if not isinstance(scale, int | float) or not isinstance(low, int | float):
        raise PicamError(f"weight {name[:80]} has no scale", _AGAIN)
    if packing and values.dtype.kind == "u":
        return lambda: (values.astype(np.float32) * np.float32(scale) + np.float32(low)).astype(np.float32)
    return lambda: values.astype(np.float32)
