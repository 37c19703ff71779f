"""The taught pictures on disk: a folder with one folder a class, which anyone can look at, copy, zip and teach again.

`labels.json` says which folder has which label. A picture's name is its file's own, with a mark of its content, by
which the same picture is known again. `PictureSet` is the one owner of the folder; it is not safe for threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picam_infer.core import NoSpace
from picam_infer.imaging import pictures as imaging
from picam_infer.imaging.picture_files import number_order
from picam_infer.models.label_folders import folder_names
from picam_infer.platform import atomic_file, disk, regular_file, utf8

MAX_MB = 200.0
"""How large the folder may become by default."""
_MB = 1_000_000
_TABLE, _FEATURES, _REMOVED = "labels.json", ".features.npz", ".removed"
_MARK = 12
_NAME = re.compile(r"(?:(?P<stem>.+)-)?(?P<mark>[0-9a-f]{12})(?P<suffix>\.[A-Za-z0-9]{1,5})", re.DOTALL)
_LEFT = re.compile(r"\..*[0-9a-f]{12}\.[A-Za-z0-9]{1,5}\.[0-9a-f]{8}", re.DOTALL)
Features = npt.NDArray[np.float32]


class Full(NoSpace):
    """There is no room for another picture."""


@dataclass(frozen=True)
class Picture:
    """One taught picture."""

    id: str
    """The beginning of its content's SHA-256: the same picture has the same one everywhere."""
    label: str
    name: str
    """Its file's name, without folder."""
    size: int
    """Bytes."""


class PictureSet:
    """Owner of a folder of taught pictures. What is written appears whole or not at all."""

    def __init__(self, folder: Path, max_mb: float = MAX_MB, reserve_mb: float = 0.0, knob: str = "--max-mb") -> None:
        """Read the folder; if it does not exist, the first picture makes it. Raises `PicamError`.

        `reserve_mb` of the disk stay free. `knob` is the option or key that allows more than `max_mb`.
        """
        self.folder = folder
        self.most = round(max_mb * _MB)
        """How many bytes the pictures may take."""
        self._reserve_mb = reserve_mb
        self._knob = knob
        self._unsynced: list[Path] = []
        self._pictures: dict[str, Picture] = {}
        self._folders: dict[str, str] = {}
        """Each label's folder."""
        self._scan()

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures by label and content: the same pictures always in the same order."""
        return iter(sorted(self._pictures.values(), key=lambda picture: (label_order(picture.label), picture.id)))

    def __contains__(self, id: str) -> bool:
        return id in self._pictures

    def __getitem__(self, id: str) -> Picture:
        return self._pictures[id]

    def by_arrival(self) -> list[Picture]:
        """Return the pictures in the order they came."""
        return list(self._pictures.values())

    @property
    def folders(self) -> dict[str, str]:
        """Each label's folder."""
        return dict(self._folders)

    @property
    def size(self) -> int:
        """How many bytes all take."""
        return sum(picture.size for picture in self._pictures.values())

    def path(self, picture: Picture) -> Path:
        """Return where a picture lies."""
        return self.folder / self._folders[picture.label] / picture.name

    def read(self, picture: Picture) -> bytes:
        """Return its bytes. Raises `OSError`."""
        return self.path(picture).read_bytes()

    def find(self, given: str) -> list[Picture]:
        """Return the pictures that a person means: by id, name, original name, CLASS/NAME, or a file with its content.

        Several may have had the same original name.
        """
        with contextlib.suppress(OSError, ValueError):
            path = Path(given)
            if path.is_file() and path.stat().st_size <= imaging.MAX_BYTES:
                id = identify(path.read_bytes())
                return [self._pictures[id]] if id in self._pictures else []
        label, _, name = given.rpartition("/")
        found = [picture for picture in self if name in (picture.id, picture.name, original_name(picture))]
        label = label.rpartition("/")[2]
        return [picture for picture in found if not label or label in (picture.label, self._folders[picture.label])]

    def add(self, label: str, data: bytes, name: str, durable: bool = True) -> Picture:
        """Keep a picture that is not there yet. Raises `Full`, `OSError`.

        Not `durable`: a power cut may take it until `sync` was called, which costs less for many at once.
        """
        id = identify(data)
        self._check_room(len(data))
        picture = Picture(id, label, f"{_stem(name)}-{id}{_suffix(data, name)}", len(data))
        self._with_folder(label)
        atomic_file.write(self.path(picture), data, durable=durable)
        if not durable:
            self._unsynced.append(self.path(picture))
        self._pictures[id] = picture
        return picture

    def sync(self) -> None:
        """Flush to the disk what is not there yet. Raises `OSError`."""
        written, self._unsynced = self._unsynced, []
        for path in [*written, *dict.fromkeys(path.parent for path in written)]:
            with contextlib.suppress(FileNotFoundError):  # moved or removed meanwhile
                disk.sync(path)

    def _check_room(self, size: int) -> None:
        if self.size + size > self.most:
            raise Full(
                f"the taught pictures would take more than {self.most / _MB:g} MB ({self.folder})",
                f"remove some, or allow more with {self._knob}",
            )
        if self._reserve_mb and disk.free_mb(self.folder) - size / _MB < self._reserve_mb:
            raise Full(
                f"less than {self._reserve_mb:g} MB are free on the disk of {self.folder}",
                "make room there: the system needs some too",
            )

    def relabel(self, id: str, label: str) -> Picture:
        """Move a picture to another class. Raises `OSError`."""
        old = self._pictures[id]
        new = replace(old, label=label)
        self._with_folder(label)
        self.path(old).rename(self.path(new))
        self._pictures[id] = new
        return new

    def remove(self, id: str) -> Picture:
        """Take a picture out; `restore` brings it back until `forget_removed`. Raises `OSError`."""
        picture = self._pictures[id]
        aside = self.folder / _REMOVED
        aside.mkdir(exist_ok=True)
        self.path(picture).rename(aside / picture.name)
        del self._pictures[id]
        return picture

    def restore(self, picture: Picture) -> Picture:
        """Put back what was removed. Raises `OSError`."""
        self._with_folder(picture.label)
        (self.folder / _REMOVED / picture.name).rename(self.path(picture))
        self._pictures[picture.id] = picture
        return picture

    def forget_removed(self) -> None:
        """Delete what was removed for good, and folders that are empty; what the disk does not take is left."""
        shutil.rmtree(self.folder / _REMOVED, ignore_errors=True)
        before = dict(self._folders)
        for label in set(self._folders) - {picture.label for picture in self._pictures.values()}:
            with contextlib.suppress(OSError):  # someone else's file is in it: then it stays
                (self.folder / self._folders[label]).rmdir()
                del self._folders[label]
        if self._folders != before:
            with contextlib.suppress(OSError):  # the old table also names folders that are gone, which does no harm
                self._write_table(self._folders)

    # -- features, so that nothing has to be computed twice -----------------------------------------------------------

    def load_features(self, backbone: str) -> dict[str, Features]:
        """Return the features by id that were kept for a backbone; nothing when there are none, or they are damaged."""
        try:
            if not (self.folder / _FEATURES).is_file():
                return {}
            with np.load(self.folder / _FEATURES, allow_pickle=False) as file:
                if str(file["backbone"]) != backbone:
                    return {}
                ids, values = file["ids"], np.asarray(file["values"], np.float32)
                if values.ndim != 2 or len(ids) != len(values) or not np.isfinite(values).all():
                    return {}
                return {str(id): value for id, value in zip(ids, values, strict=True)}
        except Exception:  # numpy and zipfile raise all kinds of errors for damaged files
            return {}

    def save_features(self, backbone: str, features: dict[str, Features]) -> None:
        """Keep features by id for the next time; without room for them they are computed again then."""
        if not features:
            return
        ids = sorted(features)
        path = self.folder / _FEATURES
        atomic_file.sweep(path)
        with contextlib.suppress(OSError), atomic_file.replacing(path, durable=False) as file:
            np.savez(file, backbone=backbone, ids=np.array(ids), values=np.stack([features[id] for id in ids]))

    # -- the folder ---------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        labels = read_table(self.folder)
        try:
            folders = sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            raise regular_file.unreadable(self.folder, error) from error
        found: list[tuple[float, Picture]] = []
        for folder in folders:
            label = labels.get(folder.name) or folder.name
            self._folders.setdefault(label, folder.name)
            try:
                if self._folders[label] == folder.name:
                    found += [one for path in sorted(folder.iterdir()) if (one := self._found(path, label))]
            except OSError as error:
                raise regular_file.unreadable(folder, error) from error
        for _, picture in sorted(found, key=lambda one: one[0]):
            self._pictures.setdefault(picture.id, picture)

    def _found(self, path: Path, label: str) -> tuple[float, Picture] | None:
        """Return when a picture came, and it; one that somebody has put there is named like the others."""
        if path.is_symlink() or not path.is_file():
            return None
        named = _NAME.fullmatch(path.name)
        if named is None and not path.name.startswith(".") and imaging.readable(path):
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                path = path.rename(path.with_name(f"{_stem(path.name)}-{identify(data)}{_suffix(data, path.name)}"))
                named = _NAME.fullmatch(path.name)
        status = path.stat()
        # What a power cut left: a name without its content, or a picture that was being written.
        if (named is not None and not status.st_size) or _LEFT.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if named is None:
            return None
        return status.st_mtime, Picture(named["mark"], label, path.name, status.st_size)

    def _with_folder(self, label: str) -> None:
        """Make sure that a label has a folder whose name no other one has, on any file system."""
        if label not in self._folders:
            taken = {name.casefold() for name in self._folders.values()}
            name = folder_names([*self._folders, label])[label]
            number = 1
            while name.casefold() in taken or name.casefold() == _REMOVED:
                number += 1
                name = f"{folder_names([label])[label]}-{number}"
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_table({**self._folders, label: name})  # first: a folder alone would not tell its label
            self._folders[label] = name
        (self.folder / self._folders[label]).mkdir(exist_ok=True)

    def _write_table(self, folders: Mapping[str, str]) -> None:
        table: dict[str, str | None] = {folder: label for label, folder in sorted(folders.items())}
        for name, label in read_table(self.folder).items():  # what somebody has put there since the folder was read
            if name not in table and (self.folder / name).is_dir():
                table[name] = label
        atomic_file.write(self.folder / _TABLE, utf8.json_bytes(table, indent=1))


def read_table(folder: Path) -> dict[str, str | None]:
    """Return which folder has which label (None: unknown) by `labels.json`; nothing if there is no such table."""
    try:
        table = json.loads((folder / _TABLE).read_bytes()) if (folder / _TABLE).is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(table, dict):
        return {}
    return {str(name): label if label is None else clean_label(str(label)) for name, label in table.items()}


def identify(data: bytes) -> str:
    """Return a picture's id."""
    return hashlib.sha256(data).hexdigest()[:_MARK]


def original_name(picture: Picture) -> str:
    """Return what its file was called when it came, as far as its new name tells."""
    named = _NAME.fullmatch(picture.name)
    return f"{named['stem'] or named['mark']}{named['suffix']}" if named else picture.name


def clean_label(text: str) -> str:
    """Return a text as a label: on one line, without spaces around it; empty: it has no visible character."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def label_order(label: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key: `shelf 2` before `shelf 10`, whatever the case."""
    parts = [part for part in re.split(r"(\d+)", label.casefold()) if part]
    numbers = [part.isdecimal() and part.isascii() for part in parts]
    return [
        (0, *number_order(part)) if number else (1, 0, part) for part, number in zip(parts, numbers, strict=True)
    ], label


def _stem(name: str) -> str:
    plain = "".join(char if char.isalnum() or char in "._+" else "-" for char in Path(name).stem)
    named = re.sub(r"-[0-9a-f]{12}\Z", "", plain)  # a picture of another set comes with its mark
    return named.encode()[:60].decode(errors="ignore").strip("-.") or "picture"


def _suffix(data: bytes, name: str) -> str:
    """Return a suffix by content, where that is known: a picture may come without a name, or with a wrong one."""
    given = Path(name).suffix.lower()
    return imaging.suffix_of(data) or (given if given in imaging.SUFFIXES else ".img")
