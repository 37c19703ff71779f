"""The settings that the page changes while everything runs: read, change, undo, keep in the file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config
from picam_infer.core import ConfigError
from picam_infer.runtime.state import State, Tuning

_DECIDE = ("threshold", "margin", "smooth", "hold")
_CHAIN = ("roi", "canny")
_PAUSE_S = 1.5
"""Changes of the same keys that follow each other faster (a slider being dragged) are undone together."""


class Live:
    """The live keys of one run. The web loop's thread uses it; `keep` may block on the disk."""

    def __init__(self, state: State, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._path = path
        self._clock = clock
        self._kept = self.values()
        self._undo: deque[Tuning] = deque(maxlen=100)
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def values(self) -> dict[str, Any]:
        """Return the values in force by dotted key."""
        tuning = self._state.tuning
        chain = tuning.preprocess
        found = {f"decide.{name}": getattr(tuning.decide, name) for name in _DECIDE}
        return found | {f"preprocess.{name}": _plain(getattr(chain, name)) for name in _CHAIN if hasattr(chain, name)}

    def as_json(self) -> dict[str, Any]:
        """Return values, what the file has, and what can be done."""
        values = self.values()
        return {
            "values": values,
            "kept": self._kept,
            "changed": [key for key, value in values.items() if value != self._kept.get(key)],
            "can_undo": bool(self._undo),
            "can_keep": self._path is not None,
            "file": str(self._path) if self._path else None,
        }

    def change(self, values: Mapping[str, Any]) -> None:
        """Set values by dotted key; none is set when one is wrong. Raises `ConfigError`."""
        now = self._state.tuning
        known = self.values()
        parts: dict[str, dict[str, Any]] = {"decide": {}, "preprocess": {}}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(f"{key}: cannot be changed while running", f"live keys: {', '.join(known)}")
            section, _, name = key.partition(".")
            parts[section][name] = value
        new = Tuning(_changed(now.preprocess, parts["preprocess"], "preprocess"),
                     _changed(now.decide, parts["decide"], "decide"))  # fmt: skip
        if new != now:
            keys, then_s = frozenset(values), self._clock()
            if keys != self._last[0] or then_s - self._last[1] > _PAUSE_S or not self._undo:
                self._undo.append(now)
            self._last = (keys, then_s)
            self._state.tune(new.preprocess, new.decide)

    def undo(self) -> bool:
        """Go back to before the last change; False when there is none."""
        if not self._undo:
            return False
        before = self._undo.pop()
        self._last = (frozenset(), 0.0)
        self._state.tune(before.preprocess, before.decide)
        return True

    def keep(self) -> list[str]:
        """Write what differs into the file and return its keys. Raises `ConfigError`."""
        if self._path is None:
            raise ConfigError("there is no configuration file to keep this in", "start with -c FILE")
        values = self.values()
        news = {key: value for key, value in values.items() if value != self._kept.get(key)}
        if news:
            config.keep(self._path, {key: _tidy(value) for key, value in news.items()})
            self._kept = values
        return list(news)


def _changed(section: Any, values: Mapping[str, Any], where: str) -> Any:
    if not values:
        return section
    try:
        return msgspec.convert({**msgspec.to_builtins(section), **values}, type(section), strict=True)
    except msgspec.ValidationError as error:
        text = str(error).replace(" - at `$.", f" - at `{where}.")
        raise ConfigError(text, "see the shipped picam-infer.yaml for what it takes") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    return int(value) if isinstance(value, float) and value == int(value) else value
