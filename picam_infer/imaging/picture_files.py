"""Which pictures a folder contains, in which order, and what is left out: one rule for the whole program."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from picam_infer.core import NoInput
from picam_infer.imaging import other_formats, pictures
from picam_infer.platform import regular_file

_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx"})
"""What desktops leave in folders: ignored silently."""


MOST_OTHERS = 20_000
"""How many files and folders that are not pictures are looked at, when they outnumber the pictures."""


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
        """Return one line that names what is left out, and how some of it could be read; empty if nothing is."""
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

    Raises `NoPictures`, or `NoInput` for a folder that cannot be read, or that holds too much else.
    """
    closed: list[Path] = []
    try:
        readable, others = _looked_through(folder, closed)
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error

    def place(path: Path) -> list[list[tuple[int, str]]]:
        return order(path.relative_to(folder))

    left_out = (*closed, *sorted(others, key=place))
    if not readable:
        remark = Found((), left_out, tuple(closed)).remark(folder)
        known = f"looked for .jpg, .png, .webp and {len(pictures.SUFFIXES) - 3} more"
        raise NoPictures(f"{folder} has no pictures in it", remark.partition("; ")[2] or remark or known)
    return Found(tuple(sorted(readable, key=place)), left_out, tuple(closed))


def is_folder(path: Path) -> bool:
    """Tell whether something is a folder; of what cannot be reached its reader tells why."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _looked_through(folder: Path, closed: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the pictures in a folder and the other files, and put the folders that cannot be read into `closed`.

    Raises `OSError`, or `NoInput` where so much else lies that the wrong folder was named.
    """

    def fail(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        closed.append(Path(error.filename))

    readable: list[Path] = []
    others: list[Path] = []
    for count, (inside, folders, names) in enumerate(os.walk(folder, onerror=fail)):
        folders[:] = [name for name in folders if not _ignored(name)]
        for path in (Path(inside, name) for name in names if not _ignored(name)):
            (readable if pictures.readable(path) else others).append(path)
        if count + len(closed) + len(others) > max(MOST_OTHERS, len(readable)):
            raise NoInput(
                f"{folder} holds more than {MOST_OTHERS} files and folders that are no pictures",
                "name the folder that the pictures are in",
            )
    return readable, others


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
    """Return a sort key that orders digits by their numbers, even more digits than Python converts."""
    digits = digits.lstrip("0")
    return len(digits), digits
