"""The one owner of the settings that change while running, for keyboard and page: read, change, undo, save."""

from __future__ import annotations

import difflib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config
from picam_infer.config.reader import refused
from picam_infer.config.yaml_tree import list_index
from picam_infer.core import ConfigError
from picam_infer.imaging import region
from picam_infer.runtime import camera_controls
from picam_infer.runtime.camera_controls import Control
from picam_infer.runtime.state import Change, State, Tuning

_DECIDE = ("threshold", "margin", "smooth", "hold")
_CHAIN = ("roi", "canny")
_CONTROLS = "capture.controls."
_REGION = "preprocess.roi"
_PAUSE_S = 1.5
"""Changes of the same numbers within this time (a key held down) are one entry of the history."""
_ENTRIES = 100


class Entry(msgspec.Struct, frozen=True):
    """One change: the numbers before and after it, by dotted key (`preprocess.canny.0`)."""

    ident: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    gesture: str
    at_s: float

    def as_json(self) -> dict[str, Any]:
        """Return it as the page shows it."""
        return {"id": self.ident, "keys": list(self.after), "before": dict(self.before), "after": dict(self.after)}

    @property
    def empty(self) -> bool:
        """Whether nothing has changed, as when a slider was dragged back."""
        return self.before == self.after


class RuntimeSettings:
    """The runtime settings of one run. Any thread may use it; `save` may block on the disk.

    `path` is the configuration file, or None; `state` starts with its values. `defaults` holds where it says nothing.
    """

    def __init__(
        self,
        state: State,
        path: Path | None = None,
        *,
        defaults: Tuning | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._state = state
        self._clock = clock
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._saved = self.values()
        self._before_save: dict[str, Any] = {}
        """What the file had, for keys that were saved since the model's settings were read."""
        self._defaults = _values(defaults or state.tuning)
        self._history: deque[Entry] = deque(maxlen=_ENTRIES)
        self._revision = 0

    def values(self) -> dict[str, Any]:
        """Return the values in force by dotted key, tuples as lists and blocks as dictionaries."""
        return _values(self._state.tuning)

    def as_json(self) -> dict[str, Any]:
        """Return values, defaults, what the file has, and what can be undone and saved."""
        with self._lock:
            values, newest = self.values(), self._newest()
            return {
                "values": values,
                "defaults": self._defaults,
                "kept": self._saved,
                "changed": [key for key, value in values.items() if value != self._saved.get(key)],
                "can_undo": newest is not None,
                "undo": newest.as_json() if newest else None,
                "can_keep": self.path is not None,
                "file": str(self.path) if self.path else None,
                "revision": self._revision,
            }

    def change(self, values: Mapping[str, Any], gesture: str = "") -> None:
        """Set values by dotted key, or single numbers of them (`preprocess.canny.0`); none when one is wrong.

        Changes with the same `gesture` (a slider being dragged) are one entry of the history; without a name, changes
        in quick succession are. Raises `ConfigError`.
        """
        with self._lock:
            values, found = self._with_controls(values)
            before = _leaves(self.values()) | found
            self._apply(values)
            self._saved |= found
            after = _leaves(self.values())
            keys = frozenset(key for key, value in after.items() if before.get(key) != value)
            fresh = bool(keys) and self._remember(keys, before, after, gesture)
        if fresh:
            self._announce(keys)

    def undo(self, ident: int | None = None) -> bool:
        """Undo one change (None: the newest) and nothing else; False if there is none.

        Numbers that were changed since stay. Raises `ConfigError` if all were, or the change is not known any more.
        """
        with self._lock:
            newest = self._newest()
            if newest is None and ident is None:
                return False
            entry = newest if ident is None else next((e for e in self._history if e.ident == ident), None)
            if entry is None:
                raise ConfigError("this change has been undone already", "see what the settings are now")
            now = _leaves(self.values())
            back = {key: value for key, value in entry.before.items() if now.get(key) == entry.after[key]}
            if not back and entry is not newest:
                raise ConfigError(f"{', '.join(entry.after)} has been changed since", "undo the later change first")
            self._history.remove(entry)
            self._apply(back)
            self._revision += 1
        self._announce(frozenset(back))
        return True

    def save(self) -> list[str]:
        """Write what differs from the file into it and return its keys. Raises `ConfigError`."""
        if self.path is None:
            raise ConfigError("there is no configuration file to save this in", "start with -c FILE")
        with self._saving:  # reading the settings meanwhile does not wait for the disk
            with self._lock:
                values = self.values()
                unsaved = {key: value for key, value in values.items() if value != self._saved.get(key)}
            if unsaved:
                try:
                    config.save(self.path, {key: _tidy(value) for key, value in unsaved.items()})
                except config.NotSaved as error:
                    self._note_saved({key: value for key, value in unsaved.items() if key not in error.keys})
                    raise
                except ConfigError as error:
                    error.add_hint("the settings stay in force until a restart")
                    raise
                self._note_saved(unsaved)
        return list(unsaved)

    def _note_saved(self, values: Mapping[str, Any]) -> None:
        with self._lock:
            for key, value in values.items():
                self._before_save.setdefault(key, self._saved.get(key))
                self._saved[key] = value
            self._revision += 1

    def follow_model(self, kept: Tuning, defaults: Tuning) -> None:
        """Change to the settings of another model, which runs from now on.

        `kept`: the file's values for it; `defaults`: those where the file says nothing. Unsaved changes that do not
        belong to the model stay, and so do those that were saved after `kept` was read. Changes of another chain cannot
        be undone any more.
        """
        with self._lock:
            now, saved = self._state.tuning, _values(kept)
            live = {
                key: value
                for key, value in self.values().items()
                if not key.startswith("preprocess.") and value != self._saved.get(key)
            }
            for key, before in self._before_save.items():
                if not key.startswith("preprocess.") and saved.get(key) == before:
                    saved[key] = self._saved[key]
                    live.setdefault(key, saved[key])
            self._before_save.clear()
            if kept.preprocess != now.preprocess:
                others = [
                    entry for entry in self._history if not any(key.startswith("preprocess.") for key in entry.after)
                ]
                self._history = deque(others, maxlen=_ENTRIES)
            self._state.tune(kept.preprocess, kept.decide, kept.controls)
            self._saved, self._defaults = saved, _values(defaults)
            self._apply(live)
            self._revision += 1

    def _with_controls(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values with the camera's own settings under the names and numbers to store.

        The second dictionary has the camera's current values of those that are set for the first time, for undo.
        """
        stored: dict[str, Any] = {}
        found: dict[str, Any] = {}
        controls = self._state.tuning.controls
        for key, value in values.items():
            if not key.startswith(_CONTROLS):
                stored[key] = value
                continue
            control = self._control(key)
            name = camera_controls.asked_name(control, controls) or control.name
            number = camera_controls.number(control, control.default if value is None else value)
            stored[_CONTROLS + name] = number
            if name not in controls:
                found[_CONTROLS + name] = control.default if control.value is None else control.value
        return stored, found

    def _control(self, key: str) -> Control:
        report = self._state.camera.report
        if report is None:
            raise ConfigError(f"{key}: no camera is open", "try again when there is a picture")
        return camera_controls.find(key.removeprefix(_CONTROLS), report.controls, report.camera)

    def _apply(self, values: Mapping[str, Any]) -> None:
        now = self._state.tuning
        parts: dict[str, dict[str, Any]] = {"decide.": {}, "preprocess.": {}, _CONTROLS: {}}
        controls = {key: value for key, value in values.items() if key.startswith(_CONTROLS)}
        others = {key: value for key, value in values.items() if key not in controls}
        for key, value in (_wholes(others, self.values()) | controls).items():
            section = next(section for section in parts if key.startswith(section))
            parts[section][key.removeprefix(section)] = value
        chain = _changed(now.preprocess, parts["preprocess."], "preprocess")
        decide = _changed(now.decide, parts["decide."], "decide")
        asked = now.controls | parts[_CONTROLS] if controls else now.controls
        if Tuning(chain, decide, asked) != now:
            self._state.tune(chain, decide, asked)

    def _remember(
        self, keys: frozenset[str], before: Mapping[str, Any], after: Mapping[str, Any], gesture: str
    ) -> bool:
        """Note a change in the history; True if it begins a new entry."""
        self._revision += 1
        now_s, was, ident = self._clock(), {key: before[key] for key in sorted(keys)}, self._revision
        begun = self._begun(keys, gesture, now_s)
        if begun is not None:
            self._history.remove(begun)
            was, ident = {**was, **begun.before}, begun.ident
        self._history.append(Entry(ident, was, {key: after[key] for key in was}, gesture, now_s))
        return begun is None

    def _begun(self, keys: frozenset[str], gesture: str, now_s: float) -> Entry | None:
        """Return the entry that a change continues, if there is one."""
        if gesture:
            return next((entry for entry in self._history if entry.gesture == gesture), None)
        last = self._history[-1] if self._history else None
        quick = last is not None and not last.gesture and now_s - last.at_s <= _PAUSE_S
        return last if last is not None and quick and keys == last.after.keys() else None

    def _newest(self) -> Entry | None:
        """Return the newest entry that changed anything."""
        return next((entry for entry in reversed(self._history) if not entry.empty), None)

    def _announce(self, keys: frozenset[str]) -> None:
        if keys:
            self._state.announce(Change("tuning", time.time(), part=", ".join(sorted(keys))))


def _values(tuning: Tuning) -> dict[str, Any]:
    chain = msgspec.to_builtins(tuning.preprocess)
    found = {f"decide.{name}": getattr(tuning.decide, name) for name in _DECIDE}
    found |= {f"preprocess.{name}": _plain(chain[name]) for name in _CHAIN if name in chain}
    return found | {f"{_CONTROLS}{name}": value for name, value in tuning.controls.items()}


def _wholes(values: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with single numbers merged into them. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in now:
            found[key] = value
            continue
        whole, _, part = key.rpartition(".")
        block = _opened(whole, found.get(whole, now.get(whole)))
        index = list_index(part, len(block)) if isinstance(block, list) else None
        if index is not None:
            found[whole] = [*block[:index], value, *block[index + 1 :]]
        elif isinstance(block, dict) and part in block:
            found[whole] = region.simplest({**block, part: value}) if whole == _REGION else {**block, part: value}
        else:
            there = config.is_key(key) and not key.startswith("preprocess.")
            what = "cannot be changed while running" if there or whole in now else "no such key"
            near = difflib.get_close_matches(key, now, n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near and not there else f"keys that can be changed: {', '.join(now)}"
            raise ConfigError(f"{key}: {what}", hint)
    return found


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the single numbers in `values` by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        value = _opened(prefix + key, value)
        if isinstance(value, list):
            value = dict(zip(map(str, range(len(value))), value, strict=True))
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _opened(key: str, value: Any) -> Any:
    """Return the block that a value stands for: a region is three numbers even if only its size is given."""
    return msgspec.to_builtins(region.of(value)) if key == _REGION and isinstance(value, (int, float)) else value


def _changed(section: Any, values: Mapping[str, Any], where: str) -> Any:
    if not values:
        return section
    try:
        return msgspec.convert({**msgspec.to_builtins(section), **values}, type(section), strict=True)
    except msgspec.ValidationError as error:
        raise refused(str(error), type(section), where) from error
    except UnicodeError as error:  # half a surrogate pair: valid in JSON, but cannot be written
        raise ConfigError(f"{', '.join(values)}: not valid text", "write it as UTF-8") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value == int(value) else value
