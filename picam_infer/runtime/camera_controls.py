"""A camera's own settings (exposure, focus, gain…): which it has, what values mean, and in which order to set them."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from picam_infer.core import ConfigError, ControlValue, Source

Number = int | float
_KEY = "capture.controls"
_GONE = (errno.ENODEV, errno.ENOENT, errno.ENXIO)


class Control(msgspec.Struct, frozen=True):
    """One setting of a camera and its value now."""

    name: str
    """As `v4l2-ctl --list-ctrls` writes it: `exposure_time_absolute`."""
    title: str
    """The driver's own words: `Exposure Time, Absolute`."""
    kind: Literal["integer", "float", "boolean", "menu", "bitmask"]
    minimum: Number
    maximum: Number
    step: Number
    default: Number
    value: Number | None = None
    """None: the driver does not say."""
    menu: Mapping[int, str] = msgspec.field(default_factory=dict)
    """The choices of a `menu`: value → the driver's words."""
    aliases: tuple[str, ...] = ()
    """Its names in other kernel versions."""
    inactive: bool = False
    """An automatic mode controls it now, so setting a value has no effect."""
    volatile: bool = False
    """It changes by itself."""
    id: int = 0
    """The driver's id."""

    @property
    def automatic(self) -> bool:
        """Whether it switches an automatic mode, which has to be off before what it controls can be set."""
        return "auto" in f"{self.name} {self.title.lower()}" or self.name in ("ae_enable", "awb_enable", "af_mode")

    @property
    def choices(self) -> str:
        """The values that it takes, for people: `3 to 2047, default 250`."""
        if self.kind == "menu":
            return "one of " + ", ".join(f"{number} ({text})" for number, text in self.menu.items())
        if self.kind == "boolean":
            return f"0 or 1, default {_shown(self.default)}"
        return f"{_shown(self.minimum)} to {_shown(self.maximum)}, default {_shown(self.default)}"

    def __str__(self) -> str:
        now = "" if self.value is None else f", now {_shown(self.value)}"
        takes = f"{self.choices}, default {_shown(self.default)}" if self.kind == "menu" else self.choices
        return f"{self.name}: {takes}{now}{' (set by an automatic mode)' if self.inactive else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "step": self.step,
            "default": self.default,
            "value": self.value,
            "menu": [{"value": value, "text": text} for value, text in self.menu.items()],
            "inactive": self.inactive,
        }


@runtime_checkable
class Adjustable(Protocol):
    """A source whose camera has settings. The thread that reads it calls these."""

    def controls(self) -> Sequence[Control]:
        """Return them with their values now. Raises `OSError` when the camera is gone."""

    def set_control(self, control: Control, value: Number) -> None:
        """Set one. Raises `OSError` when the driver refuses."""


class Report(msgspec.Struct, frozen=True):
    """The outcome of setting what was asked for."""

    camera: str
    controls: tuple[Control, ...] = ()
    asked: Mapping[str, ControlValue] = msgspec.field(default_factory=dict)
    problems: Mapping[str, str] = msgspec.field(default_factory=dict)
    """By the name that was asked for: why it is not set, and what to do."""

    def as_json(self) -> dict[str, Any]:
        """Return `/api/controls`."""
        rows = []
        for control in self.controls:
            name = asked_name(control, self.asked)
            rows.append({**control.as_json(), "asked": self.asked.get(name), "problem": self.problems.get(name, "")})
        return {"camera": self.camera, "controls": rows, "problems": list(self.problems.values())}


def _shown(value: Number) -> str:
    return f"{value:g}" if isinstance(value, float) else str(int(value))


def normalised(title: str) -> str:
    """Return a title as v4l2-ctl writes it: `Exposure Time, Absolute` → `exposure_time_absolute`."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def asked_name(control: Control, names: Iterable[str]) -> str:
    """Return which of the names is this control's, in any kernel version; empty: none."""
    return next((name for name in names if normalised(name) in (control.name, *control.aliases)), "")


def _find(name: str, controls: Iterable[Control]) -> Control | None:
    wanted, listed = normalised(name), tuple(controls)
    exact = next((control for control in listed if control.name == wanted), None)
    return exact or next((control for control in listed if wanted in control.aliases), None)


def find(name: str, controls: Sequence[Control], camera: str) -> Control:
    """Return the control of that name, in any kernel version. Raises `ConfigError`, which suggests similar names."""
    found = _find(name, controls)
    if found is not None:
        return found
    if not controls:
        raise ConfigError(f"{_KEY}.{name}: {camera} has no controls that can be set", f"remove it from {_KEY}")
    names = [control.name for control in controls]
    words = [one for one in names if set(one.split("_")) & set(normalised(name).split("_")) - {"auto", "absolute"}]
    near = list(dict.fromkeys([*difflib.get_close_matches(normalised(name), names, n=2, cutoff=0.6), *words]))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(names)}"
    raise ConfigError(f"{_KEY}.{name}: {camera} has no such control", hint)


def number(control: Control, value: Any, name: str = "") -> Number:
    """Return what to send to the driver: a menu's words become its number. Raises `ConfigError`."""
    where = f"{_KEY}.{name or control.name}"
    if isinstance(value, str):
        chosen = [n for n, text in control.menu.items() if normalised(text) == normalised(value)]
        if not chosen:
            raise ConfigError(f"{where}: {value!r} is not one of its values", control.choices)
        return chosen[0]
    if not isinstance(value, (int, float)):
        raise ConfigError(f"{where}: expected a number", control.choices)
    given = value if control.kind == "float" else int(value) if value == value // 1 else value
    whole = isinstance(given, int) or control.kind == "float"
    listed = control.kind != "menu" or given in control.menu
    if not (whole and listed and control.minimum <= given <= control.maximum):
        raise ConfigError(
            f"{where}: {_shown(value)} is out of range" if whole else f"{where}: expected a whole number",
            control.choices,
        )
    return given


def apply(source: Adjustable, camera: str, wanted: Mapping[str, ControlValue]) -> Report:
    """Set the wanted values, automatic modes first. One that cannot be set is reported; the others are still set."""
    problems: dict[str, str] = {}
    try:
        known = tuple(source.controls())
        plan: list[tuple[str, Control, Number]] = []
        for name, value in wanted.items():
            try:
                control = find(name, known, camera)
                plan.append((name, control, number(control, value, name)))
            except ConfigError as error:
                problems[name] = str(error)
        plan.sort(key=lambda step: not step[1].automatic)
        refused = {}
        for name, control, value in plan:
            try:
                source.set_control(control, value)
            except OSError as error:
                refused[name] = error.strerror or str(error)
        after = tuple(source.controls())
    except OSError as error:
        if error.errno not in _GONE and wanted:  # if the camera is gone, the next read says so
            problems = {next(iter(wanted)): f"{_KEY}: {camera} cannot be asked for its controls ({error.strerror})"}
        return Report(camera, (), wanted, problems)
    for name, control, value in plan:
        why = _shortfall(next((c for c in after if c.name == control.name), control), value, refused.get(name))
        if why:
            problems[name] = f"{_KEY}.{name}: {why}{_ruler(control, after)}"
    return Report(camera, after, wanted, problems)


def apply_to(source: Source, wanted: Mapping[str, ControlValue]) -> Report:
    """Set the wanted values on any source; one without settings is reported."""
    if isinstance(source, Adjustable):
        return apply(source, source.description, wanted)
    camera = source.description
    problem = f"{_KEY}: {camera} has no controls that can be set; only cameras have (see: picam-infer devices)"
    return Report(camera, (), wanted, dict.fromkeys(list(wanted)[:1], problem))


def _shortfall(control: Control, value: Number, refused: str | None) -> str:
    if refused is not None:
        return f"the camera refuses {_shown(value)} ({refused})"
    if control.value is None or control.volatile or abs(control.value - value) <= control.step:
        return ""
    return f"the camera has {_shown(control.value)} instead of {_shown(value)}"


def _ruler(control: Control, controls: Sequence[Control]) -> str:
    """Return the hint that names the automatic mode which keeps a control from being set."""
    now = _find(control.name, controls)
    words = set(re.findall(r"[a-z]+", control.name)) - {"absolute", "time", "auto", "temperature"}
    rulers = [c for c in controls if c.automatic and c.name != control.name and words & set(c.name.split("_"))]
    if now is None or not (now.inactive and rulers):
        return ""
    off = next((n for n, text in rulers[0].menu.items() if "manual" in text.lower()), 0)
    return f"; an automatic mode controls it: set {rulers[0].name}: {off}"
