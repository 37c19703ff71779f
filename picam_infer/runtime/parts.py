"""Builds the parts of a round from its configuration: the model, the loops' source and engine, events, collection."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from picam_infer import config as configs
from picam_infer import sources
from picam_infer.config import Config
from picam_infer.config.instance import Instance
from picam_infer.core import Result, Source
from picam_infer.inference import engines
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.stillness import Stillness
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform.paths import cache_folder
from picam_infer.runtime.exchange import Open
from picam_infer.runtime.pipeline import PipelineSetup
from picam_infer.runtime.state import State, Tuning

if TYPE_CHECKING:
    from picam_infer.outputs.web.context import Collection

log = logging.getLogger("picam_infer")


class RoundModel(msgspec.Struct, frozen=True):
    """The model that a configuration names, as read from its files at one moment."""

    name: str
    bundle: Bundle
    chain: Chain
    """The card's chain, with the configuration's changes."""
    stamp: bundles.Stamp

    @property
    def unchanged(self) -> bool:
        """Whether its files are still the same."""
        return bool(self.stamp) and bundles.stamp(self.name) == self.stamp

    @property
    def defaults(self) -> Tuning:
        """The settings where the configuration says nothing."""
        return Tuning(self.bundle.card.preprocess, configs.Decide())

    def tuning(self, config: Config) -> Tuning:
        """Return the settings under a configuration."""
        return Tuning(self.chain, config.decide, config.capture.controls)


def read_model(config: Config, path: Path | None) -> RoundModel:
    """Return the model that a configuration names; `path` is the configuration's file, for errors.

    Raises `NoInput` or `BundleError` for the model, `ConfigError` for settings that do not fit it.
    """
    stamp = bundles.stamp(config.model)
    bundle = configs.named_model(config, path)
    return RoundModel(config.model, bundle, configs.tuned(bundle.card, config.preprocess, path), stamp)


def without_model(config: Config) -> Config:
    """Return a configuration without the model and what may change while it runs."""
    capture = msgspec.structs.replace(config.capture, controls={})
    return msgspec.structs.replace(config, model="", preprocess={}, decide=configs.Decide(), capture=capture)


def classifier_opener(bundle: Bundle, config: Config, state: State) -> Open:
    """Return a function that opens a model on the configured engine; it may be called again after a loss."""
    postprocessor, still = Postprocessor.of(bundle), configs.chosen(config.engine.still, configs.Still)

    def report(text: str) -> None:
        log.warning("%s", text, extra={"PICAM_ENGINE": state.engine})
        state.engine_says(text)

    def open_classifier(stopping: threading.Event) -> Classifier:
        engine = engines.open_engine(
            config.engine, bundle, cache_folder(), report=report, stopping=stopping, traffic=state.traffic
        )
        stillness = Stillness(still.after_s, still.per_s) if still else None
        return Classifier.of(bundle, engine, postprocessor=postprocessor, decoder=state.unpacked, stillness=stillness)

    return open_classifier


def pipeline_setup(
    model: RoundModel,
    config: Config,
    state: State,
    on_result: Callable[[Result], None],
    *,
    patient: bool,
    gives_way: Callable[[], bool],
) -> PipelineSetup:
    """Return what the loops run on; `on_result`, `patient` and `gives_way` are those of `PipelineSetup`."""
    still = configs.chosen(config.engine.still, configs.Still)

    def open_source() -> Source:
        return sources.open_source(config.source, config.capture, config.source_login, lambda: state.model_roi)

    return PipelineSetup(
        open_source=open_source,
        open_classifier=classifier_opener(model.bundle, config, state),
        on_result=on_result,
        patient=patient,
        every_s=1 / config.engine.max_per_s if config.engine.max_per_s else 0.0,
        still_s=1 / still.per_s if still else 0.0,
        gives_way=gives_way,
    )


def start_listeners(
    outputs: contextlib.ExitStack, config: Config, path: Path | None, state: State
) -> Collection | None:
    """Start what must not miss the first result: events and collected pictures. Nothing that is off is imported."""
    if config.events:
        from picam_infer.outputs.events import Events

        outputs.enter_context(Events(config.events, state, Instance(path)))
    keep = configs.chosen(config.keep, configs.Keep)
    if keep is None:
        return None
    from picam_infer.outputs.dataset import Collector

    return outputs.enter_context(Collector(keep, state))
