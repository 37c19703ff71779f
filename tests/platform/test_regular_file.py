"""What may be opened to be read, and what is said of the rest."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from picam_infer.core import NoInput
from picam_infer.platform import regular_file


def test_only_regular_files_pass(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        regular_file.require(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name in ("pipe", "to-pipe", "socket"):
        with pytest.raises(NoInput, match=f"{name} is not a regular file"):
            regular_file.require(tmp_path / name)
    with pytest.raises(NoInput, match="is not a regular file"):
        regular_file.require(Path("/dev/null"))
    with pytest.raises(NoInput, match="is a folder"):
        regular_file.require(tmp_path)
    with pytest.raises(FileNotFoundError):
        regular_file.require(tmp_path / "none")


def test_the_reason_is_told(tmp_path: Path) -> None:
    closed = regular_file.unreadable(tmp_path, PermissionError(errno.EACCES, "Permission denied"))
    assert "cannot be read (Permission denied); check its owner and permissions" in str(closed)
    assert "its name is not valid" in str(regular_file.unreadable(tmp_path, ValueError("embedded null byte")))
