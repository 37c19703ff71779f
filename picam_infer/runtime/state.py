"""What the loops share: one-slot mailboxes, counters, runtime settings, and the listeners for changes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

import msgspec

from picam_infer.config import Decide
from picam_infer.core import ControlValue, Frame, Histogram, Problem, Result, Telemetry, four_digits
from picam_infer.imaging.region import Roi
from picam_infer.imaging.unpacked import Unpacked
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle, Chain, Input
from picam_infer.runtime.camera_controls import Report
from picam_infer.runtime.health import Health
from picam_infer.runtime.pause import By, Pause
from picam_infer.runtime.reports import Reports
from picam_infer.runtime.share import Share

T = TypeVar("T")
_INPUT_S = 5.0
HISTORY = 1000
SQUARE = Input((1, 28, 28, 1))


class Latest(Generic[T]):
    """A one-slot mailbox: the newest item wins. Many may peek; `skipped` counts items that were never taken."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._number = 0
        self._taken = 0
        self._closed = False
        self.skipped = 0

    @property
    def number(self) -> int:
        """How many items were put so far."""
        return self._number

    @property
    def idle(self) -> bool:
        """Whether every item was taken or skipped."""
        with self._condition:
            return self._taken == self._number

    def put(self, item: T) -> None:
        """Replace the item."""
        with self._condition:
            if self._number > self._taken:
                self.skipped += 1
            self._item = item
            self._number += 1
            self._condition.notify_all()

    def put_when_taken(self, item: T, timeout_s: float) -> bool:
        """Replace the item once the one before was taken; False if that took too long, or the mailbox is closed."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._taken == self._number or self._closed, timeout_s):
                return False
            if self._closed:
                return False
        self.put(item)
        return True

    def take(self, timeout_s: float) -> T | None:
        """Wait for an item that was not taken yet, and return it; None: none came in time."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._number > self._taken or self._closed, timeout_s):
                return None
            if self._number == self._taken:
                return None
            self._taken = self._number
            self._condition.notify_all()
            return self._item

    def peek(self, after: int = 0, timeout_s: float = 0.0) -> tuple[int, T] | None:
        """Wait for an item newer than number `after`, and return (number, item) without taking it; None: none came."""
        with self._condition:
            newer = self._condition.wait_for(
                lambda: (self._number > after and self._item is not None) or self._closed, timeout_s
            )
            if not newer or self._number <= after or self._item is None:
                return None
            return self._number, self._item

    def clear(self) -> None:
        """Forget the item: it is no longer valid."""
        with self._condition:
            self._item = None
            self._taken = self._number
            self._condition.notify_all()

    def close(self) -> None:
        """Wake all waiting threads; later waits return at once."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Rate:
    """Events a second over the last seconds, or from the last two if they are rarer. One thread ticks, any may read."""

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_s = window_s
        self._ticks: deque[float] = deque(maxlen=512)
        self.total = 0

    def tick(self, now_s: float | None = None) -> None:
        """Count one event."""
        self._ticks.append(time.monotonic() if now_s is None else now_s)
        self.total += 1

    def per_second(self, now_s: float | None = None) -> float:
        """Return the rate now; 0 if nothing happened within the window or within twice the last interval."""
        now, ticks = time.monotonic() if now_s is None else now_s, tuple(self._ticks)
        recent = [t for t in ticks if now - t <= self._window_s]
        if len(recent) < 2:
            gap_s, silent_s = (ticks[-1] - ticks[-2], now - ticks[-1]) if len(ticks) > 1 else (0.0, 0.0)
            return 1 / max(gap_s, silent_s) if silent_s < 2 * gap_s else len(recent) / self._window_s
        # From the first event until now, so that the rate of a stalled source falls instead of freezing.
        span_s = max(recent[-1] - recent[0], (now - recent[0]) * (len(recent) - 1) / len(recent))
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0


@dataclass(slots=True)
class Stats:
    """Counters of this run. Each has one writer; reading needs no lock."""

    started_s: float = field(default_factory=time.monotonic)
    """When the program started, which may have been before this run."""
    frames: Rate = field(default_factory=Rate)
    inferences: Rate = field(default_factory=Rate)
    shown: Rate = field(default_factory=Rate)
    shown_age_s: deque[float] = field(default_factory=lambda: deque(maxlen=2000))
    """Age of the frames shown last, from the sensor's stamp to the display."""
    bad_reads: int = 0
    bad_decodes: int = 0
    flawed: int = 0
    """Damaged pictures that were used all the same: the decoder filled the gaps."""
    label_changes: int = 0
    latency: dict[str, Histogram] = field(default_factory=dict)
    """Inference time by engine name."""

    @property
    def bad_frames(self) -> int:
        """Damaged frames that were skipped."""
        return self.bad_reads + self.bad_decodes


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened, for people and programs."""

    kind: Literal["label", "lost", "found", "engine", "tuning", "paused", "resumed"]
    at: float
    """Unix seconds."""
    label: str | None = None
    previous: str | None = None
    score: float = 0.0
    part: str = ""
    reason: str = ""
    hint: str = ""
    by: str = ""
    """Who paused or resumed (see `pause.By`)."""
    until: float | None = None
    """When the pause ends by itself, Unix seconds."""
    result: Result | None = field(default=None, repr=False, compare=False)
    """The result behind the label; listeners get it without its pictures."""
    frame: Frame | None = field(default=None, repr=False, compare=False)
    """The label's picture, for listeners that asked for pictures."""

    @property
    def rounded_score(self) -> float:
        """The score as JSON has it."""
        value = self.result.value if self.result else None
        return four_digits(self.score, value.unit if value else None)

    def bare(self) -> Change:
        """Return it without any picture, small enough to keep."""
        result = replace(self.result, input_image=None, frame=None) if self.result else None
        return replace(self, result=result, frame=None)


class Tuning(msgspec.Struct, frozen=True):
    """The settings that may change while running: the chain's numbers, the decision's, and the camera's own."""

    preprocess: Chain
    decide: Decide
    controls: dict[str, ControlValue] = msgspec.field(default_factory=dict)
    """`capture.controls`: the values asked of the camera."""


class CameraDesk:
    """Where the source's thread reports the camera's settings, and others ask it to read them again."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._report: Report | None = None
        self._asked = self._answered = 0

    @property
    def report(self) -> Report | None:
        """The last report; None while no camera is open."""
        return self._report

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._asked > self._answered

    def tell(self, report: Report | None) -> None:
        """Report, and wake all who asked."""
        with self._condition:
            self._report, self._answered = report, self._asked
            self._condition.notify_all()

    def ask(self, timeout_s: float) -> Report | None:
        """Wait for a new report and return it; after `timeout_s`, the last one."""
        with self._condition:
            self._asked += 1
            number = self._asked
            if self._report is not None:
                self._condition.wait_for(lambda: self._answered >= number, timeout_s)
            return self._report


class State:
    """The one object that the loops, the displays, the web page and the service share."""

    def __init__(
        self,
        tuning: Tuning,
        model: str = "",
        labels: tuple[str, ...] = (),
        pause: Pause | None = None,
        *,
        share: Share | None = None,
        network: Input = SQUARE,
        units: tuple[str, ...] | None = None,
        history: deque[Change] | None = None,
    ) -> None:
        """`pause`, `share` and `history` outlive this run, where they are given."""
        self.frames: Latest[Frame] = Latest()
        self.results: Latest[Result] = Latest()
        self.unpacked = Unpacked()
        """The newest frame's pixels, unpacked once for all who need them."""
        self.stats = Stats()
        self.model = model
        self.bundle: Bundle | None = None
        """The model itself, for those that run it on their own; None: not read yet."""
        self.model_roi: Roi = tuning.preprocess.roi
        """Where the model looked when it began to run, and may have been moved away from since."""
        self.labels = labels
        self.network = network
        """The model's input, whose proportions decide which part of a picture is looked at."""
        self.units = units
        """The units, for a model that measures; None for one that classifies."""
        self.source = ""
        """What the source granted."""
        self.patience_s = 0.0
        """How long the source may be silent at its own pace; a result stays valid as long."""
        self.settling = False
        """Whether source or engine is missing only because the system is still setting its devices up."""
        self.engine = ""
        self.display = ""
        self.closed = ""
        """A note that a person closed the window, and how to open it again; empty: nobody did."""
        self.notice: tuple[str, float] = ("", 0.0)
        """The engine's last notice, and when it came (CLOCK_MONOTONIC)."""
        self.advice = ""
        """What would help to recognise the thing in front of the camera; empty: nothing, or it is recognised."""
        self.traffic = Traffic()
        """The traffic to a model server, if one is used."""
        self.telemetry: Telemetry | None = None
        """The sensor readings of the engine's device, if it has any."""
        self.history: deque[Change] = deque(maxlen=HISTORY) if history is None else history
        """The last changes, the newest last."""
        self.camera = CameraDesk()
        """The camera's own settings."""
        self.reports = Reports()
        """The reports of page, event outlets and collected pictures."""
        self._tuning = tuning
        self._input_wanted_until_s = 0.0
        self._listeners: dict[Callable[[Change], None], bool] = {}
        """The listeners, and whether they get pictures."""
        self._lock = threading.Lock()
        self.health = Health(self._part_changed)
        self.pause = pause or Pause()
        """Whether watching is paused; outlives this run."""
        self.pause.tell = self._paused_or_resumed
        self.share = share or Share()
        """Whether the page is open to the network; outlives this run, too."""

    @property
    def input_wanted(self) -> bool:
        """Whether somebody looks at the network's input, which results carry only then."""
        return time.monotonic() < self._input_wanted_until_s

    def want_input(self) -> None:
        """Have results carry the network's input for some seconds; call it again for longer."""
        self._input_wanted_until_s = time.monotonic() + _INPUT_S

    @property
    def tuning(self) -> Tuning:
        """The settings in force."""
        return self._tuning

    def tune(
        self,
        preprocess: Chain | None = None,
        decide: Decide | None = None,
        controls: dict[str, ControlValue] | None = None,
    ) -> None:
        """Replace runtime settings; the next frame uses them. For `RuntimeSettings`, which announces the change."""
        with self._lock:
            now = self._tuning
            self._tuning = Tuning(
                preprocess or now.preprocess, decide or now.decide, now.controls if controls is None else controls
            )

    def run_model(self, bundle: Bundle, roi: Roi | None = None) -> None:
        """Note that another model runs from now on, and where it looks; `RuntimeSettings` sets its tuning."""
        self.model_roi = self.model_roi if roi is None else roi
        self.bundle, self.labels, self.network = bundle, bundle.labels, bundle.card.input
        self.units = bundle.card.units if bundle.card.task == "regression" else None
        self.model = bundle.name

    def _part_changed(self, problem: Problem, up: bool) -> None:
        if up:
            self.announce(Change("found", time.time(), part=problem.part))
        else:
            self.announce(Change("lost", time.time(), part=problem.part, reason=problem.what, hint=problem.remedy))

    def _paused_or_resumed(self, by: By) -> None:
        paused = self.pause.now
        if paused is None:
            self.announce(Change("resumed", time.time(), by=by))
        else:
            self.announce(Change("paused", time.time(), by=by, until=paused.until))

    @property
    def no_picture(self) -> Problem | None:
        """Why there is no picture to work on now, and what to do; None: there is one."""
        if self.pause.now is not None:
            return Problem("watching is paused", "resume watching first")
        if (problem := self.health.blocking) is not None:
            return Problem(f"{problem.title}: {problem.what}", problem.remedy)
        return None if self.frames.peek() else Problem("no picture yet", "try again when there is one")

    @property
    def watching(self) -> bool:
        """Whether there are pictures: not paused, and nothing down that recognition needs."""
        return self.pause.now is None and self.health.blocking is None

    def engine_says(self, text: str) -> None:
        """Announce that the engine was switched, or why it does not use its stick."""
        self.notice = (text, time.monotonic())
        self.announce(Change("engine", time.time(), part="engine", reason=text))

    def listen(self, listener: Callable[[Change], None], pictures: bool = False) -> Callable[[], None]:
        """Call `listener` at every change, in the thread that made it; it must return at once. Returns what ends that.

        `pictures`: with `Change.frame`, a whole picture; the listener must keep no more than a few.
        """
        with self._lock:
            self._listeners[listener] = pictures
        return lambda: self._leave(listener)

    def _leave(self, listener: Callable[[Change], None]) -> None:
        with self._lock:
            self._listeners.pop(listener, None)

    def announce(self, change: Change) -> None:
        """Tell the listeners of a change, and add it to the history.

        The one place where changes lose their pictures, so that the history holds none.
        """
        bare = change.bare()
        self.history.append(bare)
        with self._lock:
            listeners = tuple(self._listeners.items())
        for listener, pictures in listeners:
            listener(replace(bare, frame=change.frame) if pictures else bare)

    def as_json(self) -> dict[str, Any]:
        """Return a snapshot of counters, problems and the newest result."""
        newest, paused = self.results.peek(), self.pause.now
        return {
            "model": self.model,
            "source": self.source,
            "engine": self.engine,
            "display": self.display,
            "notice": self.notice[0],
            "advice": self.advice if newest else "",
            "stick_c": self.telemetry.temperature_c if self.telemetry else None,
            "frames": self.stats.frames.total,
            "frames_per_s": round(self.stats.frames.per_second(), 2),
            "inferences": self.stats.inferences.total,
            "inferences_per_s": round(self.stats.inferences.per_second(), 2),
            "skipped": self.frames.skipped,
            "bad_frames": self.stats.bad_frames,
            "flawed_frames": self.stats.flawed,
            "patience_s": round(self.patience_s, 1),
            "lost": [
                {
                    "part": x.part,
                    "title": x.title,
                    "reason": x.what,
                    "hint": x.remedy,
                    "outlook": x.outlook,
                    "since": x.since,
                    "blocking": x.blocking,
                }
                for x in self.health.problems
            ],
            "paused": paused.as_json() if paused else None,
            "share": self.share.as_json(),
            "result": newest[1].as_json() if newest else None,
            **self.reports.as_json(),
        }
