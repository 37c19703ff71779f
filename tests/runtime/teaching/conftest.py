"""What the tests of teaching start from."""

from __future__ import annotations

import pytest

from picam_infer.config import Decide
from picam_infer.models import bundle as bundles
from picam_infer.runtime.state import State, Tuning


@pytest.fixture
def state() -> State:
    """A round that runs the built-in digits; no camera has shown anything yet."""
    digits = bundles.load("digits")
    made = State(Tuning(digits.card.preprocess, Decide()), digits.name, digits.labels, network=digits.card.input)
    made.bundle = digits
    return made
