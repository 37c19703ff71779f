"""Why an RTSP camera does not play: its own answers, asked for only after FFmpeg has failed (RFC 2326)."""

from __future__ import annotations

import re
import socket
import time
import urllib.parse
from dataclasses import dataclass
from typing import BinaryIO

from picam_infer.core import Disconnected
from picam_infer.sources import causes, http_client
from picam_infer.sources.challenge import Login
from picam_infer.sources.http_client import Endpoint

_MAX_BODY = 65536
_MAX_LINES = 100


@dataclass(frozen=True, slots=True)
class _Answer:
    code: int
    reason: str
    headers: list[tuple[str, str]]
    body: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def diagnose(camera: Endpoint, *, silent: bool) -> Disconnected:
    """Ask the camera as a player would, and return what stands in the way.

    `silent`: the player gave up waiting; otherwise it refused what came.
    """
    where, until_s = camera.where, time.monotonic() + camera.open_s
    try:
        with socket.create_connection((where.host, where.port), camera.open_s) as plain:
            sock = plain
            if where.scheme == "rtsps":
                sock = http_client.trust(camera.ca_file).wrap_socket(plain, server_hostname=where.host)
            return _Conversation(sock, camera, until_s, silent).result()
    except (OSError, ValueError, EOFError) as error:
        return causes.unreachable(camera.name, error, where.scheme)


class _Conversation:
    """DESCRIBE and SETUP over one connection."""

    def __init__(self, sock: socket.socket, camera: Endpoint, until_s: float, silent: bool) -> None:
        self._socket, self._where, self._until_s, self._silent = sock, camera.where, until_s, silent
        # A separate session: the player's challenges do not apply here.
        self._login = camera.login and Login(camera.login.user, camera.login.password)
        self._lines: BinaryIO = sock.makefile("rb")
        self._number = 0

    def result(self) -> Disconnected:
        name = self._where.shown
        described = self._ask("DESCRIBE", self._where.plain_url, {"Accept": "application/sdp"})
        if described.code != 200:
            return self._refusal(described)
        medium = re.search(r"^m=video .*?(?=^m=|\Z)", described.body, re.M | re.S)
        if medium is None:
            kinds = re.findall(r"^m=(\w+)", described.body, re.M)
            what = f" (only {' and '.join(sorted(set(kinds)))})" if kinds else ""
            return Disconnected(
                f"{name} has no video stream{what}", "choose another stream of the camera: another path"
            )
        base = (described.all("content-base") or described.all("content-location") or [self._where.plain_url])[0]
        track = re.search(r"^a=control:(\S+)", medium[0], re.M)
        target = urllib.parse.urljoin(base if base.endswith("/") else f"{base}/", track[1] if track else "")
        made = self._ask("SETUP", target, {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        if made.code != 200:
            return self._refusal(made)
        self._say("TEARDOWN", self._where.plain_url, {"Session": made.all("session")[0]} if made.all("session") else {})
        if self._silent:
            return Disconnected(
                f"{name} sends no pictures", "the camera answers: restart it, or look for “RTP over TCP” there"
            )
        codec = re.search(r"^a=rtpmap:\d+ ([\w.-]+)/", medium[0], re.M)
        what = codec[1] if codec else "of an unknown kind"
        return Disconnected(
            f"{name} sends a video codec that cannot be played here ({what})",
            "choose H.264, H.265 or MJPEG in the camera's settings",
        )

    def _refusal(self, answer: _Answer) -> Disconnected:
        if 300 <= answer.code < 400:
            return Disconnected(
                f"{self._where.shown} redirects elsewhere ({answer.code})", "use the address it has moved to"
            )
        return causes.refused(self._where.shown, self._where.scheme, answer.code, answer.reason)

    def _ask(self, method: str, target: str, headers: dict[str, str]) -> _Answer:
        self._say(method, target, headers)
        answer = self._hear()
        if answer.code == 401 and self._login is not None and self._login.accept(answer.all("www-authenticate")):
            self._say(method, target, headers)
            answer = self._hear()
        return answer

    def _say(self, method: str, target: str, headers: dict[str, str]) -> None:
        self._number += 1
        lines = [f"{method} {target} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: picam-infer"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        secret = self._login.header(method, target) if self._login else None
        lines += [f"Authorization: {secret}"] if secret else []
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode(errors="surrogateescape"))

    def _line(self) -> str:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        line = self._lines.readline(4096)
        if not line:
            raise EOFError
        return line.decode("latin-1").strip()

    def _hear(self) -> _Answer:
        first = self._line()
        match = re.fullmatch(r"RTSP/\d\.\d (\d{3}) ?(.*)", first)
        if match is None:
            raise ValueError("no RTSP")
        headers: list[tuple[str, str]] = []
        while line := self._line():
            key, _, value = line.partition(":")
            headers.append((key.strip().lower(), value.strip()))
            if len(headers) > _MAX_LINES:
                raise ValueError("no end of headers")
        length = next((value for key, value in headers if key == "content-length"), "0")
        size = min(int(length[:20]), _MAX_BODY) if length.isdecimal() else 0
        return _Answer(int(match[1]), match[2], headers, self._lines.read(size).decode("utf-8", "replace"))
