"""The newest picture with what is known about it, or a status screen instead: the same on monitor and page."""

from __future__ import annotations

import time

import msgspec

from picam_infer.config import Capture, DisplaySettings
from picam_infer.core import Frame, Overlay, Pixels, Result
from picam_infer.inference import preprocess
from picam_infer.models.bundle import Chain, Input
from picam_infer.outputs import annotate
from picam_infer.outputs.strips import Layer
from picam_infer.runtime.state import Rate, State
from picam_infer.runtime.status_text import fresh_result, stats_line, status_text

_NEWS_S = 10.0
_STATS_S = 1.0


class Subject(msgspec.Struct, frozen=True, eq=False):
    """What an overlay is about, where that is not what the running model says of the newest picture."""

    result: Result | None
    chain: Chain
    """Which part of the picture is looked at, by a network with the input `network`."""
    network: Input
    foot: str = ""
    """What stands at the bottom in place of the figures; empty: the figures."""


class StatusScreen(msgspec.Struct, frozen=True):
    """What is shown instead of the picture."""

    title: str
    reason: str = ""
    hint: str = ""
    foot: str = ""
    colour: annotate.Colour = annotate.LOST

    def draw(self, width: int, height: int) -> Pixels:
        """Return it as BGR (height, width, 3)."""
        return annotate.status_screen(width, height, self.title, self.reason, self.hint, self.foot, colour=self.colour)


def status_screen(state: State) -> StatusScreen | None:
    """Return what is shown in the picture's place; None: there is a picture."""
    if paused := state.pause.now:
        hint = "to resume now: the page, MQTT, or the signal SIGUSR2"
        return StatusScreen("paused", paused.reason, hint, f"since {_clock(paused.since)}", annotate.UNKNOWN)
    problem = state.health.blocking
    if problem is None:
        return None
    foot = f"since {_clock(problem.since)}, {problem.outlook}"
    return StatusScreen(problem.title, problem.what, problem.remedy, foot)


def starting_screen(state: State) -> StatusScreen:
    """Return what is shown until the first picture comes."""
    return StatusScreen("starting", status_text(state), colour=annotate.KNOWN)


class Annotator:
    """Draws on frames for one monitor or one stream. Several threads may use it."""

    def __init__(self, state: State, settings: DisplaySettings, shown: Rate) -> None:
        """`shown` counts the pictures shown there, for the line of figures."""
        self._state = state
        self._settings = settings
        self._shown = shown
        self._stats_line = ("", 0.0)
        self._drawn: _Drawn | None = None

    def over(self, image: Pixels, message: str = "", subject: Subject | None = None) -> list[Overlay]:
        """Return the overlay for BGR (H, W, 3), which is not touched; `message` goes before any other.

        `subject`: what it is about; None: what the running model says.
        """
        return self._layer(image.shape[0], image.shape[1], message, subject).overlays(image)

    def newest(self) -> Subject:
        """Return what the running model says now."""
        return Subject(fresh_result(self._state), self._state.tuning.preprocess, self._state.network)

    def draw(self, frame: Frame) -> Pixels:
        """Return the whole frame as BGR (H, W, 3) with its overlay drawn in. Raises `BadFrame`."""
        image = self._state.unpacked.whole(frame, self).copy()
        self._layer(image.shape[0], image.shape[1]).draw(image)
        return image

    def _layer(self, height: int, width: int, message: str = "", subject: Subject | None = None) -> Layer:
        """Return the overlay, drawn anew only when it says or shows something else."""
        about = subject or self.newest()
        box = preprocess.box(about.chain, about.network, width, height)
        foot = about.foot or (self._stats() if self._settings.stats else "")
        notice = message or ("" if subject else self._notice())
        annotation = annotate.Annotation(box, foot, notice, self._settings.inset)
        result = about.result
        says = (height, width, annotation, result and result.said())
        input_image = result.input_image if result else None
        drawn = self._drawn
        same = drawn is not None and drawn.says == says
        if drawn is not None and same and (drawn.input_image is input_image or not annotation.inset):
            return drawn.layer
        layer = annotate.with_input(drawn.layer, input_image) if drawn and same and input_image is not None else None
        layer = layer or annotate.layer(height, width, result, annotation)
        self._drawn = _Drawn(says, input_image, layer)
        return layer

    def _notice(self) -> str:
        """Return the engine's latest message, or else advice, or else its earlier message."""
        notice, since_s = self._state.notice
        fresh = time.monotonic() - since_s <= _NEWS_S
        if self._state.advice and not (notice and fresh):
            return self._state.advice
        return notice if fresh or self._state.engine.startswith("openvino") else ""

    def _stats(self) -> str:
        text, until_s = self._stats_line
        if time.monotonic() >= until_s:
            text = stats_line(self._state, self._shown)
            self._stats_line = (text, time.monotonic() + _STATS_S)
        return text


class _Drawn(msgspec.Struct, frozen=True, eq=False):
    """An overlay, and the content it was drawn for."""

    says: object
    input_image: Pixels | None
    layer: Layer


class StreamAnnotator:
    """Draws what the monitor would show for the page's stream. Several threads may call it."""

    def __init__(self, state: State, settings: DisplaySettings, capture: Capture) -> None:
        """`capture`: its size is the status screen's."""
        self._state = state
        self._inset = settings.inset
        self._drawn = Rate()
        """Pictures a second of this stream: without a monitor no other rate is known."""
        self._annotator = Annotator(state, settings, self._drawn)
        size = (capture.width, capture.height)
        self._size = size if capture.rotate % 180 == 0 else size[::-1]

    def __call__(self, frame: Frame | None) -> Pixels | None:
        """Return the frame with its overlay, or (None) the status screen in its place. Raises `BadFrame`."""
        if frame is None:
            screen = status_screen(self._state)
            return screen.draw(*self._size) if screen else None
        if self._inset:
            self._state.want_input()
        self._drawn.tick()
        return self._annotator.draw(frame)


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
