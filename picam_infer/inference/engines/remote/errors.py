"""What can go wrong with a model server, in plain words: each error of the client library gets a kind and a remedy."""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Literal

from picam_infer.core import Disconnected
from picam_infer.inference.engines.remote.address import Wanted

Kind = Literal[
    "unreachable", "timeout", "overloaded", "certificate", "token", "model", "mismatch", "protocol", "server"
]

SEE_CHECK = " picam-infer check tells more"
"""The end of a remedy that refers to `check`, which leaves it out."""
_RUNNING = f"is it running, and is the port right?{SEE_CHECK}"
_OTHER_MODEL = f"is the model there this one?{SEE_CHECK}"
_BUSY = "give it more replicas, or fewer requests: engine.max_per_s"
_HANGS = "the server is busy or hangs, or the network is cut (engine.deadline_s)"


class RemoteError(Disconnected):
    """The server does not serve now; it may later."""

    def __init__(self, kind: Kind, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind: Kind = kind
        self.cause = "away" if kind in ("unreachable", "timeout") else ""
        """Losses with the same cause are reported once: it makes no difference how a server is away."""


def too_slow(asked: Wanted) -> RemoteError:
    """Return the error for an answer that did not come in time."""
    return RemoteError("timeout", f"{asked.address.place} gave no answer within {asked.deadline_s:g} s", _HANGS)


def no_model(asked: Wanted, said: str = "") -> RemoteError:
    """Return the error for a model that the server does not have, or has not loaded."""
    words = f" ({_plain(said)})" if said else ""
    keys = "engine.model or engine.version" if asked.version else "engine.model"
    return RemoteError(
        "model",
        f"{asked.address.place} has no model {asked.title} that is ready{words}",
        f"load it there, or correct {keys}; picam-infer export makes a repository that servers take",
    )


def not_the_protocol(asked: Wanted, why: str) -> RemoteError:
    """Return the error for something else that answers there."""
    return RemoteError(
        "protocol",
        f"{asked.address.place} does not speak the protocol ({why})",
        f"is it an Open Inference Protocol (V2) server, and is that its port?{SEE_CHECK}",
    )


def of_os(error: OSError, asked: Wanted) -> RemoteError:
    """Return what an error of the network or of TLS means."""
    where = asked.address
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error.verify_message or "verification failed", asked)
    if isinstance(error, ssl.SSLError):
        return _no_tls((error.reason or "handshake failed").replace("_", " ").lower(), asked)
    if isinstance(error, socket.gaierror):
        return _no_host(asked)
    if isinstance(error, TimeoutError):
        return RemoteError("timeout", f"{where.place} does not answer", _RUNNING)
    return RemoteError("unreachable", f"{where.place}: {_plain(error.strerror or 'connection lost')}", _RUNNING)


def of_status(status: str, said: str, asked: Wanted) -> RemoteError:
    """Return what a server's refusal means: an HTTP status, or the name of a gRPC one, and its own words."""
    place, words = asked.address.place, _plain(said)
    if status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        return _no_entry(asked)
    if status in ("429", "503", "RESOURCE_EXHAUSTED"):
        return RemoteError("overloaded", f"{place} is overloaded or not ready ({words or status})", _BUSY)
    if status in ("404", "NOT_FOUND") or _NO_MODEL.search(said):
        return no_model(asked, said or status)
    if status in ("DEADLINE_EXCEEDED", "504", "408", "499", "CANCELLED"):
        return RemoteError("timeout", f"{place} gave no answer in time ({status})", _HANGS)
    if status == "502":
        return _no_upstream(asked)
    if status in ("301", "302", "303", "307", "308"):
        return RemoteError(
            "protocol",
            f"{place} redirects to another address ({status})",
            "give that one in engine.url; often it is https:// in place of http://",
        )
    if status in ("415", "422"):
        return RemoteError(
            "protocol",
            f"{place} does not take binary tensors over HTTP ({status})",
            "give its gRPC port: engine.url: grpc://… (MLServer takes them there only)",
        )
    if status == "UNAVAILABLE":
        return _unavailable(said, asked)
    if status in ("500", "INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED"):
        return RemoteError(
            "server",
            f"{place} failed to process the request ({status}: {words or 'no reason given'})",
            "the server's log says more",
        )
    return RemoteError(
        "protocol", f"{place} refuses the request ({status}: {words or 'no reason given'})", _OTHER_MODEL
    )


_NO_MODEL = re.compile(r"unknown model|model .*(not found|not ready|is not loaded|has no available versions)", re.I)


def _no_host(asked: Wanted) -> RemoteError:
    return RemoteError("unreachable", f"there is no host called {asked.address.host}", "check the name in engine.url")


def _no_entry(asked: Wanted) -> RemoteError:
    if asked.token:
        return RemoteError(
            "token",
            f"{asked.address.place} does not accept the token",
            "put a valid token into the file that engine.token_file names",
        )
    return RemoteError(
        "token", f"{asked.address.place} wants a token", "write it into a file, and name that in engine.token_file"
    )


def _no_upstream(asked: Wanted) -> RemoteError:
    return RemoteError(
        "unreachable",
        f"the proxy at {asked.address.place} finds no server behind it (502)",
        "is the server running? the proxy's log says where it looks",
    )


def _no_tls(why: str, asked: Wanted) -> RemoteError:
    plain = asked.address.scheme.removesuffix("s")
    return RemoteError(
        "certificate",
        f"no TLS with {asked.address.place} ({why})",
        f"is that port encrypted? if not, it is engine.url: {plain}://…{SEE_CHECK}",
    )


def _untrusted(reason: str, asked: Wanted) -> RemoteError:
    """Return why a certificate is not trusted; that decides who can fix it."""
    today = time.strftime("%Y-%m-%d")
    if "expired" in reason:
        hint = f"have it renewed (today is {today}, as this machine knows it)"
    elif "not yet valid" in reason:
        hint = f"is this machine's clock right? it says {today}"
    elif "mismatch" in reason:
        hint = "engine.url needs a name or an address that the certificate is for"
    elif asked.ca_file:
        hint = "engine.ca_file needs the certificate of the authority that signed it"
    else:
        hint = "give the certificate of the authority that signed it with engine.ca_file"
    return RemoteError(
        "certificate", f"the certificate of {asked.address.place} is not trusted ({reason.rstrip('.')})", hint
    )


def _unavailable(said: str, asked: Wanted) -> RemoteError:
    """Parse gRPC's message when there is no connection: the reason is only in its wording."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        reason = re.search(r"CERTIFICATE_VERIFY_FAILED:\s*([^:;\]}\n]+)", said)
        return _untrusted(reason.group(1).strip() if reason else "verification failed", asked)
    if "Hostname Verification" in said or "not verified" in said:
        return _untrusted("hostname mismatch", asked)
    if "SSL" in said or "handshake" in said:
        return _no_tls("handshake failed", asked)
    if "DNS" in said or "resol" in said:
        return _no_host(asked)
    if status := re.search(r"http2 header with status: (\d+)", said):
        return of_status("503" if status.group(1) == "503" else "502", "", asked)
    known = {"refused": "connection refused", "timed out": "does not answer", "imeout": "does not answer"}
    said = next((kind for word, kind in known.items() if word in said), "connection lost")
    return RemoteError("unreachable", f"{asked.address.place}: {said}", _RUNNING)


def _plain(said: str) -> str:
    """Return the first line of a message, without what a terminal would act on, and not too long."""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    line = "".join(c if c.isprintable() else " " for c in line)
    line = re.sub(r"^Unexpected <class '[\w.]+'>: ", "", line)  # MLServer's way of putting it
    return line[:1].lower() + line[1:160]
