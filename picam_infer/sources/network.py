"""Network cameras: Motion JPEG and single pictures over HTTP as untouched bytes, everything else through FFmpeg."""

from __future__ import annotations

import email.message
import http.client
import time

import msgspec
import numpy as np

from picam_infer.config import Capture, SourceLogin
from picam_infer.core import BadFrame, Disconnected, Frame, Source
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.imaging.pictures import suffix_of
from picam_infer.platform import secret_file
from picam_infer.platform.secret_file import SecretError
from picam_infer.runtime.liveness import SilenceLimit
from picam_infer.sources import address as addresses
from picam_infer.sources import causes, http_client, rtsp
from picam_infer.sources.address import Address
from picam_infer.sources.causes import CannotPlay
from picam_infer.sources.challenge import Login
from picam_infer.sources.frames import jpeg_size, make_frame, upright_by
from picam_infer.sources.http_client import Endpoint, Reply
from picam_infer.sources.mjpeg import Parts, TooLong
from picam_infer.sources.snapshot import Snapshots

OPEN_S = 5.0
QUIET_S = 5.0
"""How long a stream may take to answer, and to deliver a picture while its own pace is not known."""
_MOST_PATIENT_S = 600.0
_HEAD = 16
_PLAYLISTS = ("mpegurl", "dash+xml")
_PAGES = ("text/", "application/json", "application/xml", "application/xhtml")
_NOTHING = "the camera answers: restart it, or look for “RTP over TCP” in its settings"
_OTHER = "look at the address in a browser, and choose another format or quality in the camera's settings"

_learned_s: dict[str, float] = {}
"""How long to wait for addresses that fell silent: twice as long each time, until their own limit is known."""


def open_stream(url: str, capture: Capture, login: SourceLogin = SourceLogin()) -> Source:  # noqa: B008
    """Return the source for an rtsp:// or http:// address. Raises `Disconnected`, or `NoInput` for a malformed one."""
    where = _with_login(addresses.parse(url), login)
    known = Login(where.user, where.password) if where.user is not None else None
    camera = Endpoint(where, known, login.ca_file, OPEN_S, QUIET_S)
    return _open_http(camera, capture) if where.scheme in ("http", "https") else FFmpegStream(camera, capture)


def _with_login(where: Address, login: SourceLogin) -> Address:
    """Use the configuration's user and password, not the address's. Raises `Disconnected`: both can come later."""
    user, password = login.user or where.user, where.password
    if login.password_file:
        try:
            if problem := secret_file.exposed(login.password_file):
                raise problem
            password = secret_file.text(login.password_file)
        except SecretError as error:
            raise Disconnected(f"source_login.password_file: {error.message}", error.hint) from None
        user = user or ""
    return msgspec.structs.replace(where, user=user, password=password)


class FFmpegStream:
    """Any stream that FFmpeg can play, decoded."""

    live = True
    other_pictures = _OTHER

    def __init__(self, camera: Endpoint, capture: Capture, reply: Reply | None = None) -> None:
        """Connect, or play the `reply` that has begun. Raises `Disconnected`."""
        from picam_infer.sources.ffmpeg import Player

        self._camera, self._asked, self._reply = camera, capture, reply
        self._name, self._key = camera.name, camera.where.plain_url
        self.patience_s = min(_learned_s.get(self._key, camera.quiet_s), _MOST_PATIENT_S)
        self.silence = Disconnected(f"{self._name} sends no pictures", _NOTHING)
        self._silence = SilenceLimit(camera.quiet_s, self.patience_s)
        what = _Body(reply, self.patience_s) if reply is not None else camera.where.full_url
        try:
            self._player = Player(what, open_s=2 * camera.open_s, quiet_s=self.patience_s)
        except CannotPlay as error:
            self._hang_up()
            raise self._why(error) from None
        (width, height), self._seq = self._player.size, 0
        self.description = f"{self._name} {width}×{height} {self._player.fps:.3g} fps"

    def _why(self, error: CannotPlay) -> Disconnected:
        where = self._camera.where
        if error.code:
            return causes.refused(self._name, where.scheme, error.code, http.client.responses.get(error.code, ""))
        if where.scheme.startswith("rtsp"):
            return rtsp.diagnose(self._camera, silent=error.timed_out)
        if error.timed_out:
            return self.silence
        return Disconnected(f"{self._name} cannot be played ({error})", _OTHER)

    def read(self) -> Frame:
        """Return the next picture, codec bgr. Raises `Disconnected` when the stream ends or is silent, `BadFrame`."""
        try:
            picture = self._player.read()
        except CannotPlay as error:
            picture = None
            if error.timed_out:
                _learned_s[self._key] = 2 * self.patience_s
                raise self.silence from None
        if picture is None:
            raise Disconnected(f"{self._name} has stopped", causes.CHECK)
        if self._seq == 0:
            self.silence = Disconnected(f"{self._name} has stopped", causes.CHECK)
        self._silence.arrived(time.monotonic())
        image = upright_by(*picture)
        seq, self._seq = self._seq, self._seq + 1
        height, width = image.shape[:2]
        return make_frame(image, "bgr", (width, height), seq, self._asked)

    def _hang_up(self) -> None:
        if self._reply is not None:
            self._reply.close()

    def close(self) -> None:
        """Hang up; a thread that waits in `read` does so itself when it returns."""
        self._hang_up()
        self._player.close()


class _Body:
    """A reply's body, as a file that FFmpeg reads: the connection that showed what it is stays in use."""

    def __init__(self, reply: Reply, limit_s: float) -> None:
        self._reply, self._limit_s = reply, limit_s
        self._rest = b""

    def read(self, count: int) -> bytes:
        """Return that many bytes or fewer, empty at the end or after silence."""
        if not self._rest:
            try:
                self._rest = self._reply.read(self._limit_s)
            except TimeoutError:
                return b""
        given, self._rest = self._rest[:count], self._rest[count:]
        return given


class MjpegStream:
    """Motion JPEG over HTTP (multipart/x-mixed-replace)."""

    live = True
    other_pictures = _OTHER

    def __init__(self, camera: Endpoint, reply: Reply, boundary: bytes, capture: Capture) -> None:
        self._reply, self._name, self._asked = reply, camera.name, capture
        self._key = camera.where.plain_url
        self._parts = Parts(boundary)
        self.patience_s = min(_learned_s.get(self._key, 3 * camera.quiet_s), _MOST_PATIENT_S)
        self.silence = Disconnected(f"{self._name} sends no pictures", causes.CHECK)
        self._silence = SilenceLimit(camera.quiet_s, self.patience_s)
        self._seq = 0
        self.description = f"{self._name} MJPG"

    def read(self) -> Frame:
        """Return the newest picture, codec jpeg. Raises `Disconnected`, `BadFrame`."""
        data = np.frombuffer(self._newest(), np.uint8)
        seq, self._seq = self._seq, self._seq + 1
        size = jpeg_size(data) if whole_jpeg(data) else None
        if size is None:
            raise BadFrame(f"picture {seq} is not a whole JPEG")
        if seq == 0:
            self.description = f"{self._name} {size[0]}×{size[1]} MJPG"
        return make_frame(data, "jpeg", size, seq, self._asked)

    def _newest(self) -> bytes:
        limit_s = self._silence.limit_s
        until_s = time.monotonic() + limit_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                chunk = self._reply.read(left_s, self._parts.lacks)
            except TimeoutError:
                break
            if not chunk:
                raise Disconnected(f"{self._name} has stopped", causes.CHECK)
            try:
                pictures = self._parts.feed(chunk)
            except TooLong as error:
                raise Disconnected(f"{self._name} sends no Motion JPEG", _OTHER) from error
            if pictures:
                self._silence.arrived(time.monotonic())
                return pictures[-1]
        _learned_s[self._key] = 2 * limit_s
        raise self.silence

    def close(self) -> None:
        """Hang up, waking a thread that waits in `read`. Never waits."""
        self._reply.close()


def _open_http(camera: Endpoint, capture: Capture) -> Source:
    """Return the source that the address turns out to be, on the connection that showed it. Raises `Disconnected`."""
    reply = http_client.ask(camera)
    try:
        return _recognised(camera, capture, reply)
    except BaseException:
        reply.close()
        raise


def _recognised(camera: Endpoint, capture: Capture, reply: Reply) -> Source:
    kind = reply.kind
    if kind.startswith("multipart/"):
        return MjpegStream(camera, reply, _boundary(reply.headers), capture)
    try:
        head = reply.peek(_HEAD, camera.quiet_s)
    except TimeoutError:
        raise Disconnected(f"{camera.name} sends no pictures", causes.CHECK) from None
    if head.startswith(b"#EXTM3U") or any(word in kind for word in _PLAYLISTS):
        reply.close()  # FFmpeg fetches what the list names by itself
        return FFmpegStream(camera, capture)
    if head.lstrip().startswith(b"--"):
        return MjpegStream(camera, reply, b"", capture)
    if kind.startswith(_PAGES) or head.lstrip().startswith(b"<"):
        raise Disconnected(
            f"{camera.name} is a page ({kind or 'HTML'}), not a stream", "use the address of the stream itself"
        )
    if kind.startswith("image/") or (suffix_of(head) is not None and reply.length is not None):
        return Snapshots(camera, reply, capture)
    if not head:
        raise Disconnected(f"{camera.name} answers with nothing", "use the address of the stream itself")
    return _played(camera, capture, reply)


def _played(camera: Endpoint, capture: Capture, reply: Reply) -> Source:
    try:
        return FFmpegStream(camera, capture, reply)
    except Disconnected:
        # A video with its index at the end has to be read there first.
        if reply.length is None or "bytes" not in reply.headers.get("Accept-Ranges", ""):
            raise
    return FFmpegStream(camera, capture)


def _boundary(headers: email.message.Message) -> bytes:
    # Many cameras write the two hyphens of the delimiter into the parameter too.
    return str(headers.get_param("boundary") or "").strip().removeprefix("--").encode("latin-1", "ignore")
