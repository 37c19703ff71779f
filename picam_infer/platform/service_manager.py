"""The installed services as systemd knows them: which there are, their state, reloading them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from picam_infer.core import PicamError, Unavailable, UsageError

SETTINGS = Path("/etc/picam-infer")
MAIN = "config"
"""The configuration's name without an ending; every other one belongs to picam-infer@NAME."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SUDO = "put sudo in front; members of the group picam-infer may do it from their next login on"
_BY_HAND = "picam-infer run works without a service"
_NO_SYSTEMD = ("onnect to bus", "onnect to system scope bus", "not been booted with systemd")
_LIMIT_S = 60
LONGEST_S = 330
"""Longer than the unit lets a start or a reload take (TimeoutStartSec=): systemd itself has ended one by then."""
_POLL_S = 0.3
_AT_WORK = ("activating", "reloading")
"""States that systemd itself ends after a time."""


class Service(msgspec.Struct, frozen=True):
    """One service, by its configuration's name."""

    name: str
    folder: Path

    @property
    def unit(self) -> str:
        """`picam-infer.service`, or `picam-infer@NAME.service`."""
        return "picam-infer.service" if self.name == MAIN else f"picam-infer@{self.name}.service"

    @property
    def settings(self) -> Path:
        """Its configuration file."""
        return self.folder / f"{self.name}.yaml"


class Condition(msgspec.Struct, frozen=True):
    """The state of a service."""

    active: str
    """active, reloading, activating, inactive or failed."""
    status: str
    """Its last status text."""
    changed: str
    """When it last changed from one into the other; a reload that ended is a change."""


def named(name: str) -> Service:
    """Return the service of that name. Raises `UsageError` for a name that no unit can have."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a service", "use letters, digits, - and _, for example bench")
    return Service(name, SETTINGS)


def installed(name: str, instead: str) -> Service:
    """Return the service of that name, which is there. Raises `UsageError`, `Unavailable` (with what to do instead)."""
    service = named(name)
    if not service.settings.is_file():
        raise Unavailable(f"there is no service with the configuration {service.settings}",
                          f"install it first (scripts/install.sh), or {instead}")  # fmt: skip
    return service


def require_writable(*folders: Path) -> None:
    """Raise `Unavailable` for a folder that this user may not change."""
    for folder in folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Unavailable(f"{folder} cannot be written", SUDO)


def services() -> list[Service]:
    """Return the services that have a configuration, the one without a name first."""
    names = [path.stem for path in sorted(SETTINGS.glob("*.yaml")) if _NAME.fullmatch(path.stem)]
    return [Service(name, SETTINGS) for name in sorted(names, key=lambda name: name != MAIN)]


def condition(service: Service) -> Condition:
    """Return the state of a service. Raises `Unavailable` where systemd does not answer."""
    told = systemctl("show", "-p", "ActiveState,StatusText,StateChangeTimestampMonotonic", service.unit)
    fields = dict(line.partition("=")[::2] for line in told.splitlines())
    return Condition(
        fields.get("ActiveState", ""), fields.get("StatusText", ""), fields.get("StateChangeTimestampMonotonic", "")
    )


def reload(service: Service, patience_s: float = _LIMIT_S) -> Condition:
    """Make a service read its settings again, or start it, and wait until it sees something or says what is wrong.

    `patience_s`: how long it may wait without a sign of progress. Raises `Unavailable` where this is not allowed,
    `PicamError` when nothing comes of it in that time.
    """
    before = condition(service)
    systemctl("reload-or-restart", service.unit)
    return _until(service, lambda now: now.changed != before.changed and _settled(now), patience_s)


def start(service: Service, patience_s: float = _LIMIT_S) -> Condition:
    """Start a service, now and at every boot, and wait as `reload` does."""
    systemctl("enable", "--now", "--quiet", service.unit)
    return _until(service, _settled, patience_s)


def show_window(service: Service) -> None:
    """Let a service open its window again. Raises `Unavailable`."""
    systemctl("start", service.unit)
    systemctl("kill", "--kill-whom=main", "--signal=SIGWINCH", service.unit)


def _settled(now: Condition) -> bool:
    return now.active == "failed" or (now.active == "active" and not now.status.startswith("waiting"))


def _until(service: Service, over: Callable[[Condition], bool], patience_s: float) -> Condition:
    """Wait for a condition for as long as the service makes progress: it starts or reloads, or has a new status."""
    began_s = time.monotonic()
    ends_s, last = began_s + patience_s, None
    while (now := _asked_again(service, ends_s)) is None or not over(now):
        if now is not None:
            if now.active in _AT_WORK or now != last:
                ends_s = time.monotonic() + patience_s
            if time.monotonic() > min(ends_s, began_s + max(patience_s, LONGEST_S)):
                waited_s, told = time.monotonic() - began_s, now.status or now.active
                raise PicamError(f"{service.unit} has seen nothing after {waited_s:.0f} s ({told})",
                                 f"journalctl -u {service.unit} -n 20 tells more")  # fmt: skip
        last = now
        time.sleep(_POLL_S)
    return now


def _asked_again(service: Service, ends_s: float) -> Condition | None:
    """Return the state of a service; None: systemd was too slow to answer, on a machine that is busy with a model."""
    try:
        return condition(service)
    except Unavailable:
        if time.monotonic() > ends_s:
            raise
        return None


def systemctl(*words: str) -> str:
    """Run systemctl and return what it prints. Raises `Unavailable` with its reason."""
    command = ("systemctl", "--no-ask-password", *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S * 6, check=False)
    except FileNotFoundError as error:
        raise Unavailable("this machine has no systemd", _BY_HAND) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"systemd did not answer `{' '.join(command)}`", "try again") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if any(word in said for word in ("ccess denied", "uthentication", "ermission")):
            raise Unavailable(f"systemd refuses `systemctl {' '.join(words)}`", SUDO)
        if any(word in said for word in _NO_SYSTEMD):
            raise Unavailable("systemd does not run on this machine", _BY_HAND)
        raise Unavailable(f"`systemctl {' '.join(words)}` failed: {said}", "systemctl status tells more")
    return done.stdout
