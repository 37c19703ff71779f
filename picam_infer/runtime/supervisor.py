"""Connects source, engine, screen and outputs and keeps them running: rounds, reloads, the watchdog."""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from picam_infer import config as configs
from picam_infer.config import Config
from picam_infer.core import ConfigError, Disconnected, NoInput, PicamError
from picam_infer.inference import engines
from picam_infer.inference.engines.failover import probe_image
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Photo
from picam_infer.outputs import annotate
from picam_infer.outputs.annotator import StatusScreen, StreamAnnotator
from picam_infer.outputs.display.screen import ClosedWindow, Screen
from picam_infer.platform.systemd import Notifier
from picam_infer.runtime import parts
from picam_infer.runtime.exchange import Exchange
from picam_infer.runtime.model_choice import ModelChoice, SessionChoice, Switch
from picam_infer.runtime.model_trial import ModelTrial
from picam_infer.runtime.options import Options
from picam_infer.runtime.page_start import LATEST_S, PageStart
from picam_infer.runtime.parts import RoundModel
from picam_infer.runtime.pause import Pause
from picam_infer.runtime.pipeline import Pipeline
from picam_infer.runtime.readiness import Readiness
from picam_infer.runtime.reload_requests import ReloadRequests
from picam_infer.runtime.results import Results, tell_damage
from picam_infer.runtime.schedule import Schedule
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.share import Share, invitation_file, only_sharing
from picam_infer.runtime.state import HISTORY, Change, State, Tuning
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.teaching.served_round import ServedRound
from picam_infer.runtime.viewer import Viewer
from picam_infer.runtime.waiting import MissingModel, WrongConfiguration

if TYPE_CHECKING:
    from picam_infer.outputs.web.context import Collection

log = logging.getLogger("picam_infer")

_PAGE = "picam_infer.outputs.web.server"
_PAUSE = {signal.SIGUSR1: True, signal.SIGUSR2: False}
"""Whether a signal pauses or resumes."""
_SHOW = signal.SIGWINCH
"""Opens a window again that a person closed. The signal is harmless without a handler, so any process may get it."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _SHOW, *_PAUSE)
"""The signals that `Supervisor.on_signal` handles."""


class Outcome(Enum):
    """Why a round of the main loop ended."""

    STOP = "stop"
    RELOAD = "reload"
    END = "end"


class _Round(msgspec.Struct, frozen=True):
    """The parts of one round, and its model."""

    state: State
    settings: RuntimeSettings
    pipeline: Pipeline
    model: RoundModel


class _ModelChange(msgspec.Struct, frozen=True):
    """A change of model within this round."""

    exchange: Exchange
    config: Config
    """The configuration with it."""
    after: _Round
    """The round with it."""


class Supervisor:
    """The main loop: builds the parts from a configuration, shows what they see, rebuilds them on SIGHUP."""

    def __init__(self, config: Config, options: Options, notifier: Notifier, wrong: ConfigError | None = None) -> None:
        """`wrong`: why there is no configuration yet; `config` is then a stand-in."""
        self.config = config
        self._wrong = wrong
        self.options = options
        self.pause = Pause(Schedule(config.schedule))
        self.share = Share(options.path)
        self.share.follow(config.web)
        if notifier.active and self.share.expect(invitation_file(options.path)):
            self.share.present()
        self.stuck = False
        """Whether a thread had to be left behind in a driver."""
        self._readiness = Readiness(notifier)
        self._reloads = ReloadRequests()
        self._pause_requests: deque[bool] = deque()
        """Whether signals ask to pause or to resume. They come at any moment, also while a pause is being decided."""
        self._started_s = time.monotonic()
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._closed = ClosedWindow()
        self._stop = threading.Event()
        self._results = Results(options, self._stop)
        self._model: RoundModel | None = None
        """The model that a reload has read for the round that it begins."""
        self._round_now: _Round | None = None
        self._change: _ModelChange | None = None
        self._old_answers = 0
        """How many of this round's answers are from the previous model."""
        self._session = SessionChoice()
        self.teaching = Teaching(self._switch)
        self.trial = ModelTrial(self._switch)

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Take SIGTERM, SIGINT (stop), SIGHUP (reload), SIGUSR1 (pause), SIGUSR2 (resume) and SIGWINCH (show)."""
        if number in _PAUSE:
            self._pause_requests.append(_PAUSE[signal.Signals(number)])
        elif number == _SHOW:
            self._closed.ask_for()
        elif number == signal.SIGHUP:
            self._reloads.ask()
            if self._change is None:
                # Reported at once: until then, systemd before 253 would consider the reload done.
                self._readiness.reload_asked()
        else:
            self._stop.set()

    def run(self) -> None:
        """Run rounds until told to stop. Raises `PicamError` for what waiting cannot mend."""
        outcome, patient = Outcome.RELOAD, self._readiness.managed
        while outcome is Outcome.RELOAD and not self._stop.is_set():
            self._readiness.loading()
            closed = self._closed if patient else None
            with contextlib.closing(Screen(self.config, patient, closed)) as screen:
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
                    # At a terminal a person reads the message; a service shows it on the screen instead.
                    if not patient:
                        raise
                    if isinstance(error, ConfigError):
                        outcome = self._wait_for_configuration(screen, error, page=True)
                    else:
                        outcome = self._wait_for_model(screen, error, tried)
        self._readiness.stopping()
        self.teaching.close()
        self.trial.close()
        if self._results.failure is not None:
            raise self._results.failure

    # -- a round -----------------------------------------------------------------

    def _round(self, screen: Screen) -> Outcome:
        model, self._model = self._model, None
        if model is None or not model.unchanged:
            model = parts.read_model(self.config, self.options.path)
        state = self._new_state(model.tuning(self.config))
        state.run_model(model.bundle)
        settings = RuntimeSettings(state, self.options.path, defaults=model.defaults)
        self._results.restart()
        pipeline = Pipeline(
            state,
            parts.pipeline_setup(
                model, self.config, state, self._results, patient=self._readiness.managed, gives_way=self._gives_way
            ),
        )
        pipeline.keep_inputs = screen.wanted
        with contextlib.ExitStack() as outputs:
            collection = parts.start_listeners(outputs, self.config, self.options.path, state)
            self.pause.follow(Schedule(self.config.schedule))
            self._old_answers = 0
            pipeline.start()
            self._round_now = _Round(state, settings, pipeline, model)
            try:
                self._teach(outputs, state)
                page = self._page_start(lambda: self._page(outputs, state, settings, collection))
                return self._watch(Viewer(screen, state, settings, self.teaching), state, pipeline, page)
            finally:
                self._round_now = self._change = None
                self.stuck = not pipeline.stop() or self.stuck

    def _new_state(self, tuning: Tuning) -> State:
        state = State(tuning, self.config.model, pause=self.pause, share=self.share, history=self._history)
        state.stats.started_s = self._started_s
        return state

    def _gives_way(self) -> bool:
        return self.teaching.busy

    def _teach(self, outputs: contextlib.ExitStack, state: State) -> None:
        served = ServedRound(state, lambda: self.config, self.options.path, self._session)
        for part in (self.teaching, self.trial):
            outputs.enter_context(part.following(served))

    def _page_start(self, open_page: Callable[[], None]) -> PageStart:
        """Return what opens the page: a service that has just begun gives its first answer before."""
        there = self.config.web is False or _PAGE in sys.modules
        waits = self._readiness.managed and not there
        return PageStart(lambda: importlib.import_module(_PAGE), open_page, LATEST_S if waits else 0.0)

    def _page(
        self, outputs: contextlib.ExitStack, state: State, settings: RuntimeSettings, collection: Collection | None
    ) -> None:
        web = configs.chosen(self.config.web, configs.Web)
        if web is not None:
            from picam_infer.outputs.web.server import Web

            annotator = StreamAnnotator(state, self.config.display, self.config.capture)
            outputs.enter_context(
                Web(
                    web,
                    state,
                    annotator,
                    runtime_settings=settings,
                    collection=collection,
                    teaching=self.teaching,
                    trial=self.trial,
                )
            )
            outputs.callback(self.teaching.cancel_waits)

    def _watch(self, viewer: Viewer, state: State, pipeline: Pipeline, page: PageStart) -> Outcome:
        """Show, listen to keys, ping the watchdog, until something ends the round."""
        worked = 0
        while not self._stop.is_set():
            shown = viewer.step()
            pipeline.watch()
            if pipeline.failure is not None:
                raise pipeline.failure
            # Liveness is work done: a new result, or a status screen while it is known why there are none.
            done, known_why = state.stats.inferences.total, bool(state.health.blocking or state.pause.now)
            answered = done > self._old_answers or (shown and known_why)
            waited = not page.over
            complete = page.step(answered) or pipeline.finished.is_set()
            if not (complete or known_why):  # whoever reads in the status that it is running should find the page too
                self._readiness.hold_status()
            if not pipeline.stuck and (done != worked or known_why or (waited and complete)):
                if answered and complete:
                    self._readiness.ready(state)
                worked = done
                self._readiness.alive(loading=not state.engine)
            elif pipeline.resting or state.settling or self._change is not None:
                self._readiness.alive(loading=not state.engine)
            outcome = self._attend(viewer, state) or self._follow(state)
            if outcome is not None:
                return outcome
            if pipeline.finished.is_set():
                if pipeline.failure is not None:  # since this turn began
                    raise pipeline.failure
                tell_damage(state)
                self._results.tell_end()
                return Outcome.END
        return Outcome.STOP

    def _attend(self, viewer: Viewer, state: State) -> Outcome | None:
        """Handle keys, signals and the schedule, and report the status; returns the outcome if that ends the round."""
        while self._pause_requests:
            self.pause.set(self._pause_requests.popleft(), "signal")
        self.pause.tick()
        self.share.tick()
        self._readiness.tell_status(state)
        return Outcome.STOP if viewer.quit else None

    # -- a round without a model ---------------------------------------------------

    def _wait_for_model(self, screen: Screen, error: PicamError, tried: bundles.Stamp) -> Outcome:
        """Keep running until there is a model to try, or a reload; `tried`: the state of the files that failed."""
        missing = MissingModel(self.config, self.options.path, error, tried)

        def follow(state: State) -> Outcome | None:
            return self._follow(state) or (Outcome.RELOAD if missing.found(state) else None)

        return self._wait(screen, missing.tell, follow, page=True)

    def _wait_for_configuration(self, screen: Screen, error: ConfigError, page: bool) -> Outcome:
        """Keep running until the invalid configuration file changes, or a reload.

        `page`: whether the settings could be read as such, so that it is known where the page belongs.
        """
        wrong = WrongConfiguration(self.options.path, error)

        def follow(state: State) -> Outcome | None:
            asked, changed = self._reloads.pending, wrong.changed()
            if not (asked or changed):
                return None
            try:
                self._try_again(asked)
            except ConfigError as again:
                wrong.error = again
                wrong.tell(state)
                if asked:
                    self._readiness.reloaded(state)
                return None
            return Outcome.RELOAD

        return self._wait(screen, wrong.tell, follow, page)

    def _wait(
        self, screen: Screen, tell: Callable[[State], None], follow: Callable[[State], Outcome | None], page: bool
    ) -> Outcome:
        """Keep running without a model: screen, page and status say why (`tell`), until `follow` has an outcome."""
        state = self._new_state(Tuning(Photo(), self.config.decide))
        settings = RuntimeSettings(state)  # a missing model has no settings to save
        with contextlib.ExitStack() as outputs:
            if page:
                collection = parts.start_listeners(outputs, self.config, self.options.path, state)
                self._teach(outputs, state)
                self._page(outputs, state, settings, collection)
                self.pause.follow(Schedule(self.config.schedule))
            viewer = Viewer(screen, state, settings)
            while not self._stop.is_set():
                tell(state)
                if viewer.step():
                    self._readiness.ready(state)
                self._readiness.alive()
                outcome = self._attend(viewer, state) or follow(state)
                if outcome is not None:
                    return outcome
        return Outcome.STOP

    def _try_again(self, asked: bool) -> None:
        """Read a configuration that was wrong again; `asked`: systemd waits for the answer. Raises `ConfigError`."""
        self._reloads.begin()
        if asked:
            self._readiness.reloading()
        config = self.options.config()
        model = self._try_model(config, waiting=True)
        self._wrong = None
        self._take(config, model)

    # -- another configuration or model ------------------------------------------------

    def _switch(self, switch: Switch) -> Future[None]:
        """Run another model, also after a reboot; the future ends when it runs. Both may raise `PicamError`."""
        path = self.options.path
        if path is None:  # there is no file to store it in: it holds until the program ends
            configs.tuned(bundles.load(switch.model).card, self.config.preprocess, None)
            self._session.use(switch.model, self.config.model, switch.before)
            self.options = msgspec.structs.replace(self.options, model=switch.model)
        else:
            remark = ModelChoice(path).use(switch.model, switch.also, switch.before)
            if remark:
                log.warning("%s", remark)
            self.options = msgspec.structs.replace(self.options, model=None)
        return self._reloads.ask_for_model()

    def _follow(self, state: State) -> Outcome | None:
        """Switch to a new configuration or model; returns the outcome if that needs a new round."""
        if self._change is not None:
            return self._follow_change(self._change)
        if self._reloads.pending and self._reloaded(state):
            return Outcome.RELOAD
        return None

    def _reloaded(self, state: State) -> bool:
        """Read the file again; False if this round goes on, with the new configuration or (if it is wrong) the old."""
        self._reloads.begin()
        self._readiness.reloading()
        try:
            config = self.options.config()
            if self._shared(config):
                self._readiness.reloaded(state)
                return False
            model = self._try_model(config, waiting=state.health.down("model"))
            if model is not None and self._exchange_begun(config, model):
                return False
        except PicamError as error:
            self._refuse(error, state)
            return False
        self._take(config, model)
        return True

    def _refuse(self, error: PicamError, state: State) -> None:
        log.error("the new configuration is refused, the old one stays: %s", error)
        self._readiness.refused = str(error)
        self._readiness.reloaded(state)
        self._reloads.answer(error)

    def _take(self, config: Config, model: RoundModel | None) -> None:
        """Use another configuration from the next round on, with its model where that has been read already."""
        self.config, self._model = config, model
        self.share.follow(config.web)
        self._readiness.again()
        self._reloads.answer()
        logging.getLogger().setLevel(config.log.level.upper())
        log.info("configuration read again" if self.options.path else f"the model is {config.model} now")

    def _try_model(self, config: Config, waiting: bool) -> RoundModel | None:
        """Return a configuration's model; None: there is none, but the service can go on waiting for one.

        Raises `PicamError` if it cannot be used.
        """
        try:
            return parts.read_model(config, self.options.path)
        except (NoInput, bundles.BundleError):
            if not waiting:
                raise
            return None

    def _shared(self, config: Config) -> bool:
        """Open or close the page to the network, if nothing else is new: then nothing is rebuilt.

        Whoever opened it has left the digest of a one-time login; the monitor shows another one.
        """
        invited = self.share.expect(invitation_file(self.options.path))
        if not only_sharing(config, self.config) or (config == self.config and not invited):
            return False
        self.config, self._readiness.refused = config, ""
        self._reloads.answer()
        self.share.follow(config.web)
        if invited:
            self.share.present()
        return True

    def _exchange_begun(self, config: Config, model: RoundModel) -> bool:
        """Begin to exchange the model while the round goes on, if nothing else is new.

        Camera, screen and page do not depend on the model; the demo draws where it looks.
        """
        running = self._round_now
        if running is None or parts.without_model(config) != parts.without_model(self.config):
            return False
        if not self._reloads.model_awaited and config == self.config and model.stamp == running.model.stamp:
            return False  # a reload of the same settings rebuilds everything
        bundle, old = model.bundle, running.model.bundle

        def taken() -> None:
            self._old_answers = running.state.stats.inferences.total
            running.settings.follow_model(model.tuning(config), model.defaults)
            running.state.run_model(bundle, model.chain.roi)

        shared = engines.holds_device(config.engine, old) and engines.holds_device(config.engine, bundle)
        opener = parts.classifier_opener(bundle, config, running.state)
        exchange = Exchange(opener, probe_image(bundle), taken, beside=not shared)
        self._change = _ModelChange(exchange, config, msgspec.structs.replace(running, model=model))
        running.pipeline.exchange(exchange)
        return True

    def _follow_change(self, change: _ModelChange) -> Outcome | None:
        """Finish the exchange once it is over; a model that has to be waited for gets a new round, which can wait."""
        exchange = change.exchange
        if not (exchange.over.is_set() or exchange.late):
            return None
        self._change = None
        if exchange.over.is_set() and exchange.failure is None:
            self._round_now = change.after
            self._take(change.config, None)
            return None
        if exchange.failure is None or isinstance(exchange.failure, Disconnected):
            exchange.give_up()
            self._take(change.config, change.after.model)
            return Outcome.RELOAD
        self._refuse(exchange.failure, change.after.state)
        return None
