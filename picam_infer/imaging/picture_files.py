"""Which pictures a folder holds: one rule and one order for everybody, and what is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from picam_infer.core import NoInput
from picam_infer.imaging import other_formats, pictures
from picam_infer.platform import regular_file

_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx"})
"""What desktops leave in folders: ignored silently."""


class NoPictures(NoInput):
    """A folder that can be read holds no picture."""


@dataclass(frozen=True)
class Found:
    """The pictures of a folder and of the folders in it."""

    pictures: tuple[Path, ...]
    """In natural order, folder by folder: `a2.jpg` before `a10.jpg`."""
    left_out: tuple[Path, ...]
    """Other files, hidden ones excepted, and the folders of `closed`."""
    closed: tuple[Path, ...] = ()
    """Folders inside that this user may not read."""

    def remark(self, folder: Path) -> str:
        """Return one line that names what is left out, and how some of it could be read; empty: nothing is."""
        if not self.left_out:
            return ""
        names = [path.relative_to(folder).as_posix() for path in self.left_out]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        remedies = sorted({remedy for path in self.left_out if (remedy := other_formats.remedy(path))})
        if self.closed:
            first = self.closed[0].relative_to(folder).as_posix()
            remedies.append(f"the folder {first} cannot be read: {regular_file.ALLOW}")
        return f"left out of {folder}: {', '.join(names[:6])}{more}" + "".join(f"; {remedy}" for remedy in remedies)


def find(folder: Path) -> Found:
    """Return the pictures in a folder and in those inside it; links to folders are not followed.

    Raises `NoPictures`, or `NoInput` for a folder that cannot be read.
    """
    closed: list[Path] = []
    try:
        files = sorted(_files(folder, closed), key=lambda path: order(path.relative_to(folder)))
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error
    readable = tuple(path for path in files if pictures.readable(path))
    left_out = (*closed, *(path for path in files if not pictures.readable(path)))
    if not readable:
        remark = Found((), left_out, tuple(closed)).remark(folder)
        known = f"looked for .jpg, .png, .webp and {len(pictures.SUFFIXES) - 3} more"
        raise NoPictures(f"{folder} has no pictures in it", remark.partition("; ")[2] or remark or known)
    return Found(readable, left_out, tuple(closed))


def is_folder(path: Path) -> bool:
    """Tell whether something is a folder; of what cannot be reached its reader tells why."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _files(folder: Path, closed: list[Path]) -> Iterator[Path]:
    """Yield the files in a folder, and put the folders in it that cannot be read into `closed`. Raises `OSError`."""

    def fail(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        closed.append(Path(error.filename))

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
