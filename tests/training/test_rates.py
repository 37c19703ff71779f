"""How a digit model is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picam_infer.training.digits import REJECT
from picam_infer.training.rates import Rates, meets_bars


def test_rates_count_claims_by_the_best_score() -> None:
    scores = np.zeros((4, 11), np.float32)
    scores[0, 3], scores[1, 4], scores[2, 4], scores[3, 5] = 0.9, 0.7, 0.5, 0.8
    rates = Rates.of(scores, np.array([3, 3, 3, REJECT]))
    assert rates.top1 == pytest.approx(1 / 3)
    assert rates.false_claim_rate == pytest.approx(1 / 3)
    assert rates.right_claims == pytest.approx(1 / 3)
    assert rates.none_claims == 1
    assert rates.confusion.sum() == 4


def test_the_bars_a_model_is_shipped_by() -> None:
    good = Rates(0.99, 0.005, 0.9, 0.01, np.zeros((11, 11), int))
    assert meets_bars({(640, 480): good, (1280, 720): good})
    for worse in ({"top1": 0.98}, {"false_claim_rate": 0.011}, {"none_claims": 0.021}):
        assert not meets_bars({(640, 480): good, (1280, 720): replace(good, **worse)})
