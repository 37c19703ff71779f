"""One HTTP request to a camera, and its answer: a status, headers and a body that may never end."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from picam_infer.core import Disconnected, NoInput
from picam_infer.sources import address as addresses
from picam_infer.sources import causes
from picam_infer.sources.address import Address
from picam_infer.sources.challenge import Login
from picam_infer.sources.deferred_close import DeferredClose

_REDIRECTS = 5
_CHUNK = 65536
_MOST = 2**20
"""How many bytes are waited for and read at once: more than a picture has."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A camera's address with its credentials and time limits."""

    where: Address
    login: Login | None
    ca_file: str
    open_s: float
    """How long an answer may take."""
    quiet_s: float
    """How long a stream may be silent, at least."""

    @property
    def name(self) -> str:
        """The address without secrets."""
        return self.where.shown


class Reply:
    """An answer whose body is being read. One thread reads, any may close."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        # http.client drops the socket when the body ends with the connection.
        self._socket = connection.sock or _socket_of(response)
        self._ahead = b""
        self._least = 1
        self._limit_s = 0.0
        self._bare = False
        self._door = DeferredClose(self._hang_up)
        self.headers = response.headers
        self.status = response.status

    @property
    def kind(self) -> str:
        """The content type, in lower case; empty: none was given."""
        return self.headers.get_content_type() if "Content-Type" in self.headers else ""

    @property
    def length(self) -> int | None:
        """The length of the body in bytes, where it is given."""
        given = self.headers.get("Content-Length", "").strip()
        # Longer numbers are not lengths, and Python refuses to convert thousands of digits.
        return int(given) if given.isdecimal() and len(given) < 20 else None

    def read(self, limit_s: float, needed: int = 1) -> bytes:
        """Return the next bytes, empty at the end or when it was closed. Raises `TimeoutError` after silence.

        `needed`: the reader is not woken for fewer bytes than this, as far as the system can wait for so many at once.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        with self._door.reading() as is_open:
            if not is_open:
                return b""
            try:
                if self._socket is not None:
                    self._wait_at_most(limit_s)
                    self._wait_for(needed)
                return self._next(max(_CHUNK, min(needed, _MOST)))
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException, ValueError):
                return b""

    def _next(self, most: int) -> bytes:
        """Read once; a body without a length or chunks continues in the socket after the response's own buffer."""
        if self._bare and self._socket is not None:
            return self._socket.recv(most)
        data = bytes(self._response.read1(most))  # more than the buffer holds, so it is empty afterwards
        self._bare = bool(data) and not self._response.chunked and self._response.length is None
        return data

    def _wait_at_most(self, limit_s: float) -> None:
        """Set the socket's time-out, but not for a limit that hardly differs, as between a stream's pictures."""
        if self._socket is not None and not 0.9 * self._limit_s <= limit_s <= self._limit_s:
            self._limit_s = max(limit_s, 0.01)
            self._socket.settimeout(self._limit_s)

    def _wait_for(self, needed: int) -> None:
        """Have the kernel wake the reader once a picture, not for each packet of it."""
        least = 1 if isinstance(self._socket, ssl.SSLSocket) else min(needed, _MOST)
        if least != self._least and self._socket is not None:
            self._least = least
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def peek(self, count: int, limit_s: float) -> bytes:
        """Return at least that many bytes if they arrive; `read` will return them again. Raises `TimeoutError`."""
        ahead = b""
        while len(ahead) < count and (more := self.read(limit_s)):
            ahead += more
        self._ahead = ahead
        return ahead

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._response.close()
        with contextlib.suppress(OSError, ValueError):
            self._connection.close()

    def close(self) -> None:
        """Hang up, waking a thread that waits in `read`. Never waits."""
        if self._door.close() and self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def ask(camera: Endpoint, more: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """Return the answer to GET, redirects followed and a challenge answered once. Raises `Disconnected`.

    An answer other than 200 and 304 is a `Disconnected` too.
    """
    where, asked, answered = camera.where, camera.where, False
    for _ in range(_REDIRECTS + 2):
        at_home = (asked.host, asked.port) == (where.host, where.port)
        # Another host that a redirect leads to gets no password.
        login = camera.login if at_home else None
        reply = _once(camera, asked, login, more)
        if reply.status in (200, 304):
            return reply
        reply.close()
        if reply.status in (301, 302, 303, 307, 308) and "Location" in reply.headers:
            asked = _redirected(camera, asked, reply.headers["Location"])
            continue
        if reply.status == 401 and login is not None and not answered:
            answered = True
            if login.accept(reply.headers.get_all("WWW-Authenticate", [])):
                continue
        raise causes.refused(
            _name(camera, asked), where.scheme, reply.status, http.client.responses.get(reply.status, "")
        )
    raise Disconnected(f"{camera.name} redirects in a loop", "use the address that a browser ends at")


def _name(camera: Endpoint, asked: Address) -> str:
    """Return what a message calls the camera: also the address that it leads to, where that is what fails."""
    return camera.name if asked == camera.where else f"{camera.name} (it redirects to {asked})"


def _redirected(camera: Endpoint, asked: Address, location: str) -> Address:
    try:
        new = addresses.parse(urllib.parse.urljoin(asked.plain_url, location))
    except (NoInput, ValueError):
        raise Disconnected(f"{camera.name} redirects to an invalid address", causes.CHECK) from None
    if new.scheme not in ("http", "https"):
        raise Disconnected(f"{camera.name} redirects to a {new.scheme}:// address", "use that address itself")
    return new


def _once(camera: Endpoint, asked: Address, login: Login | None, more: Mapping[str, str]) -> Reply:
    headers = {"User-Agent": "picam-infer", "Accept": "*/*", **more}
    answer = login.header("GET", asked.path) if login is not None else None
    headers |= {"Authorization": answer} if answer else {}
    connection = _connection(asked, camera.open_s, camera.ca_file)
    try:
        with _deadline(connection, 2 * camera.open_s) as expired:
            try:
                connection.request("GET", asked.path, headers=headers)
                reply = Reply(connection, connection.getresponse())
            except Exception:
                if expired.is_set():
                    raise TimeoutError from None
                raise
        if expired.is_set():  # it trickled in, and what came looks like a complete answer
            raise TimeoutError
        return reply
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise causes.unreachable(_name(camera, asked), error, asked.scheme) from None


def _connection(asked: Address, limit_s: float, ca_file: str) -> http.client.HTTPConnection:
    if asked.scheme == "http":
        return http.client.HTTPConnection(asked.host, asked.port, timeout=limit_s)
    context = trust(ca_file)
    return http.client.HTTPSConnection(asked.host, asked.port, timeout=limit_s, context=context)


def trust(ca_file: str) -> ssl.SSLContext:
    """Return the context that checks certificates. Raises `Disconnected` when `ca_file` cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # also ssl.SSLError
        raise Disconnected(
            f"source_login.ca_file: {ca_file} is not a certificate that can be read", "give it in PEM, with its path"
        ) from error


@contextlib.contextmanager
def _deadline(connection: http.client.HTTPConnection, limit_s: float) -> Iterator[threading.Event]:
    """Hang up after so long: the socket's own time-out starts again with every byte."""
    expired = threading.Event()

    def hang_up() -> None:
        expired.set()
        sock = connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _socket_of(response: http.client.HTTPResponse) -> socket.socket | None:
    # Not offered by http.client; without it a close waits for the time-out instead.
    raw = getattr(getattr(response, "fp", None), "raw", None)
    found = getattr(raw, "_sock", None)
    return found if isinstance(found, socket.socket) else None
