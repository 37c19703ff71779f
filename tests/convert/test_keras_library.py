"""Layers that are not built here: an installed Keras builds them, without TensorFlow; a file's code is never run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picam_infer.convert import conversion, keras_library, sandbox
from picam_infer.convert.conversion import Options
from picam_infer.core import PicamError
from picam_infer.inference.engines import openvino
from picam_infer.models import bundle


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "openvino")
    return pytest.importorskip("keras", reason="Keras is not installed (extra `compare`)")


@pytest.fixture(scope="module")
def attentive(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return a network with attention, as vision transformers have it, and its file."""
    seen = keras.Input((8, 8, 3), name="picture")
    tokens = keras.layers.Reshape((16, 12))(seen)
    mixed = keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    flat = keras.layers.Flatten()(keras.layers.Add()([tokens, mixed]))
    network = keras.Model(seen, keras.layers.Dense(3, activation="softmax", name="answer")(flat), name="attentive")
    path = tmp_path_factory.mktemp("keras") / "attentive.keras"
    network.save(path)
    return network, path


def test_keras_builds_what_is_not_built_here(attentive: tuple[Any, Path], tmp_path: Path) -> None:
    network, path = attentive
    report = sandbox.convert(path, tmp_path / "out", {"precision": "f32", "scale": "0..1"})
    assert report["format"] == "Keras 3 archive" and report["output"] == "answer"
    assert any("built by Keras" in note and "attention (MultiHeadAttention)" in note for note in report["notes"])
    made = bundle.load(tmp_path / "out")
    assert made.card.input.shape == (1, 8, 8, 3) and len(made.labels) == 3
    x = np.random.default_rng(0).uniform(0, 1, (1, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(network(x, training=False)).reshape(-1)
    # On OpenVINO Keras computes in 16 bits where the processor can.
    assert np.abs(openvino.bare_network(made)(x) - expected).max() < 0.01


def test_an_inner_layer_of_it_can_be_the_output(attentive: tuple[Any, Path], tmp_path: Path) -> None:
    report = conversion.convert(attentive[1], tmp_path / "out", Options(output_layer="attention"))
    assert report.output == "attention" and len(report.labels) == 16 * 12


def test_without_keras_it_is_refused_as_ever(
    attentive: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_library, "installed", lambda: False)
    with pytest.raises(PicamError, match=r"layer attention \(MultiHeadAttention\) is not supported"):
        conversion.convert(attentive[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_layer_of_another_package_is_never_imported(attentive: tuple[Any, Path], tmp_path: Path) -> None:
    (tmp_path / "wicked_layers.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()\n")
    path = tmp_path / "wicked.keras"
    with zipfile.ZipFile(attentive[1]) as good, zipfile.ZipFile(path, "w") as bad:
        for name in keras_library.PARTS:
            data = good.read(name)
            if name == "config.json":
                config = json.loads(data)
                layer = next(each for each in config["config"]["layers"] if each["class_name"] == "MultiHeadAttention")
                layer |= {"module": "wicked_layers", "class_name": "Wicked", "registered_name": "Wicked"}
                data = json.dumps(config).encode()
            bad.writestr(name, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with pytest.raises(PicamError, match=r"attention \(Wicked\) is not supported"):
            sandbox.convert(path, tmp_path / "out", {})
    assert not (tmp_path / "was-run").exists()
