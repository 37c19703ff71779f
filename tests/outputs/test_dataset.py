"""Kept pictures: which, how many, and never the card's last space."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections import namedtuple
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from event_samples import state, until
from makers import jpeg_frame

from picam_infer import config
from picam_infer.core import Frame, Prediction, Result
from picam_infer.imaging import jpeg
from picam_infer.outputs import dataset
from picam_infer.outputs.dataset import Collector
from picam_infer.runtime.state import Change, Latest, State


def result(label: str | None, score: float = 0.95, second: float = 0.01, seq: int = 1, **frame: Any) -> Result:
    noise = np.random.default_rng(seq).integers(0, 255, (48, 64, 3), np.uint8)
    made = jpeg_frame(noise, seq, **frame)
    return Result(seq, 1_700_000_000 + seq, made.monotonic_s, label, score,
                  (Prediction(label or "one", score), Prediction("two", second)), "openvino:CPU", 3.0, 20.0,
                  frame=made)  # fmt: skip


def settings(folder: Path, **more: Any) -> config.Keep:
    return config.Keep(**{"folder": str(folder), "every_s": 0.1, "reserve_mb": 0.0} | more)


def show(run: State, collector: Collector, shown: Result) -> None:
    before = collector.report().pictures, collector.failures
    run.results.put(shown)
    run.announce(Change("label", shown.captured, label=shown.label, result=shown, frame=shown.frame))
    until(lambda: (collector.report().pictures, collector.failures) != before)


@pytest.mark.parametrize(
    ("when", "expected"),
    [("unknown", {4}), ("uncertain", {2, 3, 4}), ("every", {1, 2, 3, 4}), ("change", {1, 2, 3, 4})],
)
def test_which(tmp_path: Path, when: str, expected: set[int]) -> None:
    shown = [result("one", seq=1), result("one", 0.7, seq=2), result("one", 0.85, 0.7, seq=3), result(None, 0.3, seq=4)]
    run, looked_at = state(), set[int]()

    class Mailbox(Latest[Result]):
        def peek(self, after: int = 0, timeout_s: float = 0.0) -> tuple[int, Result] | None:
            found = super().peek(after, timeout_s)
            if found and timeout_s:  # the collector waits for the next one
                looked_at.add(found[1].seq)
            return found

    run.results = Mailbox()
    with Collector(settings(tmp_path / "kept", when=when), run) as collector:
        for item in shown:
            if item.seq in expected:
                show(run, collector, item)
            else:
                run.results.put(item)
                until(lambda item=item: item.seq in looked_at)
        show(run, collector, result(None, 0.2, seq=9))  # kept by every rule, and after whatever came before
    kept = {json.loads(path.read_text())["seq"] for path in (tmp_path / "kept").glob("*.json")}
    assert kept == expected | {9}


def test_the_cameras_own_jpeg_with_its_result_beside_it(tmp_path: Path) -> None:
    shown, run = result(None, 0.31), state()
    with Collector(settings(tmp_path), run) as collector:
        show(run, collector, shown)
        name = collector.entries(5)[0]["name"]
        assert collector.entries(5)[0]["score"] == 0.31 and collector.entries(5)[0]["label"] is None
    assert shown.frame is not None
    assert (tmp_path / name).read_bytes() == shown.frame.data.tobytes()
    note = json.loads((tmp_path / name).with_suffix(".json").read_text())
    assert note == {**shown.as_json(), "model": "digits"}


def test_a_turned_camera_gives_upright_pictures(tmp_path: Path) -> None:
    run = state()
    with Collector(settings(tmp_path), run) as collector:
        show(run, collector, result(None, rotate=90))
    assert cv2.imread(str(next(tmp_path.glob("*.jpg")))).shape == (64, 48, 3)


def test_not_oftener_than_asked(tmp_path: Path) -> None:
    run = state()
    before_s, after_s, pictures = [0.0], [0.0], 0
    with Collector(settings(tmp_path, every_s=0.2), run) as collector:
        while pictures < 3:
            pictures = collector.report().pictures
            before_s.append(time.monotonic())
            run.results.put(result(None, seq=len(before_s) - 1))
            after_s.append(time.monotonic())
    kept = sorted(json.loads(path.read_text())["seq"] for path in tmp_path.glob("*.json"))
    for one, next_one in pairwise(kept[:3]):
        # It was looked at after it came, and the next before there was a newer one.
        assert after_s[next_one + 1] - before_s[one] >= 0.2


def test_the_oldest_go_first_and_strangers_files_stay(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x" * 50_000)
    run = state()
    with Collector(settings(tmp_path, max_mb=0.03), run) as collector:
        for number in range(1, 13):
            show_or_replace(run, collector, result(None, seq=number))
        report = collector.report()
        assert report.bytes <= 30_000 and 2 <= report.pictures < 12
        newest = [number_of(entry["name"]) for entry in collector.entries(100)]
    assert newest[0] == 12 and len(list(tmp_path.glob("*.json"))) == len(newest)
    assert (tmp_path / "holiday.jpg").stat().st_size == 50_000


def show_or_replace(run: State, collector: Collector, shown: Result) -> None:
    newest = [one["name"] for one in collector.entries(1)]
    run.results.put(shown)
    until(lambda: [one["name"] for one in collector.entries(1)] not in ([], newest))


def number_of(name: str) -> int:
    return int(name.rpartition("_")[2].removesuffix(".jpg"))


def test_a_clock_that_was_wrong_does_not_change_which_pictures_are_old(tmp_path: Path) -> None:
    """In the year 2100, then twice in the hour that autumn has two of, and at last at the right time."""
    captured = [4102444800.0, 1792890000.0, 1792889000.0, 1_700_000_000.0]
    labels = ["future", "before", "after", "right"]
    for at, (label, when) in enumerate(zip(labels, captured, strict=True)):  # each in a run of its own: seq begins anew
        run = state()
        with Collector(settings(tmp_path, when="every"), run) as collector:
            until(lambda at=at: collector.report().pictures == at)  # type: ignore[misc]
            show_or_replace(run, collector, replace(result(label, seq=9 - at), captured=when))
            size = collector.report().bytes // (at + 1)
    run = state()
    with Collector(settings(tmp_path, when="every", max_mb=4.5 * size / 1e6), run) as collector:
        until(lambda: len(collector.entries(9)) == 4)
        assert [one["label"] for one in collector.entries(9)] == labels[::-1]
        show_or_replace(run, collector, result("newest", seq=5))
        assert [one["label"] for one in collector.entries(9)] == ["newest", "right", "after", "before"]


def test_pictures_without_numbers_are_older_and_those_from_the_future_the_oldest(tmp_path: Path) -> None:
    for name, modified in (("20991231-235959-000_a_7.jpg", time.time() + 1e8),
                           ("20230101-000000-000_b_12345678901.jpg", 1.1e9),
                           ("20240101-000000-000_c_1.jpg", 1.2e9)):  # fmt: skip
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / name).with_suffix(".json").write_text(json.dumps({"label": name.split("_")[1]}))
        os.utime(tmp_path / name, (modified, modified))
    run = state()
    with Collector(settings(tmp_path, when="every"), run) as collector:
        until(lambda: collector.report().pictures == 3)
        show_or_replace(run, collector, result("d", seq=1))
        assert [one["label"] for one in collector.entries(9)] == ["d", "c", "b", "a"]


def test_earlier_runs_pictures_count(tmp_path: Path) -> None:
    for number in (1, 2):
        run = state()
        with Collector(settings(tmp_path), run) as collector:
            show_or_replace(run, collector, result(None, seq=number))
            assert collector.report().pictures == number


def test_the_disks_reserve_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    free = [600_000_000]
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda path: usage(0, 0, free[0]))
    run = state()
    with Collector(settings(tmp_path, reserve_mb=500.0), run) as collector:
        show(run, collector, result(None, seq=1))
        free[0] = 500_000_100
        show(run, collector, result(None, seq=2))
        assert collector.failures == 1 and "500 MB" in run.as_json()["keep"]["reason"]
        assert "make room, lower keep.reserve_mb, or choose a folder" in collector.reason
        assert collector.report().pictures == 0, "what was kept made room first"
        free[0] = 600_000_000
        show(run, collector, result(None, seq=3))
        assert collector.reason == ""


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    run = state()
    with Collector(settings(tmp_path / "file" / "kept"), run) as collector:
        show(run, collector, result(None, seq=1))
        show(run, collector, result(None, seq=2))
        assert collector.failures == 2
    assert sum("keep:" in record.getMessage() for record in caplog.records) == 1


def test_zip_is_sorted_in_label_folders(tmp_path: Path) -> None:
    run = state()
    with Collector(settings(tmp_path, when="every"), run) as collector:
        for number, label in enumerate(("one", None, "../évil/x"), 1):
            show_or_replace(run, collector, result(label, seq=number))
        blocks = list(collector.zipped())
    with zipfile.ZipFile(io.BytesIO(b"".join(blocks))) as archive:
        assert archive.testzip() is None
        folders = [name.split("/") for name in archive.namelist() if name != "labels.json"]
        table = json.loads(archive.read("labels.json"))
    names = sorted(parts[0] for parts in folders)
    assert names[2].startswith("évil-x-") and names[:2] == ["one", "unknown"]
    assert table == {"one": "one", "unknown": None, names[2]: "../évil/x"}
    assert all(len(parts) == 2 for parts in folders) and len(blocks) == 4


@pytest.mark.parametrize("name", ["../secret", "holiday.jpg", "20240101-000000-000_x_1.jpg/../a", "", "a\0b"])
def test_only_its_own_pictures_are_given(tmp_path: Path, name: str) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with Collector(settings(tmp_path), state()) as collector:
        assert collector.picture(name) is None


def test_links_and_pipes_named_like_pictures_are_not_served(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    link, pipe = "20240101-000000-000_x_1.jpg", "20240101-000000-000_x_2.jpg"
    (tmp_path / link).symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / pipe)
    with Collector(settings(tmp_path), state()) as collector:
        assert collector.picture(link) is None and collector.picture(pipe) is None


def test_nothing_is_merged_in_the_zip_and_its_table_gives_every_label_back(tmp_path: Path) -> None:
    labels = ["🐱", "🐶", "कि", "कु", "C#", "C!", "A/B", "A-B", "x" * 50 + "1", "x" * 50 + "2", "CON", "Cat", "cat",
              None, "unknown", "", ".."]  # fmt: skip
    run = state()
    with Collector(settings(tmp_path, when="change", every_s=0.1), run) as collector:
        for number, label in enumerate(labels, 1):
            show(run, collector, result(label, seq=number))
        archive = zipfile.ZipFile(io.BytesIO(b"".join(collector.zipped())))
    table = json.loads(archive.read("labels.json"))
    assert sorted(table.values(), key=str) == sorted(labels, key=str)
    pictures = [name for name in archive.namelist() if name.endswith(".jpg")]
    assert len(pictures) == len(labels) and len({name.partition("/")[0].casefold() for name in pictures}) == len(labels)
    for name in pictures:
        number = number_of(name)
        assert table[name.partition("/")[0]] == labels[number - 1]


def test_other_codecs_are_encoded(tmp_path: Path) -> None:
    frame = Frame(np.full((48, 64, 3), 99, np.uint8), "bgr", 64, 48, time.monotonic(), time.time(), 5)
    run = state()
    with Collector(settings(tmp_path), run) as collector:
        item = Result(5, 1.0, 0.0, None, 0.1, (Prediction("one", 0.1),), "openvino:CPU", 1.0, 1.0, frame=frame)
        show_or_replace(run, collector, item)
    assert cv2.imread(str(next(tmp_path.glob("*.jpg")))).shape == (48, 64, 3)


def test_a_file_whose_name_is_not_utf8_is_collected_under_its_own_name(tmp_path: Path) -> None:
    run, name = state(), os.fsdecode(b"pictures/caf\xe9.jpg")
    run.model = os.fsdecode(b"mod\xe8le")
    with Collector(settings(tmp_path, when="every"), run) as collector:
        show(run, collector, replace(result("one"), name=name))
        assert collector.report().pictures == 1 and not collector.reason
        packed = zipfile.ZipFile(io.BytesIO(b"".join(collector.zipped())))
    noted = json.loads(next(tmp_path.glob("*.json")).read_bytes())
    assert (noted["image"], noted["model"]) == (name, run.model)
    assert len(packed.namelist()) == 2


def test_a_fault_of_ours_costs_its_picture_and_not_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = jpeg.portable
    run = state()
    with Collector(settings(tmp_path, when="every"), run) as collector:
        monkeypatch.setattr("picam_infer.imaging.jpeg.portable", lambda frame: {}["unforeseen"])
        show(run, collector, result("one", seq=1))
        show(run, collector, result("one", seq=2))
        assert collector.failures == 2 and collector.reason == "an internal error; see the journal"
        monkeypatch.setattr("picam_infer.imaging.jpeg.portable", whole)
        show(run, collector, result("one", seq=3))
        assert collector.report().pictures == 1 and not collector.reason
    assert sum(record.exc_info is not None for record in caplog.records) == 1
