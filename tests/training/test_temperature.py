"""The sharpness of a model's answers."""

from __future__ import annotations

import makers
import numpy as np

from picam_infer.training.digits import REJECT
from picam_infer.training.network import scaled
from picam_infer.training.rates import Rates
from picam_infer.training.temperature import calibrate


def test_answers_are_softened_until_they_rarely_claim_what_is_not_there() -> None:
    keras = makers.keras()
    image = keras.Input((28, 28, 1))
    logits = keras.layers.Dense(11, name="logits_1")(keras.layers.Flatten()(image))
    network = keras.Model(image, keras.layers.Activation("softmax")(logits))
    weights, inputs = np.zeros((784, 11), np.float32), np.zeros((400, 28, 28), np.uint8)
    np.fill_diagonal(weights, 10)  # each of the first pixels speaks for one class
    network.layers[-2].set_weights([weights, np.zeros(11, np.float32)])
    truth = np.repeat(np.array([3, REJECT], np.uint8), 200)
    inputs[:200, 0, 3], inputs[200:, 0, REJECT] = 153, 153
    inputs[:4, 0, 3], inputs[:4, 0, 5] = 0, 74  # two in a hundred claim another digit, just so

    def rates() -> Rates:
        logits = scaled(inputs).reshape(400, -1) @ network.layers[-2].get_weights()[0]
        return Rates.of(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth)

    before = rates()
    assert 1 < calibrate(network, inputs, truth) < 2
    assert before.false_claim_rate == 0.02 and rates().false_claim_rate == 0
    assert rates().right_claims == before.right_claims == 0.98
