"""TensorFlow files written by hand, after TensorFlow's graph.proto and saved_model.proto: no TensorFlow needed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FLOAT, INT32, INT64 = 1, 3, 9
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int32): INT32, np.dtype(np.int64): INT64}


def varint(value: int) -> bytes:
    """Return a number as protocol buffers store it."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """Return one field."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def _shape(sides: Sequence[int]) -> bytes:
    return b"".join(field(2, field(1, side)) for side in sides)


def _tensor(array: np.ndarray) -> bytes:
    return field(1, _TYPES[array.dtype]) + field(2, _shape(array.shape)) + field(4, array.tobytes())


def node(kind: str, name: str, *inputs: str, **attributes: bytes) -> bytes:
    """Return a NodeDef as a field of a GraphDef."""
    content = field(1, name) + field(2, kind) + b"".join(field(3, source) for source in inputs)
    for key, value in attributes.items():
        content += field(5, field(1, key) + field(2, value))
    return field(1, content)


def constant(name: str, value: object, dtype: type = np.float32) -> bytes:
    """Return a Const node."""
    array = np.asarray(value, dtype)
    return node("Const", name, dtype=field(6, _TYPES[array.dtype]), value=field(8, _tensor(array)))


def _type(kind: int) -> bytes:
    return field(6, kind)


def head(source: str, last: str) -> bytes:
    """Return the nodes of a small classifier: flatten, 192 to 2, and a last operation named `answer`."""
    kernel = np.random.default_rng(3).normal(size=(192, 2)).astype(np.float32)
    return (
        constant("flat/shape", [-1, 192], np.int32)
        + node("Reshape", "flat", source, "flat/shape", T=_type(FLOAT), Tshape=_type(INT32))
        + constant("kernel", kernel)
        + node("MatMul", "logits", "flat", "kernel", T=_type(FLOAT))
        + node(last, "answer", "logits", T=_type(FLOAT))
    )


def _placeholder() -> bytes:
    return node("Placeholder", "image", dtype=_type(FLOAT), shape=field(7, _shape([-1, 8, 8, 3])))


def linear(last: str = "Softmax") -> bytes:
    """Return the GraphDef of a classifier of 8×8×3 pictures into two classes."""
    return _placeholder() + head("image", last)


def augmented(name: str, entries: int = 1) -> bytes:
    """Return the same behind a layer that turns the picture over by chance, as Keras exports it.

    With two entries what it gives is made of two tensors of the network: no layer that could be left out.
    """
    p = f"{name}/"
    other = "image" if entries == 1 else "halved"
    before = b"" if entries == 1 else constant("half", 0.5) + node("Mul", "halved", "image", "half", T=_type(FLOAT))
    counter = f"{p}uniform/StatelessRandomGetKeyCounter"
    draw = (
        constant(f"{p}seed", [1, 2], np.int64)
        + node("StatelessRandomGetKeyCounter", counter, f"{p}seed", Tseed=_type(INT64))
        + constant(f"{p}uniform/alg", 1, np.int32)
        + node("Shape", f"{p}Shape", "image", T=_type(FLOAT), out_type=_type(INT32))
        + node("StatelessRandomUniformV2", f"{p}uniform/StatelessRandomUniformV2", f"{p}Shape",
               counter, f"{counter}:1",
               f"{p}uniform/alg", dtype=_type(FLOAT), Tshape=_type(INT32))
    )  # fmt: skip
    choose = (
        constant(f"{p}limit", 0.5)
        + node("LessEqual", f"{p}LessEqual", f"{p}uniform/StatelessRandomUniformV2", f"{p}limit", T=_type(FLOAT))
        + constant(f"{p}axis", [2], np.int32)
        + node("ReverseV2", f"{p}ReverseV2", "image", f"{p}axis", T=_type(FLOAT), Tidx=_type(INT32))
        + node("SelectV2", f"{p}SelectV2", f"{p}LessEqual", f"{p}ReverseV2", other, T=_type(FLOAT))
    )
    return _placeholder() + before + draw + choose + head(f"{p}SelectV2", "Softmax")


def save_pb(path: Path, graph: bytes) -> Path:
    """Write a frozen graph."""
    path.write_bytes(graph)
    return path


def save_saved_model(folder: Path, graph: bytes) -> Path:
    """Write a SavedModel whose weights are constants, with the signature `serving_default`."""
    folder.mkdir(parents=True)

    def port(name: str, sides: Sequence[int]) -> bytes:
        return field(1, f"{name}:0") + field(2, FLOAT) + field(3, _shape(sides))

    signature = field(1, field(1, "image") + field(2, port("image", [-1, 8, 8, 3])))
    signature += field(2, field(1, "answer") + field(2, port("answer", [-1, 2])))
    signature += field(3, "tensorflow/serving/predict")
    signatures = field(5, field(1, "serving_default") + field(2, signature))
    meta = field(1, field(4, "serve")) + field(2, graph) + signatures
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, meta))
    return folder
