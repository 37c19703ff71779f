"""Files that are replaced as a whole."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from picam_infer.platform import atomic_file


def test_a_file_keeps_its_permissions_and_a_new_one_gets_those_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_file.write(path, b"1", mode=0o600)
    assert path.read_bytes() == b"1" and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    before = path.stat().st_ino
    atomic_file.write(path, b"22", mode=0o600)
    assert path.read_bytes() == b"22" and path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != before, "whoever has the old one open goes on reading it"
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    os.chown(path, 12345, 23456)
    atomic_file.write(path, b"x")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_file.write(path, b"new")
    assert path.read_bytes() == b"old" and [found.name for found in tmp_path.iterdir()] == ["a"]
    atomic_file.write(path, b"new", durable=False)
    assert path.read_bytes() == b"new"


def test_what_a_power_cut_left_is_swept_up_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    old, young, other = tmp_path / ".a.0123abcd", tmp_path / ".a.4567cdef", tmp_path / ".a.conf"
    for left in (old, young, other):
        left.touch()
    for left in (old, other):
        os.utime(left, (time.time() - 3600,) * 2)
    atomic_file.sweep(path)
    assert not old.exists() and young.exists() and other.exists()


def test_a_file_is_created_once_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    atomic_file.create(path, b"first", mode=0o600)
    assert path.read_bytes() == b"first" and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        atomic_file.create(path, b"second")
    assert path.read_bytes() == b"first" and [found.name for found in tmp_path.iterdir()] == ["token"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_file_is_created_for_an_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    atomic_file.create(tmp_path / "a", b"x", owner=tmp_path.stat())
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)


def test_a_file_that_is_written_in_pieces_appears_when_all_of_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_file.replacing(path) as file:
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    with pytest.raises(RuntimeError), atomic_file.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"new" and [found.name for found in tmp_path.iterdir()] == ["a"]


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127 + "x")
    atomic_file.write(path, b"1")
    assert path.read_bytes() == b"1"
