"""Networks with layers that are not built here, through an installed Keras on its OpenVINO back-end: no TensorFlow."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from picam_infer.convert import native_formats
from picam_infer.convert.network import Network
from picam_infer.core import PicamError
from picam_infer.platform import scratch

PARTS = ("config.json", "metadata.json", "model.weights.h5")
"""The files of a `.keras` archive."""
_BACKEND = "openvino"
_SAFE = (3, 9)
"""Before this release a file could have Keras import any module (CVE-2025-1550)."""
_OWN = ("keras", "builtins")
"""Whose classes and functions a file may name."""


def installed() -> bool:
    """Whether there is a Keras."""
    return importlib.util.find_spec("keras") is not None


def pack(folder: Path, archive: Path) -> Path:
    """Pack an unpacked `.keras` archive again and return it."""
    with zipfile.ZipFile(archive, "w") as file:
        for name in PARTS:
            if (folder / name).is_file():
                file.write(folder / name, name)
    return archive


def build(folder: Path, config: Any, output_layer: str | None) -> tuple[Network, str] | None:
    """Return the network of an unpacked `.keras` archive and the version of Keras; None: Keras does not know it either.

    `config` is what its config.json holds. Code inside the file is never run: Lambda layers and classes of other
    packages are refused.
    """
    if not installed() or any(module.split(".")[0] not in _OWN for module in _modules(config)):
        return None
    with scratch.folder() as place:
        keras = _keras(place)
        if keras is None:
            return None
        exported = place / "exported.xml"
        try:
            model = keras.saving.load_model(pack(folder, place / "model.keras"), compile=False, safe_mode=True)
            if output_layer:
                model = keras.Model(model.inputs, model.get_layer(output_layer).output)
            model.export(str(exported), format="openvino", verbose=False)
        except Exception:  # whatever Keras raises about a file: the caller reports what is wrong with it
            return None
        try:
            return native_formats.read(exported, "ir"), str(keras.__version__)
        except PicamError:
            return None


def _keras(home: Path) -> Any:
    """Return the library on its OpenVINO back-end; None: it is too old, or already uses another one."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = _BACKEND
        os.environ.setdefault("KERAS_HOME", str(home))  # it writes its settings there
    try:
        keras = importlib.import_module("keras")
    except ImportError:
        return None
    numbers = tuple(int(part) for part in str(keras.__version__).split(".")[:2] if part.isdigit())
    return keras if numbers >= _SAFE and keras.backend.backend() == _BACKEND else None


def _modules(config: Any) -> Iterator[str]:
    """Yield the Python modules that a configuration names."""
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            if isinstance(item.get("module"), str):
                yield item["module"]
            pending += item.values()
