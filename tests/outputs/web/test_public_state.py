"""Why the service is unhealthy, and whether there is a picture all the same."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from makers import jpeg_frame, picture

from picam_infer.config import Decide
from picam_infer.models.bundle import Photo
from picam_infer.outputs.web.public_state import no_picture_reason, unhealthy_reason
from picam_infer.runtime.state import State, Tuning


@pytest.fixture
def state() -> State:
    made = State(Tuning(Photo(), Decide()))
    made.frames.put(jpeg_frame(picture(200)))
    return made


def test_without_results_there_are_pictures_all_the_same(state: State) -> None:
    assert no_picture_reason(state, 10) == ""
    assert unhealthy_reason(state, 10) == "no result yet"


def test_a_problem_counts_whatever_its_words_are(state: State) -> None:
    state.health.mark_down("engine", "it gives no result", "plug it in again")
    assert no_picture_reason(state, 10) == unhealthy_reason(state, 10) == "engine lost: it gives no result"


def test_an_old_picture_counts_unless_its_source_is_that_slow(state: State) -> None:
    state.frames.put(replace(jpeg_frame(picture(200)), monotonic_s=time.monotonic() - 60))
    assert re.fullmatch(r"the last picture is 6\d s old", no_picture_reason(state, 10))
    state.patience_s = 120
    assert no_picture_reason(state, 10) == ""


def test_while_paused_nobody_expects_any(state: State) -> None:
    state.frames.clear()
    assert no_picture_reason(state, 10) == "no picture yet"
    state.pause.set(True, "page")
    assert no_picture_reason(state, 10) == unhealthy_reason(state, 10) == ""
