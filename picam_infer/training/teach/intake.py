"""The input of teaching: a folder with a folder per class, or an archive of such a folder, however it was packed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from picam_infer.convert import archives, lookalikes
from picam_infer.convert.archives import Budget
from picam_infer.core import NoInput, PicamError, counted
from picam_infer.imaging import picture_files, pictures
from picam_infer.imaging.picture_files import NoPictures
from picam_infer.platform import regular_file
from picam_infer.training.teach.picture_set import clean_label, label_order, read_table

MAX_FILES = 50_000
"""How many files archives of pictures may hold, all together."""
_PROJECT = re.compile(r"(?P<label>.*)-!-(?P<name>[^/]+)", re.DOTALL)
"""What a Teachable Machine project calls its pictures."""
_SAMPLES = re.compile(r"(?P<label>.+?)[-_ ]samples(?:\s*\(\d+\))?", re.IGNORECASE)
"""What Teachable Machine calls the download of one class's pictures, and a browser the next one."""
_HOW = "give one folder for each class, named after it, with its pictures in it"


@dataclass(frozen=True)
class Given:
    """One picture file and its class."""

    label: str
    path: Path
    shown: str
    """Its path inside what was given."""


@dataclass
class Intake:
    """The pictures of a folder or an archive, class by class."""

    pictures: list[Given] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What was left out, and why; one line each."""

    @property
    def labels(self) -> list[str]:
        """The classes, in order."""
        return sorted({given.label for given in self.pictures}, key=label_order)


@dataclass
class _Unpacking:
    """Where archives are unpacked, and how much may come out of all of them together."""

    scratch: Path
    budget: Budget = field(default_factory=lambda: Budget(entries=MAX_FILES, folders=True, content="the pictures"))

    def unpack(self, archive: Path, depth: int) -> Path:
        """Return the folder that an archive, which lies in `depth` others, was unpacked into. Raises `PicamError`."""
        place = self.scratch / f"unpacked-{len(list(self.scratch.iterdir()))}"
        archives.unpack(archive, place, self.budget, depth)
        return place


def read(given: Path, scratch: Path) -> Intake:
    """Return what a folder, a zip (of folders, of one class, of collected pictures) or a `.tm` project holds.

    Archives are unpacked into `scratch`, under the limits that model archives have. Raises `NoInput`, `PicamError`:
    nothing there, a class without pictures, or an archive that is not to be trusted.
    """
    found = Intake()
    try:
        is_folder = given.is_dir()
        if not is_folder:
            regular_file.require(given)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise NoInput(f"there is no {given}", _HOW) from error
    except OSError as error:
        raise regular_file.unreadable(given, error) from error
    if is_folder:
        _folder(given, given, found, _Unpacking(scratch), 0)
    else:
        _archive(given, found, _Unpacking(scratch), 0)
    if not found.pictures:
        because = f" ({found.remarks[0]})" if found.remarks else ""
        raise NoInput(f"{given} has no pictures of any class in it{because}", _HOW)
    return found


def _archive(path: Path, found: Intake, unpacking: _Unpacking, depth: int) -> None:
    """Take what an archive holds, which lies in `depth` others."""
    if archives.kind(lookalikes.head(path)) is None:
        raise PicamError(f"{path.name} is neither a folder nor an archive of pictures", _HOW)
    place = unpacking.unpack(path, depth)
    folders = [entry for entry in place.iterdir() if entry.is_dir() and not _hidden(entry)]
    plain = [entry for entry in place.iterdir() if entry.is_file() and not _hidden(entry)]
    if len(folders) == 1 and not plain and any(entry.is_dir() and not _hidden(entry) for entry in folders[0].iterdir()):
        place = folders[0]  # the folder itself was packed instead of its contents
    loose = [entry for entry in plain if pictures.readable(entry)]
    if loose and not any(_PROJECT.fullmatch(entry.name) for entry in loose):
        _one_class(path, place, found)
    else:
        _folder(place, place, found, unpacking, depth + 1)


def _one_class(archive: Path, place: Path, found: Intake) -> None:
    """Take an archive of pictures without folders for one class, named after the archive."""
    named = _SAMPLES.fullmatch(archive.stem)
    label = clean_label(named["label"] if named else archive.stem)
    if not label:
        raise PicamError(f"{archive.name} has a name that cannot be a class's", _HOW)
    _take(place, place, label, found)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.casefold() == "__macosx"


def _folder(folder: Path, root: Path, found: Intake, unpacking: _Unpacking, depth: int) -> None:
    """Take what a folder holds, which came out of `depth` archives inside each other."""
    table = read_table(folder)
    try:
        entries = sorted(((entry, entry.is_dir()) for entry in folder.iterdir() if not _hidden(entry)),
                         key=lambda found: found[0].name)  # fmt: skip
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error
    loose: list[str] = []
    for entry, is_folder in entries:
        if is_folder:
            _class(entry, root, table, found)
        elif entry.suffix.lower() == ".zip":
            _archive(entry, found, unpacking, depth)
        elif pictures.readable(entry):
            named = _PROJECT.fullmatch(entry.name)
            label = clean_label(named["label"]) if named else ""
            if label:
                found.pictures.append(Given(label, entry, entry.name))
            else:
                loose.append(entry.name)
    if loose:
        more = f" and {len(loose) - 4} more" if len(loose) > 4 else ""
        found.remarks.append(f"left out, because they are not in a class's folder: {', '.join(loose[:4])}{more}")
    # Project pictures come as `Class 1-!-10.jpg`, in the order of names; people count otherwise.
    found.pictures.sort(key=lambda given: (label_order(given.label), picture_files.order(Path(given.shown))))


def _class(folder: Path, root: Path, table: dict[str, str | None], found: Intake) -> None:
    label = table.get(folder.name, folder.name)
    if label is None:
        count = sum(1 for _ in _pictures(folder))
        found.remarks.append(
            f"left out, because they are not labelled yet: {counted(count, 'picture')} of {folder.name}"
        )
        return
    label = clean_label(label) or clean_label(folder.name)
    if not label:
        raise PicamError(f"the folder {folder.name!r} has a name that cannot be a class's", _HOW)
    _take(folder, root, label, found)


def _take(folder: Path, root: Path, label: str, found: Intake) -> None:
    try:
        inside = picture_files.find(folder)
    except NoPictures as error:
        why = f" ({error.hint})" if error.hint else ""
        raise NoInput(f"class {label!r} has no pictures{why}", "put some into its folder, or delete it") from error
    if inside.left_out:
        found.remarks.append(inside.remark(folder).replace(str(folder), label, 1))
    found.pictures += [Given(label, path, path.relative_to(root).as_posix()) for path in inside.pictures]


def _pictures(folder: Path) -> Iterator[Path]:
    try:
        yield from picture_files.find(folder).pictures
    except NoInput:
        return
