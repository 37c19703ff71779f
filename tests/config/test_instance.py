"""Which of several services this is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from picam_infer.config import instance
from picam_infer.config.instance import Instance

CONFIG = Path("/etc/picam-infer/config.yaml")


def test_the_installed_configuration_is_the_default() -> None:
    assert Instance().ident == Instance(CONFIG).ident and Instance(CONFIG).name == ""
    assert Instance(Path("/etc/picam-infer/bench.yaml")).name == "bench"


def test_one_file_is_one_instance_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = Instance(tmp_path / "a.yaml")
    assert whole.ident == Instance(Path("a.yaml")).ident == Instance(tmp_path / "x" / ".." / "a.yaml").ident
    assert whole.ident != Instance(tmp_path / "b.yaml").ident


def test_names_are_plain_and_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "raspberrypi.local")
    assert re.fullmatch("raspberrypi-[0-9a-f]{6}", Instance().network_name)
    assert re.fullmatch("raspberrypi-bench-[0-9a-f]{6}", Instance(Path("/x/bench.yaml")).network_name)


def test_a_copied_card_in_another_board_is_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, board = tmp_path / "machine-id", tmp_path / "serial"
    card.write_text("0123456789abcdef\n")
    monkeypatch.setattr(instance, "MACHINE_IDS", (card, board))
    board.write_text("10000000aaaaaaaa\0")
    one = Instance().ident
    board.write_text("10000000bbbbbbbb\0")
    assert Instance().ident != one
    assert "0123456789abcdef" not in one


def test_without_an_id_one_is_made_up_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "MACHINE_IDS", ())
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "one"))
    first = Instance().ident
    assert Instance().ident == first
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "other"))
    assert Instance().ident != first
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/nope")
    assert Instance().ident
