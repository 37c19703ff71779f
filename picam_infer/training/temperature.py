"""The sharpness of the model's answers, set on held-out digits after training."""

from __future__ import annotations

from typing import Any

import numpy as np

from picam_infer.training.network import scaled, sharpen
from picam_infer.training.rates import Rates

_MOST_WRONG, _MOST_CLAIMED = 0.0045, 0.006
"""Of held-out squares with a digit and without one; lower limits would make it too timid on real photographs."""


def calibrate(network: Any, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Divide the last layer by a temperature and return it: the lowest with which false claims stay rare.

    Temperature scaling after Guo et al., "On Calibration of Modern Neural Networks", 2017, on held-out digits' frames;
    the best class stays the same, only its probability moves.
    """
    scores = np.maximum(network.predict(scaled(inputs), batch_size=500, verbose=0), 1e-9)

    def careful(temperature: float) -> bool:
        rates = Rates.of(_tempered(scores, temperature), labels)
        return rates.false_claim_rate <= _MOST_WRONG and rates.none_claims <= _MOST_CLAIMED

    temperatures = np.geomspace(0.6, 2.2, 50)
    temperature = float(next((t for t in temperatures if careful(t)), temperatures[-1]))
    sharpen(network, 1 / temperature)
    return temperature


def _tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    powers = scores ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
