"""Whether the page is open to the network by `web.share`, until when, and its one-time logins."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config as configs
from picam_infer.config import UTC_TIME, Config, Web
from picam_infer.core import ConfigError
from picam_infer.platform import atomic_file
from picam_infer.platform.paths import state_folder
from picam_infer.runtime import page_address
from picam_infer.runtime.schedule import in_words

log = logging.getLogger(__name__)

INVITATION_S = 600.0
"""How long a one-time login can be used."""
_INVITATIONS = 8
"""How many may be outstanding at once; the oldest is dropped."""
_MOST_BYTES = 4096


class Opening(msgspec.Struct, frozen=True):
    """The page is open to the network."""

    until: float | None = None
    """Unix seconds; None: until somebody closes it."""

    def __str__(self) -> str:
        """Return it for people: `open to the network until 14:30`."""
        return f"open to the network {self.how_long}"

    @property
    def how_long(self) -> str:
        """`until it is closed`, or `until 14:30`."""
        return "until it is closed" if self.until is None else f"until {in_words(self.until, time.time())}"


class Invitation(msgspec.Struct, frozen=True, eq=False):
    """A one-time login."""

    code: str
    """The secret itself; it is in no file, and in no log."""
    ends_s: float
    """On CLOCK_MONOTONIC."""


class Share:
    """Opens the page to the network. Any thread may use it, but not a signal handler.

    It is stored as `web.share` in the configuration, so that it survives restarts and reloads. The web server, which
    owns the sockets, learns of changes through `listen`.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`path`: the configuration file; None: nothing is stored."""
        self.path = path
        self.now: Opening | None = None
        """None: the page listens where `web.listen` says, and nowhere else."""
        self.fault = ""
        """Why the page cannot be opened although it should be; set by the web server."""
        self.port = 0
        """The port that the page listens on, set by the web server; 0: none yet."""
        self.presented: Invitation | None = None
        """The one-time login on the monitor; None: none is shown."""
        self._settings: Web | bool = Web()
        self._ends_s = 0.0
        self._clock, self._monotonic = clock, monotonic
        self._keeping = threading.Lock()
        """Held from an opening or closing until it is stored, so that the file has the last of them. Taken before
        `_lock`, which nobody holds while waiting for the disk.
        """
        self._lock = threading.RLock()
        self._invited: dict[str, float] = {}
        """SHA-256 of each valid code, and when it expires (CLOCK_MONOTONIC)."""
        self._listeners: list[Callable[[], None]] = []

    # -- opening and closing ---------------------------------------------

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever `now` has changed, from the thread that changed it. Returns the undo."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    @property
    def always(self) -> bool:
        """Whether `web.listen` alone opens the page to the network."""
        settings = configs.chosen(self._settings, Web)
        return settings is not None and not configs.is_loopback(settings.listen.rpartition(":")[0])

    def follow(self, settings: Web | bool) -> None:
        """Apply a configuration that was read."""
        with self._lock:
            self._settings = settings
            chosen = configs.chosen(settings, Web)
            self._set(opening(chosen.share, self._clock()) if chosen else None)

    def open(self, for_s: float | None = None) -> None:
        """Open the page for so many seconds (None: until it is closed), and store that in the configuration.

        Raises `ConfigError` if there is no page; also if it was opened but that cannot be stored.
        """
        with self._keeping:
            with self._lock:
                if configs.chosen(self._settings, Web) is None:
                    raise ConfigError("the page is switched off", "set web: on in the configuration")
                if self.always:
                    return
                self._set(Opening(None if for_s is None else self._clock() + for_s))
            self._keep(True if for_s is None else stamp(self._clock() + for_s))

    def close(self) -> None:
        """Close it again. Raises `ConfigError` if `web.listen` opens it, or that cannot be stored."""
        with self._keeping:
            with self._lock:
                if self.always:
                    raise ConfigError(
                        "web.listen opens the page to the network", "to close it, set web.listen: 127.0.0.1:8080"
                    )
                self._set(None)
            self._keep(False)

    def tick(self) -> None:
        """Close it when the time is up. Call it a few times a second."""
        now = self.now
        if now is None or now.until is None:
            return
        # Setting the clock back must not prolong it; setting it forward may end it.
        if self._clock() >= now.until or self._monotonic() >= self._ends_s:
            with self._lock:
                if self.now is now:
                    self._set(None)

    def _set(self, opening: Opening | None) -> None:
        if opening is not None and opening.until is not None:
            self._ends_s = self._monotonic() + opening.until - self._clock()
        if opening == self.now:
            return
        before, self.now, self.fault = self.now, opening, ""
        if opening is None:
            self._invited.clear()
            self.presented = None
            log.info("the page is closed to the network again", extra={"PICAM_SHARE": "no"})
        elif str(opening) != str(before):  # opened again, it may stay open for seconds longer
            log.info("the page is %s", opening, extra={"PICAM_SHARE": "yes"})
        for listener in tuple(self._listeners):
            listener()

    def _keep(self, value: bool | str) -> None:
        """Store it, in the form that `web` has in the file now. Raises `ConfigError`."""
        if self.path is None:
            return
        try:
            with configs.changing(self.path) as change:
                web = configs.load(self.path).web if self.path.exists() else self._settings
                if isinstance(web, Web):
                    change({"web.share": value})
                elif web:  # `web: on` has no keys yet
                    change({"web": {"share": value}})
        except ConfigError as error:
            if self._listeners:  # elsewhere nobody has acted on it
                error.add_hint(f"the page is {'open' if value else 'closed'} until a restart")
            raise

    # -- one-time logins ---------------------------------------------------

    def invite(self) -> Invitation:
        """Make a one-time login."""
        invitation = Invitation(secrets.token_urlsafe(16), self._monotonic() + INVITATION_S)
        self._admit(digest(invitation.code), invitation.ends_s)
        return invitation

    def expect(self, path: Path) -> bool:
        """Accept a one-time login that was made elsewhere (`picam-infer share`) and left its digest in `path`.

        The file is removed. Returns False if there is none, or it has expired.
        """
        try:
            with path.open("rb") as file:
                told = json.loads(file.read(_MOST_BYTES))
            path.unlink()
            sha256, left_s = str(told["sha256"]), float(told["until"]) - self._clock()
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if not 0 < left_s <= INVITATION_S + 60 or len(sha256) != 64:
            return False
        self._admit(sha256, self._monotonic() + left_s)
        return True

    def redeem(self, code: str) -> bool:
        """Use a one-time login; False: it is unknown, used or expired."""
        given, now_s = digest(code), self._monotonic()
        with self._lock:
            known = next((one for one in self._invited if hmac.compare_digest(one, given)), None)
            good = known is not None and self._invited.pop(known) > now_s
            if self.presented is not None and digest(self.presented.code) == given:
                self.presented = None
        return good

    def present(self) -> None:
        """Show a one-time login on the monitor."""
        self.presented = self.invite()

    def dismiss(self) -> None:
        """Stop showing it; it cannot be used any more."""
        shown, self.presented = self.presented, None
        if shown is not None:
            with self._lock:
                self._invited.pop(digest(shown.code), None)

    def presenting(self) -> Invitation | None:
        """Return the one-time login to show on the monitor now."""
        shown = self.presented
        if shown is not None and shown.ends_s <= self._monotonic():
            self.dismiss()
            return None
        return shown

    def _admit(self, sha256: str, ends_s: float) -> None:
        with self._lock:
            now_s = self._monotonic()
            self._invited = {known: end for known, end in self._invited.items() if end > now_s}
            while len(self._invited) >= _INVITATIONS:
                del self._invited[next(iter(self._invited))]
            self._invited[sha256] = ends_s

    # -- for people ----------------------------------------------------------

    def addresses(self) -> list[str]:
        """Return the page's addresses for other machines; empty while there are none."""
        settings = configs.chosen(self._settings, Web)
        open_now = self.now is not None
        return page_address.from_elsewhere(settings, self.port, open_now) if settings and self.port else []

    def as_json(self) -> dict[str, Any]:
        """Return its part of `/api/state`."""
        now = self.now
        return {
            "open": now is not None or self.always,
            "until": now.until if now else None,
            "shared": now is not None,
            "text": str(now) if now else "",
            "fault": self.fault,
        }


def link(address: str, code: str) -> str:
    """Return the address for a QR code: the page's, with a one-time login.

    What follows the `#` is not sent to any server or proxy, nor logged, before the page itself sends it.
    """
    return f"{address}join#{code}"


def opening(value: bool | str, now: float) -> Opening | None:
    """Return the meaning of a value of `web.share` at a time (Unix seconds)."""
    if isinstance(value, bool):
        return Opening() if value else None
    until = datetime.strptime(value, UTC_TIME).replace(tzinfo=UTC).timestamp()
    return Opening(until) if until > now else None


def stamp(until: float) -> str:
    """Return a time (Unix seconds) as a value of `web.share`."""
    return datetime.fromtimestamp(until, UTC).strftime(UTC_TIME)


def digest(code: str) -> str:
    """Return the SHA-256 of a one-time login, in place of which files and memory hold it."""
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def invitation_file(settings: Path | None, state: Path | None = None) -> Path:
    """Return the file in which whoever opens the page leaves a login for the service with that configuration file.

    `state`: the service's state folder; None: it is this process's own.
    """
    name = settings.stem if settings else "config"
    return (state or state_folder()) / f"invitation-{name}.json"


def leave_word(path: Path, code: str, now: float) -> None:
    """Write what `Share.expect` reads. It is not secret: nobody can derive the code from it. Raises `OSError`."""
    told = {"sha256": digest(code), "until": now + INVITATION_S}
    atomic_file.write(path, (json.dumps(told) + "\n").encode(), durable=False)
    path.chmod(0o644)  # readable for a service of another user, whatever the umask


def only_sharing(one: Config, other: Config) -> bool:
    """Whether two configurations differ in nothing but who may reach the page."""
    return _without_share(one) == _without_share(other)


def _without_share(config: Config) -> Config:
    web = configs.chosen(config.web, Web)
    return msgspec.structs.replace(config, web=msgspec.structs.replace(web, share=False) if web else False)
