"""Live settings: changed at once, undone, kept in the file with its comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from picam_infer import config
from picam_infer.config import Decide
from picam_infer.core import ConfigError
from picam_infer.models.bundle import Edges, Photo
from picam_infer.outputs.web.live_settings import Live
from picam_infer.runtime.state import State, Tuning


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def live(path: Path | None = None, chain: Any = None) -> tuple[State, Live, Clock]:
    state, clock = State(Tuning(chain or Edges(), Decide())), Clock()
    return state, Live(state, path, clock), clock


def test_only_the_chains_own_numbers() -> None:
    assert live()[1].values()["preprocess.canny"] == [90.0, 30.0]
    assert "preprocess.canny" not in live(chain=Photo())[1].values()


def test_a_change_acts_at_once() -> None:
    state, page, _ = live()
    page.change({"decide.threshold": 0.8, "preprocess.canny": [100, 20]})
    assert state.tuning == Tuning(Edges(canny=(100.0, 20.0)), Decide(threshold=0.8))
    assert page.as_json()["changed"] == ["decide.threshold", "preprocess.canny"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"decide.threshold": 2}, "decide.threshold"),
        ({"decide.threshold": "x"}, "decide.threshold"),
        ({"preprocess.canny": [1]}, "preprocess.canny"),
        ({"preprocess.roi": 0}, "preprocess.roi"),
        ({"source": "demo"}, "cannot be changed while running"),
        ({"decide.top": 5}, "cannot be changed while running"),
        ({"decide.smooth": 0.5, "decide.threshold": -1}, "decide.threshold"),
    ],
)
def test_wrong_values_change_nothing(values: dict[str, Any], match: str) -> None:
    state, page, _ = live()
    before = state.tuning
    with pytest.raises(ConfigError, match=match):
        page.change(values)
    assert state.tuning is before and not page.as_json()["can_undo"]


def test_undo_takes_back_a_drag_as_one_and_steps_one_by_one() -> None:
    state, page, clock = live()
    for value in (0.61, 0.65, 0.7):
        clock.now += 0.1
        page.change({"decide.threshold": value})
    clock.now += 5
    page.change({"decide.threshold": 0.9})
    page.change({"decide.smooth": 0.5})
    seen = []
    while page.undo():
        seen.append((state.tuning.decide.threshold, state.tuning.decide.smooth))
    assert seen == [(0.9, 0.0), (0.7, 0.0), (0.6, 0.0)]


def test_keep_writes_what_differs_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# mine\ndecide:\n  threshold: 0.6  # tried\nsource: demo\n")
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75, "preprocess.canny": [80, 30]})
    assert page.keep() == ["decide.threshold", "preprocess.canny"]
    text = path.read_text()
    assert "# mine" in text and "threshold: 0.75  # tried" in text and "source: demo" in text
    read = config.load(path)
    assert read.decide.threshold == 0.75 and read.preprocess == {"canny": [80, 30]}
    assert page.as_json()["changed"] == [] and page.keep() == []


def test_keep_without_a_file_says_how(tmp_path: Path) -> None:
    _, page, _ = live()
    page.change({"decide.threshold": 0.75})
    assert not page.as_json()["can_keep"]
    with pytest.raises(ConfigError, match="start with -c FILE"):
        page.keep()


def test_a_file_that_cannot_be_written_keeps_the_change_open(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "c.yaml"
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75})
    with pytest.raises(ConfigError, match="cannot be written"):
        page.keep()
    assert page.as_json()["changed"] == ["decide.threshold"]
