"""Parts that a network has twice."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from picam_infer.inference.engines import twins

RNG = np.random.default_rng(5)
KERNEL = RNG.normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32)
DENSE = RNG.normal(0, 0.3, (3, 256)).astype(np.float32)


def padded(x: ov.Node, low: int, high: int) -> ov.Node:
    return ops.pad(x, np.array([0, 0, low, low]), np.array([0, 0, high, high]), "constant", np.float32(0))


def look(x: ov.Node, kernel: np.ndarray, shift: float = 0.5) -> ov.Node:
    """A small network: padded, convolved, pooled, scaled, flattened, weighed."""
    y = ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    y = ops.max_pool(y, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    y = ops.relu(ops.add(ops.multiply(y, np.full((1, 4, 1, 1), 2, np.float32)), np.float32([[[[shift]]]])))
    y = ops.transpose(y, np.array([0, 2, 3, 1]))
    return ops.matmul(ops.reshape(y, np.array([1, 256]), False), DENSE, False, True)


def two_looks(second: np.ndarray, shift: float = 0.5) -> ov.Model:
    image = ops.parameter([1, 1, 16, 16], np.float32)
    seen = ops.add(look(padded(image, 1, 1), KERNEL), look(padded(image, 2, 0), second, shift))
    return ov.Model([ops.result(seen)], [image], "looks twice")


def answer(model: ov.Model, image: np.ndarray) -> np.ndarray:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(image)[0])


def kinds(model: ov.Model) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


IMAGE = RNG.normal(0, 1, (1, 1, 16, 16)).astype(np.float32)


def test_twins_are_merged_and_the_answers_stay_the_same() -> None:
    plain, merged = two_looks(KERNEL), two_looks(KERNEL)
    assert twins.merge(merged) == 8
    assert [kinds(merged).count(kind) for kind in ("Convolution", "MaxPool", "Relu", "MatMul")] == [1, 1, 1, 1]
    assert answer(merged, IMAGE) == pytest.approx(answer(plain, IMAGE), abs=1e-5)


@pytest.mark.parametrize(("kernel", "shift", "saved"), [(-KERNEL, 0.5, 7), (KERNEL, 0.25, 3)])
def test_other_weights_stay_apart(kernel: np.ndarray, shift: float, saved: int) -> None:
    plain, merged = two_looks(kernel, shift), two_looks(kernel, shift)
    assert twins.merge(merged) >= saved
    assert kinds(merged).count("Convolution") == (1 if kernel is KERNEL else 2)
    assert answer(merged, IMAGE) == pytest.approx(answer(plain, IMAGE), abs=1e-5)


def test_one_after_the_other_are_no_twins() -> None:
    def chained() -> ov.Model:
        image = ops.parameter([1, 1, 16, 16], np.float32)
        once = ops.convolution(image, KERNEL[:1], [1, 1], [1, 1], [1, 1], [1, 1])
        twice = ops.convolution(once, KERNEL[:1], [1, 1], [1, 1], [1, 1], [1, 1])
        return ov.Model([ops.result(ops.add(once, twice))], [image], "chained")

    plain, same = chained(), chained()
    assert twins.merge(same) == 0
    assert answer(same, IMAGE) == pytest.approx(answer(plain, IMAGE))
