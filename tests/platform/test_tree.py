"""Folders are looked through only so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.platform import tree


def test_all_that_is_inside_is_named_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2", "b/1", "a"):
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tree.inside(tmp_path, 4)] == ["a", "b", "b/1", "b/2"]


def test_too_much_is_not_listed(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    with pytest.raises(tree.TooMany):
        tree.inside(tmp_path, 4)
