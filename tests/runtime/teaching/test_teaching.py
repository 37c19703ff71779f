"""The owner of the lesson that is open, with the real network and pictures that a test hands over one by one."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from makers import jpeg_frame, until
from show_camera import sheet
from small_disk import SmallDisk

from picam_infer import cli
from picam_infer.config import Config
from picam_infer.core import Busy, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.runtime.model_choice import Switch
from picam_infer.runtime.state import Change, State
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.teaching import teaching as teaching_module
from picam_infer.runtime.teaching.served_round import ServedRound
from picam_infer.training.teach import lesson_lock, shelf
from picam_infer.training.teach.lesson_lock import LessonLock


@pytest.fixture
def teaching(state: State) -> Iterator[Teaching]:
    made = Teaching(lambda switch: Future())
    with made.following(ServedRound(state, Config, None)):
        made.open()
        yield made
    made.close()


@pytest.fixture
def used(state: State) -> Iterator[Teaching]:
    """One whose models run as soon as they are put to use."""

    def run(switch: Switch) -> Future[None]:
        state.bundle = bundles.load(switch.model)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    made = Teaching(run)
    with made.following(ServedRound(state, Config, None)):
        made.open()
        yield made
    made.close()


def classes(teaching: Teaching) -> list[tuple[str, int]]:
    return [(one["label"], one["pictures"]) for one in teaching.status()["classes"]]


def niceness(name: str) -> int | None:
    """Return the niceness of this process's thread of that name; None: there is none."""
    found = [thread.native_id for thread in threading.enumerate() if thread.name == name]
    return os.getpriority(os.PRIO_PROCESS, found[0]) if found and found[0] else None


def test_what_is_recorded_does_not_wait_for_what_is_learnt(teaching: Teaching, state: State) -> None:
    teaching.add_class("ring")
    teaching.hold("ring", "held")
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness("record") == usual
    assert niceness("teach") == min(19, usual + 5)
    teaching.release()


def test_the_last_labels_can_be_corrected_before_any_lesson_is_open(state: State) -> None:
    made = Teaching(lambda switch: Future())
    with made.following(ServedRound(state, Config, None)):
        assert made.status()["recent"] == []
        frame = jpeg_frame(sheet("circle")(1), 1)
        state.announce(Change("label", frame.captured, label="7", frame=frame))
        assert made.status()["stage"] == "closed"
        assert made.status()["recent"] == made.look()["recent"] == [str(round(frame.captured * 1000))]


def test_exactly_the_same_picture_in_two_classes_moves_and_that_is_said_and_undone_in_one(
    teaching: Teaching, state: State
) -> None:
    frames = itertools.count(1)

    def record(label: str, image: np.ndarray, **expected: int) -> None:
        def recorded() -> bool:
            state.frames.put(jpeg_frame(image, next(frames)))
            teaching.hold(label, label)
            return dict(classes(teaching)) == expected

        until(recorded)

    empty = sheet("nothing")(1)
    teaching.add_class("alpha")
    record("alpha", empty, alpha=1)
    teaching.release()
    assert teaching.status()["moved"] is None
    teaching.add_class("beta")
    record("beta", empty, alpha=0, beta=1)
    moved = teaching.status()["moved"]
    assert (moved["label"], moved["counts"]) == ("beta", {"alpha": 1})
    assert moved["text"] == "exactly the same picture was taught before: 1 moved from “alpha” to “beta”"
    record("beta", sheet("circle")(3), alpha=0, beta=2)
    teaching.release()
    teaching.undo(use=False)
    # What was moved first is back, so all of the recording was one step. A frame that was under way may still come.
    assert dict(classes(teaching))["alpha"] == 1


def test_a_tap_records_one_picture_which_is_waited_for(teaching: Teaching, state: State) -> None:
    teaching.add_class("ring")
    for number in (1, 2):
        teaching.hold("ring", f"tap {number}")
        teaching.release()
        if number == 1:  # the camera has shown nothing yet
            until(lambda: teaching.status()["recording"] is None and teaching.status()["waiting"] == 1)
            assert teaching.status()["pictures"] == 0
        state.frames.put(jpeg_frame(sheet("circle")(number), number))
        until(lambda number=number: teaching.status()["pictures"] == number)  # type: ignore[misc]
        until(lambda: not teaching.status()["waiting"])
    state.frames.put(jpeg_frame(sheet("circle")(3), 3))
    teaching.add_class("cross")
    assert teaching.status()["classes"] == [{"label": "ring", "pictures": 2}, {"label": "cross", "pictures": 0}]


def test_a_lesson_in_which_nothing_was_done_builds_on_the_model_that_runs(
    teaching: Teaching, state: State, tmp_path: Path
) -> None:
    digits = bundles.load("digits")
    shutil.copytree(digits.folder, tmp_path / "signs")
    card = tmp_path / "signs" / "model.yaml"
    card.write_text(card.read_text().replace("name: digits", "name: signs"))
    assert teaching.status()["base"] == "digits"
    state.bundle = bundles.load(tmp_path / "signs")
    teaching.open()
    assert teaching.status()["base"] == "signs"
    teaching.open(base="digits")
    teaching.open()
    assert teaching.status()["base"] == "digits"  # somebody chose it
    teaching.open("other")
    assert teaching.status()["base"] == "signs"
    teaching.add_class("ring")
    state.bundle = digits
    teaching.open()
    assert teaching.status()["base"] == "signs"  # its pictures would have to be learnt again


def test_a_full_disk_keeps_no_lesson_open(
    teaching: Teaching, state: State, small_disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be added then, which is said once and in one line; closing, opening and ending go on."""
    teaching.add_class("ring")
    for number, shape in enumerate(("circle", "cross")):
        teaching.correct(shape, jpeg_frame(sheet(shape)(1), number).data.tobytes(), "one", use=False)
    teaching.remove(teaching.pictures()[0]["id"])
    name = teaching.status()["name"]
    small_disk.fill()
    with pytest.raises(PicamError, match="No space left on device") as error:
        teaching.add_class("square")
    assert "make room on that disk" in error.value.hint
    assert "square" not in [one["label"] for one in teaching.status()["classes"]]
    with pytest.raises(PicamError, match="No space left on device"):
        teaching.rename_class("cross", "plus")
    assert [one["label"] for one in teaching.status()["classes"]] == ["ring", "circle", "cross"]
    state.frames.put(jpeg_frame(sheet("circle")(3), 3))
    teaching.hold("ring", "held")
    until(lambda: teaching.status()["problem"])
    teaching.end()
    assert teaching.status()["stage"] == "closed"
    teaching.open("another")
    assert teaching.status()["stage"] == "open"
    teaching.open(name)
    assert [(one["label"], one["pictures"]) for one in teaching.status()["classes"]][-1] == ("cross", 1)
    teaching.close(20)
    assert "teach" not in [thread.name for thread in threading.enumerate()]
    assert not [record for record in caplog.records if record.exc_info]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == len(set(said)) and all(line.count("make room on that disk") == 1 for line in said), said


def test_what_a_full_disk_refuses_changes_nothing_and_can_be_undone_later(
    used: Teaching, small_disk: SmallDisk
) -> None:
    for number, shape in enumerate(("circle", "cross")):
        used.correct(shape, jpeg_frame(sheet(shape)(1), number).data.tobytes(), "one", use=False)
    used.rename_class("cross", "circle")
    assert classes(used) == [("circle", 2)] and used.status()["undo"] == "merge cross into circle"
    small_disk.fill()
    with pytest.raises(PicamError, match="No space left on device"):
        used.undo(use=False)
    with pytest.raises(PicamError, match="No space left on device"):
        used.rename_class("circle", "ring")
    with pytest.raises(PicamError, match="No space left on device"):
        used.remove_class("circle")
    assert classes(used) == [("circle", 2)] and used.status()["undo"] == "merge cross into circle"
    small_disk.full = False
    assert used.undo(use=False) == "merge cross into circle"
    assert classes(used) == [("circle", 1), ("cross", 1)] and used.status()["undo"] == "add a picture to cross"


def test_a_correction_whose_undo_cannot_be_put_to_use_can_be_undone_later(
    used: Teaching, small_disk: SmallDisk
) -> None:
    for number, shape in enumerate(("circle", "cross")):
        used.correct(shape, jpeg_frame(sheet(shape)(number), number).data.tobytes(), "one", use=False)
    used.use()
    told = used.correct("cross", jpeg_frame(sheet("cross")(7), 7).data.tobytes(), "one", use=True)
    assert told["used"] and classes(used) == [("circle", 1), ("cross", 2)] and used.status()["in_use"]
    small_disk.fill()
    with pytest.raises(PicamError, match="No space left on device"):
        used.undo(use=True)
    until(lambda: not used.status()["waiting"])
    assert classes(used) == [("circle", 1), ("cross", 2)]
    assert used.status()["undo"] == "add a picture to cross" and used.status()["in_use"]
    small_disk.full = False
    assert used.undo(use=True) == "add a picture to cross"
    assert classes(used) == [("circle", 1), ("cross", 1)] and used.status()["in_use"]


def shown(teaching: Teaching, *labels: str) -> None:
    for number, label in enumerate(labels):
        picture = jpeg_frame(sheet(["circle", "cross", "square"][number])(1), number).data.tobytes()
        teaching.correct(label, picture, "one", use=False)


def added(tmp_path: Path, name: str) -> int:
    """Add a class to a lesson with `picam-infer teach`; return the exit code."""
    (tmp_path / "more" / "=").mkdir(parents=True, exist_ok=True)
    (tmp_path / "more" / "=" / "1.jpg").write_bytes(jpeg_frame(sheet("square")(2), 1).data.tobytes())
    place = bundles.home() / name
    return cli.main(["teach", "-m", "digits", "-o", str(place), "--add", str(tmp_path / "more")])


def test_an_open_lesson_is_not_changed_by_the_command(
    teaching: Teaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as somebody looks at it; afterwards the view lets go of it, and no name or picture is lost."""
    monkeypatch.setattr(teaching_module, "LOOK_S", 1e9)
    monkeypatch.setattr(lesson_lock, "PATIENCE_S", 0.3)
    shown(teaching, "a=b", "A")
    name = teaching.status()["name"]
    before = sorted(shelf.folder_of(name).rglob("*"))
    assert added(tmp_path, name) == 1
    told = capsys.readouterr().err
    assert f"{name} is open in the Teach view of the service; leave it there first" in told and told.count("\n") == 1
    assert sorted(shelf.folder_of(name).rglob("*")) == before and not (bundles.home() / name).exists()

    monkeypatch.setattr(teaching_module, "LOOK_S", 0.0)
    monkeypatch.setattr(lesson_lock, "PATIENCE_S", 30.0)
    assert added(tmp_path, name) == 0
    assert teaching.status()["stage"] == "closed"
    shown(teaching, "C")
    teaching.end()
    teaching.open(name)
    assert sorted(classes(teaching)) == [("=", 1), ("A", 1), ("C", 1), ("a=b", 1)]
    table = json.loads((shelf.folder_of(name) / "labels.json").read_bytes())
    assert sorted(table.values()) == ["=", "A", "C", "a=b"]


def test_a_lesson_that_somebody_else_works_on_is_not_opened(teaching: Teaching, state: State) -> None:
    shown(teaching, "ring")
    name = teaching.status()["name"]
    other = Teaching(lambda switch: Future())
    with (
        other.following(ServedRound(state, Config, None)),
        pytest.raises(Busy, match=f"{name} is open in .* of another service"),
    ):
        other.open(name)
    other.close()
    teaching.end()
    with (
        contextlib.closing(LessonLock(shelf.folder_of(name), lesson_lock.COMMAND)),
        pytest.raises(Busy, match=f"picam-infer teach is working on {name}"),
    ):
        teaching.open(name)
    assert teaching.status()["stage"] == "closed"
    teaching.open(name)
    assert classes(teaching) == [("ring", 1)]
