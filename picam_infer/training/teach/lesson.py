"""A lesson: what is taught under one name, with its pictures, the order of its classes, and its backbone."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from picam_infer.core import NoInput, PicamError, UsageError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain, Edges
from picam_infer.platform import disk, malloc, utf8
from picam_infer.platform.zip_stream import Entry
from picam_infer.training.teach import backbone, shelf
from picam_infer.training.teach.lda import Array
from picam_infer.training.teach.lesson_lock import VIEW, LessonLock
from picam_infer.training.teach.picture_set import Picture, PictureSet, clean_label, identify, label_order
from picam_infer.training.teach.report import Report
from picam_infer.training.teach.teacher import Teacher
from picam_infer.training.teach.undo import Change

T = TypeVar("T")

LONGEST = 60
"""Characters of a class's name."""


@dataclass(frozen=True)
class Room:
    """How much a lesson's pictures may take."""

    max_mb: float
    reserve_mb: float
    """How much of the disk has to stay free."""


@dataclass(frozen=True)
class Base:
    """A model that can serve as a backbone."""

    name: str
    drawn: bool
    """Whether it sees outlines: good for drawn signs, not for things."""


class Lesson:
    """The owner of a lesson's folder, and of its teacher. One thread changes it; any may read pictures."""

    def __init__(
        self,
        name: str,
        network: Bundle,
        room: Room,
        chain: Chain | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Learn the pictures; `progress` is called with how many are done, of how many.

        Nobody else can work on them until `close`. Raises `PicamError`; `Busy`: somebody else does.
        """
        self.name = name
        self.network = network
        self.chain = chain or network.card.preprocess
        """Which part of a picture is used, and how."""
        home = bundles.home()
        self.target = home / name
        """The folder of the bundle that is made from it."""
        self._folder = shelf.folder_of(name)
        self._lock = _locked(self._folder)
        try:
            self._pictures = PictureSet(self._folder, room.max_mb, room.reserve_mb, "teach.max_mb")
            self.teacher = Teacher(network, self._pictures, chain=self.chain, progress=progress, threads=1)
        except BaseException:
            self._lock.close()
            raise
        there = sorted({picture.label for picture in self._pictures}, key=label_order)
        classes = shelf.note(self._folder).get("classes")
        noted = [label for label in classes if isinstance(label, str)] if isinstance(classes, list) else []
        self._classes = [*dict.fromkeys(noted), *(label for label in there if label not in noted)]
        self._steps = 0

    def close(self) -> None:
        """Keep what is known of the pictures for the next time. May be called more than once."""
        try:
            self.teacher.close()
        finally:
            self._lock.close()

    @property
    def wanted(self) -> bool:
        """Whether another process waits for this lesson to be closed."""
        return self._lock.wanted

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many bytes the pictures take."""
        return self._pictures.size

    @property
    def most(self) -> int:
        """How many they may take."""
        return self._pictures.most

    def classes(self) -> dict[str, int]:
        """Return the classes in the order they were made, and how many pictures each has."""
        counts = Counter(picture.label for picture in self._pictures.by_arrival())
        return {label: counts[label] for label in self._classes}

    def pictures(self) -> list[Picture]:
        """Return the pictures, the oldest first."""
        return self._pictures.by_arrival()

    def read(self, id: str) -> bytes | None:
        """Return a picture's bytes; None: there is none."""
        try:
            return self._pictures.read(self._pictures[id])
        except (KeyError, OSError):
            return None

    def class_of(self, data: bytes) -> str | None:
        """Return the class of a picture that is taught already; None: it is not."""
        id = identify(data)
        return self._pictures[id].label if id in self._pictures else None

    def zip_entries(self) -> Iterator[Entry]:
        """Yield the pictures in one folder a class, as `picam-infer teach` takes them."""
        folders = self._pictures.folders
        table = {folders[picture.label]: picture.label for picture in self.pictures()}
        yield Entry("labels.json", utf8.json_bytes(table, indent=1), time.time())
        for picture in self.pictures():
            if (data := self.read(picture.id)) is not None:  # else removed meanwhile
                yield Entry(f"{folders[picture.label]}/{picture.name}", data, time.time())

    def odd(self) -> dict[str, str]:
        """Return the ids of pictures that do not look like the others of their class, and what each is most like.

        Raises `UsageError` when nothing is taught.
        """
        ids = {f"{picture.label}/{picture.name}": picture.id for picture in self.pictures()}
        return {ids[odd.picture]: odd.nearest for odd in self.teacher.report().odd if odd.picture in ids}

    # -- changing -------------------------------------------------------------------------------------------------

    def look_again(self, chain: Chain, progress: Callable[[int, int], None]) -> None:
        """Look at another part of the pictures, as `Teacher.look_again`. Raises `PicamError`."""
        self.teacher.look_again(chain, progress)
        self.chain = chain

    def keep(self, label: str, data: bytes, name: str, step: str = "") -> Picture:
        """Keep a picture for a class, which is made if it is not there. Raises `PicamError`."""
        label = _checked(label)
        return self._in_class(label, step, lambda: self.teacher.keep(label, data, name, step))

    def relabel(self, id: str, label: str) -> None:
        """Move a picture to another class. Raises `PicamError`."""
        if id not in self._pictures:
            raise UsageError("this picture no longer exists", "look at the pictures again")
        step, label = self._step(), _checked(label)
        self._in_class(label, step, lambda: self.teacher.relabel(id, label, step))

    def remove(self, id: str) -> None:
        """Take a picture out. Raises `PicamError`."""
        self.teacher.remove(id)

    def add_class(self, label: str) -> str:
        """Make a class that has no pictures yet, and return its name. Raises `PicamError`."""
        label = _checked(label)
        if label in self._classes:
            raise UsageError(f"there is a class {label} already", "take another name, or add pictures to that one")
        return self._in_class(label, self._step(), lambda: label)

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name; with that of another class the two become one. Raises `PicamError`."""
        self._known(old)
        new = _checked(new)
        if new == old:
            return
        step = self._step()
        merged = new in self._classes
        after = [label if label != old else new for label in self._classes if label != old or not merged]
        what = f"merge {old} into {new}" if merged else f"rename {old}"

        def rename() -> None:
            if self._has_pictures(old):
                self.teacher.rename_class(old, new, step, what)

        self._reorder(after, what, step, rename)

    def remove_class(self, label: str) -> None:
        """Take a class out with its pictures. Raises `PicamError`."""
        self._known(label)
        step = self._step()

        def remove() -> None:
            if self._has_pictures(label):
                self.teacher.remove_class(label, step)

        self._reorder([other for other in self._classes if other != label], f"remove {label}", step, remove)

    def undo(self) -> str | None:
        """Take the last change back, and return what it was; None: there is none. Raises as `Teacher.undo`."""
        return self.teacher.undo()

    def redo(self) -> None:
        """Redo what `undo` has just taken back, as if it had not been called."""
        self.teacher.redo()

    def save(self, keep_old: Path | None, check: Callable[[Bundle, Picture, Array], None]) -> Report:
        """Write the bundle, in one step and only if `check` finds nothing; the old one goes to `keep_old`.

        `check` is told the bundle, a taught picture, and what the layers say of that one, (outputs,).
        Raises `PicamError`: nothing is taught yet, no room, or what `check` raises.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.target.parent))
        except OSError as error:
            raise disk.unwritable(self.target.parent, error) from error
        try:
            _, said = self.teacher.save(fresh, self.name, check)
            malloc.trim()
            bundles.adopt(fresh, self.target, keep_old)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return said

    # -- inside -----------------------------------------------------------------------------------------------------

    def _step(self) -> str:
        self._steps += 1
        return f"step {self._steps}"

    def _known(self, label: str) -> None:
        if label not in self._classes:
            raise UsageError(f"there is no class {label}", f"classes: {', '.join(self._classes) or 'none'}")

    def _has_pictures(self, label: str) -> bool:
        return any(picture.label == label for picture in self._pictures.by_arrival())

    def _in_class(self, label: str, step: str, change: Callable[[], T]) -> T:
        """Change pictures of a class, which is made if it is not there."""
        if label in self._classes:
            return change()
        return self._reorder([*self._classes, label], f"add {label}", step, change)

    def _reorder(self, classes: list[str], what: str, step: str, change: Callable[[], T]) -> T:
        """Change the classes, and pictures with them: both or neither.

        The note is written first: of the two it is what a full disk does not take. So it is when this is undone, since
        what was remembered last is taken back first.
        """
        before = self._classes
        self._note_classes(classes)
        try:
            made = change()
        except PicamError:
            self._classes = before  # even if the note cannot be written again
            with contextlib.suppress(PicamError):
                self._write_note()
            raise
        ordered = Change(lambda: self._note_classes(before), lambda: self._note_classes(classes))
        self.teacher.remember(what, ordered, step)
        return made

    def _note_classes(self, classes: list[str]) -> None:
        before, self._classes = self._classes, classes
        try:
            self._write_note()
        except PicamError:
            self._classes = before
            raise

    def _write_note(self) -> None:
        note = {"backbone": bundles.spelling(self.network.folder), "classes": self._classes}
        try:
            shelf.write_note(self._folder, note)
        except OSError as error:
            raise disk.unwritable(self._folder, error) from error


def _locked(folder: Path) -> LessonLock:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return LessonLock(folder, VIEW)
    except OSError as error:
        raise disk.unwritable(folder, error, folder.parent) from error


def _checked(text: str) -> str:
    label = clean_label(text)
    if not label:
        raise UsageError("a class needs a name", "type one")
    if len(label) > LONGEST:
        raise UsageError(f"the name is {len(label)} characters long", f"take one of at most {LONGEST}")
    return label


def network_of(name: str) -> Bundle | None:
    """Return the network that a lesson builds on: the one in its bundle, else the one it began with; None: new.

    Raises `PicamError` when that one is gone.
    """
    with contextlib.suppress(PicamError):
        bundle = bundles.load(bundles.home() / name)
        if bundle.card.taught is not None:
            return bundle
    noted = shelf.note(shelf.folder_of(name)).get("backbone")
    if not isinstance(noted, str):
        return None
    try:
        return bundles.load(noted)
    except NoInput as error:
        raise PicamError(f"the model that {name} builds on is gone: {noted}", "choose another one for it") from error


def bases() -> list[Base]:
    """Return the models that can be built on, those for photos first; taught ones are left out: they contain one."""
    found = [base for name in bundles.names() if (base := _base(name, bundles.stamp(name))) is not None]
    return sorted(found, key=lambda base: (base.drawn, base.name))


@functools.lru_cache(maxsize=64)
def _base(name: str, stamp: bundles.Stamp) -> Base | None:
    """Return a model as one to build on; None: it cannot be one. This takes a tenth of a second: once is enough."""
    try:
        bundle = bundles.load(name)
        if bundle.card.taught is not None or not backbone.described(bundle):
            return None
    except PicamError:
        return None
    return Base(name, isinstance(bundle.card.preprocess, Edges))
