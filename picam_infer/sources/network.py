"""Network cameras: Motion JPEG over HTTP as untouched bytes, RTSP and everything else through FFmpeg."""

from __future__ import annotations

import contextlib
import email.message
import http.client
import logging
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import cv2
import numpy as np

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Frame, Lost, NoInput, Source
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.sources.frames import jpeg_size, make_frame
from picam_infer.sources.mjpeg import Parts, TooLong
from picam_infer.sources.thread_safe_capture import Guarded

log = logging.getLogger(__name__)

OPEN_S = 5.0
QUIET_S = 5.0
"""How long a stream may take to answer, and to deliver a picture."""
_CHUNK = 65536
_CHECK = "check the address, the camera's power and the network"


def open_stream(url: str, capture: Capture) -> Source:
    """Return the source for an rtsp:// or http:// address. Raises `Lost`, or `NoInput` for a malformed address."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise NoInput(f"{without_secrets(url)} is not a complete address", "such as http://camera.local:8080/video")
    if parts.scheme in ("http", "https"):
        mjpeg = _open_http(url, capture)
        if mjpeg is not None:
            return mjpeg
    return FFmpegStream(url, capture)


def without_secrets(url: str) -> str:
    """Return the address without user, password and query, to be logged and shown."""
    bare = re.sub(r"//[^/?#]*@", "//", url)
    return re.split(r"[?#]", bare, maxsplit=1)[0]


class FFmpegStream:
    """Any stream that FFmpeg can play, decoded."""

    live = True

    def __init__(self, url: str, capture: Capture) -> None:
        """Connect. Raises `Lost`."""
        self._name, self._asked = without_secrets(url), capture
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_S * 1e3), cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(QUIET_S * 1e3))
        self._capture = Guarded(url, cv2.CAP_FFMPEG, limits)
        if not self._capture.opened:
            self._capture.close()
            raise Lost(f"{self._name} cannot be played", _CHECK)
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self._seq = 0
        self.description = f"{self._name} {width}×{height} {self._capture.get(cv2.CAP_PROP_FPS):.3g} fps"

    def read(self) -> Frame:
        """Return the next picture, codec bgr. Raises `Lost` when the stream ends or is silent."""
        image = self._capture.read()
        if image is None:
            raise Lost(f"{self._name} has stopped", _CHECK)
        seq, self._seq = self._seq, self._seq + 1
        height, width = image.shape[:2]
        return make_frame(image, "bgr", (width, height), seq, self._asked)

    def close(self) -> None:
        """Hang up; a thread that waits in `read` does so itself when it returns."""
        self._capture.close()


class MjpegStream:
    """Motion JPEG over HTTP (multipart/x-mixed-replace)."""

    live = True

    def __init__(self, response: Any, name: str, boundary: bytes, capture: Capture) -> None:
        self._response, self._name, self._asked = response, name, capture
        self._parts = Parts(boundary)
        self._socket = _socket_of(response)
        self._lock = threading.Lock()
        self._reading = self._closed = False
        self._seq = 0
        self.description = f"{name} MJPG"

    def read(self) -> Frame:
        """Return the newest picture, codec jpeg. Raises `Lost`, `BadFrame`."""
        data = np.frombuffer(self._newest(), np.uint8)
        seq, self._seq = self._seq, self._seq + 1
        size = jpeg_size(data) if whole_jpeg(data) else None
        if size is None:
            raise BadFrame(f"picture {seq} of {self._name} is no whole JPEG")
        if seq == 0:
            self.description = f"{self._name} {size[0]}×{size[1]} MJPG"
        return make_frame(data, "jpeg", size, seq, self._asked)

    def _newest(self) -> bytes:
        until_s = time.monotonic() + QUIET_S
        while time.monotonic() < until_s:
            chunk = self._receive()
            if not chunk:
                raise Lost(f"{self._name} has stopped", _CHECK)
            try:
                pictures = self._parts.feed(chunk)
            except TooLong as error:
                raise Lost(f"{self._name} sends no Motion JPEG", _CHECK) from error
            if pictures:
                return pictures[-1]
        raise Lost(f"{self._name} sends no pictures", _CHECK)

    def _receive(self) -> bytes:
        with self._lock:
            if self._closed:
                return b""
            self._reading = True
        try:
            return bytes(self._response.read1(_CHUNK))
        except (OSError, http.client.HTTPException, ValueError):
            return b""
        finally:
            self._came_back()

    def _came_back(self) -> None:
        with self._lock:
            self._reading = False
            if self._closed:
                self._response.close()

    def close(self) -> None:
        """Hang up, waking a thread that waits in `read`. Never waits."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._reading:
                self._response.close()
            elif self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _open_http(url: str, capture: Capture) -> MjpegStream | None:
    """Return the stream when it is Motion JPEG; None: let FFmpeg try. Raises `Lost`."""
    name = without_secrets(url)
    try:
        response = _opener(url).open(_request(url), timeout=OPEN_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(name, error.code, error.reason) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(name, error) from error
    kind = response.headers.get_content_type()
    boundary = _boundary(response.headers)
    if kind.startswith("multipart/") and boundary:
        return MjpegStream(response, name, boundary, capture)
    response.close()
    if kind.startswith(("text/", "image/")):
        what = "a page" if kind.startswith("text/") else "a single picture"
        raise Lost(f"{name} is {what} ({kind}), not a stream", "use the address of the stream itself")
    return None


def _boundary(headers: email.message.Message) -> bytes:
    # Many cameras write the two hyphens of the delimiter into the parameter too.
    return str(headers.get_param("boundary") or "").strip().removeprefix("--").encode("latin-1", "ignore")


def _request(url: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urllib.request.Request(urllib.parse.urlunsplit(bare), headers={"User-Agent": "picam-infer"})


def _opener(url: str) -> urllib.request.OpenerDirector:
    parts = urllib.parse.urlsplit(url)
    secrets = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, word = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        secrets.add_password(None, _request(url).full_url, user, word)
    return urllib.request.build_opener(
        urllib.request.HTTPDigestAuthHandler(secrets), urllib.request.HTTPBasicAuthHandler(secrets)
    )


def _refused(name: str, code: int, reason: object) -> Lost:
    if code in (401, 403):
        return Lost(
            f"{name} refuses access ({code})", "put user and password into the address: http://USER:WORD@host/…"
        )
    return Lost(f"{name} answers {code} {reason}", "check the address")


def _unreachable(name: str, error: Exception) -> Lost:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Lost(f"{name}: its certificate is not trusted", "install the camera's certificate, or use http://")
    if isinstance(reason, TimeoutError):
        return Lost(f"{name} does not answer", _CHECK)
    words = reason.strerror if isinstance(reason, OSError) and reason.strerror else "no usable answer"
    return Lost(f"{name} cannot be reached ({words})", _CHECK)


def _socket_of(response: Any) -> socket.socket | None:
    # Not offered by http.client; without it a close waits for the time-out instead.
    raw = getattr(getattr(response, "fp", None), "raw", None)
    found = getattr(raw, "_sock", None)
    return found if isinstance(found, socket.socket) else None
