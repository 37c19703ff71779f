"""Events as JSON POSTs: signed, with a picture if wanted, retried with growing pauses."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from picam_infer import __version__
from picam_infer.config import Webhook
from picam_infer.core import BadFrame, ConfigError
from picam_infer.imaging import jpeg
from picam_infer.outputs.events.outlet import LONGEST_WAIT_S, DeliveryError, Event
from picam_infer.outputs.events.reasons import reason, remedy, tls_context
from picam_infer.platform import secret_file, utf8
from picam_infer.platform.secret_file import SecretError

_AGAIN = frozenset({408, 425, 429})
AGAIN_S = 3600.0
"""A picture that was too large is tried again after this time: the receiver may have another limit by then."""
_IN_PATHS = "/?%:@!$&'()*+,;=~[]"

_STATUS = {
    401: "check the access that it asks for",
    403: "check the access that it asks for",
    404: "check the path of url",
    405: "check the path of url: that one takes no POST",
    410: "check the path of url",
    413: "lower capture.width and height, or set snapshot: false",
}
"""What to do about a status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What of a response counts."""

    status: int
    location: str = ""
    retry_after: str = ""

    def refusal(self) -> DeliveryError:
        """Return what a status other than 2xx means."""
        said = f"answered {self.status} {http.client.responses.get(self.status, '')}".strip()
        if self.status // 100 == 3:
            return DeliveryError(said, final=True, hint=self.redirect)
        later = self.status // 100 == 5 or self.status in _AGAIN
        after_s = float(self.retry_after) if self.retry_after.isascii() and self.retry_after.isdigit() else 0.0
        hint = _STATUS.get(self.status, "look into the receiver's log")
        return DeliveryError(said, final=not later, after_s=min(after_s, LONGEST_WAIT_S), hint=hint)

    @property
    def redirect(self) -> str:
        """Where a redirect points, without its path, which may be a secret."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(self.location)
            if parts.netloc:
                return f"redirects are not followed; give {parts.scheme}://{parts.netloc.rpartition('@')[2]}/… as url"
        return "redirects are not followed; give the address that it redirects to as url"


class Hook:
    """Posts to one address. Redirects are not followed: the secret's signature is for that address only."""

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        try:
            self._url = urlsplit(settings.url)
        except ValueError as error:
            raise ConfigError(f"events: {settings.url} is not an address ({error})", "correct its url") from error
        # Without its path, which many services use as a secret.
        self.name = self._url.netloc.rpartition("@")[2]
        self._too_large = 0
        """The smallest picture that was too large, in characters of base64; 0: none was yet."""
        self._found_s = 0.0
        self.retries: int | None = settings.retries
        self.pictures = settings.snapshot
        self.note = ""

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Post it. Raises `DeliveryError`, final for answers that will not change."""
        picture = self._picture(event)
        body = self._body(event, picture)
        if picture and self._is_too_large(picture):
            picture, body = "", self._body(event)
        answer = self._post(body, event.ident)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and picture:
            self._leave_out(len(picture), len(body))
            answer = self._post(self._body(event), event.ident)
        elif picture and answer.status // 100 == 2 and len(picture) >= self._too_large:
            self._too_large, self.note = 0, ""
        if answer.status // 100 != 2:
            raise answer.refusal()

    def _leave_out(self, size: int, whole: int) -> None:
        self._too_large, self._found_s = min(size, self._too_large or size), time.monotonic()
        if not self.note:
            self.note = (f"pictures are left out (it does not take {whole} bytes): raise the receiver's limit, lower "
                         "capture.width and height, or set snapshot: false")  # fmt: skip

    def _is_too_large(self, picture: str) -> bool:
        fresh = time.monotonic() - self._found_s < AGAIN_S
        return fresh and 0 < self._too_large <= len(picture)

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        """Nothing is due."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _picture(self, event: Event) -> str:
        """Return the picture in base64; empty: none."""
        if event.frame is not None and self.pictures:
            with contextlib.suppress(BadFrame):
                return base64.b64encode(jpeg.portable(event.frame)).decode()
        return ""

    def _body(self, event: Event, picture: str = "") -> bytes:
        body = event.as_json()
        if picture:
            body["snapshot"] = {"type": "image/jpeg", "base64": picture}
        return utf8.json_bytes(body)

    def _post(self, body: bytes, ident: str) -> Answer:
        return self.request("POST", body, self._headers(body, ident))

    def request(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send one request and return what was answered. Raises `DeliveryError`."""
        timeout_s = self._settings.timeout_s
        connection = self._connection(timeout_s)
        # A socket's time-out restarts with every byte; this one is for the whole exchange.
        late = threading.Event()
        alarm = threading.Timer(timeout_s, _hang_up, (connection, late))
        alarm.daemon = True
        alarm.start()
        try:
            path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            try:
                connection.request(method, quote(path, safe=_IN_PATHS), body, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                # Who finds the body too large may answer and hang up before all of it is sent.
                if connection.sock is None:
                    raise
            return _answer(connection)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                hint = "check the address, and the firewall in between; a slow receiver needs a higher timeout_s"
                raise DeliveryError(f"no answer within {timeout_s:g} s", hint=hint) from error
            raise DeliveryError(reason(error), hint=remedy(error, self._settings.ca_file)) from error
        finally:
            alarm.cancel()
            connection.close()

    def _headers(self, body: bytes, ident: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"picam-infer/{__version__}",
            "X-Picam-Event": ident,
        }
        if self._settings.secret_file:
            stamp = str(int(time.time()))
            signature = hmac.new(
                _secret(self._settings.secret_file), stamp.encode() + b"." + body, "sha256"
            ).hexdigest()
            headers |= {"X-Picam-Timestamp": stamp, "X-Picam-Signature-256": f"sha256={signature}"}
        if self._url.username is not None:
            pair = f"{self._url.username}:{self._url.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        try:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                context = tls_context(self._settings.ca_file)
                return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        except (OSError, ValueError) as error:
            raise DeliveryError(reason(error), counts=False, hint=remedy(error, self._settings.ca_file)) from error


def _answer(connection: http.client.HTTPConnection) -> Answer:
    """Wait for the response. Raises `OSError` and `http.client.HTTPException`."""
    try:
        response = connection.getresponse()
    except http.client.RemoteDisconnected:
        raise
    except ConnectionResetError as error:
        # Who hangs up with a part of the request unread resets the connection instead of ending it.
        raise http.client.RemoteDisconnected(str(error)) from error
    return Answer(response.status, response.getheader("Location", ""), response.getheader("Retry-After", ""))


def _secret(place: str) -> bytes:
    try:
        secret = secret_file.read(place)
    except SecretError as error:
        raise DeliveryError(f"secret_file: {error.message}", counts=False, hint=error.hint) from None
    if not secret:
        raise DeliveryError(f"secret_file: {place} is empty", counts=False, hint="write the secret into it")
    return secret


def _hang_up(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
