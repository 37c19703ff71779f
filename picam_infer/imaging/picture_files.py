"""Which pictures a folder holds: one rule and one order for everybody, and what is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from picam_infer.core import NoInput
from picam_infer.imaging import other_formats, pictures

_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx"})
"""What desktops leave in folders: ignored silently."""


@dataclass(frozen=True)
class Found:
    """The pictures of a folder and of the folders in it."""

    pictures: tuple[Path, ...]
    """In natural order, folder by folder: `a2.jpg` before `a10.jpg`."""
    left_out: tuple[Path, ...]
    """Other files, hidden ones excepted."""

    def remark(self, folder: Path) -> str:
        """Return one line that names what is left out, and how some of it could be read; empty: nothing is."""
        if not self.left_out:
            return ""
        names = [path.relative_to(folder).as_posix() for path in self.left_out]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        remedies = sorted({remedy for path in self.left_out if (remedy := other_formats.remedy(path))})
        return f"left out of {folder}: {', '.join(names[:6])}{more}" + "".join(f"; {remedy}" for remedy in remedies)


def find(folder: Path) -> Found:
    """Return the pictures in a folder and in those inside it; links to folders are not followed. Raises `NoInput`."""
    try:
        files = sorted(_files(folder), key=lambda path: order(path.relative_to(folder)))
    except OSError as error:
        raise NoInput(f"{folder} cannot be read ({error.strerror})", "check its owner and permissions") from error
    readable = tuple(path for path in files if pictures.readable(path))
    left_out = tuple(path for path in files if not pictures.readable(path))
    if not readable:
        remark = Found((), left_out).remark(folder)
        known = f"looked for .jpg, .png, .webp and {len(pictures.SUFFIXES) - 3} more"
        raise NoInput(f"{folder} has no pictures in it", remark.partition("; ")[2] or remark or known)
    return Found(readable, left_out)


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        if error.filename == str(folder):
            raise error

    for inside, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not _ignored(name)]
        yield from (Path(inside, name) for name in names if not _ignored(name))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def order(path: Path) -> list[list[tuple[int, str]]]:
    """Return a sort key: files before folders, `frame2` before `frame10`, `frame.jpg` before both."""
    folders = [[(1, ""), *_natural(part)] for part in path.parts[:-1]]
    return [*folders, [(0, ""), *_natural(path.stem), (-2, path.suffix.lower())]]


def _natural(text: str) -> list[tuple[int, str]]:
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [number_order(part) if part.isdecimal() else (-1, part.lower()) for part in parts]


def number_order(digits: str) -> tuple[int, str]:
    """Return a sort key that puts digits in their numbers' order, also more of them than Python makes a number of."""
    digits = digits.lstrip("0")
    return len(digits), digits
