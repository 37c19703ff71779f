"""What TensorFlow Lite and ONNX files say about themselves besides their graph: scaling, colours, names, makers."""

from __future__ import annotations

import ast
import contextlib
import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from picam_infer.models.bundle import Colour

MAX_BYTES = 1 << 31
_STRANGE = (struct.error, IndexError, ValueError, UnicodeError, KeyError, TypeError, RecursionError, SyntaxError,
            MemoryError, OSError, zipfile.BadZipFile, NotImplementedError, EOFError)  # fmt: skip
"""What reading a damaged file raises: then nothing is known about it."""


@dataclass(frozen=True)
class Metadata:
    """All of this is optional; the network's graph takes precedence."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """The network sees (pixel − mean) / std, pixels 0…255; one number or one for each channel."""
    colour: Colour | None = None
    labels: tuple[str, ...] = ()
    labels_from: str = ""
    """Where the file has its class names."""
    maker: str = ""
    """The program that wrote it: `pytorch`, `tf2onnx`…"""
    task: str = ""
    """What its makers call its task: `classify`, `detect`…"""
    more: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, kind: str) -> Metadata:
    """Return what a `.tflite` or `.onnx` file says about itself; nothing where it is damaged."""
    with contextlib.suppress(*_STRANGE):
        if kind in ("tflite", "onnx") and path.stat().st_size <= MAX_BYTES:
            data = memoryview(path.read_bytes())
            return _tflite(data) if kind == "tflite" else _onnx(data)
    return Metadata()


# -- TensorFlow Lite: flatbuffers, by its schema.fbs and metadata_schema.fbs -----


class _Table:
    """One flatbuffers table; fields are found by their number in the schema."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - struct.unpack_from("<i", data, at)[0]
        self._size = struct.unpack_from("<H", data, self._vtable)[0]

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot >= self._size:
            return None
        offset = struct.unpack_from("<H", self._data, self._vtable + slot)[0]
        return self._at + offset if offset else None

    def number(self, number: int, code: str = "<I") -> int:
        """Return a scalar; 0 where it is left out."""
        at = self._field(number)
        return 0 if at is None else int(struct.unpack_from(code, self._data, at)[0])

    def _follow(self, at: int) -> int:
        return at + int(struct.unpack_from("<I", self._data, at)[0])

    def table(self, number: int) -> _Table | None:
        """Return the table that a field points to."""
        at = self._field(number)
        return None if at is None else _Table(self._data, self._follow(at))

    def _vector(self, number: int) -> tuple[int, int]:
        at = self._field(number)
        if at is None:
            return 0, 0
        start = self._follow(at)
        count = int(struct.unpack_from("<I", self._data, start)[0])
        if start + 4 + count > len(self._data):
            raise ValueError
        return start + 4, count

    def tables(self, number: int) -> list[_Table]:
        """Return a vector of tables."""
        start, count = self._vector(number)
        return [_Table(self._data, self._follow(start + 4 * at)) for at in range(min(count, 10_000))]

    def floats(self, number: int) -> tuple[float, ...]:
        """Return a vector of floats, of which none is read that has more than the channels of a picture."""
        start, count = self._vector(number)
        return struct.unpack_from(f"<{count}f", self._data, start) if count <= 4 else ()

    def bytes(self, number: int) -> memoryview:
        """Return a vector of bytes, or a string's."""
        start, count = self._vector(number)
        return self._data[start : start + count]

    def text(self, number: int) -> str:
        """Return a string."""
        return bytes(self.bytes(number)).decode("utf-8", "replace")


def _root(data: memoryview) -> _Table:
    return _Table(data, struct.unpack_from("<I", data, 0)[0])


def _tflite(data: memoryview) -> Metadata:
    model = _root(data)
    buffers = model.tables(4)
    blocks = {entry.text(0): buffers[entry.number(1)] for entry in model.tables(6)}
    if "TFLITE_METADATA" not in blocks:
        return Metadata(labels=_packed_labels(data, ()), labels_from="its own files")
    about = _root(blocks["TFLITE_METADATA"].bytes(0))
    graphs = about.tables(3)
    inputs = graphs[0].tables(2) if graphs else []
    outputs = graphs[0].tables(3) if graphs else []
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in inputs[0].tables(4) if len(inputs) == 1 else []:
        options = unit.table(1)
        if unit.number(0, "<B") == 1 and options is not None:
            mean, std = options.floats(0), options.floats(1)
    names = tuple(file.text(0) for output in outputs for file in output.tables(6) if file.number(2, "<b") in (2, 3))
    usable = len(mean) in (1, 3) and len(std) in (1, 3) and all(std)
    return Metadata(
        mean if usable else (),
        std if usable else (),
        labels=_packed_labels(data, names),
        labels_from="its own metadata",
    )


def _packed_labels(data: memoryview, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines of the label file that is packed as a zip at the end of the file."""
    if b"PK\x05\x06" not in bytes(data[-70_000:]):
        return ()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        texts = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".txt")]
        named = [entry for entry in texts if entry.filename in names] or texts
        if not named or named[0].file_size > 4 << 20:
            return ()
        text = archive.read(named[0]).decode("utf-8-sig", "replace")
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


# -- ONNX: the outermost message of its protobuf ---------------------------------


def _onnx(data: memoryview) -> Metadata:
    maker, entries = "", {}
    for number, value in _fields(data):
        if number == 2 and isinstance(value, memoryview):
            maker = bytes(value).decode("utf-8", "replace").lower()
        elif number == 14 and isinstance(value, memoryview):
            pair = {
                at: bytes(part).decode("utf-8", "replace")
                for at, part in _fields(value)
                if isinstance(part, memoryview)
            }
            entries[pair.get(1, "")] = pair.get(2, "")
    labels = _python_names(entries.get("names", ""))
    pixels = entries.get("Image.NominalPixelRange", "").lower()
    ranges = {"nominalrange_0_255": (0.0, 1.0), "normalized_0_1": (0.0, 255.0), "normalized_1_1": (127.5, 127.5)}
    mean, std = ranges.get(pixels, (None, None))
    order: dict[str, Colour] = {"bgr8": "bgr", "rgb8": "rgb", "gray8": "grey"}
    return Metadata(
        () if mean is None else (mean,), () if std is None else (std,),
        order.get(entries.get("Image.BitmapPixelFormat", "").lower()), labels, "its own metadata", maker,
        entries.get("task", ""), entries,
    )  # fmt: skip


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of a protobuf message's fields: numbers, or the bytes of texts and messages."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif key & 7 == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError
            yield key >> 3, data[at : at + size]
            at += size
        elif key & 7 in (1, 5):
            at += 8 if key & 7 == 1 else 4
        else:
            raise ValueError


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError


def _python_names(text: str) -> tuple[str, ...]:
    """Return names by number from a Python dictionary or list written out, as Ultralytics does."""
    if not text or len(text) > 1 << 20:
        return ()
    value = ast.literal_eval(text)
    if isinstance(value, dict) and sorted(value) == list(range(len(value))):
        value = [value[at] for at in range(len(value))]
    return tuple(map(str, value)) if isinstance(value, list) else ()
