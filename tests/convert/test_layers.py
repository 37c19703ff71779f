"""Every layer in its settings against Keras's own answers, made once by make_fixtures.py with Keras 2 and 3."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picam_infer.convert import ir, keras_config, network, weights
from picam_infer.convert.layers.registry import NOT_TRAINED
from picam_infer.convert.weights import Stored

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    topology: Any
    weights: list[Stored]
    x: np.ndarray
    y: np.ndarray


def cases(keras: int) -> Iterator[tuple[str, Case]]:
    """Unpack what make_fixtures.py packed: every case's weights and input, then its answer, one after another."""
    file = np.load(HERE / f"layers_keras{keras}.npz")
    given, answers = iter_cut(file["given"]), iter_cut(file["answers"])
    for name, case in json.loads(file["index"].tobytes()).items():
        arrays = [(path, given(shape)) for path, shape in case["weights"]]
        # `model.weights` goes layer by layer; files list what is trained first.
        arrays.sort(key=lambda pair: re.sub(r":\d+$", "", pair[0]).split("/")[-1] in NOT_TRAINED)
        weights = [Stored(path, values.shape, lambda values=values: values) for path, values in arrays]
        yield f"keras{keras}-{name}", Case(case["topology"], weights, given(case["x"]), answers(case["y"]))


def iter_cut(data: np.ndarray) -> Callable[[list[int]], np.ndarray]:
    at = 0

    def cut(shape: list[int]) -> np.ndarray:
        nonlocal at
        at += math.prod(shape)
        return data[at - math.prod(shape) : at].reshape(shape).astype(np.float32)

    return cut


CASES = {name: case for keras in (2, 3) for name, case in cases(keras)}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_answers_as_keras_does(name: str) -> None:
    case = CASES[name]
    graph = keras_config.read_graph(keras_config.load_json(json.dumps(case.topology), name))
    model = network.build(graph, weights.from_list(graph, case.weights)).model
    answer = ir.compiled(model)([case.x])[0]
    assert answer.shape == case.y.shape
    np.testing.assert_allclose(answer, case.y, atol=1e-4 * max(1.0, np.abs(case.y).max()))


def test_the_fixtures_hold_every_kind_of_layer() -> None:
    assert len(CASES) > 250
    used = {spec.kind for case in CASES.values() for spec in keras_config.read_graph(case.topology).all_specs()}
    assert {"Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "LSTM", "Dot", "TFOpLambda"} <= used
