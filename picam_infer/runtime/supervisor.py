"""`picam-infer run`: wires source, engine and display together and keeps them running, as a daemon or at a terminal."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import cv2
import msgspec

from picam_infer import config as configs
from picam_infer import sources
from picam_infer.config import Config
from picam_infer.config.instance import Instance
from picam_infer.core import BadFrame, ConfigError, Display, Frame, Lost, NoInput, PicamError, Pixels, Result
from picam_infer.imaging import decode, region
from picam_infer.imaging.region import Roi
from picam_infer.inference import engines, preprocess
from picam_infer.inference.postprocess import Decider
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Edges, Photo
from picam_infer.outputs import annotate, display
from picam_infer.platform import malloc, sysinfo, terminal, x11
from picam_infer.platform.systemd import Notifier, journal_handler
from picam_infer.runtime.pause import Pause
from picam_infer.runtime.pipeline import STALE_S, Parts, Pipeline, back_off
from picam_infer.runtime.schedule import Schedule
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import Rate, State, Tuning

if TYPE_CHECKING:
    from picam_infer.outputs.web.handlers import Kept

log = logging.getLogger("picam_infer")

_RETRY_S = 2.0
_TICK_S = 0.1
_STATUS_S = 2.0
_NEWS_S = 10.0
_END_S = 1.7
_SWITCH = {signal.SIGUSR1: True, signal.SIGUSR2: False}
_SHOW = signal.SIGWINCH
"""Opens a window again that a person closed; without a handler it does nothing, so that it can be sent to anybody."""
"""Whether a signal pauses or resumes."""
_CANNY_STEP = 5.0
_REGION_STEP = 0.02
_REGION_KEYS = {"left": (-_REGION_STEP, 0.0, 0.0), "right": (_REGION_STEP, 0.0, 0.0), "up": (0.0, -_REGION_STEP, 0.0),
                "down": (0.0, _REGION_STEP, 0.0), "pageup": (0.0, 0.0, _REGION_STEP),
                "pagedown": (0.0, 0.0, -_REGION_STEP)}  # fmt: skip
"""Shares of the picture's height: to the right, down, larger."""
_CANNY_KEYS = {"w": (0, 1), "s": (0, -1), "d": (1, 1), "a": (1, -1)}


_CLOSING = {"esc": "q", "close": "q"}
_SHOW_AGAIN = "picam-infer show opens it again, and so does the next login"


class Outcome(Enum):
    """Why a round of the main loop ended."""

    STOP = "stop"
    RELOAD = "reload"
    END = "end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `run`'s options."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE",
                        help=f"configuration file (default: {configs.INSTALLED} if it exists)")  # fmt: skip
    parser.add_argument("--source", metavar="S", help="camera, /dev/video0, camera:NAME, camera:usb:VID:PID, a video "
                        "file, a picture, a folder, rtsp:// or http://, picamera, demo")  # fmt: skip
    parser.add_argument("-m", "--model", metavar="M", help="a model's name or folder")
    parser.add_argument("--engine", metavar="E", choices=["auto", "openvino", "ncs"], help="auto, openvino or ncs")
    parser.add_argument("--display", metavar="D", choices=["auto", "window", "kms", "framebuffer", "none"],
                        help="auto, window, kms, framebuffer or none")  # fmt: skip
    parser.add_argument("--frames", type=_positive, metavar="N", help="stop after N results")
    parser.add_argument("--json", action="store_true", help="print each result as one JSON object a line on stdout")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main(args: argparse.Namespace) -> int:
    """Run until told to stop; returns the exit code."""
    malloc.limit_arenas()
    options, notifier = Options.of(args), Notifier()
    wrong: ConfigError | None = None
    try:
        config = options.config()
    except ConfigError as error:
        if not notifier.active:
            raise
        # Nobody reads a service's exit code: it stays up, says on the screen what is wrong, and follows the file.
        config, wrong = Config(), error
    logging.basicConfig(handlers=[journal_handler()], level=config.log.level.upper(), force=True)
    # Its pictures are small: OpenCV's own threads would spend more time waiting for each other than they save.
    cv2.setNumThreads(1)
    service = Service(config, options, notifier, wrong)

    def on_signal(number: int, frame: FrameType | None) -> None:
        service.on_signal(number, frame)
        if number in (signal.SIGTERM, signal.SIGINT):  # a driver or a dead endpoint must not hold up the end
            last = threading.Timer(_END_S, _leave, (0,))
            last.daemon = True
            last.start()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _SHOW, *_SWITCH):
        signal.signal(number, on_signal)
    code = 0
    try:
        service.run()
    except PicamError as error:
        log.error("%s", error)
        code = error.exit_code
    if service.stuck or service.stopped:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End the process without tearing it down: threads that wait inside a driver would be waited for, or crash."""
    with contextlib.suppress(OSError, PicamError):
        terminal.flush()
    os._exit(code)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's wishes; they win over the file."""

    path: Path | None
    source: str | None = None
    model: str | None = None
    engine: str | None = None
    display: str | None = None
    frames: int | None = None
    json: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> Options:
        """Return the options of a parsed command line."""
        path = args.config
        if path is None and configs.INSTALLED.exists():
            path = configs.INSTALLED
        return cls(path, args.source, args.model, args.engine, args.display, args.frames, args.json)

    def config(self) -> Config:
        """Read the file and apply the options. Raises `ConfigError`."""
        config = configs.load(self.path) if self.path else Config()
        if self.source:
            config = msgspec.structs.replace(config, source=self.source)
        if self.model:
            config = msgspec.structs.replace(config, model=self.model)
        if self.engine:
            config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, kind=self.engine))
        if self.display:
            display = msgspec.structs.replace(config.display, kind=self.display)
            config = msgspec.structs.replace(config, display=display)
        return config


class Service:
    """The main loop: builds the parts from a configuration, shows what they see, rebuilds them on SIGHUP."""

    def __init__(self, config: Config, options: Options, notifier: Notifier, wrong: ConfigError | None = None) -> None:
        """`wrong`: why there is no configuration yet; `config` is then a stand-in."""
        self.config = config
        self._wrong = wrong
        self._refused = ""
        """Why the file that was read last is not used; empty: it is."""
        self.options = options
        self.notifier = notifier
        self.pause = Pause(Schedule(config.schedule))
        self.stuck = False
        """Whether a thread had to be left behind in a driver."""
        self._wishes: deque[bool] = deque()
        """What signals want: to pause, or not. They come at any moment, also while the pause is being decided on."""
        self._closed = ClosedWindow()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._ready = False
        self._next_status_s = 0.0
        self._unprinted: terminal.OutputError | None = None

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Take SIGTERM, SIGINT (stop), SIGHUP (reload), SIGUSR1 (pause) and SIGUSR2 (resume)."""
        if number in _SWITCH:
            self._wishes.append(_SWITCH[signal.Signals(number)])
        elif number == _SHOW:
            self._closed.forget()
        else:
            (self._reload if number == signal.SIGHUP else self._stop).set()

    def run(self) -> None:
        """Run rounds until told to stop. Raises `PicamError` for what waiting cannot mend."""
        outcome = Outcome.RELOAD
        while outcome is Outcome.RELOAD and not self._stop.is_set():
            self.notifier.loading()
            closed = self._closed if self.notifier.active else None
            with contextlib.closing(Screen(self.config, patient=self.notifier.active, closed=closed)) as screen:
                if self._wrong is not None:
                    outcome = self._wait_for_configuration(screen, self._wrong, page=False)
                    continue
                screen.placard("starting", f"loading model {self.config.model}", colour=annotate.KNOWN)
                tried = bundles.stamp(self.config.model)
                try:
                    outcome = self._round(screen)
                except PicamError as error:
                    # At a terminal a person reads the message; a service has nobody, so it says it on the screen.
                    if not self.notifier.active:
                        raise
                    if isinstance(error, ConfigError):
                        outcome = self._wait_for_configuration(screen, error, page=True)
                    else:
                        outcome = self._wait_for_model(screen, error, tried)
        self.notifier.stopping()
        if self._unprinted is not None:
            raise self._unprinted

    def _round(self, screen: Screen) -> Outcome:
        bundle = bundles.load(self.config.model)
        config = self.config
        tuning = Tuning(configs.tuned(bundle.card, config.preprocess), config.decide, config.capture.controls)
        units = bundle.card.units if bundle.card.task == "regression" else None
        state = State(tuning, bundle.name, bundle.labels, self.pause, network=bundle.card.input, units=units)
        state.bundle = bundle
        settings = RuntimeSettings(state, self.options.path, defaults=Tuning(bundle.card.preprocess, configs.Decide()))
        pipeline = Pipeline(state, self._parts(bundle, state))
        pipeline.keep_patches = screen.wanted
        with contextlib.ExitStack() as company:
            kept = self._listeners(company, state)
            self.pause.follow(Schedule(self.config.schedule))
            pipeline.start()
            try:
                self._page(company, state, settings, kept)
                return self._watch(Viewer(screen, state, settings), state, pipeline)
            finally:
                self.stuck = not pipeline.stop() or self.stuck

    def _listeners(self, company: contextlib.ExitStack, state: State) -> Kept | None:
        """Start what must not miss the first result: events and kept pictures. What is off is not even imported."""
        if self.config.events:
            from picam_infer.outputs.events import Events

            company.enter_context(Events(self.config.events, state, Instance(self.options.path)))
        keep = configs.chosen(self.config.keep, configs.Keep)
        if keep is None:
            return None
        from picam_infer.outputs.dataset import Keeper

        return company.enter_context(Keeper(keep, state))

    def _page(self, company: contextlib.ExitStack, state: State, settings: RuntimeSettings, kept: Kept | None) -> None:
        """Start the page, while the model is loading."""
        web = configs.chosen(self.config.web, configs.Web)
        if web is not None:
            from picam_infer.outputs.web.server import Web

            painter = Painter(state, self.config)
            company.enter_context(Web(web, state, painter, live=settings, kept=kept))

    def _parts(self, bundle: Bundle, state: State) -> Parts:
        config = self.config
        decider = Decider.of(bundle)
        left = [self.options.frames or 0]

        def report(text: str) -> None:
            log.warning("%s", text, extra={"PICAM_ENGINE": state.engine})
            state.engine_says(text)

        def on_result(result: Result) -> None:
            if self._stop.is_set():
                return
            if self.options.json:
                self._print(result)
            left[0] -= 1
            if left[0] == 0:
                self._stop.set()

        return Parts(
            open_source=lambda: sources.open_source(config.source, config.capture, config.source_login,
                                                    state.tuning.preprocess.roi),
            open_engine=lambda stopping: engines.open_engine(config.engine, bundle, cache_folder(), report=report,
                                                             stopping=stopping),
            make_preprocessor=lambda chain: preprocess.build(chain, bundle.card.input),
            decide=decider, forget=decider.reset, on_result=on_result, patient=self.notifier.active,
            every_s=1 / config.engine.max_per_s if config.engine.max_per_s else 0.0,
        )  # fmt: skip

    def _print(self, result: Result) -> None:
        try:
            terminal.say_json(result.as_json())
        except terminal.OutputError as error:
            self._unprinted = error
            self._stop.set()
        except BrokenPipeError:  # the reader has had enough
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            self._stop.set()

    def _watch(self, viewer: Viewer, state: State, pipeline: Pipeline) -> Outcome:
        """Show, listen to keys, feed the watchdog, until something ends the round."""
        worked = 0
        while not self._stop.is_set():
            shown = viewer.step()
            pipeline.watch()
            if pipeline.failure is not None:
                raise pipeline.failure
            # Liveness is work done: a new result, or a placard while it is known why there are none.
            done = state.stats.inferences.total
            if not pipeline.stuck and (done != worked or state.losses or state.pause.now):
                if done or shown:
                    self._say_ready()
                worked = done
                self.notifier.feed()
            elif pipeline.resting:
                self.notifier.feed()
            outcome = self._attend(viewer, state)
            if outcome is not None:
                return outcome
            if pipeline.finished.is_set():
                tell_damage(state)
                return Outcome.END
        return Outcome.STOP

    def _attend(self, viewer: Viewer, state: State) -> Outcome | None:
        """Do what keys, signals and the schedule want, and tell the status; the outcome if that ends the round."""
        while self._wishes:
            self.pause.set(self._wishes.popleft(), "signal")
        self.pause.tick()
        if time.monotonic() >= self._next_status_s:
            self._next_status_s = time.monotonic() + _STATUS_S
            refused = (
                f"the new configuration is refused: {self._refused}; with the one before: " if self._refused else ""
            )
            self.notifier.status(refused + sentence(state))
        if viewer.quit:
            return Outcome.STOP
        if self._reload.is_set() and self._reloaded(state):
            return Outcome.RELOAD
        return None

    def _status(self, state: State) -> str:
        if self._refused:
            return f"the new configuration is refused: {self._refused}; with the one before: {sentence(state)}"
        return sentence(state)

    def _say_ready(self) -> None:
        if not self._ready:
            self._ready = True
            malloc.trim()  # what loading took and left
            self.notifier.ready()
            self._next_status_s = 0.0

    def _reloaded(self, state: State) -> bool:
        """Read the file again; False (and all stays as it is) when it is not good."""
        self._reload.clear()
        self.notifier.reloading()
        try:
            config = self.options.config()
            self._try_model(config, waiting=any(loss.part == "model" for loss in state.losses))
        except PicamError as error:
            log.error("the new configuration is refused, the old one stays: %s", error)
            self._refused, self._next_status_s = str(error), 0.0
            self.notifier.ready()
            return False
        self._take(config)
        return True

    @staticmethod
    def _try_model(config: Config, waiting: bool) -> None:
        """Raise `PicamError` when a configuration's model is not to be used; one that waits can go on waiting."""
        try:
            configs.tuned(bundles.load(config.model).card, config.preprocess)
        except (NoInput, bundles.BundleError):
            if not waiting:
                raise

    def _wait_for_model(self, screen: Screen, error: PicamError, tried: bundles.Stamp) -> Outcome:
        """Stay up without a model: screen, page and status say why, until there is one to try or a reload.

        `tried`: the state of its files that did not work.
        """
        state = State(Tuning(Photo(), self.config.decide), self.config.model, pause=self.pause)
        settings = RuntimeSettings(state)  # those of a model that is not there cannot be saved
        viewer = Viewer(screen, state, settings)
        with contextlib.ExitStack() as company:
            self._page(company, state, settings, self._listeners(company, state))
            self.pause.follow(Schedule(self.config.schedule))
            for pause_s in back_off():
                if state.lose("model", error.message, error.hint):
                    log.error("%s", state.losses[0], extra={"PICAM_LOST": "model"})
                next_try_s = time.monotonic() + pause_s
                while time.monotonic() < next_try_s:
                    if self._stop.is_set():
                        return Outcome.STOP
                    if viewer.step():
                        self._say_ready()
                    self.notifier.feed()
                    outcome = self._attend(viewer, state)
                    if outcome is not None:
                        return outcome
                try:
                    bundles.load(self.config.model)
                except PicamError as again:
                    error, tried = again, ()
                    continue
                # A broken model is tried again when it is another one, so that the page does not come and go.
                if bundles.stamp(self.config.model) != tried or not isinstance(error, NoInput | bundles.BundleError):
                    break
            log.info("the model is there: starting", extra={"PICAM_FOUND": "model"})
            state.find("model")
        return Outcome.RELOAD

    def _wait_for_configuration(self, screen: Screen, error: ConfigError, page: bool) -> Outcome:
        """Stay up with a wrong configuration: screen and status name file, line and key, until the file changes.

        `page`: whether the settings could be read as such, so that it is known where the page belongs.
        """
        state = State(Tuning(Photo(), self.config.decide), self.config.model, pause=self.pause)
        settings = RuntimeSettings(state)  # nothing is saved into a file that a person is mending
        viewer, read = Viewer(screen, state, settings), _stamp(self.options.path)
        with contextlib.ExitStack() as company:
            if page:
                self._page(company, state, settings, self._listeners(company, state))
            while not self._stop.is_set():
                if state.lose("configuration", error.message, error.hint):
                    log.error("%s", state.losses[0], extra={"PICAM_LOST": "configuration"})
                if viewer.step():
                    self._say_ready()
                self.notifier.feed()
                asked, now = self._reload.is_set(), _stamp(self.options.path)
                if asked or now != read:
                    read = now
                    try:
                        self._try_again(asked)
                        return Outcome.RELOAD
                    except ConfigError as again:
                        error = again
                outcome = self._attend(viewer, state)
                if outcome is not None:
                    return outcome
        return Outcome.STOP

    def _try_again(self, asked: bool) -> None:
        """Read a configuration that was wrong again; `asked`: systemd waits for the answer. Raises `ConfigError`."""
        self._reload.clear()
        if asked:
            self.notifier.reloading()
        try:
            config = self.options.config()
            self._try_model(config, waiting=True)
        except ConfigError:
            if asked:
                self.notifier.ready()
            raise
        self._wrong = None
        self._take(config)

    def _take(self, config: Config) -> None:
        """Use another configuration from the next round on."""
        self.config, self._refused = config, ""
        self._ready = False  # said again by the next round, which ends the reload
        logging.getLogger().setLevel(config.log.level.upper())
        log.info("configuration read again")


class ClosedWindow:
    """Whether a person has closed the desktop's window: it stays closed until it is asked for, or the next login."""

    def __init__(self, login: Callable[[], str] = x11.login) -> None:
        self._login = login
        self._at: str | None = None

    def __bool__(self) -> bool:
        if self._at is not None and self._login() not in ("", self._at):
            self._at = None
        return self._at is not None

    def remember(self) -> None:
        """Note that it was closed, now."""
        self._at = self._login()

    def forget(self) -> None:
        """Let it be opened again."""
        self._at = None


class Screen:
    """The display, or the search for one: opened again whenever it is lost."""

    def __init__(self, config: Config, patient: bool, closed: ClosedWindow | None = None) -> None:
        """`patient`: a display that was asked for by name and is not there is waited for, else it is an error.

        `closed`: remembers that a person closed the window, and the rest goes on; None: closing it ends the program.
        """
        self._closed = closed
        self.settings = config.display
        self._size = (config.capture.width, config.capture.height)
        self._display: Display | None = None
        self._next_try_s = 0.0
        self._lost = ""
        self.wanted = config.display.kind != "none"
        if not closed:
            self._open(patient or config.display.kind == "auto")

    @property
    def name(self) -> str:
        """The display's name; while there is none why, or nothing."""
        if self._display is not None:
            return self._display.name
        return f"the window was closed; {_SHOW_AGAIN}" if self._closed else ""

    def use(self, display: Display) -> None:
        """Show on a display that was opened elsewhere."""
        self.close()
        self._display, self.wanted = display, True

    def there(self) -> bool:
        """Whether pictures can be shown now; looks for a display when it is time to."""
        if self._display is None and self.wanted and time.monotonic() >= self._next_try_s:
            self._next_try_s = time.monotonic() + _RETRY_S / 2
            if not self._closed:
                self._open(patient=True)
        return self._display is not None

    def show(self, image: Pixels) -> bool:
        """Show BGR (H, W, 3); False when there is no display."""
        if self._display is None:
            return False
        try:
            self._display.show(image)
        except Lost as loss:
            self._gone(loss)
        return self._display is not None

    def placard(
        self, title: str, reason: str = "", hint: str = "", foot: str = "", *, colour: annotate.Colour = annotate.LOST
    ) -> bool:
        """Show a placard; False when there is no display."""
        return self.there() and self.show(annotate.placard(*self._size, title, reason, hint, foot, colour=colour))

    def keys(self) -> list[str]:
        """Return the keys pressed since the last call."""
        if self._display is None:
            return []
        try:
            pressed = [_CLOSING.get(key, key) for key in self._display.keys()]
        except Lost as loss:
            self._gone(loss)
            return []
        if "q" in pressed and self._closed is not None and self._display.desktop:
            self._closed.remember()
            self.close()
            log.info("the window was closed; %s", _SHOW_AGAIN)
            return []
        return pressed

    def close(self) -> None:
        """Give the display back."""
        if self._display is not None:
            self._display.close()
            self._display = None

    def _open(self, patient: bool) -> None:
        try:
            self._display = display.open_display(self.settings)
        except Lost as loss:
            if not patient:
                raise
            self._gone(loss)
            return
        if self._display is None:
            self.wanted = False
        else:
            log.info("display: %s", self._display.name)
            self._lost = ""

    def _gone(self, loss: Lost) -> None:
        self.close()
        self._next_try_s = time.monotonic() + _RETRY_S / 2
        if loss.message != self._lost:
            self._lost = loss.message
            log.info("no display now: %s", loss)


class Painter:
    """Draws for the page's stream what the monitor would show. Several threads may call it."""

    def __init__(self, state: State, config: Config) -> None:
        self._state = state
        self._config = config
        self._drawn = Rate()
        """Its own pictures a second: without a monitor there is no other rate."""

    def __call__(self, frame: Frame | None) -> Pixels | None:
        """Return the frame with its overlay, or (None) the placard that stands in its place. Raises `BadFrame`."""
        if frame is None:
            return self._placard()
        if self._config.display.inset:
            self._state.want_input()
        image = decode.bgr(frame)
        self._drawn.tick()
        chain = self._state.tuning.preprocess
        box = preprocess.box(chain, self._state.network, image.shape[1], image.shape[0])
        stats = stats_line(self._state, self._drawn) if self._config.display.stats else ""
        notice = self._state.notice[0] or self._state.advice
        look = annotate.Look(box, stats, notice, self._config.display.inset)
        return annotate.draw(image, fresh_result(self._state), look)

    def _placard(self) -> Pixels | None:
        words = standstill(self._state)
        if words is None:
            return None
        capture = self._config.capture
        size = (capture.width, capture.height)
        width, height = size if capture.rotate % 180 == 0 else size[::-1]
        return annotate.placard(width, height, words.title, words.reason, words.hint, words.foot, colour=words.colour)


class Viewer:
    """Draws the newest frame with the newest result, at the camera's rate and never faster."""

    def __init__(self, screen: Screen, state: State, settings: RuntimeSettings) -> None:
        self._screen = screen
        self._state = state
        self._settings = settings
        self._number = 0
        self._frozen = False
        self._stats_line = ("", 0.0)
        self._notice = ("", 0.0)
        self._placard_s = 0.0
        self.quit = False

    def step(self) -> bool:
        """Wait a moment for a frame and show it, or a placard; True when something is on it (or none is wanted)."""
        for key in self._screen.keys():
            self._press(key)
        if not self._screen.there():
            self._state.display = self._screen.name
            # Without a monitor nothing is decoded; results set the pace of this loop.
            self._state.frames.look(self._state.frames.number, _TICK_S)
            return True
        self._state.display = self._screen.name
        if words := standstill(self._state):
            return self._show_words(words)
        newest = self._state.frames.look(self._number, _TICK_S)
        if newest is None or self._frozen:
            return self._number > 0
        self._number, frame = newest
        try:
            image = decode.bgr(frame)
        except BadFrame:
            return True
        self._draw(image, frame)
        if self._screen.show(image):
            self._state.stats.shown.tick()
            self._state.stats.shown_age_s.append(time.monotonic() - frame.monotonic_s)
        return True

    def _draw(self, image: Pixels, frame: Frame) -> None:
        tuning = self._state.tuning
        result = fresh_result(self._state)
        box = preprocess.box(tuning.preprocess, self._state.network, image.shape[1], image.shape[0])
        notice = self._notice_now()
        settings = self._screen.settings
        look = annotate.Look(box, self._stats() if settings.stats else "",
                            notice, settings.inset)  # fmt: skip
        annotate.draw(image, result, look)

    def _show_words(self, words: Words) -> bool:
        if time.monotonic() - self._placard_s < 0.5:
            time.sleep(_TICK_S)
            return True
        self._placard_s = time.monotonic()
        return self._screen.placard(words.title, words.reason, words.hint, words.foot, colour=words.colour)

    def _notice_now(self) -> str:
        """Return what a key just did, else fresh news of the engine, else what helps, else standing news."""
        text, until_s = self._notice
        if time.monotonic() < until_s:
            return text
        news, since_s = self._state.notice
        fresh = time.monotonic() - since_s <= _NEWS_S
        if self._state.advice and not (news and fresh):
            return self._state.advice
        return news if fresh or not self._state.engine.startswith("ncs") else ""

    def _stats(self) -> str:
        text, until_s = self._stats_line
        if time.monotonic() >= until_s:
            text = stats_line(self._state, self._state.stats.shown)
            self._stats_line = (text, time.monotonic() + 1)
        return text

    def _press(self, key: str) -> None:
        if key == "q":
            self.quit = True
        elif key == "space":
            self._frozen = not self._frozen
        elif key in _CANNY_KEYS:
            self._turn_canny(*_CANNY_KEYS[key])
        elif key in _REGION_KEYS:
            self._move_region(*_REGION_KEYS[key])
        elif key == "home":
            roi = self._state.tuning.preprocess.roi
            self._change_region(region.of(roi).size)
        elif key == "p":
            self._keep()

    def _turn_canny(self, which: int, direction: int) -> None:
        chain = self._state.tuning.preprocess
        if not isinstance(chain, Edges):
            self._say("this model has no Canny thresholds")
            return
        value = min(1000.0, max(0.0, chain.canny[which] + direction * _CANNY_STEP))
        self._settings.change({f"preprocess.canny.{which}": value})
        strong, joined = self._settings.values()["preprocess.canny"]
        self._say(f"Canny {strong:g} / {joined:g}   (p keeps it)")

    def _move_region(self, right: float, down: float, larger: float) -> None:
        newest = self._state.frames.look()
        if newest is not None:
            size, roi = decode.size(newest[1]), self._state.tuning.preprocess.roi
            aspect = preprocess.aspect(self._state.tuning.preprocess, self._state.network)
            self._change_region(region.moved(roi, *size, right, down, larger, aspect))

    def _change_region(self, roi: Roi) -> None:
        self._settings.change({"preprocess.roi": msgspec.to_builtins(roi)})
        at = region.of(roi)
        self._say(f"region {at.size:.0%} at {at.x:.0%}, {at.y:.0%}   (p keeps it)")

    def _keep(self) -> None:
        try:
            self._settings.save()
            self._say(f"kept in {self._settings.path}")
        except ConfigError as error:
            if self._settings.path is not None:
                log.error("%s", error)
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._notice = (text, time.monotonic() + 4)


@dataclass(frozen=True, slots=True)
class Words:
    """What stands on a placard."""

    title: str
    reason: str
    hint: str
    foot: str
    colour: annotate.Colour = annotate.LOST


def standstill(state: State) -> Words | None:
    """Return what is shown in the picture's place; None: there is a picture."""
    if paused := state.pause.now:
        hint = "to go on at once: the page, MQTT, or the signal SIGUSR2"
        return Words("paused", paused.reason, hint, f"since {_clock(paused.since)}", annotate.UNKNOWN)
    for loss in state.losses:
        if loss.part != "display":
            foot = f"since {_clock(loss.since)}, still looking for it"
            return Words(loss.title, loss.reason, loss.hint, foot)
    return None


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def tell_damage(state: State) -> None:
    """Say how many pictures of what has been played were of no use. Raises `PicamError` when none was of any."""
    bad, good, flawed = state.stats.bad_frames, state.stats.inferences.total, state.stats.flawed
    if bad and not good:
        what = f"all {bad} pictures are damaged" if bad > 1 else "its only picture is damaged"
        raise PicamError(f"{state.source}: {what}", "copy the file again, or look at it with another program")
    if bad:
        log.warning("%d of %d pictures were damaged and left out", bad, bad + good)
    if flawed:
        log.warning("%d of %d pictures have damage inside, and were used all the same", flawed, bad + good)


def fresh_result(state: State) -> Result | None:
    """Return the newest result, None when it is too old to be true still."""
    newest = state.results.look()
    # A slow model's result is this old when it comes, and as old again when the next one comes.
    if (
        newest is None
        or time.monotonic() - newest[1].monotonic_s > max(STALE_S, state.patience_s) + 2 * newest[1].age_ms / 1e3
    ):
        return None
    return newest[1]


def stats_line(state: State, shown: Rate) -> str:
    """Return the overlay's line of figures; `shown` counts the pictures of that screen or stream."""
    newest = state.results.look()
    parts = [f"{per_second(shown)} fps", f"{per_second(state.stats.inferences)} inferred/s"]
    if newest:
        parts += [f"{newest[1].infer_ms:.1f} ms", f"age {newest[1].age_ms:.0f} ms", newest[1].engine]
    if state.telemetry and state.telemetry.temperature_c:
        parts.append(f"stick {state.telemetry.temperature_c:.0f} °C")
    if machine := str(sysinfo.read()):
        parts.append(machine)
    return "  ·  ".join(parts)


def sentence(state: State) -> str:
    """Return the service's state as `systemctl status` shows it."""
    if paused := state.pause.now:
        return str(paused)
    if state.losses:
        return str(state.losses[0])
    newest = fresh_result(state)
    if newest is None:
        return f"waiting for {state.source or 'the camera'} and the model {state.model}"
    seen = newest.in_words()
    news = f" ({state.notice[0]})" if state.notice[0] and newest.engine.startswith("openvino") else ""
    rate = per_second(state.stats.inferences)
    return f"{seen}, {rate} results/s on {newest.engine}, from {state.source}{news}"


def per_second(rate: Rate) -> str:
    """Return a rate for people; one below one is not called nothing."""
    now = rate.per_second()
    return f"{now:.0f}" if now >= 1 or not now else f"{now:.1f}"


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Return what changes when a file is written; None: it is not there."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None


def cache_folder() -> Path | None:
    """Return where compiled networks are kept; None when no such folder can be made."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "picam-infer"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return base if os.access(base, os.W_OK) else None
