"""Events as messages for people, with a picture: Telegram, email and whatever else the library Apprise supports."""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from picam_infer.config import Notify
from picam_infer.core import BadFrame, percent
from picam_infer.imaging import jpeg
from picam_infer.outputs.events.outlet import DeliveryError, Event
from picam_infer.platform import secret_file, utf8
from picam_infer.platform.secret_file import SecretError
from picam_infer.runtime.schedule import in_words

if TYPE_CHECKING:
    from apprise import AttachBase, NotifyBase

MISSING = "the library Apprise is not installed"
_ADDRESSES = "one address a line, as Apprise writes them: SERVICE://…"
INSTALL = "install picam-infer with the extra `notify`, or: pip install apprise"
_AGAIN = frozenset({408, 425, 429})
_SMTP_TOO_LARGE = 552
# What services' exceptions say, in our words; checked in this order.
_SAYINGS = (
    (r"CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    (r"Name or service not known|nodename nor servname|No address associated", "its name is not known here"),
    (r"[Tt]emporary failure in name resolution", "no name server answers"),
    (r"Connection refused", "connection refused"),
    (r"[Tt]imed? ?out", "no answer"),
    (r"No route to host|Network is unreachable", "the network is unreachable"),
)


class Messages:
    """Sends through all services in a file, one after the other; one that has an event does not get it again.

    The addresses are secrets: they are neither logged nor shown, and of what Apprise says only known words are.
    """

    def __init__(self, settings: Notify) -> None:
        self.name = "notify"
        self.pictures = settings.snapshot
        self.retries: int | None = settings.retries
        self.note = ""
        self._settings = settings
        self._services: list[NotifyBase] = []
        self._text: str | None = None
        self._under_way: tuple[str, dict[int, str]] = ("", {})
        """The event, and for each service that is done with it why it did not take it (empty: it did)."""
        self._hanging: threading.Thread | None = None
        self._without = ""
        """Why messages go without their picture."""

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Send it. Raises `DeliveryError`; final when all that is left are services that will never take it."""
        services = self._loaded()
        if self._under_way[0] != event.ident:
            self._under_way = (event.ident, {})
        done, later = self._under_way[1], []
        for number, service in enumerate(services):
            if number in done:
                continue
            try:
                self._send(service, event)
                done[number] = ""
            except DeliveryError as error:
                told = f"{service.service_name}: {error.reason}"
                if error.final:
                    done[number] = told
                else:
                    later.append(told)
        never = [told for told in done.values() if told]
        if later or never:
            raise DeliveryError("; ".join(never + later), final=not later)

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        """Notice early what is wrong with the addresses."""
        self._loaded()
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _loaded(self) -> list[NotifyBase]:
        """Return the services of the file, read again when it has changed."""
        place = self._settings.urls_file
        text = read_addresses(place)
        if text != self._text:
            self._text, self._under_way = None, ("", {})
            self._services = [service for _, service in services(text, place, self._settings.timeout_s)]
            self._text = text
        self.note = str(secret_file.exposed(place) or self._without)
        return self._services

    def _send(self, service: NotifyBase, event: Event) -> None:
        attachment = self._attachment(event)
        try:
            self._notify(service, event, attachment)
        except TooLarge:
            if attachment is None:
                raise
            self.note = self._without = (f"pictures are left out ({service.service_name} does not take them so large): "
                                         "lower capture.width and height, or set snapshot: false")  # fmt: skip
            self._notify(service, event, None)

    def _attachment(self, event: Event) -> AttachBase | None:
        if event.frame is None or not self.pictures:
            return None
        from apprise.attachment.memory import AttachMemory

        with contextlib.suppress(BadFrame):
            return AttachMemory(jpeg.portable(event.frame), name="picam-infer.jpg", mimetype="image/jpeg")
        return None

    def _notify(self, service: NotifyBase, event: Event, attachment: AttachBase | None) -> None:
        """Let Apprise send, in a thread: it has no time limit for the whole."""
        if self._hanging is not None and self._hanging.is_alive():
            raise DeliveryError("still busy with the message before")
        took: list[bool] = []
        said: list[str] = []
        self._hanging = worker = threading.Thread(
            target=lambda: took.append(_notified(service, self._settings.title, event, attachment, said)),
            name="notify", daemon=True)  # fmt: skip
        worker.start()
        worker.join(self._settings.timeout_s)
        if worker.is_alive():
            raise DeliveryError(f"no answer within {self._settings.timeout_s:g} s")
        if took != [True]:
            raise _refusal("\n".join(said))


class TooLarge(DeliveryError):
    """The service takes no message of that size."""


class _Ear(logging.Filter):
    """Takes what Apprise logs: it may hold addresses with their tokens, and reaches no handler."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[int, list[str]] = {}
        """What is said in a thread, for those that want to know."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what was said."""
        heard = self.said.get(record.thread or 0)
        if heard is not None:
            heard.append(record.getMessage())
        return False


_EAR = _Ear()


def _refusal(said: str) -> DeliveryError:
    """Return what went wrong, in words that hold no secret."""
    if found := re.search(r"\berror=(\d{3})\b|\((\d{3}), b['\"]", said):
        status = int(found[1] or found[2])
        if found[1]:
            text = f"answered {status} {http.client.responses.get(status, '')}".strip()
            kind = TooLarge if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else DeliveryError
            return kind(text, final=400 <= status < 500 and status not in _AGAIN)
        # SMTP counts the other way round: 5xx is for good (RFC 5321, 4.2.1), and 552 is too large.
        kind = TooLarge if status == _SMTP_TOO_LARGE else DeliveryError
        return kind(f"answered {status}", final=500 <= status < 600)
    for pattern, words in _SAYINGS:
        if re.search(pattern, said):
            return DeliveryError(words)
    return DeliveryError("it does not take the message")


def _notified(service: NotifyBase, title: str, event: Event, attachment: AttachBase | None, said: list[str]) -> bool:
    from apprise import NotifyFormat, NotifyType

    _EAR.said[threading.get_ident()] = said

    kind = NotifyType.WARNING if event.change.kind == "lost" else NotifyType.INFO
    attach: Any = [attachment] if attachment is not None else None
    body = utf8.encoded(message_text(event)).decode()  # a reason may quote a file name that is not UTF-8
    try:
        return bool(service.notify(
            body=body, title=title, notify_type=kind, attach=attach, body_format=NotifyFormat.TEXT
        ))  # fmt: skip
    except Exception as error:  # plugins of many authors: whatever they raise is a message that was not sent
        said.append(str(error))
        return False
    finally:
        del _EAR.said[threading.get_ident()]


def message_text(event: Event) -> str:
    """Return an event for people."""
    change = event.change
    if change.kind == "label":
        if change.result is not None:
            return change.result.in_words()
        return f"sees {change.label} ({percent(change.score)})" if change.label is not None else "sees nothing it knows"
    if change.kind == "lost":
        return f"{change.part} lost: {change.reason}" + (f"; {change.hint}" if change.hint else "")
    if change.kind == "found":
        return f"{change.part} is back"
    if change.kind == "paused":
        return "paused" + (f" until {in_words(change.until, time.time())}" if change.until else "")
    return "watching again"


def read_addresses(place: str) -> str:
    """Return the text with the addresses. Raises `DeliveryError`."""
    try:
        return secret_file.text(place)
    except SecretError as error:
        raise DeliveryError(f"urls_file: {error.message}", counts=False, hint=error.hint) from None


def services(text: str, place: str, timeout_s: float) -> list[tuple[int, NotifyBase]]:
    """Return line number and service of each address (one a line, # begins a comment). Raises `DeliveryError`."""
    try:
        from apprise import Apprise, AppriseAsset
    except ImportError as error:
        raise DeliveryError(MISSING, counts=False, hint=INSTALL) from error
    _quieten()
    asset = AppriseAsset(app_id="picam-infer", app_desc="picam-infer", async_mode=False)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        service: Any = Apprise.instantiate(address, asset=asset)
        if service is None:
            scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://", address)
            what = f"begins with {scheme[0]} and" if scheme else "has no scheme like tgram:// and"
            raise DeliveryError(
                f"{place}, line {number}: {what} is not an address that Apprise understands",
                counts=False,
                hint=_ADDRESSES,
            )
        for limit in ("socket_connect_timeout", "socket_read_timeout"):
            if getattr(service, limit, None) == getattr(type(service), limit, None):  # the address says nothing
                setattr(service, limit, timeout_s)
        found.append((number, service))
    if not found:
        raise DeliveryError(f"{place} holds no address", counts=False, hint=_ADDRESSES)
    return found


def _quieten() -> None:
    """Keep addresses and tokens out of the journal, at every log level."""
    ours = logging.getLogger("apprise")
    ours.addFilter(_EAR)
    ours.setLevel(logging.DEBUG)
    # At debug level it logs the path of each request, which for Telegram holds the bot's token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
