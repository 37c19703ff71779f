"""What went wrong on a network connection, in words, and what to do about it."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

# X509_V_ERR_…, which Python's ssl module has no names for.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = frozenset({62, 64})


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return what checks the other side: the system's authorities, or those in a file. Raises `OSError`."""
    if ca_file:
        Path(ca_file).open("rb").close()  # ssl's own error does not name the file
    return ssl.create_default_context(cafile=ca_file or None)


def reason(error: BaseException) -> str:
    """Return why a connection failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
            return "the other side does not speak TLS"
        if error.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
            return "ca_file holds no certificate"
        return f"TLS failed ({(error.reason or 'connection closed').replace('_', ' ').lower()})"
    if isinstance(error, socket.gaierror):
        return "its name is not known here" if error.errno != socket.EAI_AGAIN else "no name server answers"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, UnicodeError):
        return "its name is not a host name"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it hung up without an answer"
    if isinstance(error, http.client.HTTPException):
        return "its answer is not HTTP"  # which may be any bytes
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def remedy(error: BaseException, ca_file: str = "") -> str:
    """Return what to do about it; empty when there is nothing better than to wait."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_remedy(error, ca_file)
    if isinstance(error, ssl.SSLError) and error.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
        return f"{ca_file} must be a CA's certificate in PEM"
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return "check this machine's network"
        return "check its spelling, and that the machine is on; in a home network it is often called NAME.local"
    if isinstance(error, (TimeoutError, UnicodeError)):
        return "check the address, and the firewall in between"
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)) and error.filename:
        return "check the path and its permissions"
    if isinstance(error, http.client.HTTPException):
        return "check the port, and whether it is http or https there"
    if isinstance(error, ConnectionRefusedError):
        return "is the server running there, and is that its port?"
    return "check the address and the network"


def _certificate_remedy(error: ssl.SSLCertVerificationError, ca_file: str) -> str:
    if error.verify_code in _OTHER_NAME:
        return "use the name that its certificate was made for"
    if error.verify_code == _EXPIRED:
        return "renew it, and check this machine's clock (timedatectl)"
    if error.verify_code == _NOT_YET_VALID:
        return "check this machine's clock (timedatectl)"
    if ca_file:
        return f"{ca_file} is not of the authority that signed it"
    return "give the certificate of the authority that signed it (its own, if it signed itself) as ca_file"
