"""Why a connection failed, and what to do about it, from the errors that real sockets and TLS give."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from picam_infer.outputs.events import reasons


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
