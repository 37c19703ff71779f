"""What is advised when a folder cannot be written to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from picam_infer.platform import disk


@pytest.mark.parametrize(
    ("number", "chosen", "option"),
    [
        (errno.ENOSPC, "make room on that disk", "make room on that disk, or choose a folder on another with -o"),
        (errno.EDQUOT, "make room on that disk", "make room on that disk, or choose a folder on another with -o"),
        (errno.EROFS, "that disk is mounted read-only: mount it writable",
         "that disk is mounted read-only: choose another folder with -o"),
        (errno.EACCES, "check the owner and permissions of /there, and of what is in it",
         "choose another folder with -o"),
        (errno.EIO, "check the folder and its disk", "choose another folder with -o"),
    ],
)  # fmt: skip
def test_the_remedy_is_one_that_the_person_has(number: int, chosen: str, option: str) -> None:
    error = OSError(number, os.strerror(number))
    assert disk.remedy(error, Path("/there"), fixed=True) == chosen
    assert disk.remedy(error, Path("/there"), option="-o") == option


def test_disk_errors_are_distinguished_from_mistakes_in_the_program() -> None:
    assert disk.failed(OSError(errno.EIO, "")) and disk.failed(OSError(errno.ENOSPC, ""))
    assert not disk.failed(OSError(errno.EBADF, ""))
