"""Twin of `picam_infer.platform.file_stamp`, on real files."""

from __future__ import annotations

import os
from pathlib import Path

from picam_infer.platform.file_stamp import file_stamp


def test_a_file_keeps_its_stamp_until_it_is_written_or_replaced(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("one")
    first = file_stamp(path)
    assert first is not None and file_stamp(path) == first
    path.write_text("longer")
    second = file_stamp(path)
    assert second != first
    other.write_text("LONGER")
    os.utime(other, ns=(0, second[0] if second else 0))
    other.replace(path)
    assert file_stamp(path) != second, "as long and as old, but another file"


def test_what_cannot_be_asked_has_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert file_stamp(None) is None
    assert file_stamp(tmp_path / "missing") is None
    assert file_stamp(tmp_path / "file/inside") is None
