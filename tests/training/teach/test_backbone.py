"""Which layer describes a picture, found in the graph of many kinds of network; and the graph with taught layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lessons
import numpy as np
import openvino as ov
import pytest
from lessons import conv, dense, model, named, pooled, start
from openvino import opset13 as ops

from picam_infer.core import PicamError, UsageError
from picam_infer.models import bundle as bundles
from picam_infer.training.teach import backbone
from picam_infer.training.teach.backbone import Backbone
from picam_infer.training.teach.calibration import calibrate
from picam_infer.training.teach.head import head
from picam_infer.training.teach.lda import Lda, leave_one_out

RNG = np.random.default_rng(0)


def flat(x: Any) -> Any:
    return named(ops.reshape(x, np.array([1, -1]), False), "flat")


def teachable_machine() -> Any:
    return lessons.photo_network()


def one_dense_layer() -> Any:
    source, x = start()
    return model(source, ops.softmax(dense(named(pooled(conv(x, 64, 3, RNG)), "described"), 3, RNG, "d"), 1))


def flat_map_then_two() -> Any:
    source, x = start()
    x = ops.relu(dense(flat(ops.relu(conv(x, 8, 3, RNG))), 64, RNG, "hidden"))
    return model(source, dense(named(x, "described"), 4, RNG, "d"))


def flat_map_then_few() -> Any:
    """The hidden layer is too narrow to know anything but its own classes."""
    source, x = start()
    x = flat(ops.max_pool(ops.relu(conv(x, 8, 3, RNG)), [7, 7], [1, 1], [0, 0], [0, 0], [7, 7]).output(0))
    return model(source, dense(ops.relu(dense(named(x, "described"), 8, RNG, "hidden")), 4, RNG, "d"))


def several_networks() -> Any:
    source, x = start()
    ends = []
    for name in ("described_1", "described_2"):
        y = ops.relu(dense(flat(ops.relu(conv(x, 8, 3, RNG))), 40, RNG, "hidden"))
        ends.append(dense(named(y, name), 4, RNG, "d"))
    return model(source, ops.softmax(ops.multiply(ops.add(*ends), np.float32(0.5)), 1))


def dense_as_convolution() -> Any:
    source, x = start()
    x = named(ops.reduce_mean(ops.relu(conv(x, 64, 3, RNG)), np.array([2, 3]), keep_dims=True), "described")
    return model(source, ops.softmax(ops.reshape(conv(x, 5, 1, RNG), np.array([1, 5]), False), 1))


def map_for_each_class() -> Any:
    """As SqueezeNet and mini-Xception end: convolution, mean, softmax."""
    source, x = start()
    x = named(ops.relu(conv(x, 64, 3, RNG)), "described")
    return model(source, ops.softmax(pooled(ops.relu(conv(x, 5, 3, RNG, 1))), 1))


def normalised_between() -> Any:
    source, x = start()
    x = named(pooled(ops.relu(conv(x, 64, 3, RNG))), "described")
    y = ops.multiply(dense(x, 50, RNG, "hidden"), np.float32(1.5))
    y = ops.convert(ops.tanh(ops.add(y, RNG.normal(size=(1, 50)).astype(np.float32))), np.float32)
    return model(source, ops.sigmoid(dense(y, 4, RNG, "d")))


def only_dense() -> Any:
    source, x = start()
    x = ops.relu(dense(flat(x), 48, RNG, "first"))
    return model(source, dense(named(x, "described"), 4, RNG, "d"))


FOUND: dict[Callable[[], Any], tuple[str, int, bool]] = {
    teachable_machine: ("described", 48, True),
    one_dense_layer: ("described", 64, False),
    flat_map_then_two: ("described", 64, True),
    flat_map_then_few: ("described", 32, True),
    several_networks: ("described_1 + described_2", 80, True),
    dense_as_convolution: ("described", 64, True),
    map_for_each_class: ("described", 64, True),
    normalised_between: ("described", 64, True),
    only_dense: ("described", 48, True),
}


@pytest.mark.parametrize("network", FOUND, ids=lambda network: network.__name__)
def test_what_feeds_the_last_dense_layers_is_found(network: Callable[[], Any]) -> None:
    found = backbone.find(network())
    assert (found.layer, found.count, found.root) == FOUND[network]


@pytest.mark.parametrize("network", FOUND, ids=lambda network: network.__name__)
def test_taught_layers_on_any_network_say_what_numpy_says(network: Callable[[], Any], tmp_path: Path) -> None:
    base = Backbone(lessons.backbone(tmp_path / "base", network()))
    rng = np.random.default_rng(1)
    inputs = rng.uniform(size=(24, 1, 16, 16, 3)).astype(np.float32) * (1 + np.arange(24).reshape(-1, 1, 1, 1, 1) // 12)
    features = np.array([base.features(one) for one in inputs])
    assert features.shape == (24, base.count)
    vectors = np.sqrt(features.astype(float)) if base.root else features.astype(float)
    classes = (np.arange(24) // 12).astype(np.intp)
    fitted = Lda(vectors, classes, 2)
    layers = head(fitted, calibrate(fitted, leave_one_out(fitted, vectors, classes), classes), base.root, [0, 1])
    files = base.with_head(layers)
    assert files == base.with_head(layers)
    core = ov.Core()
    read = core.read_model(files["model.xml"], ov.Tensor(np.frombuffer(files["model.bin"], np.uint8).copy()))
    run = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    said = np.array([run([one])[0][0] for one in inputs])
    np.testing.assert_allclose(said, layers.probabilities(features), atol=1e-5)


def test_a_layer_can_be_named() -> None:
    network = teachable_machine()
    assert backbone.find(network, "hidden").count == 40
    with pytest.raises(UsageError, match=r"no layer 'nope'.*described"):
        backbone.find(network, "nope")


def test_a_map_that_is_named_is_taken_by_its_means() -> None:
    source, x = start()
    x = named(ops.relu(conv(x, 33, 3, RNG)), "map")
    found = backbone.find(model(source, dense(pooled(x), 4, RNG, "d")), "map")
    assert (found.count, found.pooled) == (33, True)


def test_too_wide_a_map_is_pooled_and_too_wide_a_layer_refused() -> None:
    source, x = start()
    wide = flat(ops.relu(conv(x, 40, 3, RNG)))  # 40 · 14 · 14 = 7,840
    found = backbone.find(model(source, dense(wide, 4, RNG, "d")))
    assert (found.count, found.pooled) == (40, True)
    with pytest.raises(PicamError, match="7840 numbers, more than 4096"):
        backbone.find(model(source, dense(wide, 4, RNG, "d")), "flat")


def test_a_network_without_dense_layers_is_refused_in_one_line() -> None:
    source, x = start()
    with pytest.raises(PicamError, match=r"no dense layer at its end.*--features"):
        backbone.find(model(source, ops.tile(pooled(x), np.array([1, 2]))))


def test_a_network_that_measures_is_no_backbone(tmp_path: Path) -> None:
    made = lessons.backbone(tmp_path / "made")
    text = (made.folder / "model.yaml").read_text() + "task: regression\n"
    (made.folder / "model.yaml").write_text(text)
    with pytest.raises(PicamError, match="measures values"):
        Backbone(bundles.load(made.folder))


def test_the_built_in_digits_are_a_backbone() -> None:
    layer, count = backbone.described(bundles.load("digits"))
    assert count == 512 and layer.count(" + ") == 1
