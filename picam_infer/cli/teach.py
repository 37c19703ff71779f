"""`picam-infer teach`: a folder of pictures per class → a bundle that knows them, without training."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from picam_infer.cli import argument_types
from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.core import NoInput, PicamError, UsageError, counted
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import atomic_folder, disk, regular_file, scratch, terminal
from picam_infer.platform.paths import real
from picam_infer.platform.terminal import say, say_json

if TYPE_CHECKING:
    from picam_infer.training.teach.intake import Given
    from picam_infer.training.teach.report import Report
    from picam_infer.training.teach.teacher import Teacher

_DESCRIPTION = """\
Teach classes from pictures. FOLDER contains a folder of pictures for each class; it can also be a zip of such a folder,
a Teachable Machine project (.tm), samples downloaded from there, or the zip of collected pictures. A network trained
earlier (-m) describes each picture, and only its last layers are computed anew. What is unlike them all is "unknown".
The bundle is written to NAME, and the pictures are kept beside it in NAME.pictures, so that they can be changed later:
  picam-infer teach -m ./plants -o socks photos/
  picam-infer teach -o socks --add more-photos/
  picam-infer teach -o socks --relabel IMG_0012.jpg=striped --remove blurred.jpg"""

_Meant = str | list[str]
"""What an argument names: a class, or pictures by their ids."""
_STEP = "command"
"""The name of the step that all changes are, so that they are undone together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `teach`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    parser.add_argument("folder", nargs="*", type=Path, metavar="FOLDER", help="folders or archives of pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME", help="the bundle's folder; to "
                        "change what was taught on the page, its name alone")  # fmt: skip
    parser.add_argument("-m", "--model", metavar="BACKBONE", help="name or folder of the model to build on: any "
                        "that classifies photos, or digits for drawn signs; picam-infer models lists them")  # fmt: skip
    parser.add_argument("--features", metavar="LAYER", help="the layer of BACKBONE that describes a picture "
                        "(default: the input of its last dense layers)")  # fmt: skip
    change = parser.add_argument_group("changing what NAME was taught")
    change.add_argument("--add", action="store_true", help="add FOLDER's pictures to those already taught")
    change.add_argument("--relabel", action="append", default=[], metavar="PICTURE=CLASS",
                        help="move a picture, or all of a class, to another class")  # fmt: skip
    change.add_argument(
        "--remove", action="append", default=[], metavar="PICTURE", help="remove a picture, or a whole class"
    )
    parser.add_argument(
        "--max-mb",
        type=argument_types.megabytes,
        metavar="MB",
        help="how much disk space the pictures may take (default: 200)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Teach, write the bundle and report. Raises `PicamError`."""
    changing = bool(args.add or args.relabel or args.remove)
    if args.folder and changing and not args.add:
        raise UsageError("pictures are given, but --add is missing", "give --add, or no folder")
    if not args.folder and (args.add or not changing):
        raise UsageError("no pictures are given", "name a folder with one folder of pictures for each class")
    if changing:
        args.output = _taught(args.output)
    place = _pictures_folder(args.output)
    backbone = _backbone(args, changing, place)
    lesson = _Lesson(args)
    with _alone(place):
        bundle, report = lesson.change(backbone, place) if changing else lesson.begin(backbone, place)
    _tell(args, bundle, report, place, lesson)
    return 0


def _taught(output: Path) -> Path:
    """Return the folder of what is changed: a name that was not taught here is looked up where the page teaches."""
    from picam_infer.training.teach import shelf

    if output.name != str(output) or not output.name or _is_there(_pictures_folder(output)):
        return output
    return shelf.find(output.name) or output


def _pictures_folder(output: Path) -> Path:
    """Return where a bundle's pictures are kept. Raises `UsageError` for a path that does not end with a name."""
    if not atomic_folder.has_name(output):
        raise UsageError(f"-o {output} is not a name for the taught model", "give a new folder's name: -o socks")
    return output.with_name(f"{real(output).name}.pictures")


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep every other `teach`, and the Teach view, away from these pictures until the block ends.

    Raises `PicamError`.
    """
    from picam_infer.training.teach.lesson_lock import COMMAND, LessonLock

    made: list[Path] = []
    try:
        made += [folder for folder in place.parents if not folder.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(LessonLock(place, COMMAND)):
            yield
    except OSError as error:
        raise disk.unwritable(place, error, option="-o") from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # what was taught is in it
                folder.rmdir()


def _backbone(args: argparse.Namespace, changing: bool, place: Path) -> Bundle:
    """Return the network to build on: the one given with `-m`, else the one inside the taught bundle."""
    if changing and not _is_there(place):
        raise NoInput(f"{args.output} was not taught here: there is no {place}, nor one among the models",
                      "teach it first: picam-infer teach -m BACKBONE -o NAME FOLDER")  # fmt: skip
    if not changing:
        _refuse_to_replace(args.output)
    if args.model is not None:
        return bundles.load(args.model)
    if not changing:
        raise UsageError("-m BACKBONE is missing: the model to build on",
                         "picam-infer models lists them; digits is good for drawn signs")  # fmt: skip
    taught = bundles.load(real(args.output))
    if taught.card.taught is None:
        raise UsageError(f"{args.output} is not a taught model", "name the model to build on with -m")
    return taught


def _is_there(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError as error:
        raise regular_file.unreadable(place, error) from error


def _refuse_to_replace(output: Path) -> None:
    """Raise `UsageError` if there is a model that was not taught: it could not be restored."""
    try:
        taught = bundles.load(real(output)).card.taught
    except PicamError:
        return
    if taught is None:
        raise UsageError(f"{output} is a model that was not taught", "give what is taught another name with -o")


class _Lesson:
    """One run of the command; it collects what was skipped."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.skipped: list[str] = []
        """Pictures that were not taught, with the reason."""
        self.remarks: list[str] = []
        self._again = self._twice = 0
        """How many of the pictures given were taught earlier, and how many are the same as another one given."""

    def begin(self, backbone: Bundle, place: Path) -> tuple[Bundle, Report]:
        """Teach from scratch; earlier pictures are moved aside once everything has succeeded."""
        fresh = place.with_name(f".{place.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with self._teacher(backbone, fresh) as teacher:
                self._add(teacher, refuse_empty=True)
                bundle, report = teacher.save(self._args.output)
            again = place.exists()
            atomic_folder.put(fresh, place)
            if again:
                before = place.with_name(f"{place.name}.before")
                replaced = ", instead of those from before them" if before.exists() else ""
                shutil.rmtree(before, ignore_errors=True)
                fresh.rename(before)
                self.remarks.append(f"the earlier pictures are in {before}{replaced}")
        except PicamError as error:
            error.message = error.message.replace(str(fresh), str(place))  # the former is not there any more
            raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return bundle, report

    def change(self, backbone: Bundle, place: Path) -> tuple[Bundle, Report]:
        """Change what was taught, or nothing if any of the changes is impossible."""
        with self._teacher(backbone, place) as teacher:
            self.skipped += teacher.unreadable
            before = teacher.counts()
            removed = [_meant(teacher, given) for given in self._args.remove]
            moved = [(_meant(teacher, given), label) for given, label in map(_parted, self._args.relabel)]
            try:
                if self._args.add:
                    self._add(teacher, refuse_empty=False)
                self._move(teacher, moved)
                self._remove(teacher, removed)
                saved = teacher.save(self._args.output)
            except BaseException:  # Ctrl-C, too
                teacher.undo()
                raise
            gone = before.keys() - teacher.counts().keys()
        _follow_classes(place, [(what, label) for what, label in moved if isinstance(what, str)], gone)
        return saved

    def _move(self, teacher: Teacher, moved: Sequence[tuple[_Meant, str]]) -> None:
        for what, label in moved:
            if isinstance(what, str):
                self.remarks.append(
                    f"moved from {what} to {label}: {counted(teacher.counts().get(what, 0), 'picture')}"
                )
                teacher.rename_class(what, label, _STEP)
            for id in what if isinstance(what, list) else ():
                teacher.relabel(id, label, _STEP)

    def _remove(self, teacher: Teacher, removed: Sequence[_Meant]) -> None:
        """Remove pictures and classes. Raises `UsageError` if no picture would be left."""
        gone = {id for what in removed if isinstance(what, list) for id in what}
        classes = {what for what in removed if isinstance(what, str)}
        if removed and not [p for p in teacher.pictures() if p.id not in gone and p.label not in classes]:
            raise UsageError("--remove names every picture that was taught: nothing would be left to recognise",
                             f"leave one out, or delete the folder {self._args.output} and its pictures")  # fmt: skip
        for label in sorted(classes):
            self.remarks.append(f"removed with the class {label}: {counted(teacher.counts().get(label, 0), 'picture')}")
            teacher.remove_class(label, _STEP)
        for id in sorted(gone & {picture.id for picture in teacher.pictures()}):
            teacher.remove(id, _STEP)

    def _teacher(self, backbone: Bundle, place: Path) -> Teacher:
        from picam_infer.training.teach.picture_set import MAX_MB, PictureSet
        from picam_infer.training.teach.teacher import Teacher

        bar = _Bar()
        pictures = PictureSet(place, self._args.max_mb or MAX_MB)
        teacher = Teacher(backbone, pictures, self._args.features, progress=bar)
        bar.end()
        return teacher

    def _add(self, teacher: Teacher, refuse_empty: bool) -> None:
        from picam_infer.training.teach import intake

        with scratch.folder() as place:
            given: list[Given] = []
            for folder in self._args.folder:
                found = intake.read(folder, place)
                given += found.pictures
                self.remarks += found.remarks
            bar = _Bar()
            known = {picture.id: picture.label for picture in teacher.pictures()}
            before = set(known)
            for done, one in enumerate(given):
                bar(done, len(given))
                self._one(teacher, one, known, before)
            bar.end()
        if self._again:
            self.remarks.append(f"left out, because they were taught before: {counted(self._again, 'picture')}")
        if self._twice:
            self.remarks.append(f"left out, because they were given twice: {counted(self._twice, 'picture')}")
        there = teacher.counts()
        empty = [label for label in dict.fromkeys(one.label for one in given) if label not in there]
        if empty and (refuse_empty or not there):
            raise NoInput(f"class {empty[0]!r} has no usable picture: {self.skipped[0]}",
                          "put some into its folder, or remove it")  # fmt: skip
        self.remarks += [f"class {label} has no usable picture" for label in empty]

    def _one(self, teacher: Teacher, one: Given, known: dict[str, str], before: Set[str]) -> None:
        from picam_infer.imaging import pictures
        from picam_infer.training.teach.picture_set import Full, identify

        try:
            data = pictures.read_bytes(one.path)
            id = identify(data)
            if known.get(id) == one.label:
                self._again += id in before
                self._twice += id not in before
            elif id in known:
                self.skipped.append(f"{one.shown} is already taught, as {known[id]}; --relabel moves it")
            else:
                known[id] = teacher.add(one.label, data, one.shown, _STEP).label
        except (Full, disk.NotWritten):
            raise
        except PicamError as error:
            self.skipped.append(error.message.replace(str(one.path), one.shown))


def _parted(given: str) -> tuple[str, str]:
    picture, sign, label = given.rpartition("=")
    if not sign or not picture or not label.strip():
        raise UsageError(f"--relabel {given} names no class", "write PICTURE=CLASS")
    return picture, label


def _meant(teacher: Teacher, given: str) -> _Meant:
    """Return the IDs of the pictures that an argument names, or a class's name. Raises `UsageError`."""
    found = teacher.find(given)
    if len(found) == 1:
        return [found[0].id]
    if len(found) > 1:
        names = ", ".join(f"{picture.label}/{picture.name}" for picture in found[:4])
        raise UsageError(f"{len(found)} taught pictures are called {given}", f"name one of them: {names}")
    if given in teacher.counts():
        return given
    raise UsageError(
        f"{given!r} is neither a taught picture nor a class", f"classes: {', '.join(teacher.counts()) or 'none'}"
    )


def _follow_classes(place: Path, renamed: Sequence[tuple[str, str]], gone: Set[str]) -> None:
    """Have the page's list of classes follow: it keeps classes without pictures, but not those that were taken away.

    Raises `OSError`.
    """
    from picam_infer.training.teach import shelf

    noted = shelf.note(place)
    classes = noted.get("classes")
    if not isinstance(classes, list):
        return
    for old, new in renamed:
        classes = [new if label == old else label for label in classes]
    classes = list(dict.fromkeys(label for label in classes if label not in gone))
    if classes != noted["classes"]:
        shelf.write_note(place, {**noted, "classes": classes})


class _Bar:
    """A progress bar on a terminal; elsewhere a line every 30 seconds."""

    AGAIN_S = 30.0

    def __init__(self) -> None:
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._said_s = time.monotonic()
        self._shown = False

    def __call__(self, done: int, of: int) -> None:
        """Show that `done` of `of` pictures have been looked at."""
        now_s = time.monotonic()
        if self._live and now_s > self._said_s + 0.1:
            filled = round(30 * done / max(of, 1))
            terminal.put(f"\r{'█' * filled}{'░' * (30 - filled)} {done} of {of} pictures", error=True)
            self._said_s, self._shown = now_s, True
        elif not self._live and now_s > self._said_s + self.AGAIN_S:
            say(f"picam-infer teach: {done} of {of} pictures", error=True)
            self._said_s = now_s

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            terminal.put("\r\x1b[K", error=True)
            self._shown = False


def _tell(args: argparse.Namespace, bundle: Bundle, report: Report, place: Path, lesson: _Lesson) -> None:
    taught = bundle.card.taught
    assert taught is not None
    if args.json:
        say_json({"bundle": str(args.output), "pictures_folder": str(place), "backbone": taught.backbone,
                  "features": taught.features, **report.as_json(), "skipped": lesson.skipped,
                  "remarks": lesson.remarks})  # fmt: skip
        return
    for line in [*lesson.remarks, *(f"skipped: {line}" for line in lesson.skipped)]:
        say(f"picam-infer teach: {line}", error=True)
    say(f"{args.output}: taught on {taught.backbone} (layer {taught.features})")
    for line in report.lines():
        say(f"  {line}")
    named = bundles.spelling(real(args.output)) == args.output.name
    run = args.output.name if named else f"./{args.output}" if not args.output.is_absolute() else str(args.output)
    say(f"run it: picam-infer run --model {run}, or on the installed service: picam-infer use {run}")
