"""The digit network: its members learn alike wherever they are trained, and their average answers as they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import makers
import numpy as np
import pytest
from scans import needs_tensorflow

from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.network import average, build_network, fit, fit_members, import_tensorflow, scaled


@needs_tensorflow
@pytest.mark.timeout(300)
def test_networks_learn_the_same_on_one_core_as_on_two() -> None:
    keras, _ = import_tensorflow()
    rng = np.random.default_rng(0)
    inputs, truth = rng.integers(0, 256, (384, 28, 28)).astype(np.uint8), rng.integers(0, 11, 384).astype(np.uint8)
    alone, together = (
        [network.get_weights() for network in fit_members(keras, inputs, truth, (1, 2), 1, processes)]
        for processes in (1, 2)
    )
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(together[0][0], together[1][0])


@pytest.mark.filterwarnings("ignore:.*__array__:DeprecationWarning")
def test_the_average_network_answers_as_its_members_do_together(tmp_path: Path) -> None:
    keras, rng = makers.keras(), np.random.default_rng(0)
    members = [build_network(keras) for _ in range(2)]
    for member in members:
        # Random variances and scales included; what Keras begins with is slow to ask for without TensorFlow.
        member.set_weights([rng.uniform(0.02, 0.2, tuple(w.shape)).astype(np.float32) for w in member.weights])
    network = average(keras, members)
    inputs = rng.integers(0, 256, (8, 28, 28)).astype(np.uint8)
    inputs[:, -1], inputs[:, :, -1] = 0, 0  # what is moved out of the picture
    aside = np.roll(inputs, 1, axis=(1, 2))
    logits = np.mean([m.predict(scaled(x), verbose=0) for m in members for x in (inputs, aside)], axis=0)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert network.predict(scaled(inputs), verbose=0) == pytest.approx(
        powers / powers.sum(axis=1, keepdims=True), abs=1e-4
    )
    assert network.count_params() < 450_000


@needs_tensorflow
@pytest.mark.timeout(300)
def test_an_interrupted_training_gives_the_same_network(tmp_path: Path) -> None:
    keras, tensorflow = import_tensorflow()
    tensorflow.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(0)
    inputs, truth = rng.integers(0, 256, (512, 28, 28)).astype(np.uint8), rng.integers(0, 11, 512).astype(np.uint8)

    def fitted(checkpoint: Checkpoint, stop_after: int = 3) -> list[np.ndarray]:
        saved, save = 0, checkpoint.save

        def counting(name: str, arrays: Sequence[np.ndarray]) -> None:
            nonlocal saved
            save(name, arrays)
            saved += 1
            if saved == stop_after:
                raise KeyboardInterrupt

        checkpoint.save = counting  # type: ignore[method-assign]
        return list(fit(keras, inputs, truth, 1, 3, checkpoint).get_weights())

    with pytest.raises(KeyboardInterrupt):
        fitted(Checkpoint(tmp_path / "cut", "x"), 2)
    resumed = fitted(Checkpoint(tmp_path / "cut", "x"), 9)
    whole = fitted(Checkpoint(tmp_path / "whole", "x"), 9)
    assert all(np.array_equal(a, b) for a, b in zip(resumed, whole, strict=True))
