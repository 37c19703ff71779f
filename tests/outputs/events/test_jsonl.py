"""Events as JSON lines: whole lines, rotation, and a disk that is full or gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from event_samples import change, state, until

from picam_infer import config
from picam_infer.outputs.events import Events
from picam_infer.outputs.events.jsonl import JsonLines
from picam_infer.outputs.events.outlet import DeliveryError, Event


def write(lines: JsonLines, count: int) -> None:
    for number in range(count):
        lines.deliver(Event(change("one", seq=number)), lambda s: True)


def read(path: Path) -> list[int]:
    return [json.loads(line)["result"]["seq"] for line in path.read_text().splitlines()]


def test_lines_are_the_public_json(tmp_path: Path) -> None:
    path, run = tmp_path / "new" / "events.jsonl", state()
    with Events([config.Jsonl(path=str(path))], run):
        run.announce(change("ünö", previous="zero"))
        run.announce(change(None, 0.2))
    first, second = map(json.loads, path.read_text("utf-8").splitlines())
    assert (first["event"], first["label"], first["previous"], first["score"]) == ("label", "ünö", "zero", 0.9)
    assert first["result"]["engine"] == "openvino:CPU" and len(first["id"]) == 32
    assert second["label"] is None


def test_rotates_by_size_and_keeps_order(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    lines = JsonLines(config.Jsonl(path=str(path), max_mb=0.001, files=3))
    write(lines, 12)
    names = [path.with_name("e.jsonl.2"), path.with_name("e.jsonl.1"), path]
    assert all(name.stat().st_size <= 1000 for name in names)
    numbers = [n for name in names for n in read(name)]
    assert numbers == list(range(12))[-len(numbers) :] and len(numbers) < 12
    assert not path.with_name("e.jsonl.3").exists()
    lines.close()


def test_one_file_only_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write(JsonLines(config.Jsonl(path=str(path), max_mb=0.001, files=1)), 9)
    assert path.stat().st_size <= 1000 and list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_continued_and_a_moved_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write(JsonLines(config.Jsonl(path=str(path))), 1)
    lines = JsonLines(config.Jsonl(path=str(path)))
    write(lines, 1)
    assert len(read(path)) == 2
    path.rename(tmp_path / "moved")
    write(lines, 1)
    assert len(read(path)) == 1


def test_a_disk_that_does_not_take_it_is_a_reason_to_wait(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines = JsonLines(config.Jsonl(path=str(tmp_path / "file" / "e.jsonl")))
    with pytest.raises(DeliveryError, match="cannot write"):
        write(lines, 1)
    full = JsonLines(config.Jsonl(path="/dev/full"))
    with pytest.raises(DeliveryError, match="No space left") as error:
        write(full, 1)
    assert error.value.hint == "make room on that disk, or choose a folder on another"


def test_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run = state()
    with Events([config.Jsonl(path="-")], run) as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].sent)
    assert json.loads(capsys.readouterr().out)["label"] == "one"
