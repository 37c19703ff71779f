"""What can go wrong with a model server, in plain words: whatever the client library raises has a kind and a remedy."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Literal

from picam_infer.core import Disconnected
from picam_infer.inference.engines.remote.address import Address

Kind = Literal["unreachable", "timeout", "overloaded", "certificate", "token", "model", "mismatch", "protocol"]

_TOKEN = "put a valid token into the file that engine.token_file names"
_MODEL = "load it there, or correct engine.model; picam-infer export makes a repository that servers take"
_TLS = "give the certificate of its authority with engine.ca_file, or have its certificate renewed"
_RUNNING = "is it running, and is the port right? picam-infer check goes through it step by step"


class RemoteLost(Disconnected):
    """The server does not serve now; it may later."""

    def __init__(self, kind: Kind, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind: Kind = kind
        self.cause = "away" if kind in ("unreachable", "timeout") else ""
        """Losses with the same one are not told one after the other: it makes no difference how a server is away."""


def too_slow(address: Address, limit_s: float) -> RemoteLost:
    """Return that no answer came in time."""
    return RemoteLost("timeout", f"{address.place} gave no answer within {limit_s:g} s",
                      "the server is busy or hangs, or the network is cut (engine.deadline_s)")  # fmt: skip


def of_os(error: OSError, address: Address) -> RemoteLost:
    """Return what an error of the network or of TLS means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteLost("certificate", f"the certificate of {address.place} is not trusted "
                          f"({error.verify_message or 'verification failed'})", _TLS)  # fmt: skip
    if isinstance(error, ssl.SSLError):
        return RemoteLost("certificate", f"no TLS with {address.place} ({error.reason or 'handshake failed'})",
                          "is it an https or grpcs server?")  # fmt: skip
    if isinstance(error, socket.gaierror):
        return RemoteLost("unreachable", f"there is no host called {address.host}", "check the name in engine.url")
    if isinstance(error, TimeoutError):
        return RemoteLost("timeout", f"{address.place} does not answer", _RUNNING)
    return RemoteLost("unreachable", f"{address.place}: {_plain(error.strerror or 'connection lost')}", _RUNNING)


def of_status(status: str, said: str, address: Address, model: str) -> RemoteLost:
    """Return what a server's refusal means: an HTTP status, or the name of a gRPC one, and its own words."""
    words = _plain(said)
    if status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        return RemoteLost("token", f"{address.place} does not accept the token", _TOKEN)
    if status in ("429", "503", "RESOURCE_EXHAUSTED"):
        return RemoteLost("overloaded", f"{address.place} is overloaded or not ready ({words or status})",
                          "give it more replicas, or fewer requests: engine.max_per_s")  # fmt: skip
    if status in ("404", "NOT_FOUND") or _NO_MODEL.search(said):
        return RemoteLost("model", f"{address.place} has no model {model} that is ready ({words or status})", _MODEL)
    if status in ("DEADLINE_EXCEEDED", "504", "408", "499", "CANCELLED"):
        return RemoteLost("timeout", f"{address.place} gave no answer in time ({status})", "it is busy or hangs")
    if status in ("415", "422"):
        return RemoteLost("protocol", f"{address.place} does not take binary tensors over HTTP ({status})",
                          "give its gRPC port: engine.url: grpc://… (MLServer takes them there only)")  # fmt: skip
    if status == "UNAVAILABLE":
        return _unavailable(said, address)
    return RemoteLost("protocol", f"{address.place} refuses the request ({status}: {words or 'no reason given'})",
                      "is the model there this one? picam-infer check compares them")  # fmt: skip


_NO_MODEL = re.compile(r"unknown model|model .*(not found|not ready|is not loaded|has no available versions)", re.I)


def _unavailable(said: str, address: Address) -> RemoteLost:
    """Take apart what gRPC says when there is no connection: the reason is only in its words."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        reason = re.search(r"CERTIFICATE_VERIFY_FAILED:\s*([^:;\]}\n]+)", said)
        return RemoteLost("certificate", f"the certificate of {address.place} is not trusted "
                          f"({reason.group(1).strip() if reason else 'verification failed'})", _TLS)  # fmt: skip
    if "Hostname Verification" in said or "not verified" in said:
        return RemoteLost("certificate", f"the certificate of {address.place} is for another host", _TLS)
    if "SSL" in said or "handshake" in said:
        return RemoteLost("certificate", f"no TLS with {address.place} (handshake failed)", "is it a grpcs server?")
    if "DNS" in said or "resol" in said:
        return RemoteLost("unreachable", f"there is no host called {address.host}", "check the name in engine.url")
    known = {"refused": "connection refused", "timed out": "does not answer", "imeout": "does not answer"}
    said = next((kind for word, kind in known.items() if word in said), "connection lost")
    return RemoteLost("unreachable", f"{address.place}: {said}", _RUNNING)


def _plain(said: str) -> str:
    """Return the first line of a message, without what a terminal would act on, and not too long."""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    line = "".join(c if c.isprintable() else " " for c in line)
    return line[:1].lower() + line[1:160]
