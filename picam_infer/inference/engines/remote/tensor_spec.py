"""What the server says about its model's input and output, compared with the bundle before the first frame is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from picam_infer.core import Pixels, Scores
from picam_infer.inference.engines.remote import errors
from picam_infer.inference.engines.remote.client import Tensor
from picam_infer.models.bundle import Bundle

TAKES = {"UINT8": np.uint8, "FP32": np.float32, "FP16": np.float16}
GIVES = ("FP32", "FP16", "FP64")
_ANY = -1
"""How the protocol writes a dimension of any size."""
_EXPORT = "make what it serves with: picam-infer export"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """How a bundle's input is sent to a server's model, and where the answer is."""

    input: str
    datatype: str
    layout: str
    """`NHWC` or `NCHW`."""
    batched: bool
    """Whether the tensor has a batch dimension."""
    output: str
    softmax: bool = False
    """Whether the answer still has to be made probabilities."""

    def tensor(self, input_image: Pixels, bundle: Bundle) -> Tensor:
        """Return (H, W, C) uint8 as the server takes it: pixels, or the network's own numbers."""
        if self.datatype == "UINT8":
            values: Tensor = np.array(input_image)  # the caller may reuse its buffer
        else:
            values = bundle.card.normalisation(input_image).astype(TAKES[self.datatype])
        if self.layout == "NCHW":
            values = np.ascontiguousarray(values.transpose(2, 0, 1))
        return values[None] if self.batched else values

    def scores(self, answer: Tensor, bundle: Bundle) -> Scores:
        """Return the answer as probabilities or values, shape (classes,). Raises `RemoteError`."""
        values = np.asarray(answer, np.float32).reshape(-1)
        if len(values) != len(bundle.labels):
            raise errors.RemoteError(
                "mismatch",
                f"the server's model answers with {len(values)} values, model "
                f"{bundle.name} has {len(bundle.labels)} labels",
                _EXPORT,
            )
        if not np.isfinite(values).all():
            raise errors.RemoteError(
                "mismatch", "the server's model answers with NaN or infinity instead of numbers", _EXPORT
            )
        if self.softmax:
            powers = np.exp(values - values.max())
            values = powers / powers.sum()
        return np.asarray(values, np.float32)


def agree(metadata: Mapping[str, Any], bundle: Bundle) -> TensorSpec:
    """Return how the bundle and the server's model fit together. Raises `RemoteError` that names what does not."""
    inputs, outputs = _tensors(metadata, "inputs"), _tensors(metadata, "outputs")
    if len(inputs) != 1:
        raise _mismatch(f"the server's model has {len(inputs)} inputs, one is needed")
    name, datatype, shape = inputs[0]
    if datatype not in TAKES:
        raise _mismatch(
            f"the server's model takes {datatype} as its input {name}; picam-infer sends {', '.join(TAKES)}"
        )
    layout, batched = _layout(shape, bundle)
    output = _output(outputs, bundle)
    return TensorSpec(name, datatype, layout, batched, output)


def _tensors(metadata: Mapping[str, Any], kind: str) -> list[tuple[str, str, tuple[int, ...]]]:
    try:
        found = [
            (str(t["name"]), str(t["datatype"]), tuple(int(side) for side in t["shape"]))
            for t in metadata.get(kind) or ()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise errors.RemoteError(
            "protocol",
            "the server's metadata of the model is not the protocol's",
            "is it an Open Inference Protocol (V2) server?",
        ) from error
    if not found:
        raise errors.RemoteError(
            "mismatch",
            f"the server does not say what {kind} its model has",
            "declare them there: name, datatype and shape of each",
        )
    return found


def _layout(shape: Sequence[int], bundle: Bundle) -> tuple[str, bool]:
    """Return the layout that fits, and whether there is a side for the batch."""
    size = bundle.card.input
    sides = {"NHWC": (size.height, size.width, size.channels), "NCHW": (size.channels, size.height, size.width)}
    own = bundle.card.input.layout
    for layout in sorted(sides, key=lambda name: name != own):
        if len(shape) in (3, 4) and all(s in (_ANY, w) for s, w in zip(shape[-3:], sides[layout], strict=True)):
            if len(shape) == 4 and shape[0] not in (_ANY, 1):
                raise _mismatch(f"the server's model takes {shape[0]} pictures at a time; one is sent")
            return layout, len(shape) == 4
    raise _mismatch(f"the server's model takes {_sides(shape)}, model {bundle.name} gives {_sides((1, *sides[own]))}")


def _output(outputs: Sequence[tuple[str, str, tuple[int, ...]]], bundle: Bundle) -> str:
    """Return the output that has a number for each label."""
    count = len(bundle.labels)
    for name, datatype, shape in outputs:
        lengths = [side for side in shape if side not in (1, _ANY)]
        if datatype in GIVES and (lengths == [count] or (count == 1 and not lengths)):
            return name
    name, datatype, shape = outputs[0]
    if len(outputs) == 1 and datatype in GIVES and shape and set(shape) <= {1, _ANY}:
        return name  # it does not say; its first answer will
    there = ", ".join(f"{name}: {datatype} {_sides(shape)}" for name, datatype, shape in outputs)
    raise _mismatch(f"the server's model answers with {there}; model {bundle.name} has {count} labels")


def probabilities(scores: Scores) -> bool:
    """Whether values (classes,) are probabilities of which one applies."""
    return bool((scores >= -1e-6).all() and abs(float(scores.sum()) - 1) < 5e-3)


def _sides(shape: Sequence[int]) -> str:
    return "×".join("any" if side == _ANY else str(side) for side in shape) or "one number"


def _mismatch(what: str) -> errors.RemoteError:
    return errors.RemoteError("mismatch", what, _EXPORT)
