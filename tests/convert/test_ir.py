"""The network's file: its nodes keep names of their own, however often it is read and stored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import openvino.opset13 as op
import pytest
from small_models import network, paint, save_ir

from picam_infer.convert import ir
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


def test_infinity_may_be_a_limit_or_mask_a_value(tmp_path: Path) -> None:
    mask = np.array([0, 0, -np.inf], np.float32)
    source = save_ir(
        tmp_path / "m.xml", network(lambda y: op.softmax(op.add(op.minimum(y, np.float32(np.inf)), mask), 1))
    )
    assert convert(source, tmp_path / "o").labels
