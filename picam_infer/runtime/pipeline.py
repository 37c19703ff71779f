"""The two loops between source and result, capture and inference on the newest frame, whatever the hardware."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from picam_infer.config import LIVE_HOLD, Decide
from picam_infer.core import (
    BadFrame,
    ConfigError,
    ControlValue,
    Disconnected,
    Frame,
    Histogram,
    NotYet,
    PacedSource,
    PicamError,
    Result,
    Source,
)
from picam_infer.imaging import native_stderr
from picam_infer.inference.classifier import Answer, Classifier
from picam_infer.inference.guidance import Guide
from picam_infer.models.bundle import BundleError
from picam_infer.platform import udev
from picam_infer.runtime import camera_controls
from picam_infer.runtime.camera_controls import Adjustable
from picam_infer.runtime.exchange import Exchange, Open
from picam_infer.runtime.health import Part
from picam_infer.runtime.liveness import STALE_S, Breaks, Liveness
from picam_infer.runtime.pace import Pace
from picam_infer.runtime.retry import USUAL_S, BackOff
from picam_infer.runtime.state import Change, State

log = logging.getLogger(__name__)

STUCK_S = 60.0
"""A driver that has not answered for this long never will: every source's own time limits are shorter."""
_QUICK_S = 0.25
"""Pictures this close together show the same thing, so that a label may wait until several agree."""
_LIKE = 0.01
"""From this score on, the class that something unknown is most like is reported."""
LOOK_S = 0.15
"""The least time between two searches for advice; people could not read it any faster."""
_SPREAD = 0.75
_WAY_S = 1.0
_GLANCE_S = 0.2
"""How often a camera is read until the first model is loaded, so that the loading has the processor."""
_SLOW_BACK_OFF_S = (2.0, 5.0, 15.0, 60.0)
"""For an engine that this machine may never have, as each attempt may load libraries and the model."""


class PipelineSetup(msgspec.Struct, frozen=True):
    """What the loops run on. The two `open_*` functions may be called again after a loss."""

    open_source: Callable[[], Source]
    open_classifier: Open
    """Called with the event that ends the loops, since opening a stick takes seconds."""
    on_result: Callable[[Result], None] = lambda result: None
    """Called with every result, in order, from the inference loop."""
    patient: bool = False
    """Whether to wait even for things that may never come back, such as a missing file."""
    gives_way: Callable[[], bool] = lambda: False
    """Whether somebody else needs the processor just now: then inferences of a live source are a third as frequent."""
    still_s: float = 0.0
    """The longest time between two inferences of a still scene; 0: still scenes are treated like any other."""
    every_s: float = 0.0
    """The least time between two inferences of a live source; in a file, every picture counts."""


class Pipeline:
    """Runs the loops in threads of its own until `stop`, or until a file source ends."""

    def __init__(self, state: State, parts: PipelineSetup) -> None:
        self.state = state
        self.failure: BaseException | None = None
        """The error that ended a loop; the main loop raises it again."""
        self.keep_inputs = True
        """Whether results carry what the network saw."""
        self.finished = threading.Event()
        """Set when a file source has ended and its last result is published."""
        self._setup = parts
        self._open_classifier = parts.open_classifier
        self._exchange: Exchange | None = None
        self._stop = threading.Event()
        self._awake = threading.Event()
        """Ends the inference loop's wait for a lost engine: when the loops end, or another model is ready."""
        self._drained = threading.Event()
        self._loaded = threading.Event()
        """Set once the first model has been loaded, or could not be."""
        self._live = True
        self._liveness = Liveness()
        self._breaks = Breaks()
        self._working = False
        self._pace = Pace(1 / parts.every_s if parts.every_s else 0.0)
        """When the next inference may begin, if the source is live."""
        self._moved_s = time.monotonic()
        self._lost_s = 0.0
        self._forget = False
        self._exchanged = False
        """Whether the next answer is the first one of another model."""
        self._guide = Guide()
        self._next_look_s = 0.0
        self._controls: Mapping[str, ControlValue] = {}
        self._said: frozenset[str] = frozenset()
        self._threads = [
            threading.Thread(target=self._run_loop, args=(loop,), name=loop.__name__.strip("_"), daemon=True)
            for loop in (self._capture, self._infer)
        ]

    def start(self) -> None:
        """Start the loops."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float = 0.7) -> bool:
        """End the loops; False when one is stuck in a driver and had to be left behind."""
        self._stop.set()
        self._awake.set()
        self._loaded.set()
        if (exchange := self._exchange) is not None:
            exchange.give_up()
        self.state.frames.close()
        self.state.results.close()
        deadline_s = time.monotonic() + patience_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def exchange(self, exchange: Exchange) -> None:
        """Begin to exchange the model while both loops go on; the previous exchange must be over."""
        self._exchange = exchange
        exchange.start(self._awake.set)

    @property
    def stuck(self) -> bool:
        """Whether the source's thread hangs in a driver, or died in it, so that only a new process helps."""
        # A slow source may take as long as its pace allows to come back from a read.
        patience_s = STUCK_S + self._liveness.limit_s
        return not self._drained.is_set() and time.monotonic() - self._moved_s > patience_s

    @property
    def resting(self) -> bool:
        """Whether no result is due: every picture was classified or has to wait, and the source is not overdue."""
        silent_s = time.monotonic() - self._liveness.fresh_s
        nothing = self.state.frames.number > 0 and (self.state.frames.idle or self._early_s > 0)
        return nothing and not self._working and silent_s <= self._liveness.limit_s

    def watch(self) -> None:
        """Notice a source that is open but sends nothing, or nothing usable. Call it a few times a second."""
        if self.stuck:
            remedy = "the service's watchdog starts it again; a picam-infer run by hand has to be ended and started"
            self._mark_down("camera", f"its driver has not answered for {STUCK_S:.0f} s", remedy)
            return
        loss = None if self._drained.is_set() else self._liveness.complaint()
        if loss is not None:
            self._mark_down("camera", loss.message, loss.hint)

    def _run_loop(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # the top of a thread: the main loop raises it again
            self.failure = error
            self.finished.set()

    # -- capture ---------------------------------------------------------

    def _capture(self) -> None:
        back_off = BackOff(USUAL_S)
        while not self._stop.is_set():
            self._moved_s = time.monotonic()
            if self.state.pause.now:
                self._rest()
                back_off.reset()
                continue
            try:
                with contextlib.closing(udev.opened(self._setup.open_source, self._stop, self._settling)) as source:
                    self.state.settling = False
                    self._live = source.live
                    self.state.source = source.description
                    self._liveness.opened(source, STALE_S)
                    self.state.patience_s = max(
                        self._liveness.limit_s, 2 * max(self._setup.every_s, self._setup.still_s)
                    )
                    if self._read(source):
                        break
                    back_off.reset()
            except PicamError as loss:
                self.state.settling = False
                if self._stop.is_set():  # interrupted by the end: not a loss
                    break
                if not self._waits_for(loss):
                    raise
                broke_off = self._liveness.broke_off
                if self._liveness.gone():
                    back_off.reset()
                self._moved_s = time.monotonic()
                if not broke_off:
                    self._mark_down("camera", loss.message, loss.hint)
                elif self._breaks.often(self._moved_s):
                    log.warning("camera: %s again and again, and resumes each time; %s", loss.message, loss.hint)
                back_off.wait(self._stop)
        self._drained.set()

    def _read(self, source: Source) -> bool:
        """Pass frames on until the source ends or the loops stop (True), or a pause begins (False)."""
        while not self._stop.is_set():
            self._moved_s = time.monotonic()
            if self.state.pause.now:
                if source.live:
                    return False
                self._rest()  # a file goes on where it was
                continue
            if self._controls is not self.state.tuning.controls or self.state.camera.report is None:
                self._adjust(source)
            elif self.state.camera.waiting:
                self._read_controls(source)
            try:
                frame = source.read()
            except NotYet:
                continue
            except BadFrame as error:
                self.state.stats.bad_reads += 1
                self._liveness.damaged(str(error))
                continue
            if frame is None:
                return True
            if source.live and self.state.pause.now:
                return False
            self._liveness.arrived(time.monotonic())
            self.state.patience_s = self._patience_s
            self.state.stats.frames.tick(self._liveness.fresh_s)
            if self._liveness.complaint() is None:
                self._mark_up("camera", source.description)
            if source.live:
                self.state.frames.put(frame)
                # A stream's pictures would wait in its buffers and be outdated.
                if not self._loaded.is_set() and not isinstance(source, PacedSource):
                    self._loaded.wait(_GLANCE_S)
            else:
                while not self.state.frames.put_when_taken(frame, 0.2) and not self._stop.is_set():
                    self._moved_s = time.monotonic()
        return True

    def _rest(self) -> None:
        """Wait for the pause to end. A live source is closed meanwhile, and what it showed is forgotten."""
        self._liveness.gone()
        if self._live:
            self._forget_seen()
            self.state.frames.clear()
        while not (self._stop.is_set() or self.state.pause.wait(0.2)):
            self._moved_s = time.monotonic()

    def _adjust(self, source: Source) -> None:
        """Set the camera's wanted settings, and report once what it does not accept."""
        self._controls = wanted = self.state.tuning.controls
        report = camera_controls.apply_to(source, wanted)
        for problem in report.problems.values():
            if problem not in self._said:
                log.warning("%s", problem)
        self._said = frozenset(report.problems.values())
        self.state.camera.tell(report)

    def _read_controls(self, source: Source) -> None:
        report = self.state.camera.report
        if report is not None and isinstance(source, Adjustable):
            with contextlib.suppress(OSError):  # unplugged just now: the next read tells
                report = msgspec.structs.replace(report, controls=tuple(source.controls()))
        self.state.camera.tell(report)

    @property
    def _patience_s(self) -> float:
        """How long a result stays valid: as long as the next one may take."""
        return max(self._liveness.limit_s, 2 * max(self._setup.every_s, self._setup.still_s))

    # -- inference -------------------------------------------------------

    def _infer(self) -> None:
        # Clients that lost the same server at the same moment must not all come back at the same moment.
        back_off, slow_back_off = BackOff(USUAL_S, _SPREAD), BackOff(_SLOW_BACK_OFF_S, _SPREAD)
        while not (self._stop.is_set() or self.finished.is_set()):
            try:
                with contextlib.closing(self._next_classifier()) as classifier:
                    self.state.settling = False
                    self._loaded.set()
                    self._classify(classifier)
                    back_off.reset()
            except PicamError as loss:
                self.state.settling = False
                self._loaded.set()
                if self._stop.is_set():  # interrupted by the end: not a loss
                    return
                if not self._waits_for(loss):
                    raise
                self._mark_down("engine", loss.message, loss.hint)
                (back_off if isinstance(loss, Disconnected) else slow_back_off).wait(self._awake)

    def _next_classifier(self) -> Classifier:
        """Take the new model of an exchange that is ready, or open the current one again."""
        if (exchange := self._ready_exchange) is not None:
            self._exchange = None
            self._awake.clear()
            if self._stop.is_set():
                self._awake.set()
            self._open_classifier = exchange.open_classifier
            self._exchanged = True
            if (classifier := exchange.take()) is not None:
                return classifier
        return udev.opened(lambda: self._open_classifier(self._stop), self._stop, self._settling)

    @property
    def _ready_exchange(self) -> Exchange | None:
        """The exchange whose model is ready to be taken."""
        exchange = self._exchange
        return exchange if exchange is not None and exchange.ready.is_set() else None

    def _classify(self, classifier: Classifier) -> None:
        while not self._stop.is_set():
            leaving, early_s = self._ready_exchange is not None, self._early_s
            if leaving and not classifier.under_way:
                return
            if early_s > 0 and not classifier.under_way:
                self._working = False
                self._stop.wait(min(early_s, 0.1))
                continue
            if early_s <= 0 and classifier.free and not leaving:
                self._working = bool(classifier.under_way)
                self.state.unpacked.expect_part()
                frame = self.state.frames.take(0.0 if classifier.under_way else 0.1)
                if frame is not None:
                    self._working = True
                    self._pace.begin()
                    self._submit(classifier, frame)
                    continue
                if not classifier.under_way and self._drained.is_set() and self.state.frames.idle:
                    self.finished.set()
                    return
            if classifier.under_way:
                answer = classifier.collect()
                self._publish(classifier, answer)
                if self._live and self._setup.gives_way():
                    self._stop.wait(min(2 * answer.infer_ms / 1e3, _WAY_S))

    @property
    def _early_s(self) -> float:
        """How long the next inference has to wait."""
        return self._pace.early_s if self._live else 0.0

    def _submit(self, classifier: Classifier, frame: Frame) -> None:
        """Start an inference on a frame, and note whether the picture is damaged."""
        stats, complaints = self.state.stats, native_stderr.complaints()
        classifier.chain = self.state.tuning.preprocess
        try:
            classifier.submit(frame, keep_input=self.keep_inputs or self.state.input_wanted, may_skip=self._live)
        except BadFrame as error:
            stats.bad_decodes += 1
            self._liveness.undecodable(str(error))
            return
        if self._liveness.decoded():
            self._mark_up("camera", self.state.source)
        if native_stderr.complaints() > complaints:
            stats.flawed += 1
            if stats.flawed == 1:
                log.info("a picture has damage inside: it is used all the same, and such pictures are counted")

    def _publish(self, classifier: Classifier, answer: Answer) -> None:
        now_s, frame = time.monotonic(), answer.frame
        self._mark_up("engine", classifier.engine)
        self.state.engine, self.state.telemetry = classifier.engine, classifier.telemetry
        if self._forget:
            self._forget = False
            classifier.reset()
        if frame.monotonic_s < self._lost_s or (self._live and self.state.pause.now):
            return
        result = classifier.decide(answer, self._settled(self.state.tuning.decide, frame))
        self._exchanged = False
        stats = self.state.stats
        if result.engine not in stats.latency:
            stats.latency[result.engine] = Histogram()
        stats.latency[result.engine].add(answer.infer_ms / 1e3)
        before = self.state.results.peek()
        self.state.results.put(result)
        stats.inferences.tick(now_s)  # after publishing the result, which whoever sees the count looks for
        self._advise(answer, result.label is not None, now_s)
        if result.label != (before[1].label if before else None):
            self._changed(result, frame, before[1].label if before else None)
        elif before is None:  # nothing has changed, but silence would look like a failure
            self._tell(result)
        self._setup.on_result(result)

    def _advise(self, answer: Answer, known: bool, now_s: float) -> None:
        """Advise what would help to recognise the thing; that takes longer to work out than the scores."""
        if known or answer.sight is None:
            self.state.advice = self._guide(None, known, now_s)
        elif now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            self.state.advice = self._guide(answer.sight(), known, now_s)

    def _settled(self, decide: Decide, frame: Frame) -> Decide:
        """Return the settings with `hold: 0` (automatic) resolved: frequent answers have to agree, rare ones do not."""
        if decide.hold:
            return decide
        before = self.state.results.peek()
        # Answers about a still scene are rare, however fast the camera is.
        quick_s = max(_QUICK_S, 1.5 * self._setup.still_s)
        quick = before is not None and not self._exchanged and frame.monotonic_s - before[1].monotonic_s < quick_s
        return msgspec.structs.replace(decide, hold=LIVE_HOLD if self._live and quick else 1)

    def _changed(self, result: Result, frame: Frame, previous: str | None) -> None:
        self.state.stats.label_changes += 1
        self._tell(result)
        self.state.announce(
            Change(
                "label",
                result.captured,
                label=result.label,
                previous=previous,
                score=result.score,
                result=result,
                frame=frame,
            )
        )

    def _tell(self, result: Result) -> None:
        shown, figures = result.label or "unknown", ", ".join(figure for _, figure in result.said())
        best = result.top[0]
        if not figures and best.score >= _LIKE:
            figures = f"most like {best.label}, {best.figure}"
            if best.label.strip().casefold() == shown:  # a class of that name, which is too unlikely to be meant
                figures = f"the class {best.label} reaches {best.figure}"
        log.info(
            "sees %s%s",
            shown,
            f" ({figures})" if figures else "",
            extra={
                "PICAM_LABEL": result.label or "",
                "PICAM_SCORE": f"{result.score:.4f}",
                "PICAM_ENGINE": result.engine,
            },
        )

    # -- losses ----------------------------------------------------------

    def _settling(self) -> None:
        """Note that a device may just not be ready yet, instead of reporting a fault."""
        if threading.current_thread() is self._threads[0]:
            self._moved_s = time.monotonic()
        self.state.settling = True

    def _waits_for(self, error: PicamError) -> bool:
        # A wrong bundle has to be read again as a whole, with its labels.
        return isinstance(error, Disconnected) or (
            self._setup.patient and not isinstance(error, BundleError | ConfigError)
        )

    def _mark_down(self, part: Part, reason: str, hint: str) -> None:
        if part == "camera":
            self._forget_seen()
        if self.state.health.mark_down(part, reason, hint):
            log.warning("%s lost: %s; %s", part, reason, hint, extra={"PICAM_LOST": part})

    def _forget_seen(self) -> None:
        """Forget what was seen until now, and have the next camera set up again."""
        self.state.camera.tell(None)
        self._lost_s, self._forget = time.monotonic(), True
        self.state.results.clear()

    def _mark_up(self, part: Part, what: str) -> None:
        if self.state.health.problems:
            gone_s = self.state.health.mark_up(part)
            if gone_s is not None:
                log.info("%s is back after %.1f s: %s", part, gone_s, what, extra={"PICAM_FOUND": part})
