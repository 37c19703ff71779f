"""So many times a second and no more: on average what was asked for, and no burst after a pause."""

from __future__ import annotations

import pytest

from picam_infer.runtime.pace import Pace


@pytest.mark.parametrize(("per_s", "camera_per_s"), [(10, 30), (3, 25), (7, 30), (25, 30)])
def test_the_average_is_what_was_asked_for(per_s: float, camera_per_s: float) -> None:
    now_s = [100.0]
    pace = Pace(per_s, lambda: now_s[0])
    done = 0
    for _ in range(int(60 * camera_per_s)):
        now_s[0] += 1 / camera_per_s
        if pace.early_s <= 0:
            pace.begin()
            done += 1
    assert done == pytest.approx(60 * per_s, abs=2)


def test_after_a_pause_there_is_no_burst() -> None:
    now_s = [100.0]
    pace = Pace(10, lambda: now_s[0])
    pace.begin()
    now_s[0] += 60
    done = 0
    while pace.early_s <= 0:
        pace.begin()
        done += 1
    assert done <= 2


def test_without_a_limit_it_is_never_early() -> None:
    pace = Pace(0)
    pace.begin()
    assert pace.early_s <= 0
