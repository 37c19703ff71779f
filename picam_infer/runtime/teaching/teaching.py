"""The one owner of the open lesson: what any thread may call, and the steps of the thread that does the work."""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from picam_infer.core import BadFrame, Busy, PicamError, UsageError
from picam_infer.inference.engines import openvino
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform import malloc
from picam_infer.platform.zip_stream import Entry
from picam_infer.runtime.model_choice import Switch
from picam_infer.runtime.teaching import opening, status
from picam_infer.runtime.teaching.live_label import LiveLabel, Seen
from picam_infer.runtime.teaching.model_use import ModelUse
from picam_infer.runtime.teaching.moves import Moves
from picam_infer.runtime.teaching.odd_pictures import OddPictures
from picam_infer.runtime.teaching.recent import Recent
from picam_infer.runtime.teaching.recorder import Hold, Recorder
from picam_infer.runtime.teaching.region import RegionFollower
from picam_infer.runtime.teaching.served_round import ServedRound
from picam_infer.runtime.teaching.worker import Worker
from picam_infer.training.teach import shelf

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_S = 5.0
"""How long after a request somebody counts as looking at the lesson."""
IDLE_S = 600.0
"""A lesson that nobody has looked at for this long is closed, as it takes memory."""
QUIET_S = 1.0
"""After so long without a change, odd pictures are searched for."""
SYNC_S = 1.0
_TICK_S = 0.1
_YIELD_S = 0.3


class Teaching:
    """Owns the open lesson. Any thread may call it; changes wait until they are done.

    `switch` makes the service run another model, and returns what ends when it does; both raise `PicamError`.
    """

    def __init__(self, switch: Callable[[Switch], Future[None]]) -> None:
        self.recent = Recent()
        """The pictures of the last label changes, for “This was really …”."""
        self._worker = Worker(self._step, self._close_lesson)
        self._round: ServedRound | None = None
        self._lesson: Lesson | None = None
        self._recorder = Recorder()
        self._live = LiveLabel()
        self._odd = OddPictures()
        self._moves = Moves()
        self._region = RegionFollower()
        self._model_use = ModelUse(switch, self._worker.stopping)
        self._problem: PicamError | None = None
        """Why something that was recorded could not be taught."""
        self._refused: tuple[str, PicamError] | None = None
        """The hold that found no room, and why."""
        self._renamed: dict[str, str] = {}
        """The new names of renamed classes by the old ones, which a held button still uses for a moment."""
        self._looked_s = self._used_s = self._synced_s = self._busy_s = 0.0
        self._stage, self._progress = "closed", (0, 0)
        self._base_chosen = False
        """Whether somebody chose what the open lesson builds on."""
        self._session = secrets.token_hex(4)
        self._revision = 0
        self._report: dict[str, Any] | None = None
        self._status: dict[str, Any] = {"stage": "closed"}

    # -- the service's side -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def following(self, served: ServedRound) -> Iterator[None]:
        """Take pictures from a round of the service, until the block ends."""
        self._round, state = served, served.state
        unlisten = state.listen(self.recent.hear, pictures=True)
        state.reports.teaching.serve(self.status)
        self._model_use.read_again()
        self._tell()
        try:
            yield
        finally:
            unlisten()
            state.reports.teaching.end(self.status)
            self._recorder.release(at_once=True)
            self._round = None

    def cancel_waits(self) -> None:
        """Raise `Busy` in all threads that wait for something to be done: the round ends, and the page with it."""
        self._worker.cancel_waits()

    def close(self, patience_s: float = 0.5) -> None:
        """End the thread, and write what was recorded to the disk. May be called more than once."""
        self._recorder.release(at_once=True)
        self._worker.close(patience_s)

    @property
    def busy(self) -> bool:
        """Whether a lesson needs the processor just now: the inference loop then leaves room."""
        return time.monotonic() - self._busy_s < _YIELD_S

    # -- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what the page shows of the lesson: JSON, brought up to date after each step."""
        return {**self._status, "recent": self.recent.names()}  # labels change without any step

    def look(self) -> dict[str, Any]:
        """Return the status, with the lessons and the models to build on; for some seconds the live label follows."""
        self._looked_s = time.monotonic()
        openvino.load()
        from picam_infer.training.teach import lesson

        bases = [{"name": base.name, "drawn": base.drawn} for base in lesson.bases()]
        return {**self.status(), "lessons": shelf.names(), "bases": bases}

    def seen(self) -> Seen | None:
        """Return what the open lesson says of the newest picture, and where it looks; None: no lesson is open."""
        lesson, running = self._lesson, self._round
        if lesson is None:
            return None
        # While the service runs it, both look at the same part, which may be moved just now.
        same = running is not None and self._status.get("runs") == lesson.name
        chain = running.state.tuning.preprocess if running is not None and same else lesson.chain
        return Seen(chain, lesson.network.card.input, self._live.answer, self._live.input_image)

    def pictures(self) -> list[dict[str, Any]]:
        """Return id, label and bytes of the taught pictures, the oldest first.

        One that does not look like the others of its class has `like`, too: the class that it is most like, perhaps its
        own.
        """
        lesson, like = self._lesson, self._odd.like
        return status.pictures_json(lesson, like) if lesson else []

    def picture(self, id: str) -> bytes | None:
        """Return a taught picture's bytes; None: there is none."""
        lesson = self._lesson
        return lesson.read(id) if lesson else None

    def zip_entries(self) -> tuple[str, Iterator[Entry]] | None:
        """Return the lesson's name and its pictures, one folder a class; None: no lesson is open."""
        lesson = self._lesson
        return (lesson.name, lesson.zip_entries()) if lesson else None

    # -- changing; each waits for the thread --------------------------------------------------------------------------

    def open(self, name: str = "", base: str = "") -> None:
        """Open a lesson by name, or the most likely one; `base`: the model to build on. Raises `PicamError`."""
        self._looked_s = time.monotonic()
        self._ask(lambda: self._open(name, base))

    def end(self) -> None:
        """Close the lesson; all of it is on the disk."""
        self._ask(self._close_lesson)

    def hold(self, label: str, hold: str) -> None:
        """Record into a class for as long as this is repeated with the same `hold`. Raises `PicamError`."""
        state = self._running().state
        if not state.watching and (lacking := state.no_picture) is not None:
            raise Busy.of(lacking)
        lesson = self._open_lesson()
        if (label := self._current_name(label, lesson)) not in lesson.classes():
            raise UsageError(f"there is no class {label}", "make it first")
        refused = self._refused
        if refused is not None and refused[0] == hold:  # still held, but there is no room left
            raise refused[1]
        self._refused, self._used_s = None, time.monotonic()
        self._recorder.hold(Hold.now(label, hold), state)

    def release(self) -> None:
        """Stop recording."""
        self._recorder.release()

    def add_class(self, label: str) -> str:
        """Make a class; returns its name as it is written. Raises `PicamError`."""
        return self._change(lambda lesson: lesson.add_class(label))

    def rename_class(self, old: str, new: str) -> None:
        """Rename a class; with the name of another one, merge them. Raises `PicamError`."""

        def work(lesson: Lesson) -> None:
            self._renamed[old] = new
            lesson.rename_class(old, new)

        self._change(work)

    def remove_class(self, label: str) -> None:
        """Remove a class with its pictures. Raises `PicamError`."""
        self._change(lambda lesson: lesson.remove_class(label))

    def relabel(self, id: str, label: str) -> None:
        """Move a taught picture to another class. Raises `PicamError`."""
        self._change(lambda lesson: lesson.relabel(id, label))

    def remove(self, id: str) -> None:
        """Remove a taught picture. Raises `PicamError`."""
        self._change(lambda lesson: lesson.remove(id))

    def correct(self, label: str, data: bytes, name: str, use: bool) -> dict[str, Any]:
        """Add a picture to a class of the lesson that the service runs, or else of the one that is open.

        `use`: have the service run the corrected model, if it runs that lesson's. Returns {"lesson", "used"}.
        Raises `PicamError`.
        """

        def work() -> dict[str, Any]:
            running = self._running_lesson()
            if self._lesson is None or (use and running and self._lesson.name != running):
                self._open(running, "")
            lesson = self._open_lesson()
            lesson.keep(label, data, name, f"correct {time.monotonic()}")
            self._learn_all(lesson)
            return {"lesson": lesson.name, "used": use and lesson.name == running and self._use()}

        return self._ask(work)

    def undo(self, use: bool) -> str | None:
        """Take the last change back, and return what it was. `use`: as in `correct`.

        Raises `PicamError`: then nothing was taken back, and it can be once the reason is gone.
        """

        def work() -> str | None:
            lesson = self._open_lesson()
            what = lesson.undo()
            self._learn_all(lesson)
            if use and lesson.name == self._running_lesson() and any(lesson.classes().values()):
                try:
                    self._use()
                except PicamError:
                    lesson.redo()
                    self._learn_all(lesson)
                    raise
            return what

        return self._ask(work)

    def use(self) -> None:
        """Make the service run what was taught, for good. Raises `PicamError`."""
        self._ask(self._use)

    def back(self) -> str:
        """Make the service run the model from before, and return its name. Raises `PicamError`."""
        return self._ask(lambda: self._model_use.back(self._running()))

    def pin(self) -> str:
        """Keep the newest picture for a while, and return the name that it has in `recent`. Raises `Busy`."""
        state = self._running().state
        if (lacking := state.no_picture) is not None:
            raise Busy.of(lacking)
        newest = state.frames.peek()
        if newest is None:  # it has just gone
            raise Busy("no picture yet", "try again when there is one")
        try:
            return self.recent.add(newest[1])
        except BadFrame as error:
            raise Busy(f"the newest picture is damaged ({error})", "try again") from error

    def _ask(self, work: Callable[[], T]) -> T:
        """Have the thread do something, and update the status before returning."""

        def told() -> T:
            try:
                return work()
            finally:
                self._tell()

        return self._worker.ask(told)

    def _change(self, work: Callable[[Lesson], T]) -> T:
        def task() -> T:
            lesson = self._open_lesson()
            self._problem = None
            self._revision += 1
            self._used_s = time.monotonic()
            return work(lesson)

        return self._ask(task)

    # -- the thread's steps -------------------------------------------------------------------------------------------

    def _step(self) -> float:
        """Do one thing, and return for how many seconds to wait for requests before the next."""
        try:
            if self._lesson is not None:
                self._work(self._lesson)
        except PicamError as error:
            self._failed(error)
        except Exception:  # recognition continues, and a lesson can be opened again
            log.exception("teaching: an internal error")
            self._close_lesson()
        self._tell()
        if (lesson := self._lesson) is None:
            return 1.0
        return 0.001 if lesson.teacher.waiting or self._recorder.taken else _TICK_S

    def _work(self, lesson: Lesson) -> None:
        """Save what was recorded; then learn a picture, or look at the newest one if all are learnt."""
        self._keep_recorded(lesson)
        now_s = time.monotonic()
        if now_s - self._synced_s > SYNC_S:
            lesson.teacher.sync()
            self._synced_s = now_s
        if lesson.teacher.waiting:
            self._busy_s = self._used_s = now_s
            self._live.take(lesson.teacher.learn_next(), self._round)
        elif now_s - self._looked_s < LOOK_S:
            if not self._recorder.held and now_s - self._used_s >= QUIET_S:
                self._revision = self._odd.look(lesson, self._revision)  # the page then fetches them again
            self._look_live(lesson)
        else:
            self._live.clear()
            unseen_s = now_s - max(self._looked_s, self._used_s)
            if unseen_s > IDLE_S or (unseen_s > LOOK_S and lesson.wanted):
                self._close_lesson()
                return
        self._follow_region(lesson)

    def _keep_recorded(self, lesson: Lesson) -> None:
        while (one := self._recorder.take()) is not None:
            held, data = one
            label = self._current_name(held.label, lesson)
            if label not in lesson.classes():  # removed meanwhile
                continue
            was = lesson.class_of(data)
            try:
                lesson.keep(label, data, label, f"hold {held.id}")
                self._moves.note(held, was, label)
                self._revision += 1
                self._problem = None
            except PicamError as error:
                self._recorder.release(at_once=True)
                self._refused = held.id, error
                raise

    def _current_name(self, label: str, lesson: Lesson) -> str:
        """Return a class's name; for one that was renamed, the new one."""
        return label if label in lesson.classes() else self._renamed.get(label, label)

    def _look_live(self, lesson: Lesson) -> None:
        frame = self._live.due(lesson, self._round)
        if frame is not None:
            self._busy_s = time.monotonic()
            with contextlib.suppress(BadFrame):
                self._live.look(lesson, self._round, frame)

    def _failed(self, error: PicamError) -> None:
        """Remember why a recorded picture could not be taught, and log it once."""
        if self._problem is None or self._problem.message != error.message:
            log.warning("teaching: %s", error)
        self._problem = error

    def _learn_all(self, lesson: Lesson) -> None:
        self._keep_recorded(lesson)
        while lesson.teacher.waiting:
            self._busy_s = time.monotonic()
            with contextlib.suppress(PicamError):
                lesson.teacher.learn_next()
        self._revision += 1

    def _use(self) -> bool:
        lesson, running = self._open_lesson(), self._running()
        self._learn_all(lesson)
        if not any(lesson.classes().values()):
            raise UsageError("nothing is taught yet", "record some pictures first")
        self._stage = "saving"
        self._tell()
        try:
            report, switch = self._model_use.save(lesson, running)
            self._report = status.report_json(report)
            self._model_use.run(switch)
        finally:
            self._stage = "open"
            malloc.trim()
        return True

    # -- the lesson ---------------------------------------------------------------------------------------------------

    def _running(self) -> ServedRound:
        if (running := self._round) is None:
            raise Busy("the service is starting", "try again in a moment")
        return running

    def _running_lesson(self) -> str:
        """Return the lesson whose model the service runs; empty: it runs another model."""
        return self._round.lesson if self._round else ""

    def _open_lesson(self) -> Lesson:
        if self._lesson is None:
            raise Busy("no lesson is open", "open the Teach view again")
        return self._lesson

    def _open(self, name: str, base: str) -> None:
        openvino.load()
        opened = self._lesson
        name = opening.chosen_name(name, opened.name if opened else "", self._round)
        same = opened if opened is not None and opened.name == name else None
        chosen = bool(base) or (same is not None and self._base_chosen)
        # An untouched lesson follows the running model, unless somebody chose another.
        if same is not None and (chosen or same.classes()) and base in ("", same.network.folder.name):
            self._base_chosen = chosen
            return
        running = self._running()
        network = opening.network_for(name, base, running.state.bundle)
        if same is None or same.network.folder != network.folder:
            self._begin(name, network, running)
        self._base_chosen = chosen

    def _begin(self, name: str, network: Bundle, running: ServedRound) -> None:
        from picam_infer.training.teach.lesson import Lesson, Room

        chain = running.chain_of(network)
        self._close_lesson()
        self._renamed.clear()
        bundles.sweep(bundles.home())
        self._stage = "opening"
        self._live.clear()
        self._tell()
        room = Room(running.config.teach.max_mb, running.config.teach.reserve_mb)
        try:
            self._lesson = Lesson(name, network, room, chain, self._progressed)
            self._stage, self._problem = "open", None
        finally:
            if self._lesson is None:
                self._stage = "closed"
            self._revision += 1
            self._used_s = time.monotonic()

    def _progressed(self, done: int, of: int) -> None:
        self._busy_s = time.monotonic()
        self._progress = (done, of)
        self._tell()
        if self._worker.stopping.is_set():
            raise Busy("the service is stopping")

    def _close_lesson(self) -> None:
        lesson, self._lesson = self._lesson, None
        if lesson is None:
            return
        self._put_away(lesson)
        self._stage, self._progress, self._report = "closed", (0, 0), None
        self._live.clear()
        self._odd.clear()
        self._moves = Moves()
        self._revision += 1
        del lesson
        malloc.trim()

    def _put_away(self, lesson: Lesson) -> None:
        """Write what is not on the disk yet, as far as it can be written: the lesson is closed all the same."""
        steps: tuple[Callable[[], None], ...]
        steps = functools.partial(self._keep_recorded, lesson), lesson.teacher.sync, lesson.close
        for step in steps:
            try:
                step()
            except PicamError as error:
                self._failed(error)
            except Exception:  # the caller then opens another one, or ends the thread
                log.exception("teaching: an internal error")

    def _follow_region(self, lesson: Lesson) -> None:
        """Learn the pictures again when the region that the network looks at was moved."""
        running = self._round
        if running is None or running.state.bundle is None or self._recorder.held:
            return
        chain = self._region.settled(lesson, running)
        if chain is not None:
            self._look_again(lesson, chain)

    def _look_again(self, lesson: Lesson, chain: Chain) -> None:
        """Learn all pictures again with another region; the undo history stays."""
        self._stage = "opening"
        self._live.clear()
        self._tell()
        try:
            lesson.look_again(chain, self._progressed)
        finally:
            self._stage = "open"
            self._revision += 1
            self._used_s = time.monotonic()

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Update the status."""
        lesson = self._lesson
        told: dict[str, Any] = {
            "stage": self._stage,
            "session": self._session,
            "revision": self._revision,
            "problem": status.problem_json(self._problem),
            **self._model_use.choices(self._round),
        }
        if self._stage == "opening":
            told["progress"] = {"done": self._progress[0], "of": self._progress[1]}
        if lesson is not None:
            held, waiting = self._recorder.held, self._recorder.waiting + lesson.teacher.waiting
            told |= {
                **status.lesson_json(lesson),
                "waiting": waiting,
                "recording": held.label if held else None,
                "live": self._live.answer,
                "moved": self._moves.as_json(),
                "in_use": not waiting and self._in_use(lesson),
                "report": self._report,
            }
        self._status = told

    def _in_use(self, lesson: Lesson) -> bool:
        """Whether the service runs what is taught now."""
        running = self._round
        return running is not None and self._model_use.runs(lesson, running, self._revision)
