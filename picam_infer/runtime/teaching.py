"""Teaching while the service runs: the one owner of the lesson that is open, in one thread at low priority."""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from picam_infer import config as configs
from picam_infer.core import BadFrame, Frame, NoInput, PicamError, UsageError
from picam_infer.imaging import jpeg
from picam_infer.inference import preprocess
from picam_infer.inference.engines import openvino
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform import malloc
from picam_infer.platform.priority import lower_priority
from picam_infer.platform.zip_stream import Entry
from picam_infer.runtime.model_choice import ModelChoice, Switch
from picam_infer.runtime.recent import Recent
from picam_infer.runtime.state import State
from picam_infer.training.teach import shelf

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson
    from picam_infer.training.teach.live_model import Prediction
    from picam_infer.training.teach.picture_set import Picture
    from picam_infer.training.teach.report import Report

log = logging.getLogger(__name__)
T = TypeVar("T")

PER_S = 10
"""Pictures a second that are recorded."""
HELD_S = 1.5
"""A button counts as let go when nobody has said for so long that it is held: the page may be gone."""
LOOK_S = 5.0
"""How long a visit counts as looking at what is taught."""
IDLE_S = 600.0
"""A lesson that nobody looks at is closed after so long: it takes memory."""
SYNC_S = 1.0
SETTLED_S = 1.0
"""A region that has been left alone for so long is meant."""
_TICK_S = 0.1
_PATIENCE_S = 120.0
_SWITCH_S = 75.0
"""The service itself does not wait so long for a model to run."""
_YIELD_S = 0.3
DEFAULT = "taught"
"""What the first lesson is called."""


class Busy(PicamError):
    """Nothing can be taught at the moment, for a reason that passes."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What one run of the other parts has that is needed here."""

    state: State
    now: Callable[[], configs.Config]
    path: Path | None

    @property
    def config(self) -> configs.Config:
        """The configuration in force."""
        return self.now()


@dataclass(frozen=True, slots=True)
class _Held:
    """A button that is held down."""

    label: str
    hold: str
    """Tells this holding from the next."""
    until_s: float


class Teaching:
    """Owns the open lesson. Any thread may ask it; what changes something waits until it is done.

    `switch` makes the service run another model, and returns what ends when it does; both raise `PicamError`.
    """

    def __init__(self, switch: Callable[[Switch], Future[None]]) -> None:
        self._switch = switch
        self._round: _Round | None = None
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: set[Future[Any]] = set()
        """Those who asked for something that is not done yet."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._lesson: Lesson | None = None
        self._recorder = _Recorder()
        self._live: dict[str, Any] | None = None
        self._problem: PicamError | None = None
        self._refused: tuple[str, PicamError] | None = None
        """The holding that found no room, and why."""
        self._renamed: dict[str, str] = {}
        self._wanted: tuple[Chain, float] | None = None
        """Another region than the lesson's, and since when it is wanted."""
        self._looked_s = self._used_s = self._synced_s = self._lived_s = 0.0
        self._busy_s = 0.0
        self._stage, self._progress = "closed", (0, 0)
        self._session = secrets.token_hex(4)
        self._revision = 0
        self._status: dict[str, Any] = {"stage": "closed"}
        self._choice_said: tuple[float, dict[str, Any]] = (-1.0, {})
        self._said: dict[str, Any] | None = None
        self._odd: dict[str, str] = {}
        """Pictures that do not look like the others of their class, and what they are most like."""
        self._odd_at = -1
        """The revision that they are of."""
        self._digest = (-1, "")
        """The revision that it is of, and what the lesson teaches then: what a bundle of it has as its origin."""
        self.recent = Recent()
        """The pictures of the last changes of the label, for «this was really …»."""

    # -- the service's side -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def following(self, state: State, config: Callable[[], configs.Config], path: Path | None) -> Iterator[None]:
        """Take pictures from a run of the other parts, until the block ends; `config` returns the one in force."""
        self._round = _Round(state, config, path)
        unlisten = state.listen(self.recent.hear, pictures=True)
        state.reports.teaching.serve(self.status)
        self._choice_said = (-1.0, {})
        self._tell()
        try:
            yield
        finally:
            unlisten()
            state.reports.teaching.end(self.status)
            self._recorder.release(at_once=True)
            self._round = None

    def excuse(self) -> None:
        """Let all go who wait for something to be done: the run of the other parts ends, and the page with it."""
        for done in tuple(self._waiting):
            with contextlib.suppress(InvalidStateError):
                done.set_exception(Busy("the service is ending or starting anew", "look again in a moment"))

    def close(self, patience_s: float = 0.5) -> None:
        """End the thread, and bring what was recorded to the disk. May be called more than once."""
        self._stop.set()
        self._recorder.release(at_once=True)
        if self._thread is not None:
            self._thread.join(patience_s)

    @property
    def busy(self) -> bool:
        """Whether the network is needed here just now: who infers for the screen leaves room."""
        return time.monotonic() - self._busy_s < _YIELD_S

    # -- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what the page shows of it: JSON, made by the thread after each step."""
        return self._status

    def look(self) -> dict[str, Any]:
        """Return the status, with the lessons and the models to build on; for some seconds the live label follows."""
        self._looked_s = time.monotonic()
        openvino.load()
        from picam_infer.training.teach import lesson

        bases = [{"name": base.name, "drawn": base.drawn} for base in lesson.bases()]
        return {**self._status, "lessons": shelf.names(), "bases": bases}

    def pictures(self) -> list[dict[str, Any]]:
        """Return id, label and bytes of the taught pictures, the oldest first.

        One that does not look like the others of its class has `like`, too: the class that it is most like, perhaps its
        own.
        """
        lesson, odd = self._lesson, self._odd
        return [
            {"id": one.id, "label": one.label, "bytes": one.size} | ({"like": odd[one.id]} if one.id in odd else {})
            for one in (lesson.pictures() if lesson else ())
        ]

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
        """Open a lesson by name, or the one that fits; `base`: the model to build on. Raises `PicamError`."""
        self._looked_s = time.monotonic()
        self._ask(lambda: self._open(name, base))

    def end(self) -> None:
        """Close the lesson; all of it is on the disk."""
        self._ask(self._close_lesson)

    def hold(self, label: str, hold: str) -> None:
        """Record into a class while this is said again and again; `hold` names one holding. Raises `PicamError`."""
        state = self._running().state
        if not state.watching:
            blocking = state.health.blocking
            raise Busy("there is no picture to record", blocking.remedy if blocking else "resume watching first")
        lesson = self._open_lesson()
        if (label := self._now_called(label, lesson)) not in lesson.classes():
            raise UsageError(f"there is no class {label}", "make it first")
        refused = self._refused
        if refused is not None and refused[0] == hold:  # it is held on, but there is no room any more
            raise refused[1]
        self._refused, self._used_s = None, time.monotonic()
        self._recorder.hold(_Held(label, hold, time.monotonic() + HELD_S), state)

    def release(self) -> None:
        """Record no more."""
        self._recorder.release()

    def add_class(self, label: str) -> str:
        """Make a class; returns its name as it is written. Raises `PicamError`."""
        return self._change(lambda lesson: lesson.add_class(label))

    def rename_class(self, old: str, new: str) -> None:
        """Rename a class, or put two together. Raises `PicamError`."""

        def work(lesson: Lesson) -> None:
            self._renamed[old] = new  # a button that is held says the old name for a moment yet
            lesson.rename_class(old, new)

        self._change(work)

    def remove_class(self, label: str) -> None:
        """Take a class out with its pictures. Raises `PicamError`."""
        self._change(lambda lesson: lesson.remove_class(label))

    def relabel(self, id: str, label: str) -> None:
        """Move a taught picture to another class. Raises `PicamError`."""
        self._change(lambda lesson: lesson.relabel(id, label))

    def remove(self, id: str) -> None:
        """Take a taught picture out. Raises `PicamError`."""
        self._change(lambda lesson: lesson.remove(id))

    def correct(self, label: str, data: bytes, name: str, use: bool) -> dict[str, Any]:
        """Add a picture to a class of the lesson that runs, or else of the one that is open.

        `use`: the service takes it up, if it runs that lesson's model. Returns {"lesson", "used"}. Raises `PicamError`.
        """

        def work() -> dict[str, Any]:
            running = self._lesson_that_runs()
            if self._lesson is None or (use and running and self._lesson.name != running):
                self._open(running, "")
            lesson = self._open_lesson()
            lesson.keep(label, data, name, f"correct {time.monotonic()}")
            self._learn_all(lesson)
            return {"lesson": lesson.name, "used": use and lesson.name == running and self._use()}

        return self._ask(work)

    def undo(self, use: bool) -> str | None:
        """Take the last change back, and return what it was. `use`: as in `correct`. Raises `PicamError`."""

        def work() -> str | None:
            lesson = self._open_lesson()
            what = lesson.undo()
            self._learn_all(lesson)
            if use and lesson.name == self._lesson_that_runs() and any(lesson.classes().values()):
                self._use()
            return what

        return self._ask(work)

    def use(self) -> None:
        """Make the service run what was taught, for good. Raises `PicamError`."""
        self._ask(self._use)

    def back(self) -> str:
        """Make the service run the model from before, and return its name. Raises `PicamError`."""

        def work() -> str:
            model = self._choice().model_before()
            self._run_model(Switch(model, {}, None))
            return model

        return self._ask(work)

    def pin(self) -> str:
        """Keep the newest picture for a while, and return what it is called by. Raises `Busy`."""
        state = self._running().state
        newest = state.frames.peek()
        if newest is None:
            raise Busy("there is no picture yet", "try again when there is one")
        try:
            return self.recent.add(newest[1])
        except BadFrame as error:
            raise Busy(f"the newest picture is damaged ({error})", "try again") from error

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _ask(self, work: Callable[[], T]) -> T:
        """Have the thread do something, and return what comes of it. Raises what it raises."""
        done: Future[T] = Future()

        def task() -> None:
            with contextlib.suppress(InvalidStateError):  # who asked was excused
                try:
                    result = work()
                except PicamError as error:
                    self._tell()
                    done.set_exception(error)
                except Exception as error:  # the top of a thread: whoever asks gets it
                    log.exception("teaching: an internal error")
                    done.set_exception(error)
                else:
                    self._tell()  # who asked finds it in the status
                    done.set_result(result)

        with self._starting:
            if self._stop.is_set():
                raise Busy("the service is ending", "try again")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="teach", daemon=True)
                self._thread.start()
        self._waiting.add(done)
        self._tasks.put(task)
        try:
            return done.result(_PATIENCE_S)
        except TimeoutError as error:
            raise Busy("this takes very long", "try again in a minute") from error
        finally:
            self._waiting.discard(done)

    def _change(self, work: Callable[[Lesson], T]) -> T:
        def task() -> T:
            lesson = self._open_lesson()
            self._problem = None
            self._revision += 1
            return work(lesson)

        return self._ask(task)

    def _run(self) -> None:
        lower_priority()
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                self._tasks.get(timeout=self._wait_s())()
            try:
                self._step()
            except PicamError as error:
                self._failed(error)
            except Exception:  # the top of a thread: the recognition goes on, and so does the next lesson
                log.exception("teaching: an internal error")
                self._close_lesson()
            self._tell()
        self._close_lesson()

    def _wait_s(self) -> float:
        lesson = self._lesson
        if lesson is None:
            return 1.0
        if lesson.teacher.waiting or self._recorder.taken:
            return 0.001
        return _TICK_S

    def _step(self) -> None:
        """Do one thing: keep what was recorded, learn a picture, or look at the newest one."""
        lesson = self._lesson
        if lesson is None:
            return
        self._keep_recorded(lesson)
        now_s = time.monotonic()
        if now_s - self._synced_s > SYNC_S:
            lesson.teacher.sync()
            self._synced_s = now_s
        if lesson.teacher.waiting:
            self._busy_s = self._used_s = now_s
            self._judged(lesson.teacher.learn_next())
        elif now_s - self._looked_s < LOOK_S:
            self._look_for_odd(lesson)
            self._look_live(lesson)
        else:
            self._live = None
            if now_s - max(self._looked_s, self._used_s) > IDLE_S:
                self._close_lesson()
        self._follow_region(lesson)

    def _keep_recorded(self, lesson: Lesson) -> None:
        while (one := self._recorder.take()) is not None:
            held, data = one
            label = self._now_called(held.label, lesson)
            if label not in lesson.classes():  # removed meanwhile
                continue
            try:
                lesson.keep(label, data, label, f"hold {held.hold}")
                self._revision += 1
                self._problem = None
            except PicamError as error:
                self._recorder.release(at_once=True)
                self._refused = held.hold, error
                raise

    def _now_called(self, label: str, lesson: Lesson) -> str:
        """Return a class's name, of one that was renamed the new one."""
        classes = lesson.classes()
        return label if label in classes else self._renamed.get(label, label)

    def _look_for_odd(self, lesson: Lesson) -> None:
        """Find the pictures that do not look like the others, once after each change, when all is learnt."""
        if self._odd_at == self._revision or self._recorder.held or time.monotonic() - self._used_s < SETTLED_S:
            return
        before, self._odd_at = self._odd, self._revision
        self._odd = lesson.odd() if any(lesson.classes().values()) else {}
        if self._odd != before:
            self._revision += 1  # who shows the pictures looks again
            self._odd_at = self._revision

    def _look_live(self, lesson: Lesson) -> None:
        """Say what the newest picture is, as often as pictures come but ten times a second, and half of the time."""
        now_s = time.monotonic()
        running = self._round
        newest = running.state.frames.peek() if running and running.state.watching else None
        if newest is None or not any(lesson.classes().values()):
            self._live = None
            return
        if now_s < self._lived_s:
            return
        self._busy_s = now_s
        with contextlib.suppress(BadFrame):
            self._judged(lesson.teacher.predict(lesson.teacher.features(newest[1])), newest[1].captured)
        took_s = time.monotonic() - now_s
        self._lived_s = now_s + max(_TICK_S, 2 * took_s)

    def _judged(self, thought: Prediction | None, captured: float | None = None) -> None:
        running = self._round
        if thought is None or running is None:
            return
        best = thought.label
        if best is not None and thought.probabilities[best] < running.state.tuning.decide.threshold:
            best = None  # as the service would say
        self._live = {
            "label": best,
            "score": round(thought.probabilities[best] if best is not None else thought.unknown, 4),
            "scores": {label: round(score, 4) for label, score in thought.probabilities.items()},
            "unknown": round(thought.unknown, 4),
            "captured": round(captured or time.time(), 3),
        }

    def _failed(self, error: PicamError) -> None:
        """Remember why something recorded was not taught; said once in the journal."""
        if self._problem is None or self._problem.message != error.message:
            log.warning("teaching: %s; %s", error, error.hint)
        self._problem = error

    # -- lessons ------------------------------------------------------------------------------------------------------

    def _running(self) -> _Round:
        if (running := self._round) is None:
            raise Busy("the service is starting", "try again in a moment")
        return running

    def _open_lesson(self) -> Lesson:
        if self._lesson is None:
            raise Busy("no lesson is open", "open the Teach view again")
        return self._lesson

    def _lesson_that_runs(self) -> str:
        """Return the lesson whose model the service runs; empty: it is another one's."""
        running = self._round
        bundle = running.state.bundle if running else None
        if bundle is None or bundle.card.taught is None:
            return ""
        name = bundle.folder.name.removesuffix(BEFORE)
        return name if bundle.folder.parent == bundles.home() and name in shelf.names() else ""

    def _open(self, name: str, base: str) -> None:
        openvino.load()
        from picam_infer.training.teach import lesson

        name = name or (self._lesson.name if self._lesson else "")
        name = lesson_name(name) if name else self._lesson_that_runs() or (shelf.names() or [DEFAULT])[0]
        there = self._lesson
        if there is not None and there.name == name and base in ("", there.network.folder.name):
            return
        network = bundles.load(base) if base else lesson.network_of(name) or self._best_base()
        self._begin(name, network)

    def _begin(self, name: str, network: Bundle) -> None:
        from picam_infer.training.teach.lesson import Lesson, Room

        running = self._running()
        chain = self._chain_of(network, running)
        self._close_lesson()
        self._renamed.clear()
        bundles.sweep(bundles.home())
        self._stage, self._live = "opening", None
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
        if self._stop.is_set():
            raise Busy("the service is ending")

    def _close_lesson(self) -> None:
        lesson, self._lesson = self._lesson, None
        if lesson is None:
            return
        with contextlib.suppress(PicamError):
            self._keep_recorded(lesson)
            lesson.teacher.sync()
        lesson.close()
        self._stage, self._live, self._progress, self._said, self._odd = "closed", None, (0, 0), None, {}
        self._revision += 1
        del lesson
        malloc.trim()

    def _best_base(self) -> Bundle:
        """Return the network for a new lesson: the one that runs, where it can be one, else one for photos."""
        from picam_infer.training.teach import backbone, lesson

        bundle = self._running().state.bundle
        if bundle is not None:
            with contextlib.suppress(PicamError):
                backbone.described(bundle)
                return bundle
        bases = lesson.bases()
        if not bases:
            raise PicamError("there is no model that teaching can build on",
                             "put any Teachable Machine export on the Pi once: picam-infer use FILE")  # fmt: skip
        return bundles.load(bases[0].name)

    def _chain_of(self, network: Bundle, running: _Round) -> Chain:
        """Return what of a picture a lesson looks at: the same as its model will when the service runs it."""
        state = running.state
        if state.bundle is not None and _same_network(state.bundle, network):
            return state.tuning.preprocess
        return configs.tuned(network.card, running.config.preprocess, running.path)

    def _follow_region(self, lesson: Lesson) -> None:
        """Look at the pictures again when the region that the network looks at was moved."""
        running = self._round
        if running is None or running.state.bundle is None or self._recorder.held:
            return
        chain = running.state.tuning.preprocess
        if chain == lesson.chain or not _same_network(running.state.bundle, lesson.network):
            self._wanted = None
            return
        now_s = time.monotonic()
        if self._wanted is None or self._wanted[0] != chain:
            self._wanted = chain, now_s
        elif now_s - self._wanted[1] > SETTLED_S:  # nobody drags it any more
            self._wanted = None
            self._look_again(lesson, chain)

    def _look_again(self, lesson: Lesson, chain: Chain) -> None:
        """Look at the region that is wanted now; what can be undone stays."""
        self._stage, self._live = "opening", None
        self._tell()
        try:
            lesson.look_again(chain, self._progressed)
        finally:
            self._stage = "open"
            self._revision += 1
            self._used_s = time.monotonic()

    # -- using it -----------------------------------------------------------------------------------------------------

    def _choice(self) -> ModelChoice:
        path = self._running().path
        if path is None:
            raise NoInput("there is no configuration file to keep the choice in", "start with -c FILE")
        return ModelChoice(path)

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
            before = lesson.target.with_name(f"{lesson.name}{BEFORE}")
            runs = running.state.bundle is not None and running.state.bundle.folder == lesson.target
            report = lesson.save(before if runs else None, lambda *made: self._try(lesson, *made))
            self._said = _words(report)
            model = _written_name(lesson.target)
            before_now = _written_name(before) if runs else None
            self._run_model(Switch(model, _kept_keys(lesson.chain, running), before_now))
        finally:
            self._stage = "open"
            malloc.trim()
        return True

    def _run_model(self, switch: Switch) -> None:
        """Make the service run a model, and wait until it does. Raises `PicamError`."""
        asked = self._switch(switch)
        end_s = time.monotonic() + _SWITCH_S
        while not self._stop.is_set() and time.monotonic() < end_s:
            with contextlib.suppress(TimeoutError):
                asked.result(_TICK_S)
                break
        self._choice_said = (-1.0, {})

    def _try(self, lesson: Lesson, made: Bundle, picture: Picture, expected: npt.NDArray[np.float64]) -> None:
        """Raise `PicamError` if a bundle does not run, or says something else than the lesson does."""
        data = lesson.read(picture.id)
        if data is None:
            raise PicamError(f"{picture.name} cannot be read", "take it out, or teach again")
        from picam_infer.imaging.pictures import decode_picture

        image = decode_picture(data, picture.name)
        frame = Frame(image, "bgr", image.shape[1], image.shape[0], 0.0, 0.0, 0)
        settings = configs.EngineSettings(kind="openvino", precision="f32", threads=1)
        engine = openvino.OpenVino(made, settings)
        try:
            engine.submit(preprocess.build(made.card.preprocess, made.card.input)(frame))
            scores = engine.collect()
        finally:
            engine.close()
        if not np.isfinite(scores).all() or np.abs(scores - expected).max() > 0.02:
            raise PicamError("the model that was made does not say what was taught", "please report this")

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Make the status anew, for all who look."""
        lesson, running = self._lesson, self._round
        status: dict[str, Any] = {
            "stage": self._stage, "session": self._session, "revision": self._revision,
            "recent": self.recent.names(), "problem": _problem(self._problem), **self._choices(),
        }  # fmt: skip
        if self._stage == "opening":
            status["progress"] = {"done": self._progress[0], "of": self._progress[1]}
        if lesson is not None:
            held = self._recorder.held
            counts = lesson.classes()
            classes = [{"label": label, "pictures": count} for label, count in counts.items()]
            status |= {
                "name": lesson.name, "base": lesson.network.name, "chain": _chain_kind(lesson.chain),
                "region": msgspec.to_builtins(lesson.chain.roi),
                "aspect": preprocess.aspect(lesson.chain, lesson.network.card.input),
                "classes": classes, "pictures": sum(counts.values()),
                "waiting": self._recorder.waiting + lesson.teacher.waiting,
                "bytes": lesson.size, "max_bytes": lesson.most, "undo": lesson.teacher.undoes,
                "recording": held.label if held else None, "live": self._live,
                "in_use": running is not None and self._in_use(running.state.bundle, lesson), "report": self._said,
            }  # fmt: skip
        self._status = status

    def _in_use(self, running: Bundle | None, lesson: Lesson) -> bool:
        """Whether the service runs what is taught now."""
        if running is None or running.folder != lesson.target or self._recorder.waiting + lesson.teacher.waiting:
            return False
        if self._digest[0] != self._revision:  # it takes milliseconds, and is asked for ten times a second
            self._digest = self._revision, lesson.teacher.digest
        return running.card.origin.sha256 == self._digest[1]

    def _choices(self) -> dict[str, Any]:
        """Return which lesson the service runs, and the model before: read from the disk once a second."""
        made_s, said = self._choice_said
        if time.monotonic() - made_s > 1.0:
            running = self._round
            before = ModelChoice(running.path).before if running and running.path else None
            said = {"runs": self._lesson_that_runs(), "before": before}
            self._choice_said = time.monotonic(), said
        return said


BEFORE = ".before"
"""What follows a lesson's name in that of its bundle from before."""


def lesson_name(text: str) -> str:
    """Return a text as a lesson's name, which is its bundle's, too. Raises `UsageError`."""
    name = "".join(char if char.isalnum() or char in "._- " else "-" for char in text).strip("-. ").replace(" ", "-")
    name = name.encode()[:60].decode(errors="ignore")
    if not name:
        raise UsageError(f"{text!r} cannot be the name of a lesson", "use letters and digits")
    if name.endswith((BEFORE, ".pictures")):
        raise UsageError(f"a lesson cannot be called {name}", "leave the ending out")
    return name


def _same_network(one: Bundle, other: Bundle) -> bool:
    """Whether two bundles have the same network up to what was taught."""
    if one.folder == other.folder:
        return True
    first, second = (bundle.card.taught.backbone if bundle.card.taught else bundle.name for bundle in (one, other))
    return first == second and one.card.input == other.card.input


def _written_name(folder: Path) -> str:
    """Return how a model is named in the settings: by its name where that leads to it, else by its folder."""
    with contextlib.suppress(PicamError):
        if bundles.load(folder.name).folder == folder:
            return folder.name
    return str(folder)


def _kept_keys(chain: Chain, running: _Round) -> dict[str, Any]:
    """Return what has to be written with the model, so that it looks at what was taught: only what the file rules."""
    wanted = msgspec.to_builtins(chain)
    return {f"preprocess.{key}": wanted[key] for key, value in running.config.preprocess.items()
            if key in wanted and wanted[key] != value}  # fmt: skip


def _chain_kind(chain: Chain) -> str:
    return str(msgspec.to_builtins(chain)["chain"])


def _problem(error: PicamError | None) -> dict[str, str] | None:
    return {"reason": error.message, "hint": error.hint} if error else None


def _words(report: Report) -> dict[str, Any]:
    """Return what the page says of a report."""
    said = report.as_json()
    return {key: said[key] for key in ("pictures", "accuracy", "left_out", "rejects", "mixed_up", "suspicious")}


class _Recorder:
    """Takes pictures from the camera while a button is held, in a thread that does nothing else.

    A button that is only tapped records one.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: _Held | None = None
        self._owed: _Held | None = None
        """The holding that has no picture yet, though the button may be up again."""
        self._taken: deque[tuple[_Held, bytes]] = deque(maxlen=10 * PER_S)
        self._taking = False
        """Whether one is on its way."""
        self._number = 0
        """The number of the frame taken last: nothing is recorded twice."""
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> _Held | None:
        """The button that is held now."""
        held = self._held
        return held if held is not None and held.until_s > time.monotonic() else None

    @property
    def taken(self) -> int:
        """How many pictures nobody has taken yet."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many there will be for which nobody has to hold a button any more."""
        with self._condition:
            return len(self._taken) + (self._taking and self.held is None)

    def hold(self, held: _Held, state: State) -> None:
        """Begin, or go on."""
        with self._condition:
            if self._held is None or self._held.hold != held.hold:
                self._owed = held
            self._held = held
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, args=(state,), name="record", daemon=True)
                self._thread.start()

    def release(self, at_once: bool = False) -> None:
        """End it; `at_once`: without the picture that a tap is owed, and the next frames may be another camera's."""
        with self._condition:
            self._held = None
            if at_once:
                self._owed, self._number = None, 0

    def take(self) -> tuple[_Held, bytes] | None:
        """Return the oldest picture that was recorded; None: there is none."""
        try:
            return self._taken.popleft()
        except IndexError:
            return None

    def _run(self, state: State) -> None:
        due_s = time.monotonic()
        while (held := self._next()) is not None:
            newest = state.frames.peek(self._number, 0.2)
            if newest is None or not state.watching:
                time.sleep(0.02)  # a mailbox that is closed makes nobody wait
                continue
            self._number, frame = newest
            with contextlib.suppress(BadFrame):
                self._took(held, jpeg.portable(frame))
            due_s = max(due_s + 1 / PER_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _next(self) -> _Held | None:
        """Return what a picture is to be taken for; None: nothing, and the thread ends."""
        with self._condition:
            owed = self._owed if self._owed is not None and self._owed.until_s > time.monotonic() else None
            held = owed or self.held
            self._taking = held is not None
            if held is None:
                self._thread = None
            return held

    def _took(self, held: _Held, data: bytes) -> None:
        with self._condition:
            self._taken.append((held, data))
            if self._owed is not None and self._owed.hold == held.hold:
                self._owed = None
            self._taking = False
