"""Runtime settings: changed at once, undone one by one, saved in the file with its comments."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from makers import until
from small_disk import SmallDisk

from picam_infer import config
from picam_infer.config import Decide
from picam_infer.core import ConfigError
from picam_infer.imaging.region import Region
from picam_infer.models.bundle import Edges, Photo
from picam_infer.runtime.camera_controls import Control, Report
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State, Tuning


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def live(path: Path | None = None, chain: Any = None) -> tuple[State, RuntimeSettings, Clock]:
    state, clock = State(Tuning(chain or Edges(), Decide())), Clock()
    return state, RuntimeSettings(state, path, clock=clock), clock


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
        ({"decide.threshold": 2}, "decide.threshold: expected a number of at most 1; it takes a number, 0 to 1"),
        ({"decide.threshold": "x"}, "decide.threshold: expected a number, got text; it takes a number, 0 to 1"),
        ({"preprocess.canny": [1]}, r"preprocess.canny: .*; it takes \[number, number\], 0 to 1000"),
        ({"preprocess.roi": 0}, "preprocess.roi"),
        ({f"preprocess.canny.{'9' * 5000}": 1}, "cannot be changed while running"),
        ({"preprocess.canny.²": 1}, "cannot be changed while running"),
        ({"source": "demo"}, "cannot be changed while running"),
        ({"decide.top": 5}, "cannot be changed while running"),
        ({"decide.treshold": 0.5}, "decide.treshold: no such key; did you mean decide.threshold?"),
        ({"colour": "red"}, "colour: no such key; keys that can be changed: "),
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


def test_a_named_gesture_is_one_entry_however_slow_it_is_and_whatever_comes_between() -> None:
    state, settings, clock = live()
    told: list[str] = []
    state.listen(lambda change: told.append(f"{change.kind} {change.part}"))
    for value in (0.61, 0.65, 0.7):
        clock.now += 20
        settings.change({"decide.threshold": value}, gesture="a")
        if value == 0.65:
            settings.change({"preprocess.canny.1": 35})  # a key of the attached keyboard
    settings.change({"decide.threshold": 0.8}, gesture="b")
    assert told == ["tuning decide.threshold", "tuning preprocess.canny.1", "tuning decide.threshold"]
    assert settings.undo() and state.tuning.decide.threshold == 0.7
    assert settings.undo() and state.tuning.decide.threshold == 0.6
    assert state.tuning.preprocess == Edges(canny=(90.0, 35.0)), "the undo of one thing left the other"


def test_undo_names_its_change_and_takes_back_nothing_else() -> None:
    state, settings, _ = live()
    settings.change({"decide.threshold": 0.7}, gesture="page")
    mine = settings.as_json()["undo"]
    assert mine["keys"] == ["decide.threshold"] and mine["before"] == {"decide.threshold": 0.6}
    settings.change({"preprocess.canny.0": 95})
    settings.undo(mine["id"])
    assert state.tuning == Tuning(Edges(canny=(95.0, 30.0)), Decide())
    with pytest.raises(ConfigError, match="undone already"):
        settings.undo(mine["id"])


def test_what_was_changed_again_is_not_undone_by_its_first_change() -> None:
    state, settings, clock = live()
    settings.change({"decide.threshold": 0.7})
    first = settings.as_json()["undo"]["id"]
    clock.now += 60
    settings.change({"decide.threshold": 0.9})
    with pytest.raises(ConfigError, match="changed since"):
        settings.undo(first)
    assert state.tuning.decide.threshold == 0.9
    assert settings.undo() and settings.undo() and state.tuning.decide.threshold == 0.6


def test_two_clients_that_set_different_numbers_of_one_key_do_not_overwrite_each_other() -> None:
    _, settings, _ = live()
    settings.change({"preprocess.canny.0": 92})
    settings.change({"preprocess.canny.1": 31})
    assert settings.values()["preprocess.canny"] == [92, 31]
    assert settings.undo() and settings.values()["preprocess.canny"] == [92, 30]


def test_a_slider_dragged_back_leaves_nothing_to_undo() -> None:
    _, settings, _ = live()
    for value in (0.7, 0.6):
        settings.change({"decide.threshold": value}, gesture="a")
    assert not settings.as_json()["can_undo"] and not settings.undo()


@pytest.mark.parametrize("key", ["preprocess.canny.2", "preprocess.canny.x", "preprocess.canny.0.0", "decide", ""])
def test_unknown_keys_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be changed while running|no such key"):
        live()[1].change({key: 1})


def test_save_writes_what_differs_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# mine\ndecide:\n  threshold: 0.6  # tried\nsource: demo\n")
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75, "preprocess.canny": [80, 30]})
    assert page.save() == ["decide.threshold", "preprocess.canny"]
    text = path.read_text()
    assert "# mine" in text and "threshold: 0.75  # tried" in text and "source: demo" in text
    read = config.load(path)
    assert read.decide.threshold == 0.75 and read.preprocess == {"canny": [80, 30]}
    assert page.as_json()["changed"] == [] and page.save() == []


def test_save_without_a_file_says_how(tmp_path: Path) -> None:
    _, page, _ = live()
    page.change({"decide.threshold": 0.75})
    assert not page.as_json()["can_keep"]
    with pytest.raises(ConfigError, match="start with -c FILE"):
        page.save()


def test_a_file_that_cannot_be_written_keeps_the_change_open(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "c.yaml"
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75})
    with pytest.raises(ConfigError, match="cannot be written"):
        page.save()
    assert page.as_json()["changed"] == ["decide.threshold"]


def test_a_region_is_moved_number_by_number_and_in_the_middle_it_is_a_share_again(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preprocess: {roi: 0.4}  # the box\n")
    state, settings, clock = live(path)
    settings.change({"preprocess.roi": {"x": 0.2, "y": 0.5, "size": 0.3}})
    assert state.tuning.preprocess.roi == Region(0.2, 0.5, 0.3)
    clock.now += 60
    settings.change({"preprocess.roi.y": 0.7})
    assert settings.as_json()["undo"]["keys"] == ["preprocess.roi.y"]
    assert settings.save() == ["preprocess.roi"]
    assert path.read_text() == "preprocess: {roi: {x: 0.2, y: 0.7, size: 0.3}}  # the box\n"
    assert config.load(path).preprocess == {"roi": {"x": 0.2, "y": 0.7, "size": 0.3}}
    while settings.undo():
        pass
    assert settings.values()["preprocess.roi"] == 0.4 and state.tuning.preprocess == Edges()


@pytest.mark.parametrize(
    "roi", [{"x": 0.2, "y": 0.2}, {"x": -0.1, "y": 0, "size": 1}, {"x": 0, "y": 0, "size": 0}, "half", [0.1, 0.2, 0.3],
            {"x": 0, "y": 0, "size": 1, "width": 1}, None],
)  # fmt: skip
def test_an_invalid_region_is_refused(roi: Any) -> None:
    state, settings, _ = live(chain=Photo())
    with pytest.raises(ConfigError, match=r"preprocess\.roi"):
        settings.change({"preprocess.roi": roi})
    assert state.tuning.preprocess == Photo()


GAIN = Control("gain", "Gain", "integer", 0, 255, 1, 64, 90)
FOCUS = Control("focus_automatic_continuous", "", "boolean", 0, 1, 1, 1, 1, aliases=("focus_auto",))


def with_camera(path: Path | None = None, **asked: Any) -> tuple[State, RuntimeSettings]:
    state = State(Tuning(Edges(), Decide(), asked))
    state.camera.tell(Report("cam", (GAIN, FOCUS), asked))
    return state, RuntimeSettings(state, path)


def test_the_cameras_own_settings_are_live_undone_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("capture:\n  width: 640\n")
    state, settings = with_camera(path)
    settings.change({"capture.controls.gain": 120})
    assert state.tuning.controls == {"gain": 120} and settings.as_json()["changed"] == ["capture.controls.gain"]
    assert settings.undo() and state.tuning.controls == {"gain": 90}, "what the camera had before"
    assert settings.as_json()["changed"] == [] and settings.save() == []
    settings.change({"capture.controls.gain": None})
    assert state.tuning.controls == {"gain": 64}, "null is the camera's default"
    assert settings.save() == ["capture.controls.gain"]
    assert config.load(path).capture.controls == {"gain": 64} and "width: 640" in path.read_text()


def test_one_control_has_one_name_whatever_the_kernel_calls_it() -> None:
    state, settings = with_camera(focus_auto=1)
    settings.change({"capture.controls.focus_automatic_continuous": 0})
    assert state.tuning.controls == {"focus_auto": 0}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"capture.controls.gian": 1}, "did you mean gain"),
        ({"capture.controls.gain": 256}, "out of range; 0 to 255"),
        ({"capture.controls.gain": 3, "decide.threshold": 7}, "threshold"),
    ],
)
def test_a_wrong_control_changes_nothing(values: dict[str, Any], match: str) -> None:
    state, settings = with_camera()
    with pytest.raises(ConfigError, match=match):
        settings.change(values)
    assert state.tuning.controls == {} and not settings.as_json()["can_undo"]
    state.camera.tell(None)
    with pytest.raises(ConfigError, match="no camera is open"):
        settings.change({"capture.controls.gain": 1})


def test_what_cannot_be_saved_alone_stays_open_and_the_rest_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    state, settings, _ = live(path)
    path.write_text("decide: &d {threshold: 0.6}\npreprocess: {roi: 0.4, other: *d}\n")
    settings.change({"decide.threshold": 0.7, "preprocess.roi": 0.5})
    with pytest.raises(ConfigError, match=r"c\.yaml:1: decide\.threshold cannot be changed here"):
        settings.save()
    assert settings.as_json()["changed"] == ["decide.threshold"]
    assert "roi: 0.5" in path.read_text() and state.tuning.decide.threshold == 0.7


def test_a_full_disk_keeps_the_change_and_says_so(tmp_path: Path, small_disk: SmallDisk) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\n")
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75})
    small_disk.fill()
    with pytest.raises(ConfigError) as error:
        page.save()
    assert error.value.hint == "make room on that disk; the settings stay in force until a restart"
    assert page.as_json()["changed"] == ["decide.threshold"]


def test_what_is_saved_while_another_model_is_opened_stays(tmp_path: Path) -> None:
    """The file was read before that, for the model; what somebody has written into it by hand counts more."""
    path = tmp_path / "c.yaml"
    path.write_text("decide: {threshold: 0.5, smooth: 0.2}\n")
    state, page, _ = live(path)
    page.follow_model(Tuning(Edges(), Decide(threshold=0.5, smooth=0.2)), Tuning(Edges(), Decide()))
    page.change({"decide.threshold": 0.75, "decide.smooth": 0.3})
    assert page.save() == ["decide.threshold", "decide.smooth"]
    page.follow_model(Tuning(Photo(), Decide(threshold=0.5, smooth=0.6)), Tuning(Photo(), Decide()))
    assert (state.tuning.decide.threshold, state.tuning.decide.smooth) == (0.75, 0.6)
    assert page.as_json()["changed"] == []


def test_looking_does_not_wait_for_saving(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\n")
    _, page, _ = live(path)
    page.change({"decide.threshold": 0.75})
    saving = threading.Thread(target=page.save)
    with config.changing(path):
        saving.start()
        until(lambda: saving.is_alive())
        looking = threading.Thread(target=page.as_json)
        looking.start()
        looking.join(5)
        assert not looking.is_alive() and saving.is_alive()
    saving.join(20)
    assert config.load(path).decide.threshold == 0.75
