"""Events as JSON POSTs: signed, with a picture if asked for, tried again with growing pauses."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from picam_infer import __version__
from picam_infer.config import Webhook
from picam_infer.core import BadFrame, ConfigError
from picam_infer.imaging import jpeg
from picam_infer.outputs.events.outlet import Event, Undelivered

_AGAIN = frozenset({408, 425, 429})
_IN_PATHS = "/?%:@!$&'()*+,;=~[]"


class Hook:
    """Posts to one address. Redirects are not followed: the secret's signature is for that address only."""

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        try:
            self._url = urlsplit(settings.url)
        except ValueError as error:
            raise ConfigError(f"events: {settings.url} is no address ({error})", "correct its url") from error
        # Without its path, which is the secret of many a service.
        self.name = self._url.netloc.rpartition("@")[2]
        self.retries: int | None = settings.retries
        self.pictures = settings.snapshot

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Post it. Raises `Undelivered`, final for answers 4xx that will not change."""
        status = self._post(self._body(event), event.ident)
        if status // 100 != 2:
            final = status // 100 != 5 and status not in _AGAIN
            raise Undelivered(f"answered {status} {http.client.responses.get(status, '')}".strip(), final)

    def idle(self, waiting: Callable[[float], bool]) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is open."""

    def _body(self, event: Event) -> bytes:
        body = event.as_json()
        if event.frame is not None and self.pictures:
            with contextlib.suppress(BadFrame):
                picture = base64.b64encode(jpeg.portable(event.frame)).decode()
                body["snapshot"] = {"type": "image/jpeg", "base64": picture}
        return json.dumps(body, ensure_ascii=False).encode()

    def _post(self, body: bytes, ident: str) -> int:
        timeout_s = self._settings.timeout_s
        connection = self._connection(timeout_s)
        # A socket's time-out starts anew with every byte; this one is for the whole exchange.
        alarm = threading.Timer(timeout_s, _hang_up, (connection,))
        alarm.daemon = True
        alarm.start()
        began_s = time.monotonic()
        try:
            path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            connection.request("POST", quote(path, safe=_IN_PATHS), body, self._headers(body, ident))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() - began_s >= timeout_s * 0.95
            reason = f"no answer within {timeout_s:g} s" if late else _reason(error)
            raise Undelivered(reason) from error
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
                context = ssl.create_default_context(cafile=self._settings.ca_file or None)
                return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        except (OSError, ValueError) as error:
            raise Undelivered(_reason(error), counts=False) from error


def _secret(path: str) -> bytes:
    try:
        return Path(path).read_bytes().strip()
    except OSError as error:
        raise Undelivered(f"{path} cannot be read ({error.strerror})", counts=False) from error


def _hang_up(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
