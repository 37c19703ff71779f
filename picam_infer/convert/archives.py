"""Archives: zip, tar and their compressed kinds, unpacked so that their contents can do no harm."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from picam_infer.convert import lookalikes
from picam_infer.core import PicamError
from picam_infer.platform import disk

MAX_ENTRIES = 10_000
MAX_NESTED = 4
"""How many archives may lie inside each other."""
MAX_UNPACKED = 4 * 2**30
MAX_RATIO = 200
FREE = 64 * 2**20
"""Below this many unpacked bytes the ratio does not matter."""

Kind = Literal["zip", "tar", "gzip", "bzip2", "xz"]
_OPEN: dict[str, Callable[[Path], IO[bytes]]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}  # type: ignore[dict-item]
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, OSError,
           NotImplementedError, RuntimeError, ValueError)  # fmt: skip
_BOMB, _TRUST, _AGAIN = "it is a zip bomb", "do not trust this file", "copy or export it again"
_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}


@dataclass
class Budget:
    """How much may be unpacked, counting all archives: those that were given, and those nested in them."""

    bytes: int = MAX_UNPACKED
    entries: int = MAX_ENTRIES
    """How many more files there may be."""
    folders: bool = False
    """Whether empty folders are created too."""
    content: str = "the model"
    """What the archives are opened for, in messages."""
    given: int = 0
    """How many bytes the archives have that were given."""
    unpacked: int = 0
    """How many bytes have come out of all."""

    def begin(self, archive: Path, depth: int) -> None:
        """An archive is about to be unpacked that lies in `depth` others. Raises `PicamError` if those are too many."""
        if depth >= MAX_NESTED:
            raise PicamError(f"{archive.name} lies in {MAX_NESTED} archives inside each other",
                             f"unpack them, and give {self.content}")  # fmt: skip
        if not depth:
            self.given += archive.stat().st_size

    def promise(self, size: int, archive: Path) -> None:
        """An archive says that `size` bytes will come out of it. Raises `PicamError` if those are too many."""
        size += self.unpacked
        if size > min(self.bytes, self._most):
            together = " together with those around it" if self.unpacked else ""
            raise PicamError(f"{archive.name} would unpack to {size / 1e6:.0f} MB{together}, "
                             f"from {self.given / 1e3:.0f} kB", _BOMB)  # fmt: skip

    def spend(self, size: int, name: str) -> None:
        """Use up `size` bytes. Raises `PicamError` when the limit is reached."""
        self.unpacked += size
        if self.unpacked > self.bytes:
            raise PicamError(f"{name} would unpack to more than {self.bytes / 1e6:.0f} MB", _BOMB)
        if self.unpacked > self._most:
            raise PicamError(f"{name}: more than {MAX_RATIO} times the size of what was given comes out of it", _BOMB)

    @property
    def _most(self) -> int:
        return max(FREE, self.given * MAX_RATIO)


def kind(start: bytes) -> Kind | None:
    """Return what an archive's first bytes (512 or more) say it is; None for no archive."""
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return "zip"
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start[:3] == b"BZh" and start[4:10] == b"1AY&SY":
        return "bzip2"
    if start[:6] == b"\xfd7zXZ\0":
        return "xz"
    return "tar" if start[257:262] == b"ustar" else None


def names(archive: Path) -> list[str]:
    """Return the names of the files in a zip. Raises `PicamError`."""
    with _guarded(archive, Budget.content), zipfile.ZipFile(archive) as file:
        return [entry.filename for entry in file.infolist() if not entry.is_dir()]


def unpack(archive: Path, folder: Path, budget: Budget | None = None, depth: int = 0) -> None:
    """Unpack an archive of a `kind`, which lies in `depth` others, into a folder.

    Raises `PicamError` for bombs, names that lead outside, links, encryption, and truncated or damaged archives.
    """
    budget = budget or Budget()
    budget.begin(archive, depth)
    with archive.open("rb") as file:
        what = kind(file.read(512))
    folder.mkdir(parents=True, exist_ok=True)
    with _guarded(archive, budget.content):
        if what == "zip":
            _zip(archive, folder, budget)
        elif what == "tar":
            with archive.open("rb") as file:
                _tar(archive, file, folder, budget)
        elif what is not None:
            _compressed(archive, _OPEN[what], folder, budget)


class _guarded:  # noqa: N801  # used as a function
    """Turns the libraries' errors about an archive into one line of ours."""

    def __init__(self, archive: Path, content: str) -> None:
        self._archive, self._content = archive, content

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> Literal[False]:
        if isinstance(error, _BROKEN) and not isinstance(error, PicamError | RecursionError):
            raise _meant(self._archive, error, self._content) from error
        return False


def _meant(archive: Path, error: BaseException, content: str) -> PicamError:
    """Return our line for a library's error."""
    name, said = archive.name, str(error)
    if isinstance(error, OSError) and error.errno:
        remedy = disk.remedy(error, archive.parent, fixed=True)
        return PicamError(f"{name} cannot be unpacked ({error.strerror})", remedy)
    if isinstance(error, NotImplementedError) or "compression" in said.lower():
        return PicamError(f"{name} is packed in a way that cannot be unpacked here", _elsewhere(content))
    if "not a zip file" in said or isinstance(error, EOFError) or "end of data" in said or "truncated" in said:
        return PicamError(f"{name} is cut short: its end is missing", "download or copy it again")
    if "password" in said or "encrypted" in said:
        return PicamError(f"{name} is encrypted", f"unpack it with its password, and give {content} in it")
    if "multiple disks" in said:
        return PicamError(f"{name} is one part of several", f"unpack them together, and give {content} in it")
    return PicamError(f"{name} is damaged: what it holds does not agree with its own list or checksums", _AGAIN)


def _elsewhere(content: str) -> str:
    return f"unpack it on another computer, and give {content} in it"


def _zip(archive: Path, folder: Path, budget: Budget) -> None:
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        _check_zip(archive, entries, budget)
        for entry in entries:
            if entry.is_dir() or entry.filename.endswith("\\"):
                if budget.folders:
                    _make_folder(folder / _path(entry.filename), entry.filename)
                continue
            _store(lambda entry=entry: file.open(entry), folder / _path(entry.filename), entry.file_size,  # type: ignore[misc]
                   entry.filename, budget)  # fmt: skip


def _path(name: str) -> PurePosixPath:
    """Return an entry's path; some Windows programs write backslashes."""
    return PurePosixPath(name.replace("\\", "/"))


def _check_zip(archive: Path, entries: list[zipfile.ZipInfo], budget: Budget) -> None:
    _check_names(archive, [entry.filename for entry in entries], budget)
    total = sum(entry.file_size for entry in entries)
    packed = archive.stat().st_size
    budget.promise(total, archive)
    if total > FREE and total > packed * MAX_RATIO:
        raise PicamError(f"{archive.name} would unpack to {total / 1e6:.0f} MB, from {packed / 1e3:.0f} kB", _BOMB)
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise PicamError(f"{archive.name} holds a link ({entry.filename[:80]})", _TRUST)
        if entry.flag_bits & 1:
            remedy = f"unpack it with its password, and give {budget.content} in it"
            raise PicamError(f"{archive.name} is encrypted", remedy)
        if entry.compress_type in _METHODS:
            how = _METHODS[entry.compress_type]
            remedy = _elsewhere(budget.content)
            raise PicamError(f"{archive.name} is packed with {how}, which cannot be unpacked here", remedy)


def _check_names(archive: Path, names: list[str], budget: Budget) -> None:
    if len({_path(name) for name in names}) < len(names):
        raise PicamError(f"{archive.name} holds two files of the same name", "pack it again")
    budget.entries -= len(names)
    if budget.entries < 0:
        raise PicamError(f"{archive.name} holds {len(names)} files", f"those are too many: give {budget.content} alone")
    for name in names:
        path = _path(name)
        if path.is_absolute() or ".." in path.parts or ":" in str(path).split("/")[0]:
            raise PicamError(f"{archive.name} holds the path {name[:80]!r}, which leads out of it", _TRUST)


def _tar(archive: Path, stream: IO[bytes], folder: Path, budget: Budget) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as file:
        for entry in file:
            if entry.isdir():
                if budget.folders:
                    _check_names(archive, [entry.name], budget)
                    _make_folder(folder / _path(entry.name), entry.name)
                continue
            _check_names(archive, [entry.name], budget)
            if not entry.isfile():
                what = "a link" if entry.issym() or entry.islnk() else "a device"
                raise PicamError(f"{archive.name} holds {what} ({entry.name[:80]})", _TRUST)
            source = file.extractfile(entry)
            if source is None:
                raise PicamError(f"{archive.name} holds {entry.name[:80]} without its content", _AGAIN)
            _store(lambda source=source: source, folder / _path(entry.name), entry.size, entry.name, budget)  # type: ignore[misc]


def _compressed(archive: Path, opened: Callable[[Path], IO[bytes]], folder: Path, budget: Budget) -> None:
    """Unpack a compressed tar, or the one file that was compressed."""
    with opened(archive) as stream:
        is_tar = kind(stream.read(512)) == "tar"
    limit = max(FREE, archive.stat().st_size * MAX_RATIO)
    with opened(archive) as stream:
        limited = _Limited(stream, limit, archive)
        if is_tar:
            _tar(archive, limited, folder, budget)  # type: ignore[arg-type]
            return
        name = archive.stem if archive.suffix.lower() in (".gz", ".bz2", ".xz") else archive.name
        _store(lambda: limited, folder / (name or "model"), limit, name, budget)  # type: ignore[arg-type,return-value]


class _Limited:
    """A stream that ends with `PicamError` when more comes out of it than its archive's size warrants."""

    def __init__(self, stream: IO[bytes], limit: int, archive: Path) -> None:
        self._stream, self._left, self._archive = stream, limit, archive

    def read(self, size: int = 1 << 20) -> bytes:
        """Return at most `size` bytes."""
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise PicamError(f"{self._archive.name} unpacks to more than {MAX_RATIO} times its size", _BOMB)
        return block

    def __enter__(self) -> _Limited:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _store(opened: Callable[[], IO[bytes]], path: Path, promised: int, name: str, budget: Budget) -> None:
    written = 0
    with opened() as source, _created(path, name) as target:
        while block := source.read(1 << 20):
            written += len(block)
            if written > promised:
                raise PicamError(f"{name[:80]} is larger than the archive says", _BOMB)
            budget.spend(len(block), name[:80])
            target.write(block)


def _created(path: Path, name: str) -> IO[bytes]:
    """Create an entry's file. Raises `PicamError` where its name cannot be a file's, and `OSError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except OSError as error:
        if error.errno == errno.EEXIST and path.is_file():
            raise PicamError(f"two files in it have the same name, {name[:80]}", "pack it again") from error
        _refuse_name(error, name)
        raise


def _make_folder(path: Path, name: str) -> None:
    """Make an entry's folder. Raises as `_created`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _refuse_name(error, name)
        raise


def _refuse_name(error: OSError, name: str) -> None:
    """Raise `PicamError` if it is an entry's name that the disk does not take."""
    if error.errno == errno.ENAMETOOLONG:
        raise PicamError(f"the name {name[:40]}… is too long for a file", "pack it with shorter names") from error
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        raise PicamError(f"{name[:80]} is in it as a file and as a folder", "pack it again") from error


def refuse_lookalikes(archive: Path) -> None:
    """Raise `PicamError` if a zip is a package of something other than a model: a project, a document…"""
    found = lookalikes.tell_archive(archive, names(archive))
    if found is not None:
        raise found
