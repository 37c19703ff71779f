"""The networks of keras.applications with random weights, against Keras itself, without TensorFlow too."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import makers
import numpy as np
import pytest

from picam_infer.convert import container, ir, keras_files
from picam_infer.convert.conversion import Options, convert

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Keras is slow to trace (a quarter as much again), and what is reached here is reached elsewhere too.
pytestmark = pytest.mark.no_cover

FAMILIES = {
    "MobileNet": 96, "MobileNetV2": 96, "MobileNetV3Small": 96, "MobileNetV3Large": 96, "EfficientNetB0": 96,
    "EfficientNetV2B0": 96, "DenseNet121": 96, "InceptionV3": 139, "Xception": 96, "ResNet50": 96, "ResNet50V2": 96,
    "InceptionResNetV2": 139, "NASNetMobile": 224, "VGG16": 64,
}  # fmt: skip
QUICK = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0")
"""The others take several times as long, and are made of the same layers."""
RESCALE_INSIDE = ("EfficientNet", "MobileNetV3")


def randomise(network: Any, rng: np.random.Generator) -> None:
    """Give every weight a random value; as Keras makes them, norms do nothing and biases are zero."""
    weights = []
    for variable in network.weights:  # asking the OpenVINO back-end for their values takes most of a minute
        shape, kind = tuple(variable.shape), str(variable.dtype)
        if not kind.startswith("float"):
            value = np.zeros(shape, kind)
        elif "variance" in variable.name or "gamma" in variable.name:
            value = 1 + np.abs(rng.normal(0, 0.1, shape))
        elif len(shape) < 2:
            value = rng.normal(0, 0.1, shape)
        else:
            inputs = np.prod(shape[:2] if "depthwise" in variable.name else shape[:-1])
            value = rng.normal(0, np.sqrt(1 / inputs), shape) * (1 if len(shape) > 2 else 0.3)
        weights.append(value.astype(kind))
    network.set_weights(weights)


def precisely(network: Any, x: np.ndarray) -> np.ndarray:
    """Return what Keras answers in single precision, which `predict` is not in on every processor's OpenVINO."""
    if makers.keras().backend.backend() != "openvino":
        return np.asarray(network.predict(x, verbose=0))
    with tempfile.TemporaryDirectory() as folder:
        network.export(f"{folder}/keras.xml", format="openvino", verbose=False)
        return np.asarray(ir.compiled(f"{folder}/keras.xml")([x])[0])


@functools.lru_cache(maxsize=1)
def answered(family: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a network, a picture and what Keras answers to it; of the last family that was asked for."""
    keras, size, rng = makers.keras(), FAMILIES[family], np.random.default_rng(0)
    keras.backend.clear_session()
    network = getattr(keras.applications, family)(weights=None, input_shape=(size, size, 3), classes=7)
    randomise(network, rng)
    low, high = (0, 255) if family.startswith(RESCALE_INSIDE) else (-1, 1)
    x = rng.uniform(low, high, (1, size, size, 3)).astype(np.float32)
    return network, x, precisely(network, x)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*__array__:DeprecationWarning")
@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_answers_as_keras(family: str, ending: str, tmp_path: Path) -> None:
    if family not in QUICK and not os.environ.get("PICAM_LARGE_NETWORKS"):
        pytest.skip("takes long: PICAM_LARGE_NETWORKS=1, as in .ci/run, has it converted too")
    network, x, expected = answered(family)
    file = tmp_path / f"model{ending}"
    network.save(file)
    if ending == ".keras":
        convert(file, tmp_path / "out", Options(precision="f32"))
        answer = ir.compiled(str(tmp_path / "out" / "model.xml"))([x])[0]
    else:  # what follows the reading is the same, and takes most of the time
        read = keras_files.read(container.find(file, tmp_path / "scratch"), None, None)
        answer = ir.compiled(read.network.model)([x])[0].reshape(expected.shape)
    assert 0.01 < np.ptp(expected) < 0.99, "one class is likelier than another, and none is certain"
    assert np.abs(answer - expected).max() < 1e-4
