"""Which model a service runs: the one owner of that choice, for command and page; the model before is remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picam_infer import config as configs
from picam_infer.core import NoInput
from picam_infer.models import bundle as bundles
from picam_infer.platform import atomic_file


@dataclass(frozen=True, slots=True)
class Switch:
    """A model that the service is to run, and what else is to be written with it."""

    model: str
    also: Mapping[str, Any]
    before: str | None
    """What to go back to, where it is not what the settings name now."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The choice of the service whose configuration file is given."""

    settings: Path

    @property
    def model(self) -> str:
        """The model that the file names. Raises `ConfigError`."""
        return configs.load(self.settings).model

    @property
    def before(self) -> str | None:
        """The model that was used before; None: there was none, or it is gone."""
        try:
            return str(json.loads(self._memory.read_text("utf-8"))["model"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def use(self, model: str, also: Mapping[str, Any] | None = None, before: str | None = None) -> str:
        """Write the model (and further keys) into the file, once it is known that the model can be used with it.

        `before` is what to go back to, where that is not the model which the file named. Returns what could not be
        remembered, and why; empty: all was. Raises `PicamError`.
        """
        config = configs.load(self.settings)
        configs.tuned(bundles.load(model).card, config.preprocess, self.settings)
        configs.save(self.settings, {**(also or {}), "model": model})
        before = before or config.model
        if model == before:
            return ""
        try:
            atomic_file.write(self._memory, (json.dumps({"model": before}) + "\n").encode())
        except OSError as error:
            return f"--undo will not know {before}: {self._memory} cannot be written ({error.strerror})"
        return ""

    def model_before(self) -> str:
        """Return the model that was used before. Raises `NoInput`."""
        if (before := self.before) is None:
            raise NoInput(f"no model was used before with {self.settings}", "name one: picam-infer use MODEL")
        return before

    @property
    def _memory(self) -> Path:
        return bundles.home().parent / f"model-before-{self.settings.stem}.json"
