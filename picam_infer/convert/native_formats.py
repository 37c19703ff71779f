"""Files that OpenVINO reads itself: SavedModel, frozen graphs, checkpoints, TFLite, ONNX and its own IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino import preprocess

from picam_infer.convert import augmentation, lookalikes, openvino_errors, outputs
from picam_infer.convert.network import FREE_SIDE, MAX_ELEMENTS, VENDOR_ERRORS, Network
from picam_infer.core import PicamError


def read(path: Path, kind: str, output_layer: str | None = None, counts: Collection[int] = ()) -> Network:
    """Read a file through OpenVINO and bring its input and output to the bundle's contract. Raises `PicamError`.

    Contract: one output (that of `output_layer`, or the one that `counts` of labels fit), batch of 1, every size
    fixed, float32 in and out.
    """
    _refuse(path, kind)
    notes: list[str] = []
    try:
        model = _read(path, kind, notes)
        _switch_training_off(model)
        fixed = _try_shapes(model, notes)
        ends = {name for port in model.outputs for name in port.get_names()}
        model = outputs.choose(model, output_layer, counts, notes)
        if not fixed:
            _fix_shapes(model, notes)
        model, steps = _to_float(outputs.in_a_batch(outputs.before_the_index(model)))
    except PicamError:
        raise
    except VENDOR_ERRORS as error:
        raise openvino_errors.explain(path, kind, error) from error
    nodes = model.get_ordered_ops()
    constants = [n for n in nodes if n.get_type_name() == "Constant" and n.get_output_element_type(0).is_real()]
    parameters = sum(int(np.prod(n.get_output_shape(0), dtype=object)) for n in constants)
    kinds = Counter(n.get_type_name() for n in nodes)
    for bookkeeping in ("Constant", "Parameter", "Result", "Convert"):
        kinds.pop(bookkeeping, None)
    name = next(iter(sorted(model.output(0).get_names())), "output")
    inner = output_layer is not None and output_layer not in ends
    return Network(
        model, sum(kinds.values()), parameters, name, kinds, intermediate=inner, quantised=steps is not None,
        offset=steps or 0.0, name=model.get_friendly_name(), notes=notes,
    )  # fmt: skip


def _read(path: Path, kind: str, notes: list[str]) -> Any:
    """Return OpenVINO's model of a file, without the random layers that it may have from training."""
    try:
        model = ov.Core().read_model(path)
        dropped = augmentation.drop(model)
    except VENDOR_ERRORS as error:
        lacking = openvino_errors.missing_operations(str(error))
        found = augmentation.read_without(path) if lacking and kind in ("savedmodel", "pb", "meta") else None
        if found is None:
            raise
        model, dropped = found
    if dropped:
        names = ", ".join(name.rpartition("/")[2] for name in dropped[:5]) + (" …" if len(dropped) > 5 else "")
        notes.append(f"random layers, which are for training, were removed: {names}")
    return model


def _refuse(path: Path, kind: str) -> None:
    """Raise `PicamError` for what OpenVINO would not read, or not with a reason that says what to do."""
    if kind == "ir":
        openvino_errors.refuse_old_ir(path)
        weights = path.with_suffix(".bin")
        if not weights.exists():
            raise PicamError(f"{path.name} lacks its weights, {weights.name}", "put both files into one folder")
        lookalikes.refuse_part(weights)
    if kind == "tflite" and b"edgetpu-custom-op" in path.read_bytes():
        raise PicamError(
            f"{path.name} was compiled for an Edge TPU, nothing else can run it",
            "export the model as TensorFlow Lite without Edge TPU, or as Keras",
        )


def _switch_training_off(model: Any) -> None:
    """Set inputs that only say whether the network is being trained."""
    for parameter in list(model.get_parameters()):
        if parameter.get_element_type() == ov.Type.boolean and len(model.get_parameters()) > 1:
            off = op.constant(np.array(False))
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(off.output(0))
            model.remove_parameter(parameter)


def _try_shapes(model: Any, notes: list[str]) -> bool:
    """Fix the sizes before an output is chosen, which needs them; inputs that nobody needs may have any."""
    told: list[str] = []
    try:
        _fix_shapes(model, told)
    except (PicamError, *VENDOR_ERRORS):
        return False
    notes += told
    return True


def _fix_shapes(model: Any, notes: list[str]) -> None:
    if not model.inputs:
        raise PicamError("the model has no input", "export it again")
    shapes = {}
    for port in model.inputs:
        partial = port.get_partial_shape()
        if partial.rank.is_dynamic:
            raise PicamError("the model does not say the shape of its input", "export it with a fixed input shape")
        sides: list[int | None] = [int(d.get_length()) if d.is_static else None for d in partial]
        if sides:
            sides[0] = 1
        if len(sides) == 4 and None in sides[1:]:
            spatial = (2, 3) if sides[1] in (1, 3) else (1, 2)
            rest = next(at for at in (1, 3) if at not in spatial)
            sides[rest] = 3 if sides[rest] is None else sides[rest]
            sides = [FREE_SIDE if side is None and at in spatial else side for at, side in enumerate(sides)]
            notes.append(f"the model leaves the picture's size open: {FREE_SIDE}×{FREE_SIDE} was taken")
        if any(side is None or side < 1 for side in sides) or np.prod(np.array(sides, dtype=object)) > MAX_ELEMENTS:
            raise PicamError(f"the model's input has the shape {partial}", "export it with a fixed input shape")
        shapes[port] = ov.PartialShape([int(side) for side in sides if side is not None])
    model.reshape(shapes)


def _to_float(model: Any) -> tuple[Any, float | None]:
    """Return the model with float32 at both ends, and what to add to a pixel if its input was quantised.

    A quantised output is brought back to what it stands for, see `_meant`.
    """
    kinds = [str(port.get_element_type().get_type_name()) for port in model.inputs]
    out = str(model.output(0).get_element_type().get_type_name())
    if all(kind == "f32" for kind in kinds) and out == "f32":
        return model, None
    for kind in kinds:
        if kind not in ("u8", "i8", "f16", "f64", "f32"):
            raise PicamError(f"the model's input is of type {kind}", "export it with float or uint8 input")
    if {"u8", "i8"} & set(kinds):
        ppp = preprocess.PrePostProcessor(model)
        for at in range(len(kinds)):
            ppp.input(at).tensor().set_element_type(ov.Type.f32)
        ppp.output(0).tensor().set_element_type(ov.Type.f32)
        model = ppp.build()
    else:
        model = _converted(model)
    if out in ("u8", "i8"):
        result = model.get_results()[0]
        node = result.input_value(0)
        names = result.output(0).get_names()
        scale, zero = _meant(node.get_node(), out)
        real = op.multiply(op.subtract(node, op.constant(np.float32(zero))), op.constant(np.float32(scale)))
        fresh = op.result(real)
        fresh.output(0).get_tensor().set_names(set(names) or {"output"})
        model = ov.Model([fresh], model.get_parameters(), model.get_friendly_name())
    return model, {"u8": 0.0, "i8": -128.0}.get(kinds[0])


def _converted(model: Any) -> Any:
    """Return the model with a conversion from and to float32 at its ends.

    OpenVINO's own preprocessing would also fold the scaling at the front into the first layer, where nobody finds it.
    """
    inputs = []
    for old in model.get_parameters():
        fresh = op.parameter(old.get_partial_shape(), ov.Type.f32, old.get_friendly_name())
        fresh.output(0).get_tensor().set_names(set(old.output(0).get_names()))
        inside = op.convert(fresh, str(old.get_element_type().get_type_name()))
        for target in old.output(0).get_target_inputs():
            target.replace_source_output(inside.output(0))
        inputs.append(fresh)
    result = model.get_results()[0]
    last = op.result(op.convert(result.input_value(0), "f32"))
    last.output(0).get_tensor().set_names(set(result.output(0).get_names()) or {"output"})
    return ov.Model([last], inputs, model.get_friendly_name())


def _meant(node: Any, kind: str) -> tuple[float, float]:
    """Return scale and zero of a quantised output: from its last quantisation, else those TFLite fixes for softmax."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() == "FakeQuantize":
        ends = [node.input_value(at).get_node() for at in range(1, 5)]
        if all(end.get_type_name() == "Constant" and end.get_data().size == 1 for end in ends):
            low, high, first, last = (float(end.get_data().ravel()[0]) for end in ends)
            if high > low and last > first:
                scale = (high - low) / (last - first)
                return scale, first - low / scale
    return 1 / 256, 0.0 if kind == "u8" else -128.0
