"""Where the token is, for people."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from picam_infer.outputs.web.token import Token


def test_the_command_that_shows_the_token_is_whole_and_asks_for_sudo_only_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my token").write_text("x" * 20)
    if os.getuid() == 0:
        os.chown(tmp_path / "my token", 1001, 1001)
        assert Token(Path("my token")).command == f"cat '{tmp_path}/my token'"
        os.chown(tmp_path / "my token", 990, 990)
        assert Token(Path("my token")).command == f"sudo cat '{tmp_path}/my token'"
    else:
        assert Token(Path("my token")).command == f"cat '{tmp_path}/my token'"
    assert Token(Path("credential:web")).command == "", "that is in no file of its own"
