"""The network's file: its nodes keep names of their own, however often it is read and stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino.opset13 as op
import pytest
from small_models import network, paint, save_ir

from picam_infer.convert import graph, ir
from picam_infer.convert.conversion import Options, Precision, convert
from picam_infer.core import PicamError
from picam_infer.inference.engines.openvino import read_network
from picam_infer.models import bundle


def test_a_network_that_was_stored_before_keeps_names_of_its_own() -> None:
    """In what was stored as f16, the constants and what converts them are numbered already."""
    model = read_network(bundle.load("digits"))
    ir.rename(model)
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert sorted(names) == sorted(set(names))


def test_names_do_not_depend_on_what_was_built_before() -> None:
    first, second = (ir.serialise(read_network(bundle.load("digits")), half=True) for _ in range(2))
    assert first == second
    assert not re.search(rb'name="Constant_\d+"', first["model.xml"])


def same_notes(source: Path, out: Path, **options: Any) -> list[str]:
    return [note for note in convert(source, out, Options(**options)).notes if "answers the same" in note]


def test_a_network_that_answers_the_same_to_everything_is_reported(tmp_path: Path) -> None:
    assert same_notes(save_ir(tmp_path / "m.xml", network(lambda y: op.softmax(y, 1))), tmp_path / "o") == []
    (note,) = same_notes(
        save_ir(tmp_path / "n.xml", network(lambda y: op.softmax(y, 1), kernel=np.zeros((3, 3)))), tmp_path / "p"
    )
    assert "--scale" in note


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_weights_that_are_no_numbers_are_refused_though_the_answers_are(
    value: float, precision: Precision, tmp_path: Path
) -> None:
    kernel = np.eye(3)
    kernel[1, 1] = value
    source = save_ir(tmp_path / "m.xml", network(lambda y: op.softmax(op.relu(y), 1), kernel=kernel))
    paint(tmp_path, "red")
    with pytest.raises(PicamError, match=r"layer MatMul\w*: its weights hold values that are not numbers"):
        convert(
            source, tmp_path / "o", Options(precision=precision, calibrate=tmp_path if precision == "int8" else None)
        )
    assert not (tmp_path / "o").exists()


def branched(good: float, bad: float) -> openvino.Model:
    """A network that takes one of two branches."""
    given, bodies = op.parameter([1, 2, 3], np.float32), [body(good), body(bad)]
    is_dark = op.less(op.reduce_mean(given, [0, 1, 2]), np.float32(0))
    node = op.if_op(is_dark.output(0))
    node.set_then_body(bodies[0])
    node.set_else_body(bodies[1])
    node.set_input(given.output(0), *(each.get_parameters()[0] for each in bodies))
    return openvino.Model([node.set_output(*(each.get_results()[0] for each in bodies))], [given])


def looped(good: float, bad: float) -> openvino.Model:
    """A network that does the same to each part of its input, in a loop."""
    given, inner, node = op.parameter([1, 4, 3], np.float32), body(bad), op.tensor_iterator()
    node.set_body(inner)
    node.set_sliced_input(inner.get_parameters()[0], given.output(0), 0, 2, 2, -1, 1)
    parts = node.get_concatenated_slices(inner.get_results()[0].output(0), 0, 2, 2, -1, 1)
    return openvino.Model([op.multiply(parts, np.float32(good))], [given])


def body(weight: float) -> openvino.Model:
    given = op.parameter([1, 2, 3], np.float32)
    return openvino.Model([op.matmul(given, np.full((3, 3), weight, np.float32), False, False)], [given])


@pytest.mark.parametrize("made", [branched, looped])
def test_networks_inside_a_network_are_saved_whole_and_looked_at(
    made: Callable[[float, float], openvino.Model],
) -> None:
    files = ir.serialise(made(1.0, 2.0), half=True)
    assert not re.search(rb'name="(Constant|MatMul)_\d+"', files["model.xml"])
    stored = ir.load(files)
    feed = np.ones(tuple(stored.input(0).shape), np.float32)
    assert (ir.compiled(stored)([feed])[0] == 6).all()
    graph.require_numbers(stored)
    with pytest.raises(PicamError, match=r"layer MatMul\w*: its weights hold values that are not numbers"):
        graph.require_numbers(made(1.0, np.nan))


def test_infinity_may_be_a_limit_or_mask_a_value(tmp_path: Path) -> None:
    mask = np.array([0, 0, -np.inf], np.float32)
    source = save_ir(
        tmp_path / "m.xml", network(lambda y: op.softmax(op.add(op.minimum(y, np.float32(np.inf)), mask), 1))
    )
    assert convert(source, tmp_path / "o").labels
