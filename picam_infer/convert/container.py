"""The input: a file, a folder or an archive, and the model in it, read without executing anything."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import h5py

from picam_infer.convert import archives, lookalikes
from picam_infer.convert.archives import Budget
from picam_infer.core import NoInput, PicamError, counted
from picam_infer.platform import regular_file, tree
from picam_infer.platform.paths import real

MAX_DEPTH = 6
"""How deep in folders a model may lie."""
MAX_JSON = 64 << 20

Format = Literal["hdf5", "keras", "json", "tflite", "onnx", "ir", "savedmodel", "pb", "meta"]
_ORDER: tuple[Format, ...] = ("keras", "hdf5", "json", "savedmodel", "tflite", "onnx", "ir", "pb", "meta")
_SUFFIXES: dict[str, Format] = {
    ".h5": "hdf5", ".hdf5": "hdf5", ".keras": "keras", ".json": "json", ".tflite": "tflite", ".lite": "tflite",
    ".onnx": "onnx", ".xml": "ir", ".pb": "pb", ".meta": "meta",
}  # fmt: skip
_NAMES = {
    "hdf5": "an HDF5 file",
    "keras": "a Keras archive",
    "json": "a JSON file",
    "tflite": "a TensorFlow Lite file",
    "ir": "an OpenVINO file",
}
_NOT_MODELS = frozenset({"fingerprint.pb", "keras_metadata.pb"})
_SAVED_PARTS = frozenset({"assets", "assets.extra", "variables"})
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".tm")
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
_KNOWN = "known are .h5, .keras, model.json, .tflite, .onnx, .pb, .meta, .xml, SavedModel folders, and zips of these"
_EXPORT = "export the model itself; in Teachable Machine: Export Model, “Tensorflow”, “Keras”"


@dataclass(frozen=True)
class Found:
    """The model that an input holds."""

    format: Format
    path: Path
    """The file, or the SavedModel's folder."""
    folder: Path
    """Where labels and weights are next to it."""
    root: Path | None = None
    """The folder or the unpacked archive that was given, if one was."""
    outside: Path | None = None
    """Where else labels may lie: the folder that was given, or the one around it."""
    notes: tuple[str, ...] = ()
    """What was chosen among several."""


@dataclass
class _Search:
    """One input's way from archive to archive."""

    scratch: Path
    budget: Budget = field(default_factory=Budget)
    opened: int = 0

    def unpack(self, archive: Path, place: Path | None = None) -> Path:
        """Return the folder that an archive was unpacked into. Raises `PicamError`."""
        folder = place or archive.with_name(f"{archive.name}.unpacked")
        archives.unpack(archive, folder, self.budget, self.opened)
        self.opened += 1
        return folder


def find(given: Path, scratch: Path) -> Found:
    """Return the model in a file, folder or archive; archives are unpacked into `scratch`.

    Raises `NoInput` or `PicamError`.
    """
    try:
        mode = given.stat().st_mode
    except (OSError, ValueError) as error:
        raise (regular_file.unreadable(given, error) if regular_file.is_closed(error) else _missing(given)) from error
    if stat.S_ISDIR(mode) and _is_bundle(given):
        raise PicamError(f"{given} is a bundle already", f"run it: picam-infer run --model {given}")
    search = _Search(scratch)
    if stat.S_ISDIR(mode):
        found = _in_folder(given, real(given).name, search)
        # Labels may be next to the archive that the model was in, or beside the SavedModel that was given.
        outside = given if found.root != given else real(given).parent if found.format == "savedmodel" else None
        return replace(found, outside=outside)
    regular_file.require(given)
    return _file(given, search)


def _is_bundle(folder: Path) -> bool:
    """Tell whether a folder is a bundle. Raises `NoInput` if this user may not look into it."""
    try:
        with os.scandir(folder):
            return (folder / "model.yaml").is_file()
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error


def _missing(given: Path) -> PicamError:
    """Return the error for a path that leads nowhere."""
    try:
        target = given.readlink().as_posix() if given.is_symlink() else ""
    except (OSError, ValueError):
        target = ""
    if "annex/objects/" in target:
        hint = f"fetch it with: git annex get {given.name}"
        return NoInput(f"{given.name} is a git-annex link, its content is not here", hint)
    if target:
        return NoInput(f"{given} is a link to {target}, which is not there", "copy the file itself")
    return NoInput(f"there is no {given}", "check the name")


def _file(path: Path, search: _Search) -> Found:
    """Return the model in one file, which may be an archive."""
    start = lookalikes.head(path)
    if archives.kind(start):
        return _in_archive(path, start, search, search.scratch / "unpacked")
    kind = sniff(path, start)
    if path.name == "saved_model.pb":
        return _saved_model(path.parent, path.parent, search)
    return Found(kind, path, path.parent)


def _in_archive(path: Path, start: bytes, search: _Search, place: Path | None = None) -> Found:
    """Return the model in an archive, which may be a Keras archive itself."""
    if archives.kind(start) == "zip":
        archives.refuse_lookalikes(path)
    folder = search.unpack(path, place)
    if _is_keras(folder):
        return Found("keras", folder, path.parent)
    if path.suffix.lower() == ".keras":
        raise PicamError(f"{path.name} lacks its configuration or weights", "copy or export it again")
    return _in_folder(folder, path.name, search)


def _is_keras(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.weights.h5").is_file()


def sniff(path: Path, start: bytes | None = None) -> Format:
    """Return a file's format by its first bytes, by its name where those do not tell. Raises `PicamError`."""
    start = lookalikes.head(path) if start is None else start
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if start[4:8] == b"TFL3":
        return "tflite"
    named = _SUFFIXES.get(path.suffix.lower())
    strange = lookalikes.tell(path, start)
    if strange is not None:
        raise strange
    text = lookalikes.as_text(start)
    if text is not None and text.startswith(("<?xml", "<net", "<Net", "<!--")):
        return "ir"
    if named in ("pb", "onnx", "meta") and (text is None or text[0] not in '{["'):
        return named
    if text is not None and text[0] in '{["':
        return "json"
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        raise PicamError(f"{path.name} holds only weights", f"give {path.stem}.xml, which is next to it")
    if named:
        what = "a text" if text is not None else "something else"
        raise PicamError(
            f"{path.name} is not {_NAMES[named]}, as its name says: it begins as {what} does",
            "save or download it again where it comes from",
        )
    raise PicamError(f"{path.name} is not a model file", _KNOWN)


def _files(folder: Path, title: str) -> Iterator[Path]:
    """Yield the files in a folder that a person put there, by name. Raises `PicamError` if they are too many."""
    for path in _all_in(folder, title):
        if _is_hidden(path, folder) or _is_deep(path, folder):
            continue
        try:
            fitting = path.is_file() or (path.is_symlink() and not path.exists())  # its reader reports a dead link
        except OSError as error:
            raise regular_file.unreadable(path, error) from error
        if fitting:
            yield path


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _is_deep(path: Path, folder: Path) -> bool:
    return len(path.relative_to(folder).parts) > MAX_DEPTH + 1


def _all_in(folder: Path, title: str) -> list[Path]:
    """Return what is in a folder, at any depth. Raises `PicamError`."""
    try:
        return tree.inside(folder, archives.MAX_ENTRIES)
    except tree.TooMany:
        raise PicamError(
            f"{title or folder} holds more than {archives.MAX_ENTRIES} files", "name the model file itself"
        ) from None
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error


def _in_folder(folder: Path, title: str, search: _Search) -> Found:
    """Return the best model in a folder; between several of the same kind there is no guessing."""
    files = list(_files(folder, title))
    candidates = _candidates(files)
    whole = [found for found in candidates if not _only_weights(found, candidates)]
    for lacking in (False, True):
        for kind in _ORDER:
            fitting = [found for found in whole if found.format == kind and _lacks_a_part(found, files) == lacking]
            if fitting:
                chosen = fitting[0] if lacking else _the_one(fitting, folder, title)
                beside = folder if chosen.path == folder else chosen.folder
                others = [found for found in whole if found is not chosen and found not in fitting]
                return _opened(
                    replace(chosen, folder=beside, root=folder, notes=_told(chosen, others, folder, title)), search
                )
    return _in_nested(folder, files, title, search)


def _candidates(files: list[Path]) -> list[Found]:
    saved = {path.parent for path in files if path.name == "saved_model.pb"}
    found = [Found("savedmodel", folder, folder.parent) for folder in sorted(saved)]
    for path in files:
        if path.name.lower() in _NOT_MODELS or _part_of_saved_model(path, saved):
            continue
        named = _SUFFIXES.get(path.suffix.lower())
        if named and not (named == "json" and not _is_description(path)):
            found.append(Found(named, path, path.parent))
    return found


def _part_of_saved_model(path: Path, saved: set[Path]) -> bool:
    """Tell whether a file belongs to a SavedModel: its assets may hold anything."""
    for folder in saved & set(path.parents):
        first = path.relative_to(folder).parts[0]
        if first in _SAVED_PARTS or first.endswith(".pb"):
            return True
    return False


def _is_description(path: Path) -> bool:
    """Tell whether a JSON file describes a network; the many others beside models are left alone."""
    try:
        if path.stat().st_size > MAX_JSON:
            return False
        data = path.read_bytes()
    except OSError:
        return False
    if b"class_name" not in data and b"modelTopology" not in data and b"weightsManifest" not in data:
        return path.name.lower() == "model.json"  # the name of a model: its mistakes are reported
    try:
        content = json.loads(data)
        content = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError):
        return path.name.lower().startswith(("model", "config"))
    return isinstance(content, dict) and bool(
        {"modelTopology", "weightsManifest"} & set(content) or ("class_name" in content and "config" in content)
    )


def _lacks_a_part(found: Found, files: list[Path]) -> bool:
    """Tell whether a candidate cannot be a model by itself: a description without weights, weights without one."""
    if found.format == "json":
        data = found.path.read_bytes() if found.path.stat().st_size <= MAX_JSON else b""
        if b"weightsManifest" in data:
            return False
        return not any(path.parent == found.folder and path.suffix.lower() in (".h5", ".hdf5") for path in files)
    return found.format == "hdf5" and _weights_alone(found.path)


def _weights_alone(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "model_config" not in file.attrs
    except (OSError, RuntimeError, ValueError, KeyError):
        return False  # its mistakes are reported when it is read


def _the_one(fitting: list[Found], folder: Path, title: str) -> Found:
    if len(fitting) > 1:
        usual = [f for f in fitting if f.path.name.lower() in ("keras_model.h5", "model.json")]
        fitting = usual if len({f.folder for f in fitting}) == 1 and len(usual) == 1 else fitting
    if len(fitting) > 1:
        names = ", ".join(_short(found.path, folder) for found in fitting[:4])
        raise PicamError(f"{title} holds {len(fitting)} models: {names}", "name the one that you want")
    return fitting[0]


def _short(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()[:80]


def _told(chosen: Found, others: list[Found], folder: Path, title: str) -> tuple[str, ...]:
    """Return the note that says which of several models was taken."""
    left = [found for found in others if not (found.format == "json" and found.folder == chosen.folder)]
    if not left:
        return ()
    names = ", ".join(_short(found.path, folder) for found in left[:4])
    return (f"of the models in {title} {_short(chosen.path, folder)} was taken; name another to convert it: {names}",)


def _opened(found: Found, search: _Search) -> Found:
    """Return a candidate by what its file turns out to be; the parts of a SavedModel are put where they belong."""
    if found.format == "savedmodel":
        return replace(_saved_model(found.path, found.folder, search), root=found.root, notes=found.notes)
    if not found.path.exists():
        raise _missing(found.path)
    start = lookalikes.head(found.path)
    if not archives.kind(start):
        return replace(found, format=sniff(found.path, start))
    inside = _in_archive(found.path, start, search, search.scratch / ".opened")
    return replace(inside, folder=found.folder, root=found.root) if inside.format == "keras" else inside


def _saved_model(path: Path, folder: Path, search: _Search) -> Found:
    """Return a SavedModel; one whose variables are next to its graph, as after moving files by hand, is repaired."""
    parts = _variables(path)
    for part in (path / "saved_model.pb", *_variables(path / "variables"), *parts):
        lookalikes.refuse_part(part)
    if not parts or (path / "variables").is_dir():
        return Found("savedmodel", path, folder)
    ordered = search.scratch / ".savedmodel" / real(path).name
    (ordered / "variables").mkdir(parents=True)
    shutil.copyfile(path / "saved_model.pb", ordered / "saved_model.pb")
    for part in parts:
        shutil.copyfile(part, ordered / "variables" / part.name)
    return Found("savedmodel", ordered, path)


def _variables(folder: Path) -> list[Path]:
    """Return the files of variables in a folder, which need not be there. Raises `NoInput`."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith("variables."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise regular_file.unreadable(folder, error) from error


def _in_nested(folder: Path, files: list[Path], title: str, search: _Search) -> Found:
    """Return the model in the only archive of a folder that holds none itself."""
    inside = [path for path in files if path.suffix.lower() in _ARCHIVES and path.is_file()]
    packed = [path for path in inside if archives.kind(lookalikes.head(path)[:512])]
    if len(packed) > 1:
        names = ", ".join(_short(path, folder) for path in packed[:4])
        raise PicamError(f"{title} holds {len(packed)} archives: {names}", "name the one that you want")
    if packed:
        own = folder.is_relative_to(search.scratch)
        place = None if own else search.scratch / "unpacked"
        found = _in_archive(packed[0], lookalikes.head(packed[0]), search, place)
        # Labels may lie in the outer archive, beside the inner one.
        return replace(found, root=folder) if own else found
    _refuse_folder(folder, files, title)
    _refuse_closed(folder)
    _refuse_deep(folder, title)
    raise PicamError(f"{title} holds no model{_held(folder, files)}", _KNOWN if not files else _EXPORT)


def _refuse_deep(folder: Path, title: str) -> None:
    """Raise `PicamError` for what is called like a model and lies too deep to be looked at."""
    for path in _all_in(folder, title):
        known = path.suffix.lower() in (*_SUFFIXES, *_ARCHIVES) and path.suffix.lower() != ".json"
        if known and _is_deep(path, folder) and not _is_hidden(path, folder) and path.is_file():
            raise PicamError(
                f"{path.name[:80]} lies more than {MAX_DEPTH} folders deep in {title}", "give that file, or its folder"
            )


def _refuse_folder(folder: Path, files: list[Path], title: str) -> None:
    """Raise `PicamError` for a folder whose files show what it is instead of a model."""
    project = lookalikes.tell_archive(Path(title), [_short(path, folder) for path in files])
    if project is not None:
        raise project
    for path in files:
        if path.is_symlink() and not path.exists():
            raise _missing(path)
        strange = lookalikes.by_suffix(path) or lookalikes.tell(path, lookalikes.head(path))
        if strange is not None and path.suffix.lower() not in (*_PICTURES, ".txt", ".md", ".html", ".htm", ".pdf"):
            raise strange


def _refuse_closed(folder: Path) -> None:
    """Raise `NoInput` for what could not be looked at in a folder without a model: it may be what was meant."""

    def fail(error: OSError) -> None:
        raise regular_file.unreadable(Path(error.filename), error) from error

    for inside, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(inside, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in (*_SUFFIXES, *_ARCHIVES) and path.exists():
                regular_file.require(path)


def _held(folder: Path, files: list[Path]) -> str:
    """Return in a few words what a folder without a model contains."""
    if not files:
        others = [path for path in _all_in(folder, folder.name) if not path.is_dir()]
        if not others:
            return ": it is empty"
        hidden = all(_is_hidden(path, folder) for path in others)
        return ", but hidden files" if hidden else f", but files more than {MAX_DEPTH} folders deep"
    pictures = sum(path.suffix.lower() in _PICTURES for path in files)
    if pictures:
        return f", but {counted(pictures, 'picture')}"
    names = ", ".join(path.name[:40] for path in files[:3])
    return f", but {names}{' …' if len(files) > 3 else ''}"


def _only_weights(found: Found, candidates: list[Found]) -> bool:
    """Tell whether an HDF5 file is next to the JSON file that describes its network."""
    if found.format != "hdf5" or found.path.name.lower() == "keras_model.h5":
        return False
    return any(other.format == "json" and other.folder == found.folder for other in candidates)


def digest(given: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names. Raises `PicamError`, `OSError`."""
    total = hashlib.sha256()
    files = [given] if given.is_file() else [path for path in _all_in(given, given.name) if path.is_file()]
    for path in files:
        if path != given:
            total.update(path.relative_to(given).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
