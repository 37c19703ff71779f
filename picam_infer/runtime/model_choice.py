"""The one owner of which model a service runs, for the command line and the page; it remembers the previous model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config as configs
from picam_infer.core import NoInput
from picam_infer.models import bundle as bundles
from picam_infer.platform import atomic_file, disk


class Switch(msgspec.Struct, frozen=True):
    """A model for the service to run, and what else to write with it."""

    model: str
    also: Mapping[str, Any]
    before: str | None
    """The model to go back to, if not the one that the settings name now; None: that one."""


class ModelChoice(msgspec.Struct, frozen=True):
    """The choice of model in one configuration file."""

    settings: Path

    @property
    def model(self) -> str:
        """The model that the file names. Raises `ConfigError`."""
        return configs.load(self.settings).model

    @property
    def before(self) -> str | None:
        """The previous model; None: there was none, or it is not known any more."""
        try:
            return str(json.loads(self._memory.read_text("utf-8"))["model"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def use(self, model: str, also: Mapping[str, Any] | None = None, before: str | None = None) -> str:
        """Write the model (and the keys `also`) to the file, after checking that the model can be used with it.

        `before`: the model to go back to, if not the one that the file names. Returns why that could not be remembered;
        empty: it was. Raises `PicamError`.
        """
        card = bundles.load(model).card
        with configs.changing(self.settings) as change:  # until the memory is written: it belongs to this change
            config = configs.load(self.settings)
            configs.tuned(card, config.preprocess, self.settings)
            change({**(also or {}), "model": model})
            before = before or _named(config.model)
            return "" if model == before else self._remember(before)

    def _remember(self, before: str) -> str:
        try:
            atomic_file.write(self._memory, (json.dumps({"model": before}) + "\n").encode())
        except OSError as error:
            remedy = disk.remedy(error, self._memory.parent, fixed=True)
            return f"--undo cannot go back to {before}: {self._memory} cannot be written ({error.strerror}); {remedy}"
        return ""

    def model_before(self) -> str:
        """Return the previous model. Raises `NoInput`."""
        if (before := self.before) is None:
            raise NoInput(f"no model was used before with {self.settings}", "name one: picam-infer use MODEL")
        return before

    @property
    def _memory(self) -> Path:
        return bundles.home().parent / f"model-before-{self.settings.stem}.json"


class SessionChoice:
    """The choice of model of a program that has no configuration file: it lasts until the program ends."""

    def __init__(self) -> None:
        self.before: str | None = None
        """The previous model; None: there was none."""

    def use(self, model: str, running: str, before: str | None = None) -> None:
        """Note that another model is used from now on; `before`: the model to go back to, if not `running`."""
        before = before or running
        if model != before:
            self.before = before

    def model_before(self) -> str:
        """Return the previous model. Raises `NoInput`."""
        if self.before is None:
            raise NoInput("no model was used before", "choose one from the list")
        return self.before


def _named(model: str) -> str:
    return bundles.spelling(Path(model)) if "/" in model else model
