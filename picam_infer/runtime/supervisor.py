"""Wires source, engine, screen and outputs together and keeps them running: signals, rounds, the watchdog."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING

import cv2
import msgspec

from picam_infer import config as configs
from picam_infer import sources
from picam_infer.config import Config
from picam_infer.config.instance import Instance
from picam_infer.core import ConfigError, Disconnected, NoInput, PicamError
from picam_infer.inference import engines
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.engines.failover import probe_image
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.stillness import Stillness
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Photo
from picam_infer.outputs import annotate
from picam_infer.outputs.annotator import StatusScreen, StreamAnnotator
from picam_infer.outputs.display.screen import ClosedWindow, Screen
from picam_infer.platform import malloc, terminal
from picam_infer.platform.file_stamp import file_stamp
from picam_infer.platform.paths import cache_folder
from picam_infer.platform.systemd import Notifier, journal_handler
from picam_infer.runtime.exchange import Exchange
from picam_infer.runtime.model_choice import ModelChoice, Switch
from picam_infer.runtime.model_trial import ModelTrial
from picam_infer.runtime.options import Options
from picam_infer.runtime.pause import Pause
from picam_infer.runtime.pipeline import Pipeline, PipelineSetup
from picam_infer.runtime.results import Results, tell_damage
from picam_infer.runtime.retry import BackOff
from picam_infer.runtime.schedule import Schedule
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.share import Share, invitation_file, only_sharing
from picam_infer.runtime.state import HISTORY, Change, State, Tuning
from picam_infer.runtime.status_text import status_text
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.viewer import Viewer

if TYPE_CHECKING:
    from picam_infer.outputs.web.context import Collection

log = logging.getLogger("picam_infer")

_STATUS_S = 2.0
_END_S = 1.7
_SWITCH = {signal.SIGUSR1: True, signal.SIGUSR2: False}
"""Whether a signal pauses or resumes."""
_SHOW = signal.SIGWINCH
"""Opens a window again that a person closed; without a handler it does nothing, so that it can be sent to anybody."""


class Outcome(Enum):
    """Why a round of the main loop ended."""

    STOP = "stop"
    RELOAD = "reload"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round runs, and which model."""

    state: State
    settings: RuntimeSettings
    pipeline: Pipeline
    stamp: bundles.Stamp
    """Of the running model's files."""


def run(options: Options) -> int:
    """Run until told to stop; returns the exit code."""
    malloc.limit_arenas()
    notifier = Notifier()
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
    supervisor = Supervisor(config, options, notifier, wrong)

    def on_signal(number: int, frame: FrameType | None) -> None:
        supervisor.on_signal(number, frame)
        if number in (signal.SIGTERM, signal.SIGINT):  # a driver or a dead endpoint must not hold up the end
            last = threading.Timer(_END_S, _leave, (0,))
            last.daemon = True
            last.start()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _SHOW, *_SWITCH):
        signal.signal(number, on_signal)
    code = 0
    try:
        supervisor.run()
    except PicamError as error:
        log.error("%s", error)
        code = error.exit_code
    if supervisor.stuck or supervisor.stopped:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End the process without tearing it down: threads that wait inside a driver would be waited for, or crash."""
    with contextlib.suppress(OSError, PicamError):
        terminal.flush()
    os._exit(code)


class Supervisor:
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
        self.share = Share(options.path)
        self.share.follow(config.web)
        if notifier.active and self.share.expect(invitation_file(options.path)):
            self.share.present()
        self.stuck = False
        """Whether a thread had to be left behind in a driver."""
        self._pause_requests: deque[bool] = deque()
        """Whether signals ask to pause or to resume. They come at any moment, also while a pause is being decided."""
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._closed = ClosedWindow()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._ready = False
        self._next_status_s = 0.0
        self._results = Results(options, self._stop)
        self._round_now: _Round | None = None
        self._exchange: tuple[Exchange, Config, _Round] | None = None
        """Another model that is to be taken over in this round, the configuration with it, and the round with both."""
        self._old_answers = 0
        """How many answers of this round are those of the model before."""
        self._asked: deque[Future[None]] = deque()
        """Who waits for another model to run."""
        self._due: list[Future[None]] = []
        """Those of them that the reload under way is for."""
        self.teaching = Teaching(self._switch)
        self.trial = ModelTrial(self._switch)

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Take SIGTERM, SIGINT (stop), SIGHUP (reload), SIGUSR1 (pause) and SIGUSR2 (resume)."""
        if number in _SWITCH:
            self._pause_requests.append(_SWITCH[signal.Signals(number)])
        elif number == _SHOW:
            self._closed.ask_for()
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
                screen.show_status(
                    StatusScreen("starting", f"loading model {self.config.model}", colour=annotate.KNOWN)
                )
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
        self.teaching.close()
        self.trial.close()
        if self._results.failure is not None:
            raise self._results.failure

    def _round(self, screen: Screen) -> Outcome:
        stamp = bundles.stamp(self.config.model)
        bundle = bundles.load(self.config.model)
        config = self.config
        tuning = Tuning(
            configs.tuned(bundle.card, config.preprocess, self.options.path), config.decide, config.capture.controls
        )
        state = State(tuning, pause=self.pause, share=self.share, history=self._history)
        state.run_model(bundle)
        settings = RuntimeSettings(state, self.options.path, defaults=_defaults(bundle))
        pipeline = Pipeline(state, self._parts(bundle, state))
        pipeline.keep_inputs = screen.wanted
        with contextlib.ExitStack() as outputs:
            collection = self._listeners(outputs, state)
            self.pause.follow(Schedule(self.config.schedule))
            self._old_answers = 0
            pipeline.start()
            self._round_now = _Round(state, settings, pipeline, stamp)
            try:
                self._page(outputs, state, settings, collection)
                return self._watch(Viewer(screen, state, settings, self.teaching), state, pipeline)
            finally:
                self._round_now = self._exchange = None
                self.stuck = not pipeline.stop() or self.stuck

    def _listeners(self, outputs: contextlib.ExitStack, state: State) -> Collection | None:
        """Start what must not miss the first result: events and collected pictures. What is off is not imported."""
        if self.config.events:
            from picam_infer.outputs.events import Events

            outputs.enter_context(Events(self.config.events, state, Instance(self.options.path)))
        keep = configs.chosen(self.config.keep, configs.Keep)
        if keep is None:
            return None
        from picam_infer.outputs.dataset import Collector

        return outputs.enter_context(Collector(keep, state))

    def _page(
        self, outputs: contextlib.ExitStack, state: State, settings: RuntimeSettings, collection: Collection | None
    ) -> None:
        """Start the page, while the model is loading."""
        web = configs.chosen(self.config.web, configs.Web)
        outputs.enter_context(self.teaching.following(state, lambda: self.config, self.options.path))
        outputs.enter_context(self.trial.following(state, lambda: self.config, self.options.path))
        if web is not None:
            from picam_infer.outputs.web.server import Web

            annotator = StreamAnnotator(state, self.config.display, self.config.capture)
            outputs.enter_context(Web(web, state, annotator, runtime_settings=settings, collection=collection,
                                      teaching=self.teaching, trial=self.trial))  # fmt: skip
            outputs.callback(self.teaching.excuse)

    def _parts(self, bundle: Bundle, state: State) -> PipelineSetup:
        config = self.config
        still = configs.chosen(config.engine.still, configs.Still)
        self._results.restart()
        return PipelineSetup(
            open_source=lambda: sources.open_source(config.source, config.capture, config.source_login,
                                                    state.tuning.preprocess.roi),
            open_classifier=self._opener(bundle, config, state), on_result=self._results, patient=self.notifier.active,
            every_s=1 / config.engine.max_per_s if config.engine.max_per_s else 0.0,
            still_s=1 / still.per_s if still else 0.0, gives_way=lambda: self.teaching.busy,
        )  # fmt: skip

    def _opener(self, bundle: Bundle, config: Config, state: State) -> Callable[[threading.Event], Classifier]:
        """Return what opens a model on the engine that the settings ask for, again and again."""
        postprocessor, still = Postprocessor.of(bundle), configs.chosen(config.engine.still, configs.Still)

        def report(text: str) -> None:
            log.warning("%s", text, extra={"PICAM_ENGINE": state.engine})
            state.engine_says(text)

        def open_classifier(stopping: threading.Event) -> Classifier:
            engine = engines.open_engine(
                config.engine, bundle, cache_folder(), report=report, stopping=stopping, traffic=state.traffic
            )
            return Classifier.of(bundle, engine, postprocessor=postprocessor, decoder=state.unpacked,
                                 stillness=Stillness(still.after_s, still.per_s) if still else None)  # fmt: skip

        return open_classifier

    def _switch(self, switch: Switch) -> Future[None]:
        """Run another model, also after a reboot; the future ends when it runs. Raises `PicamError`, as that does."""
        path = self.options.path
        if path is None:  # nothing is kept: it holds until the program ends
            configs.tuned(bundles.load(switch.model).card, self.config.preprocess, None)
            self.options = replace(self.options, model=switch.model)
        else:
            remark = ModelChoice(path).use(switch.model, switch.also, switch.before)
            if remark:
                log.warning("%s", remark)
            self.options = replace(self.options, model=None)
        asked: Future[None] = Future()
        self._asked.append(asked)
        self._reload.set()
        return asked

    def _watch(self, viewer: Viewer, state: State, pipeline: Pipeline) -> Outcome:
        """Show, listen to keys, ping the watchdog, until something ends the round."""
        worked = 0
        while not self._stop.is_set():
            shown = viewer.step()
            pipeline.watch()
            if pipeline.failure is not None:
                raise pipeline.failure
            # Liveness is work done: a new result, or a status screen while it is known why there are none.
            done = state.stats.inferences.total
            if not pipeline.stuck and (done != worked or state.health.blocking or state.pause.now):
                known_why = state.health.blocking or state.pause.now
                if done > self._old_answers or (shown and known_why):
                    self._say_ready(state)
                worked = done
                self.notifier.watchdog_ping()
            elif pipeline.resting or state.settling or self._exchange is not None:
                self.notifier.watchdog_ping()
            outcome = self._attend(viewer, state) or self._follow(state)
            if outcome is not None:
                return outcome
            if pipeline.finished.is_set():
                tell_damage(state)
                return Outcome.END
        return Outcome.STOP

    def _attend(self, viewer: Viewer, state: State) -> Outcome | None:
        """Do what keys, signals and the schedule want, and tell the status; the outcome if that ends the round."""
        while self._pause_requests:
            self.pause.set(self._pause_requests.popleft(), "signal")
        self.pause.tick()
        self.share.tick()
        if time.monotonic() >= self._next_status_s:
            self._next_status_s = time.monotonic() + _STATUS_S
            self.notifier.status(self._status(state))
        return Outcome.STOP if viewer.quit else None

    def _follow(self, state: State) -> Outcome | None:
        """Take up a new configuration or model; the outcome if that needs a new round."""
        if self._exchange is not None:
            return self._follow_exchange(*self._exchange)
        if self._reload.is_set() and self._reloaded(state):
            return Outcome.RELOAD
        return None

    def _status(self, state: State) -> str:
        refused = f"the new configuration is refused: {self._refused}; with the one before: " if self._refused else ""
        return refused + status_text(state)

    def _say_ready(self, state: State) -> None:
        if not self._ready:
            self._ready = True
            malloc.trim()  # what loading took and left
            malloc.keep_pictures()
            self.notifier.ready(self._status(state))
            self._next_status_s = 0.0

    def _reloaded(self, state: State) -> bool:
        """Read the file again; False (and all stays as it is) when it is not good, or the round can go on with it."""
        self._hear()
        self.notifier.reloading()
        try:
            config = self.options.config()
            if self._shared(config):
                self.notifier.ready(self._status(state))
                return False
            self._try_model(config, waiting=state.health.down("model"))
            if self._exchange_begun(config):
                return False
        except PicamError as error:
            self._refuse(error, state)
            return False
        self._take(config)
        return True

    def _refuse(self, error: PicamError, state: State) -> None:
        log.error("the new configuration is refused, the old one stays: %s", error)
        self._refused = str(error)
        self.notifier.ready(self._status(state))
        self._answer(error)

    def _hear(self) -> None:
        self._reload.clear()
        while self._asked:
            self._due.append(self._asked.popleft())

    def _answer(self, error: PicamError | None = None) -> None:
        """Tell those who asked for another model that it runs, or why not."""
        while self._due:
            asked = self._due.pop()
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)

    def _exchange_begun(self, config: Config) -> bool:
        """Begin to exchange the model while the round goes on, when that is all that is new. Raises `PicamError`.

        Camera, screen and page do not depend on the model; only the demo draws where a model looks.
        """
        running = self._round_now
        old = running.state.bundle if running is not None else None
        if running is None or old is None or _without_model(config) != _without_model(self.config):
            return False
        stamp, bundle = bundles.stamp(config.model), bundles.load(config.model)
        if not self._due and config == self.config and stamp == running.stamp:
            return False  # asked for all the same: everything begins anew
        chain = configs.tuned(bundle.card, config.preprocess, self.options.path)
        if config.source == "demo" and chain.roi != running.state.tuning.preprocess.roi:
            return False
        kept = Tuning(chain, config.decide, config.capture.controls)

        def taken() -> None:
            self._old_answers = running.state.stats.inferences.total
            running.settings.follow_model(kept, _defaults(bundle))
            running.state.run_model(bundle)

        shared = engines.holds_device(config.engine, old) and engines.holds_device(config.engine, bundle)
        exchange = Exchange(self._opener(bundle, config, running.state), probe_image(bundle), taken, beside=not shared)
        self._exchange = exchange, config, replace(running, stamp=stamp)
        running.pipeline.exchange(exchange)
        return True

    def _follow_exchange(self, exchange: Exchange, config: Config, after: _Round) -> Outcome | None:
        """End the exchange once it is over; what has to be waited for gets a new round, which can wait."""
        if not (exchange.over.is_set() or exchange.late):
            return None
        self._exchange = None
        if exchange.over.is_set() and exchange.failure is None:
            self._round_now = after
            self._take(config)
            return None
        if exchange.failure is None or isinstance(exchange.failure, Disconnected):
            exchange.give_up()
            self._take(config)
            return Outcome.RELOAD
        self._refuse(exchange.failure, after.state)
        return None

    def _shared(self, config: Config) -> bool:
        """Open or close the page to the network, when that is all that is new: then nothing is built anew.

        Who opened it has left a one-time login's digest: the monitor shows one of its own.
        """
        invited = self.share.expect(invitation_file(self.options.path))
        if not only_sharing(config, self.config) or (config == self.config and not invited):
            return False
        self.config, self._refused = config, ""
        self._answer()
        self.share.follow(config.web)
        if invited:
            self.share.present()
        return True

    def _try_model(self, config: Config, waiting: bool) -> None:
        """Raise `PicamError` when a configuration's model is not to be used; one that waits can go on waiting."""
        try:
            configs.tuned(bundles.load(config.model).card, config.preprocess, self.options.path)
        except (NoInput, bundles.BundleError):
            if not waiting:
                raise

    def _wait_for_model(self, screen: Screen, error: PicamError, tried: bundles.Stamp) -> Outcome:
        """Stay up without a model: screen, page and status say why, until there is one to try or a reload.

        `tried`: the state of its files that did not work.
        """
        state = State(Tuning(Photo(), self.config.decide), self.config.model, pause=self.pause, share=self.share,
                      history=self._history)  # fmt: skip
        settings = RuntimeSettings(state)  # those of a model that is not there cannot be saved
        with contextlib.ExitStack() as outputs:
            self._page(outputs, state, settings, self._listeners(outputs, state))
            viewer = Viewer(screen, state, settings)
            self.pause.follow(Schedule(self.config.schedule))
            back_off = BackOff()
            while True:
                if state.health.mark_down("model", error.message, error.hint):
                    log.error("%s", state.health.blocking, extra={"PICAM_LOST": "model"})
                next_try_s = time.monotonic() + back_off.next_s()
                while time.monotonic() < next_try_s:
                    if self._stop.is_set():
                        return Outcome.STOP
                    if viewer.step():
                        self._say_ready(state)
                    self.notifier.watchdog_ping()
                    outcome = self._attend(viewer, state) or self._follow(state)
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
            state.health.mark_up("model")
        return Outcome.RELOAD

    def _wait_for_configuration(self, screen: Screen, error: ConfigError, page: bool) -> Outcome:
        """Stay up with a wrong configuration: screen and status name file, line and key, until the file changes.

        `page`: whether the settings could be read as such, so that it is known where the page belongs.
        """
        state = State(Tuning(Photo(), self.config.decide), self.config.model, pause=self.pause, share=self.share,
                      history=self._history)  # fmt: skip
        settings = RuntimeSettings(state)  # nothing is saved into a file that a person is mending
        read = file_stamp(self.options.path)
        with contextlib.ExitStack() as outputs:
            if page:
                self._page(outputs, state, settings, self._listeners(outputs, state))
            viewer = Viewer(screen, state, settings)
            while not self._stop.is_set():
                _tell_wrong(state, error)
                if viewer.step():
                    self._say_ready(state)
                self.notifier.watchdog_ping()
                asked, now = self._reload.is_set(), file_stamp(self.options.path)
                if asked or now != read:
                    read = now
                    try:
                        self._try_again(asked, state)
                        return Outcome.RELOAD
                    except ConfigError as again:
                        error = again
                outcome = self._attend(viewer, state)
                if outcome is not None:
                    return outcome
        return Outcome.STOP

    def _try_again(self, asked: bool, state: State) -> None:
        """Read a configuration that was wrong again; `asked`: systemd waits for the answer. Raises `ConfigError`."""
        self._hear()
        if asked:
            self.notifier.reloading()
        try:
            config = self.options.config()
            self._try_model(config, waiting=True)
        except ConfigError as error:
            _tell_wrong(state, error)
            if asked:
                self.notifier.ready(self._status(state))
            raise
        self._wrong = None
        self._take(config)

    def _take(self, config: Config) -> None:
        """Use another configuration from the next round on."""
        self.config, self._refused = config, ""
        self.share.follow(config.web)
        self._ready = False  # said again after the next answer, which ends the reload
        self._answer()
        logging.getLogger().setLevel(config.log.level.upper())
        log.info("configuration read again")


def _defaults(bundle: Bundle) -> Tuning:
    """Return the settings of a model where the file says nothing."""
    return Tuning(bundle.card.preprocess, configs.Decide())


def _tell_wrong(state: State, error: ConfigError) -> None:
    if state.health.mark_down("configuration", error.message, error.hint):
        log.error("%s", state.health.blocking, extra={"PICAM_LOST": "configuration"})


def _without_model(config: Config) -> Config:
    """Return a configuration without the model and what may change while it runs."""
    capture = msgspec.structs.replace(config.capture, controls={})
    return msgspec.structs.replace(config, model="", preprocess={}, decide=configs.Decide(), capture=capture)
