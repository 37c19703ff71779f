"""Why OpenVINO could not read a file: found in the file itself where possible, and in our own words."""

from __future__ import annotations

import re
from pathlib import Path

from picam_infer.core import NoInput, PicamError

FORMATS = {
    "savedmodel": "TensorFlow SavedModel",
    "tflite": "TensorFlow Lite",
    "pb": "TensorFlow frozen graph",
    "meta": "TensorFlow checkpoint",
    "onnx": "ONNX",
    "ir": "OpenVINO IR",
}
_AGAIN = "download, copy or export it again"
_WHOLE = "copy the whole folder of the SavedModel"
_SOURCE = "convert the Keras, ONNX or TensorFlow file that it was made from"
_REPORT = "export it again, as Keras or ONNX if you can; if another program runs it, please report it"
_ENCODED = {"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeRaw", "DecodeBase64", "ParseExample", "ParseExampleV2"}
_RANDOM = re.compile(
    r"Stateless(?:Random|Truncated|Sample|Multinomial)|Random|ImageProjectiveTransform|Multinomial|AdjustHue"
)
_INDEX_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_MIN_IR = 10


def refuse_old_ir(path: Path) -> None:
    """Raise `PicamError` for an OpenVINO file of a version that is no longer read."""
    head = path.read_bytes()[: 1 << 16].decode("utf-8", "replace")
    root = re.search(r"<net\b[^>]*>", head, re.IGNORECASE)
    if root is None:
        raise PicamError(
            f"{path.name} is an XML file, but not an OpenVINO network", "give the .xml with its .bin next to it"
        )
    version = re.search(r"""\bversion\s*=\s*["'](\d{1,4})["']""", root[0], re.IGNORECASE)
    if version is None or int(version[1]) < _MIN_IR:
        which = f"version {version[1]}" if version else "a version without a number"
        raise PicamError(
            f"{path.name} is OpenVINO IR {which}, made before 2020; OpenVINO reads version {_MIN_IR} and later", _SOURCE
        )


def explain(path: Path, kind: str, error: BaseException) -> PicamError:
    """Return our error for OpenVINO's, about a file (or a SavedModel's folder) of one of `FORMATS`."""
    said = str(error)
    if isinstance(error, MemoryError) or "bad_alloc" in said:
        return PicamError(f"{path.name} needs more memory than there is", "convert it on a larger computer")
    lacking = missing_operations(said)
    return (
        _incomplete(path, kind, said)
        or (_unsupported(path, kind, lacking) if lacking else None)
        or PicamError(f"{path.name} cannot be read as {FORMATS[kind]}", _REPORT)
    )


def missing_operations(said: str) -> list[str]:
    """Return the operations that OpenVINO says it does not know."""
    listed = re.findall(r"No conversion rule found for operations: ([^\n]+)", said)
    listed += re.findall(r"doesn't contain the operation with type: ([^\s]+)", said)
    names = [name.strip() for line in listed for name in line.split(",")]
    return list(dict.fromkeys(re.sub(r"-\d+\Z", "", name) for name in names if name))


def _unsupported(path: Path, kind: str, names: list[str]) -> PicamError:
    shown = ", ".join(name[:60] for name in names[:5]) + (" …" if len(names) > 5 else "")
    if _ENCODED & set(names):
        return PicamError(
            f"{path.name} takes encoded pictures ({shown}), a camera feeds pixels",
            "export the network with an input of pixels",
        )
    if any(_RANDOM.match(name) for name in names):
        return PicamError(
            f"{path.name} holds random layers, for training ({shown}), that cannot be removed from it",
            "give the model as .keras or .h5, where convert drops them, or export it without them",
        )
    many = "operations that OpenVINO does not have" if len(names) > 1 else "an operation that OpenVINO does not have"
    other = "ONNX or TensorFlow Lite" if kind in ("savedmodel", "pb", "meta") else "Keras or SavedModel"
    return PicamError(f"{path.name} uses {many}: {shown}", f"replace it in the network, or try an export as {other}")


def _incomplete(path: Path, kind: str, said: str) -> PicamError | None:
    """Return the error for a file that is not whole, or that lacks a part of its own."""
    if kind == "savedmodel":
        return _saved_model(path, said)
    if kind in ("pb", "onnx", "meta"):
        outside = re.search(r"externally stored data in file \(([^,)]{1,200})", said)
        if outside:
            return NoInput(f"{path.name} lacks its weights, {outside[1]}", "put that file next to it")
        return _protobuf(path)
    if kind == "ir":
        return _ir(path)
    if "FlatBuffer verification failed" in said:
        return PicamError(f"{path.name} is cut short or damaged: its tables lead out of the file", _AGAIN)
    return None


def _saved_model(folder: Path, said: str) -> PicamError | None:
    cut = _protobuf(folder / "saved_model.pb")
    if cut is not None:
        return cut
    variables = folder / "variables"
    index, shards = variables / "variables.index", sorted(variables.glob("variables.data-*"))
    if "is not initialized" in said and not (index.is_file() and shards):
        part = (
            "its folder variables"
            if not variables.is_dir()
            else "variables.index or variables.data in its folder variables"
        )
        return NoInput(f"{folder.name} lacks {part}, which holds the weights", _WHOLE)
    if index.is_file() and index.read_bytes()[-8:] != _INDEX_MAGIC:
        return PicamError(f"{folder.name}/variables/variables.index is cut short: its end is missing", _AGAIN)
    total = re.search(r"-of-(\d{5})\Z", shards[0].name) if shards else None
    if total and len(shards) < int(total[1]):
        held = f"{folder.name}/variables holds {len(shards)} of {int(total[1])} files variables.data"
        return NoInput(held, _WHOLE)
    if "exceed data size" in said:
        return PicamError(f"the weights in {folder.name}/variables are cut short", _AGAIN)
    return None


def _protobuf(path: Path) -> PicamError | None:
    """Return the error for a file of protocol buffers whose last field ends behind it; see protobuf.dev, "Encoding"."""
    data, at = memoryview(path.read_bytes()), 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            _, at = _varint(data, at)
        elif key & 7 == 2:
            length, at = _varint(data, at)
            at += length
        elif key & 7 in (1, 5) and key >> 3:
            at += 8 if key & 7 == 1 else 4
        else:
            return None  # no protocol buffers at all
    if at > len(data):
        return PicamError(f"{path.name} is cut short: {len(data):,} of {at:,} bytes", _AGAIN)
    return None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at a place, and the place behind it, which is outside if the data ends in it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, at + 1
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at


def _ir(path: Path) -> PicamError | None:
    text = path.read_bytes()
    if not text.rstrip().endswith(b"</net>"):
        return PicamError(f"{path.name} is cut short: its end is missing", _AGAIN)
    ends = [int(a) + int(b) for a, b in re.findall(rb'offset="(\d{1,15})" size="(\d{1,15})"', text)]
    weights = path.with_suffix(".bin")
    size = weights.stat().st_size
    if ends and max(ends) > size:
        what = f"{weights.name} is cut short, or belongs to another model"
        return PicamError(f"{what}: {size:,} bytes, {path.name} needs {max(ends):,}", _AGAIN)
    return None
