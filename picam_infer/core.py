"""The vocabulary of all other packages: frames, results, the protocols of the parts, and errors."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Codec = Literal["jpeg", "bgr", "grey", "yuyv"]
Flip = Literal["none", "horizontal", "vertical", "both"]
ControlValue = bool | int | float | str
"""A value for one of a camera's own settings: a number, or the words of one of its choices."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as its source delivered it; `picam_infer.imaging.decode` turns it into pixels.

    `data` by codec: jpeg (n,) · bgr (H, W, 3) · grey (H, W) · yuyv (H, W, 2), all uint8.
    `width` and `height` are pixels before `rotate` and `flip` are applied.
    """

    data: Pixels
    codec: Codec
    width: int
    height: int
    monotonic_s: float
    """When the sensor delivered it, on CLOCK_MONOTONIC (the driver's own stamp where it has one)."""
    captured: float
    """The same moment in Unix seconds, for people and files."""
    seq: int
    rotate: int = 0
    """Degrees clockwise to turn the picture: 0, 90, 180 or 270."""
    flip: Flip = "none"
    name: str = ""
    """The file this picture came from, if it came from one."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its probability, or a value and its unit."""

    label: str
    score: float
    unit: str | None = None
    """None: `score` is a probability. Otherwise it is a value in this unit (empty: dimensionless)."""
    named: bool | None = None
    """Whether this class applies, for a network whose classes do not exclude each other; None for any other network."""
    held: float | None = None
    """The score with which it last applied, if it is shown only until the change has lasted (`decide.hold`)."""

    @property
    def figure(self) -> str:
        """The score for people: `99 %`, or a value with its unit: `2.00 °`."""
        if self.unit is None:
            return percent(self.score if self.held is None else self.held)
        return f"{plain_number(self.score)} {self.unit}".rstrip()


def four_digits(score: float, unit: str | None = None) -> float:
    """Return a score as JSON has it: a probability (`unit` None) is rounded down; what is not certain is below 1."""
    if unit is not None:
        return round(score, 4)
    return math.floor(score * 1e4 + 1e-3) / 1e4  # a float32 may be a little less than the decimal that it stands for


def percentage(share: float, digits: int = 0) -> float:
    """Return a share in per cent, rounded down to so many digits after the point: 0.9989 is never 100."""
    scale = float(10**digits)
    return math.floor(four_digits(share) * 100 * scale + 1e-6) / scale


def percent(share: float, digits: int = 0) -> str:
    """Return a probability, or another share, for people: `99 %`. The page writes it in the same way (text.js)."""
    return f"{percentage(share, digits):.{digits}f} %"


def plain_number(value: float) -> str:
    """Format a value for people: two decimals, or three significant digits where two decimals would show little."""
    return f"{value:.2f}" if value == 0 or 0.01 <= abs(value) < 1e6 else f"{value:.3g}"


def isolated(text: str) -> str:
    """Return text that keeps its own order and does not disturb its neighbours' whatever they are (UAX #9)."""
    return f"\u2068{text}\u2069"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was decided about one frame."""

    seq: int
    captured: float
    monotonic_s: float
    label: str | None
    """None: unknown (below the threshold, or the model's own reject class). Several that apply are joined by commas."""
    score: float
    """The label's probability (while `decide.hold` keeps it, the one it was last decided with); the best class's, if it
    is unknown. Or the first value."""
    top: tuple[Prediction, ...]
    engine: str
    """`openvino:CPU`, `ncs:NAME` or `remote:HOST/NAME`."""
    infer_ms: float
    age_ms: float
    """From the sensor's stamp to the decision."""
    input_image: Pixels | None = field(default=None, repr=False)
    """What the network saw, as a picture before scaling: BGR (H, W, 3) or grey (H, W, 1) uint8."""
    frame: Frame | None = field(default=None, repr=False)
    """The picture it was decided on."""
    name: str = ""
    likeliest: str = ""
    """The class with the highest probability, the model's reject class included."""

    @property
    def value(self) -> Prediction | None:
        """The first value, for a network that measures; None for one that classifies."""
        return self.top[0] if self.top and self.top[0].unit is not None else None

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes that apply: several where they do not exclude each other, otherwise `label` alone, or none."""
        if self.top and self.top[0].named is not None:
            return tuple(p.label for p in self.top if p.named)
        return () if self.label is None else (self.label,)

    def said(self) -> list[tuple[str, str]]:
        """Return the result for people, as (name, figure) pairs: `cat` and `99 %`. Empty: unknown."""
        if self.value is not None:
            return [(f"{p.label}:", p.figure) for p in self.top]
        if self.top and self.top[0].named is not None:
            return [(p.label, p.figure) for p in self.top if p.named]
        return [] if self.label is None else [(self.label, Prediction(self.label, self.score).figure)]

    def in_words(self) -> str:
        """Return the result as a line for people: `sees cat (99 %)`, `reads angle: 2.00 °`, `sees nothing it knows`."""
        if self.value is not None:
            return "reads " + ", ".join(f"{name} {figure}" for name, figure in self.said())
        return "sees " + (", ".join(f"{name} ({figure})" for name, figure in self.said()) or "nothing it knows")

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object of this result (documented in the README)."""
        return {
            "seq": self.seq,
            "captured": round(self.captured, 3),
            "label": self.label,
            "score": four_digits(self.score, self.top[0].unit if self.top else None),
            "top": [
                {"label": p.label, "score": four_digits(p.score, p.unit)} | ({} if p.unit is None else {"unit": p.unit})
                for p in self.top
            ],
            "engine": self.engine,
            "infer_ms": round(self.infer_ms, 3),
            "age_ms": round(self.age_ms, 1),
            **self._more(),
        }

    def _more(self) -> dict[str, Any]:
        """Return the keys that only some results have."""
        more: dict[str, Any] = {}
        if self.value is not None:
            more |= {"value": round(self.value.score, 4), "unit": self.value.unit}
        elif self.top and self.top[0].named is not None:
            more["labels"] = list(self.labels)
        return more | ({"image": self.name} if self.name else {})


@runtime_checkable
class Source(Protocol):
    """Where frames come from. A context manager is not needed: `close` may be called more than once."""

    live: bool
    """True: only the newest frame counts. False (files): every frame counts and `read` ends with None."""
    description: str
    """What the device granted, for people: `C270 HD WEBCAM 1280×720 MJPG 30 fps`."""

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end.

        Raises `Disconnected` when the source is gone, `BadFrame` for one to skip, `NotYet` when it is slow but alive.
        """

    def close(self) -> None:
        """Give the device back."""


@runtime_checkable
class PacedSource(Source, Protocol):
    """A live source that may be slow, and that knows the error message for silence and for damaged pictures."""

    patience_s: float
    """How long it may be silent before its pace is known."""
    silence: Disconnected
    """What to raise when it sends nothing."""
    other_pictures: str
    """The remedy when none of its pictures can be used."""


class Preprocessor(Protocol):
    """Turns a frame into the network's input."""

    def __call__(self, frame: Frame) -> Pixels:
        """Return (H, W, C) uint8; the buffer is reused by the next call."""


class Engine(Protocol):
    """Runs the network. One thread uses it."""

    name: str
    """See `Result.engine`."""
    depth: int
    """How many requests may be in flight at once; `submit` must not be called while that many are."""

    @property
    def telemetry(self) -> Telemetry | None:
        """The device's own readings, where it has any."""

    def submit(self, input_image: Pixels) -> None:
        """Start one inference on (H, W, C) uint8; the caller may reuse the buffer. Raises `Disconnected`."""

    def collect(self) -> Scores:
        """Wait for the oldest inference in flight and return probabilities, shape (classes,). Raises `Disconnected`."""

    def close(self) -> None:
        """Give the device back."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The last readings of an accelerator's own sensors."""

    temperature_c: float
    """Its hottest sensor; 0 where unknown."""
    throttling: int
    """0: none; 1: the lower temperature limit is reached and the device slows down; 2: the higher limit."""

    @property
    def warning(self) -> str:
        """A warning about heat; empty: none."""
        if not self.throttling:
            return ""
        limit = "lower" if self.throttling == 1 else "higher"
        return f"the stick is hot ({self.temperature_c:.0f} °C, {limit} limit) and slows down: give it air"


class Histogram:
    """Counts durations in fixed buckets, whose upper bounds are `bounds_s` (seconds)."""

    bounds_s = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

    def __init__(self) -> None:
        self.counts = [0] * (len(self.bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        self.counts[bisect.bisect_left(self.bounds_s, duration_s)] += 1
        self.sum_s += duration_s


class Overlay(NamedTuple):
    """A rectangle to lay over a picture, wholly inside it; its top left corner is at x, y (pixels)."""

    x: int
    y: int
    pixels: Pixels
    """BGR (H, W, 3)."""


class Display(Protocol):
    """Somewhere to show pictures, with its keyboard. Used by the main thread only."""

    name: str
    """For people: `kms HDMI-A-1 1920×1080`."""
    desktop: bool
    """Whether it is a window on a desktop, which a person may close while the service goes on running."""

    typing: bool
    """Whether keys are being used as text or as an answer: then the display must not act on any key itself."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; a larger picture would not look better."""

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        """Show a BGR (H, W, 3) picture, fitted without distortion, with `over` laid over it; neither is modified.

        Raises `Disconnected` when the monitor is gone.
        """

    def keys(self) -> Sequence[str]:
        """Return the keys pressed since the last call: a lower-case character, `space`, `esc`, `left`, `pageup`…

        `close`: a person closed the window with the mouse.
        """

    def held(self) -> frozenset[str]:
        """Return the keys that are down now, by the same names; only keys that were pressed on this display."""

    def to_front(self) -> None:
        """Bring the window to the front, even if it is minimised. Raises `Disconnected`."""

    def close(self) -> None:
        """Give the monitor (and its console) back. May be called more than once."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it."""

    what: str
    remedy: str = ""
    part: str = ""
    """The part of the running program that is down; empty: none."""
    since: float = 0.0
    """Unix seconds; 0: not known."""
    since_monotonic_s: float = 0.0

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return problem_title(self.part)

    @property
    def outlook(self) -> str:
        """What happens meanwhile, in a few words."""
        there = self.part in _FILES or is_outlet(self.part)
        return "resumes by itself once that is fixed" if there else "still looking for it"

    @property
    def blocking(self) -> bool:
        """Whether there are no pictures or no results without the part."""
        return blocks(self.part)

    def __str__(self) -> str:
        """Return title, reason and remedy on one line."""
        title = f"{self.title}: " if self.part else ""
        return f"{title}{self.what}" + (f"; {self.remedy}" if self.remedy else "")


def counted(count: int, one: str, several: str = "") -> str:
    """Return `1 picture`, `2 pictures`; `several`: the plural where it is not formed with an s."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def problem_title(part: str) -> str:
    """Return in a few words that a part is down."""
    return _FILES.get(part, f"{part} lost")


_FILES = {"model": "cannot start", "configuration": "wrong configuration"}
"""Parts that are files, watched for changes, and the title of a problem with each."""


_EVENTS_TO = "events to "


def outlet_part(name: str) -> str:
    """Return an event outlet's name as a part of the program."""
    return _EVENTS_TO + name


def is_outlet(part: str) -> bool:
    """Whether a part is an event outlet."""
    return part.startswith(_EVENTS_TO)


def blocks(part: str) -> bool:
    """Whether there are no pictures or no results while a part is down: true of all but monitors and event outlets."""
    return part != "display" and not is_outlet(part)


Grade = Literal["ok", "note", "error"]


class Finding(NamedTuple):
    """One line of `check`."""

    grade: Grade
    what: str
    remedy: str = ""

    @classmethod
    def of(cls, error: PicamError, grade: Grade = "error") -> Finding:
        """Return the finding for an error."""
        return cls(grade, error.message, error.hint)


class PicamError(Exception):
    """An error that the user can do something about: what and where, the remedy, and the exit code."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return the error for a problem."""
        return cls(problem.what, problem.remedy)

    def add_hint(self, more: str) -> None:
        """Append to its remedy."""
        self.hint = f"{self.hint}; {more}" if self.hint else more

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(PicamError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class NoInput(PicamError):
    """A file or folder that was asked for is missing or cannot be read."""

    exit_code = 66


class Unavailable(PicamError):
    """A device or a library is missing."""

    exit_code = 69


class ConfigError(PicamError):
    """The configuration is wrong; starting again will not help."""

    exit_code = 78


class Disconnected(Unavailable):
    """A part is gone but can come back: shown on a status screen, and retried."""


class Busy(PicamError):
    """Something cannot be done right now, but perhaps in a moment."""


class NoSpace(PicamError):
    """There is no room on a disk, or not as much as has to stay free."""


class BadFrame(Exception):
    """One frame is damaged: it is counted and skipped."""


class NotYet(Exception):
    """A slow source has no picture yet, but is alive: ask again."""


_FEW = 64


def best(scores: Scores, count: int) -> Sequence[int]:
    """Return the indices of the `count` highest of scores (classes,), highest first; equal scores by index."""
    if len(scores) <= _FEW and not math.isnan(math.fsum(values := scores.tolist())):
        return sorted(range(len(values)), key=values.__getitem__, reverse=True)[:count]
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]
