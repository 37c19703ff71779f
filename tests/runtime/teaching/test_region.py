"""Twin of `picam_infer.runtime.teaching.region`: a region counts once nobody drags it any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from picam_infer.config import Config, Decide
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Chain
from picam_infer.runtime.model_choice import SessionChoice
from picam_infer.runtime.state import State, Tuning
from picam_infer.runtime.teaching import region
from picam_infer.runtime.teaching.region import RegionFollower
from picam_infer.runtime.teaching.served_round import ServedRound


def test_a_region_that_is_left_alone_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(region, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    digits = bundles.load("digits")
    state = State(Tuning(digits.card.preprocess, Decide()))
    state.bundle = digits
    running, follower = ServedRound(state, Config, None, SessionChoice()), RegionFollower()
    lesson: Any = SimpleNamespace(chain=digits.card.preprocess, network=digits)

    def settled(roi: float, after_s: float) -> Chain | None:
        now_s[0] += after_s
        state.tune(preprocess=msgspec.structs.replace(digits.card.preprocess, roi=roi))
        return follower.settled(lesson, running)

    at = digits.card.preprocess.roi
    assert settled(at, 5) is None, "it is the lesson's own"
    assert settled(0.5, 0) is None
    assert settled(0.6, 0.9) is None and settled(0.7, 0.9) is None, "it is being dragged"
    assert settled(at, 0.1) is None and settled(0.7, 5) is None, "it was put back in between"
    found = settled(0.7, 1.1)
    assert found is not None and found.roi == 0.7
    lesson.chain = found
    assert settled(0.7, 5) is None
    lesson.network = SimpleNamespace(folder=digits.folder / "other", card=digits.card, name="another")
    assert settled(0.5, 0) is None and settled(0.5, 5) is None, "the service runs another network"
