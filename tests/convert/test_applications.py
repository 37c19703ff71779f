"""The networks of keras.applications with random weights, against Keras itself: needs the extra `train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picam_infer.convert import ir
from picam_infer.convert.conversion import Options, convert

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras", reason="Keras is not installed (extra `train`)")

FAMILIES = {
    "MobileNet": 96, "MobileNetV2": 96, "MobileNetV3Small": 96, "MobileNetV3Large": 96, "EfficientNetB0": 96,
    "EfficientNetV2B0": 96, "DenseNet121": 96, "InceptionV3": 139, "Xception": 96, "ResNet50": 96, "ResNet50V2": 96,
    "InceptionResNetV2": 139, "NASNetMobile": 224, "VGG16": 64,
}  # fmt: skip
RESCALE_INSIDE = ("EfficientNet", "MobileNetV3")


def randomised(network: Any, rng: np.random.Generator) -> None:
    """Give every weight a random value; as Keras makes them, norms do nothing and biases are zero."""
    weights = []
    for variable, value in zip(network.weights, network.get_weights(), strict=True):
        if value.dtype.kind != "f":
            weights.append(value)
        elif "variance" in variable.name or "gamma" in variable.name:
            weights.append((1 + np.abs(rng.normal(0, 0.1, value.shape))).astype(np.float32))
        else:
            weights.append((value + rng.normal(0, 0.02, value.shape)).astype(np.float32))
    network.set_weights(weights)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_answers_as_keras(family: str, ending: str, tmp_path: Path) -> None:
    size, rng = FAMILIES[family], np.random.default_rng(0)
    keras.backend.clear_session()
    network = getattr(keras.applications, family)(weights=None, input_shape=(size, size, 3), classes=7)
    randomised(network, rng)
    low, high = (0, 255) if family.startswith(RESCALE_INSIDE) else (-1, 1)
    x = rng.uniform(low, high, (1, size, size, 3)).astype(np.float32)
    expected = np.asarray(network(x, training=False))
    network.save(tmp_path / f"model{ending}")
    convert(tmp_path / f"model{ending}", tmp_path / "out", Options(precision="f32"))
    answer = ir.compiled(str(tmp_path / "out" / "model.xml"))([x])[0]
    assert np.abs(answer - expected).max() < 1e-4
