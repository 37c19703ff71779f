"""The running Python is named by a path that the next upgrade leaves valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.platform.paths import interpreter


@pytest.mark.parametrize("version", ["release-1.0", "versions/20260101-1.0"])
def test_an_installed_python_is_named_through_the_link_to_the_current_version(tmp_path: Path, version: str) -> None:
    (tmp_path / version / "bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to(version)
    assert interpreter(tmp_path / version / "bin/python") == tmp_path / "current/bin/python"


def test_any_other_python_is_named_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "versions/old/bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to("versions/new")
    program = tmp_path / "versions/old/bin/python"
    assert interpreter(program) == program
    (tmp_path / "versions/new").mkdir()
    assert interpreter(program) == program
