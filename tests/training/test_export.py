"""The files that a training writes: Keras's own, and a bundle that answers as the network does."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import makers
import numpy as np
import pytest

from picam_infer.models.bundle import Edges, load
from picam_infer.training.digits import LABELS, REJECT
from picam_infer.training.export import save_bundle, save_keras
from picam_infer.training.network import average, build_network, scaled
from picam_infer.training.rates import openvino_predict
from picam_infer.training.samples import CANNY


@pytest.mark.filterwarnings("ignore:.*__array__:DeprecationWarning")
def test_the_bundle_answers_as_the_network_that_was_saved(tmp_path: Path) -> None:
    keras, rng = makers.keras(), np.random.default_rng(0)
    member = build_network(keras)
    member.set_weights([rng.uniform(0.02, 0.2, tuple(w.shape)).astype(np.float32) for w in member.weights])
    network = average(keras, [member])
    save_keras(network, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["class_name"] == "Functional"
    with h5py.File(tmp_path / "model.h5") as whole, h5py.File(tmp_path / "weights.h5") as weights:
        assert set(weights) == set(whole["model_weights"])
        assert list(weights.attrs["layer_names"]) == list(whole["model_weights"].attrs["layer_names"])
    bundle = save_bundle(tmp_path, ("trained by: the test",))
    card = load(bundle.folder).card
    assert (bundle.labels, card.reject, card.notes) == (LABELS, LABELS[REJECT], ("trained by: the test",))
    assert isinstance(card.preprocess, Edges) and card.preprocess.canny == CANNY
    inputs = rng.integers(0, 256, (4, 28, 28)).astype(np.uint8)
    theirs = network.predict(scaled(inputs), verbose=0)
    assert openvino_predict(bundle.network)(inputs) == pytest.approx(theirs, abs=0.01)
