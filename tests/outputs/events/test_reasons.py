"""Why a connection failed, and what to do about it, from the errors that real sockets and TLS give."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from picam_infer.config import Mqtt, Webhook
from picam_infer.outputs.events import notify as messages
from picam_infer.outputs.events import reasons
from picam_infer.outputs.events.mqtt_link import Link
from picam_infer.outputs.events.outlet import DeliveryError
from picam_infer.outputs.events.webhook import Answer, Hook


def nobody() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def mqtt(**settings: Any) -> None:
    Link(Mqtt(**settings), "x").open(lambda _: True)


def hook(**settings: Any) -> None:
    Hook(Webhook(**settings)).request("POST", b"{}", {})


@pytest.mark.parametrize(
    ("act", "why", "remedy"),
    [
        (lambda: mqtt(host="127.0.0.1", port=nobody()), "Connection refused", "is the server running there"),
        (lambda: mqtt(host="no.such.host.invalid"), "", "check"),
        (lambda: mqtt(host="mqtt://broker:1883"), "more than a host", "write host: broker"),
        (lambda: mqtt(host="127.0.0.1", user="a", password_file="/none"), "password_file", "write the secret into it"),
        (lambda: mqtt(host="127.0.0.1", tls=True, ca_file="/none"), "/none: No such file", "check the path"),
        (lambda: hook(url=f"http://127.0.0.1:{nobody()}/"), "Connection refused", "is the server running there"),
        (lambda: raised(Answer(404).refusal()), "answered 404", "check the path of url"),
        (lambda: raised(Answer(500).refusal()), "answered 500", "log"),
        (lambda: raised(Answer(301, "https://x/").refusal()), "answered 301", "https://x/"),
        (lambda: messages.read_addresses("/none"), "urls_file", "write the secret into it"),
        (lambda: messages.services("# none\n", "file", 1), "file holds no address", "one address a line"),
        (lambda: messages.services("nonsense\n", "file", 1), "file, line 1", "one address a line"),
    ],
)
def test_every_failure_to_deliver_has_a_remedy(act: Callable[[], object], why: str, remedy: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        act()
    assert why in caught.value.reason and remedy in caught.value.hint
    assert ";" not in caught.value.reason


def raised(error: DeliveryError) -> None:
    raise error


def untrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "self-signed certificate"
    return error


def tls(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "words of OpenSSL's")
    error.reason = reason  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (untrusted(18), "not trusted (self-signed certificate)", "as ca_file"),
        (untrusted(62), "not trusted", "the name that its certificate was made for"),
        (untrusted(64), "not trusted", "the name that its certificate was made for"),
        (untrusted(10), "not trusted", "renew it, and check this machine's clock"),
        (untrusted(9), "not trusted", "check this machine's clock"),
        (tls("WRONG_VERSION_NUMBER"), "does not speak TLS", "check the address"),
        (tls("PACKET_LENGTH_TOO_LONG"), "does not speak TLS", "check the address"),
        (tls("NO_CERTIFICATE_OR_CRL_FOUND"), "ca_file holds no certificate", "in PEM"),
        (tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), "TLS failed (sslv3 alert handshake failure)", "check the address"),
        (tls(None), "TLS failed (connection closed)", "check the address"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "not known here", "NAME.local"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "no name server answers", "this machine's network"),
        (TimeoutError(), "no answer", "firewall"),
        (UnicodeError("label too long"), "not a host name", "check the address"),
        (FileNotFoundError(2, "No such file or directory", "/etc/ca.pem"), "/etc/ca.pem: No such", "its permissions"),
        (PermissionError(13, "Permission denied", "/etc/ca.pem"), "ca.pem: Permission denied", "its permissions"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused", "is that its port?"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset", "the network"),
        (ValueError(), "ValueError", "the network"),
        (ValueError("odd"), "odd", "the network"),
    ],
)
def test_each_error_in_words(error: BaseException, said: str, remedy: str) -> None:
    assert said in reasons.reason(error) and remedy in reasons.remedy(error)


def test_an_authority_of_ones_own_that_signed_something_else() -> None:
    assert reasons.remedy(untrusted(20), "/etc/ca.pem") == "/etc/ca.pem is not of the authority that signed it"
    assert reasons.remedy(tls("NO_CERTIFICATE_OR_CRL_FOUND"), "/etc/ca.pem").startswith("/etc/ca.pem must be")


def test_a_missing_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        reasons.tls_context(str(tmp_path / "ca.pem"))
    assert str(tmp_path) in reasons.reason(missing.value)
    (tmp_path / "ca.pem").write_text("no certificate\n")
    with pytest.raises(ssl.SSLError) as wrong:
        reasons.tls_context(str(tmp_path / "ca.pem"))
    assert reasons.reason(wrong.value) == "ca_file holds no certificate"
    assert reasons.tls_context("").verify_mode == ssl.CERT_REQUIRED
