"""Collects pictures for later training: the camera's own JPEG with its result, within limits."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from picam_infer import config
from picam_infer.core import BadFrame, Finding, Frame, NoSpace, Result
from picam_infer.imaging import jpeg
from picam_infer.models.label_folders import folder_name, folder_names
from picam_infer.platform import atomic_file, disk, utf8
from picam_infer.platform.zip_stream import Entry, zipped
from picam_infer.runtime.reports import CollectionReport
from picam_infer.runtime.state import Change, State

log = logging.getLogger(__name__)

# Only files with such names are ever counted or deleted: the folder may be someone's home.
_NAME = re.compile(r"\d{8}-\d{6}-\d{3}_[^/\x00]{1,80}_\d+\.jpg")
_DIGITS = 10
"""Digits of a picture's number. In version 0.1 it was the result's, of one run, and was not padded with zeros."""
_MB = 1_000_000
_MAKE_ROOM = "make room, lower keep.reserve_mb, or choose a folder on another disk"
_INTERNAL = "an internal error; see the journal"
_CLOSE_CALL = 0.2
"""A lead over the second class smaller than this is uncertain too."""


class Collector:
    """Saves pictures, in a separate thread, until `close`."""

    def __init__(self, settings: config.Keep, state: State) -> None:
        self.failures = 0
        self.reason = ""
        """Why the last picture was not saved; empty: it was."""
        self._settings = settings
        self._state = state
        self._folder = Path(settings.folder)
        self._lock = threading.Lock()
        self._files: deque[tuple[str, int]] = deque()
        """The names of the pictures in the order they were saved, and the bytes they take with their results."""
        self._number = 0
        """That of the picture saved last. The time in a name tells no order: a clock may have been wrong."""
        self._changes: deque[Change] = deque(maxlen=1)
        self._due_s = 0.0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._unlisten = state.listen(self._hear, pictures=settings.when == "change")
        state.reports.collection.serve(self.report)
        self._thread = threading.Thread(target=self._run, name="keep", daemon=True)
        self._thread.start()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread. May be called more than once."""
        self._unlisten()
        self._unlisten = lambda: None
        self._stop.set()
        self._wake.set()
        self._thread.join(2)
        self._state.reports.collection.end(self.report)

    def report(self) -> CollectionReport:
        """Return the state of collecting."""
        with self._lock:
            sizes = [size for _, size in self._files]
        return CollectionReport(
            str(self._folder), self._settings.when, len(sizes), sum(sizes), self.failures, self.reason
        )

    def entries(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Return name, label, score, captured and bytes of the newest pictures, newest first."""
        with self._lock:
            newest = list(self._files)[-count:]
        found = []
        for name, size in reversed(newest):
            result = self._result(name)
            if result is not None:
                unit = {"unit": result["unit"]} if "unit" in result else {}
                found.append(
                    {
                        "name": name,
                        "label": result.get("label"),
                        "score": result.get("score", 0.0),
                        **unit,
                        "captured": result.get("captured", 0.0),
                        "bytes": size,
                    }
                )
        return found

    def picture(self, name: str) -> bytes | None:
        """Return a JPEG by its name; None: there is none of that name."""
        if not _NAME.fullmatch(name):
            return None
        with contextlib.suppress(OSError):
            return _read(self._folder / name)
        return None

    def zipped(self) -> Iterator[bytes]:
        """Return a zip of all pictures in folders by label, and which folder has which label, in `labels.json`.

        No more than one picture is in memory at a time.
        """
        with self._lock:
            names = [name for name, _ in self._files]
        labels = {name: _label(result) for name in names if (result := self._result(name)) is not None}
        return zipped(self._zip_entries(labels, folder_names(labels.values())))

    def _zip_entries(self, labels: Mapping[str, str | None], folders: Mapping[str | None, str]) -> Iterator[Entry]:
        table = utf8.json_bytes({folder: label for label, folder in folders.items()}, indent=1)
        yield Entry("labels.json", table, time.time())
        for name, label in labels.items():
            result, data = self._result(name), self.picture(name)
            if result is not None and data is not None:  # else deleted meanwhile
                yield Entry(f"{folders[label]}/{name}", data, result.get("captured", 0.0))

    def _result(self, name: str) -> dict[str, Any] | None:
        try:
            plain = json.loads(_read((self._folder / name).with_suffix(".json")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return plain if isinstance(plain, dict) else {}

    # -- the thread -------------------------------------------------------

    def _hear(self, change: Change) -> None:
        if change.kind == "label" and change.result is not None and self._settings.when == "change":
            self._changes.append(change)
            self._wake.set()

    def _run(self) -> None:
        try:
            self._scan()
            number = 0
            while not self._stop.is_set():
                pause_s = self._due_s - time.monotonic()
                if pause_s > 0:
                    self._stop.wait(pause_s)
                    continue
                if self._settings.when == "change":
                    self._wake.wait()
                    self._wake.clear()
                    change = self._changes.pop() if self._changes else None
                    newest, frame = (change.result, change.frame) if change else (None, None)
                else:
                    looked = self._state.results.peek(number, 0.5)
                    number, newest = looked if looked else (number, None)
                    frame = newest.frame if newest else None
                    if looked is None:
                        self._stop.wait(0.05)  # a closed mailbox does not wait
                if newest is not None and frame is not None and self._wanted(newest):
                    self._due_s = time.monotonic() + self._settings.every_s
                    self._save(newest, frame)
        except Exception:  # in a thread, nobody else would catch it: recognition goes on without collecting pictures
            self.reason = _INTERNAL
            log.exception("keep has stopped")

    def _wanted(self, result: Result) -> bool:
        if self._settings.when in ("change", "every"):
            return True
        if result.label is None:
            return True
        return self._settings.when == "uncertain" and self._close_call(result)

    def _close_call(self, result: Result) -> bool:
        """Tell whether a small change would have given it another label."""
        if result.value is not None:
            return False  # a measured value says nothing about how sure it is
        if result.top[0].named is not None:
            threshold = self._state.tuning.decide.threshold
            return any(abs(p.score - threshold) < _CLOSE_CALL / 2 for p in result.top)
        lead = result.top[0].score - result.top[1].score if len(result.top) > 1 else 1.0
        return result.top[0].score < self._settings.below or lead < _CLOSE_CALL

    def _save(self, result: Result, frame: Frame) -> None:
        """Save one picture, or note why it was not; that costs no other picture."""
        try:
            self._store(result, frame)
        except BadFrame:
            return
        except NoSpace as error:
            self._failed(f"{self._folder}: {error}")
            return
        except OSError as error:
            self._failed(f"{self._folder}: {error.strerror or error}; {disk.remedy(error, self._folder)}")
            return
        except Exception:  # an error of ours
            if self.reason != _INTERNAL:
                log.exception("keep: a picture was not saved")
            self.failures, self.reason = self.failures + 1, _INTERNAL
            return
        if self.reason:
            log.info("keep: pictures are saved again")
            self.reason = ""

    def _store(self, result: Result, frame: Frame) -> None:
        """Write a picture with its result. Raises `BadFrame`, `NoSpace` and `OSError`."""
        data = jpeg.portable(frame)
        note = utf8.json_bytes({**result.as_json(), "model": self._state.model}, indent=1)
        size = len(data) + len(note)
        self._make_room(size)
        self._number += 1
        stem = self._stem(result)
        self._write(stem + ".json", note)
        self._write(stem + ".jpg", data)
        with self._lock:
            self._files.append((stem + ".jpg", size))

    def _stem(self, result: Result) -> str:
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(result.captured))
        return (
            f"{moment}-{int(result.captured * 1000) % 1000:03d}_{folder_name(result.label)}_{self._number:0{_DIGITS}}"
        )

    def _write(self, name: str, data: bytes) -> None:
        # Appears whole or not at all: the page may be listing the folder. Not synced: that would hold up the next one.
        atomic_file.write(self._folder / name, data, durable=False)

    def _make_room(self, size: int) -> None:
        """Delete the oldest until the new one fits. Raises `NoSpace` when even that is not enough, and `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            with self._lock:
                taken = sum(size for _, size in self._files)
            free = shutil.disk_usage(self._folder).free
            if taken + size <= self._settings.max_mb * _MB and free - size >= self._settings.reserve_mb * _MB:
                return
            if not self._files:
                if free - size < self._settings.reserve_mb * _MB:
                    reserve_mb = self._settings.reserve_mb
                    raise NoSpace(
                        f"less than {reserve_mb:g} MB are free" if reserve_mb else "the disk is full",
                        _MAKE_ROOM if reserve_mb else "make room, or choose a folder on another disk",
                    )
                raise NoSpace(f"one picture takes more than {self._settings.max_mb:g} MB", "raise keep.max_mb")
            with self._lock:
                name, _ = self._files.popleft()
            (self._folder / name).unlink(missing_ok=True)
            (self._folder / name).with_suffix(".json").unlink(missing_ok=True)

    def _scan(self) -> None:
        """Find what earlier runs collected."""
        found: list[tuple[_Place, str, int]] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        status, note = entry.stat(), Path(entry.path).with_suffix(".json")
                        size = status.st_size + (note.stat().st_size if note.exists() else 0)
                        found.append((_place(entry.name, status.st_mtime), entry.name, size))
        found.sort()
        self._number = found[-1][0].number if found else 0
        with self._lock:
            self._files = deque((name, size) for _, name, size in found)

    def _failed(self, reason: str) -> None:
        self.failures += 1
        if not self.reason:
            log.warning("keep: %s", reason)
        self.reason = reason


class _Place(NamedTuple):
    """A picture's place in the order of saving."""

    number: int
    """0: it has none yet, and is older than all that have one."""
    credible: bool
    """Whether its time can be true. What seems to come from the future is from before the clock was put right."""
    modified: float


def _place(name: str, modified: float) -> _Place:
    digits = name.rpartition("_")[2].partition(".")[0]
    number = int(digits) if len(digits) == _DIGITS and digits.startswith("0") else 0
    return _Place(number, modified <= time.time(), modified)


def findings(settings: config.Keep) -> Iterator[Finding]:
    """Yield grade, what and remedy: whether pictures can be collected."""
    folder = Path(settings.folder)
    try:
        disk.try_writing(folder)
        free_mb = disk.free_mb(folder)
    except OSError as error:
        yield Finding("error", f"{folder}: cannot be written ({error.strerror})", disk.remedy(error, folder))
        return
    if free_mb < settings.reserve_mb:
        yield Finding(
            "error",
            f"{folder}: less than {settings.reserve_mb:g} MB are free, so no picture is collected",
            _MAKE_ROOM,
        )
    elif free_mb < settings.reserve_mb + settings.max_mb:
        yield Finding(
            "note",
            f"{folder}: {free_mb:.0f} MB are free, less than max_mb and reserve_mb together",
            "older pictures are deleted earlier than max_mb says; make room, or lower one of them",
        )
    else:
        yield Finding("ok", f"{folder} can be written")


def _read(path: Path) -> bytes:
    """Return a file's bytes. Links are refused: whoever may write to the folder must not make us read other files."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return file.read()


def _label(result: Mapping[str, Any]) -> str | None:
    label = result.get("label")
    return label if isinstance(label, str) else None
