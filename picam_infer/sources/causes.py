"""Why a network camera cannot be reached, in one sentence with its remedy; the same for every protocol."""

from __future__ import annotations

import http.client
import socket
import ssl

from picam_infer.core import Disconnected

CHECK = "check the address, the camera's power and the network"
_LOGIN = (
    "set source_login (user and password_file), or put both into the address: {scheme}://USER:PASSWORD@host/…; "
    "there / # ? @ are written %2F %23 %3F %40"
)
_HTTP_PORT = "is it the right port? This one is not for {protocol}"
_REFUSALS = {
    404: "the path behind the host is wrong: the camera's manual or its page names the right one",
    454: "the camera has dropped the session: it is opened again",
    461: "the camera requires another transport: look for “RTP over TCP” in its settings",
    453: "the camera accepts no more viewers: close another one, or choose its second stream",
    503: "the camera is busy or starting, or accepts no more viewers",
}


class CannotPlay(Exception):
    """FFmpeg cannot play it. The text is ours: FFmpeg's own contains the address with its password."""

    def __init__(self, words: str, code: int = 0, timed_out: bool = False, errno: int = 0) -> None:
        super().__init__(words)
        self.code = code
        """The server's status, where one is known."""
        self.timed_out = timed_out
        self.errno = errno


def refused(name: str, scheme: str, code: int, reason: str) -> Disconnected:
    """Return the loss for an answer that is not a success; HTTP and RTSP share their status codes."""
    if code in (401, 403, 407):
        return Disconnected(f"{name} refuses access ({code})", _LOGIN.format(scheme=scheme))
    words = " ".join(reason.split())[:60]
    return Disconnected(f"{name} answers {code} {words}".rstrip(), _REFUSALS.get(code, "check the address"))


def unreachable(name: str, error: BaseException, protocol: str = "http") -> Disconnected:
    """Return the loss for a connection that failed. Nothing of the error's own text is used: it may hold a secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(name, error)
    if isinstance(error, ssl.SSLError):
        return Disconnected(
            f"{name} does not speak TLS properly ({error.reason or 'handshake failed'})",
            f"use {protocol.removesuffix('s')}://, or the port that is for TLS",
        )
    if isinstance(error, (socket.gaierror, UnicodeError)):  # the latter: a name that DNS cannot have
        return Disconnected(f"{name}: no such host", "check the name, or write the camera's IP address")
    if isinstance(error, TimeoutError):
        return Disconnected(f"{name} does not answer", CHECK)
    if isinstance(error, (http.client.HTTPException, ValueError)) and not isinstance(error, OSError):
        return Disconnected(f"{name} does not speak {protocol.upper()}", _HTTP_PORT.format(protocol=protocol.upper()))
    if isinstance(error, ConnectionRefusedError):
        return Disconnected(
            f"{name} cannot be reached (connection refused)", "nothing listens there: check port and power"
        )
    if isinstance(error, (ConnectionResetError, BrokenPipeError, EOFError)):
        return Disconnected(f"{name} hung up without an answer", CHECK)
    words = error.strerror if isinstance(error, OSError) and error.strerror else "no usable answer"
    return Disconnected(f"{name} cannot be reached ({words})", CHECK)


def _untrusted(name: str, error: ssl.SSLCertVerificationError) -> Disconnected:
    if "mismatch" in error.verify_message:
        return Disconnected(
            f"{name}: its certificate is for another name", "write the address with the certificate's name"
        )
    if "expired" in error.verify_message:
        return Disconnected(
            f"{name}: its certificate has expired, or one of the clocks is wrong", "renew it; see `timedatectl`"
        )
    return Disconnected(
        f"{name}: its certificate is not trusted",
        "give its certificate with source_login.ca_file, or use it without TLS",
    )
