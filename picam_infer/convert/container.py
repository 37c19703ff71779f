"""What was given: a file, a folder or a zip; which model is in it; and nothing that it could do to us."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from picam_infer.core import NoInput, PicamError

MAX_ENTRIES = 10_000
MAX_UNPACKED = 4 * 2**30
MAX_RATIO = 200
FREE = 64 * 2**20
"""Below this many unpacked bytes the ratio does not matter."""

Format = Literal["hdf5", "keras", "json", "tflite", "onnx", "ir", "savedmodel", "pb", "meta"]
_ORDER: tuple[Format, ...] = ("keras", "hdf5", "json", "savedmodel", "tflite", "onnx", "ir", "pb", "meta")
_SUFFIXES: dict[str, Format] = {
    ".h5": "hdf5", ".hdf5": "hdf5", ".keras": "keras", ".json": "json", ".tflite": "tflite", ".lite": "tflite",
    ".onnx": "onnx", ".xml": "ir", ".pb": "pb", ".meta": "meta",
}  # fmt: skip
_NOT_MODELS = frozenset(
    {"metadata.json", "package.json", "training_config.json", "fingerprint.pb", "keras_metadata.pb"}
)
_KNOWN = "known are .h5, .keras, model.json, .tflite, .onnx, .pb, .meta, .xml, SavedModel folders, and zips of these"


@dataclass(frozen=True)
class Found:
    """The model that an input holds."""

    format: Format
    path: Path
    """The file, or the SavedModel's folder."""
    folder: Path
    """Where labels and weights lie beside it."""
    root: Path | None = None
    """The folder or the unpacked archive that was given, if one was."""


def find(given: Path, scratch: Path) -> Found:
    """Return the model in a file, folder or zip, which is unpacked into `scratch`. Raises `NoInput`, `PicamError`."""
    try:
        mode = given.stat().st_mode
    except (OSError, ValueError) as error:
        raise NoInput(f"there is no {given}", "check the name") from error
    if (given / "model.yaml").is_file():
        raise PicamError(f"{given} is a bundle already", f"run it: picam-infer run --model {given}")
    if stat.S_ISDIR(mode):
        return _opened(_in_folder(given, given.name), scratch)
    if not stat.S_ISREG(mode):
        raise NoInput(f"{given} is not a regular file")
    head = _head(given)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        unpack(given, scratch)
        if (scratch / "config.json").is_file() and (scratch / "model.weights.h5").is_file():
            return Found("keras", scratch, given.parent)
        return _opened(_in_folder(scratch, given.name), scratch)
    return Found(sniff(given, head), given, given.parent)


def _opened(found: Found, scratch: Path) -> Found:
    """Unpack a `.keras` file that lay in a folder or a zip."""
    if found.format != "keras":
        return found
    inside = scratch / ".keras-archive"
    unpack(found.path, inside)
    if not (inside / "config.json").is_file() or not (inside / "model.weights.h5").is_file():
        raise PicamError(f"{found.path.name} lacks its configuration or weights", "copy or export it again")
    return replace(found, path=inside)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise NoInput(f"{path} cannot be read ({error.strerror})", "check its permissions") from error


def sniff(path: Path, head: bytes | None = None) -> Format:
    """Return a file's format by its first bytes, by its name where those do not tell. Raises `PicamError`."""
    head = _head(path) if head is None else head
    if not head:
        raise PicamError(f"{path.name} is empty", "copy or export it again")
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:2] == b"PK" and path.suffix.lower() == ".keras":
        return "keras"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:5] == b"<?xml" or start[:4] == b"<net":
        return "ir"
    if start[:1] in (b"{", b'"') and path.suffix.lower() not in (".pb", ".onnx", ".meta"):
        return "json"
    named = _SUFFIXES.get(path.suffix.lower())
    if named in ("pb", "onnx", "meta"):
        return named
    if named:
        raise PicamError(f"{path.name} is damaged or cut short: it does not begin as such a file does", "copy it again")
    raise PicamError(f"{path.name} is no model file", _KNOWN)


def _in_folder(folder: Path, title: str) -> Found:
    """Return the best model in a folder."""
    candidates: list[Found] = []
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number > MAX_ENTRIES:
            raise PicamError(f"{title} holds more than {MAX_ENTRIES} files", "name the model file itself")
        inside = path.relative_to(folder)
        if (
            path.is_symlink()
            or any(part.startswith((".", "__MACOSX")) for part in inside.parts)
            or len(inside.parts) > 6
        ):
            continue
        if path.name == "saved_model.pb":
            candidates.append(Found("savedmodel", path.parent, path.parent.parent))
        elif path.is_file() and path.name.lower() not in _NOT_MODELS:
            named = _SUFFIXES.get(path.suffix.lower())
            if named and not (named == "pb" and (path.parent / "saved_model.pb").exists()):
                candidates.append(Found(named, path, path.parent))
    whole = [found for found in candidates if not _only_weights(found, candidates)]
    for kind in _ORDER:
        fitting = [found for found in whole if found.format == kind]
        if len(fitting) > 1:
            usual = [f for f in fitting if f.path.name.lower() in ("keras_model.h5", "model.json")]
            fitting = usual if len({f.folder for f in fitting}) == 1 and usual else fitting
        if len(fitting) > 1:
            names = ", ".join(found.path.relative_to(folder).as_posix() for found in fitting[:4])
            raise PicamError(f"{title} holds several models: {names}", "name one of them")
        if fitting:
            found = replace(fitting[0], root=folder)
            return found if found.format == "savedmodel" else replace(found, format=sniff(found.path))
    zips = sorted(path.name for path in folder.rglob("*.[zZ][iI][pP]"))
    if zips:
        raise PicamError(f"{title} holds no model, but {zips[0][:80]}", "unpack that one and give the model in it")
    raise PicamError(f"{title} holds no model", _KNOWN)


def _only_weights(found: Found, candidates: list[Found]) -> bool:
    """Tell whether an HDF5 file lies beside the JSON file that describes its network."""
    if found.format != "hdf5" or found.path.name.lower() == "keras_model.h5":
        return False
    return any(other.format == "json" and other.folder == found.folder for other in candidates)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip. Raises `PicamError` for bombs, names that climb out, links, and damaged entries."""
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            _check(archive, entries)
            left = MAX_UNPACKED
            for entry in entries:
                if not entry.is_dir() and not entry.filename.endswith("\\"):
                    left -= _write(file, entry, folder / _path(entry), left)
    except PicamError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:100]
        raise PicamError(f"{archive.name} is damaged or cut short ({reason})", "copy or export it again") from error


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return an entry's path; some Windows programs write backslashes."""
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _check(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len({_path(entry) for entry in entries}) < len(entries):
        raise PicamError(f"{archive.name} holds two files of the same name", "pack it again")
    if len(entries) > MAX_ENTRIES:
        raise PicamError(f"{archive.name} holds {len(entries)} files", "it is no model export")
    total = sum(entry.file_size for entry in entries)
    packed = archive.stat().st_size
    if total > MAX_UNPACKED or (total > FREE and total > packed * MAX_RATIO):
        raise PicamError(f"{archive.name} would unpack to {total >> 20} MB, from {packed >> 10} KB", "it is a zip bomb")
    for entry in entries:
        path, name = _path(entry), entry.filename[:80]
        if path.is_absolute() or ".." in path.parts or ":" in str(path).split("/")[0]:
            raise PicamError(f"{archive.name} holds the path {name!r}, which leads out of it", "do not trust this file")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise PicamError(f"{archive.name} holds a link ({name})", "do not trust this file")
        if entry.flag_bits & 1:
            raise PicamError(f"{archive.name} is encrypted", "unpack it first")


def _write(file: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file.open(entry) as source, path.open("xb") as target:
        while block := source.read(1 << 20):
            written += len(block)
            if written > min(entry.file_size, left):
                raise PicamError(f"{entry.filename[:80]} is larger than the zip says", "it is a zip bomb")
            target.write(block)
    return written


def digest(given: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names."""
    total = hashlib.sha256()
    files = [given] if given.is_file() else [path for path in sorted(given.rglob("*")) if path.is_file()]
    for path in files:
        if path != given:
            total.update(path.relative_to(given).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
