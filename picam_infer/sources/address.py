"""The address of a network camera: parsed, and shown to people without its secrets."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse

import msgspec

from picam_infer.core import NoInput

ENCODE = "in user and password write / # ? @ as %2F %23 %3F %40, or put them into source_login"
_RAW = "surrogateescape"
"""How bytes that are no UTF-8 are encoded: unchanged."""
_COMPLETE = "such as http://camera.local:8080/video"
_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25?[\w.-]+)?\]|[^\s:\[\]@/?#\\]+)(?::([0-9]{1,5}))?")
# What is shown of a path: short plain words only. A camera's key may be a part of it.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._~/-]{0,100}")
_SECRET_WORD = re.compile(r"pass|pwd|psw|secret|token|key|auth|cred|login|user|usr|account|sig|session|sid", re.I)
_RANDOM = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_-]{12,}|[0-9a-fA-F]{16,}|[A-Za-z0-9_-]{24,}")


class Address(msgspec.Struct, frozen=True):
    """A complete address. `str` of it is for people."""

    scheme: str
    host: str
    """Without brackets."""
    port: int
    path: str
    """With query, as given; at least a slash."""
    user: str | None
    password: str
    shown: str

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    @property
    def netloc(self) -> str:
        """Return host and port as a URL has them, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def plain_url(self) -> str:
        """Return the URL without user and password."""
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def full_url(self) -> str:
        """Return the URL with user and password in it, encoded. Never to be shown."""
        if self.user is None:
            return self.plain_url
        user, password = (urllib.parse.quote(part, safe="", errors=_RAW) for part in (self.user, self.password))
        return f"{self.scheme}://{user}:{password}@{self.netloc}{self.path}"


def parse(text: str) -> Address:
    """Return the parts of an address. Raises `NoInput`, saying how characters that are not allowed are written."""
    scheme, authority, rest = _split(text)
    login, at, place = authority.rpartition("@")
    match = _HOST.fullmatch(place)
    if match is None or not 0 < int(match[2] or 1) < 65536 or _torn(authority, rest):
        raise NoInput(f"{shown(text)} is not a complete address", ENCODE if "@" in text or match is None else _COMPLETE)
    user, _, password = login.partition(":")
    path = urllib.parse.quote(rest.partition("#")[0], safe="%/:=&?~+!$,;'@()*[]|", errors=_RAW)
    return Address(
        scheme=scheme,
        host=match[1].strip("[]").replace("%25", "%"),
        port=int(match[2] or _PORTS.get(scheme, 80)),
        path=path if path.startswith("/") else f"/{path}",
        user=urllib.parse.unquote(user) if at else None,
        password=urllib.parse.unquote(password),
        shown=shown(text),
    )


def shown(text: str) -> str:
    """Return what people may see of an address, or of something that was meant as one."""
    if "://" not in text:
        # Without a scheme it may still begin with user and password.
        if "@" in text:
            return f"…@{_place(text.rpartition('@')[2])}"
        place, asks, _ = text.partition("?")
        return f"{place}?…" if asks else text
    scheme, authority, rest = _split(text)
    if _torn(authority, rest):
        return f"{scheme}://…"
    return f"{scheme}://{_place(authority.rpartition('@')[2])}{_path(rest)}"


def _split(text: str) -> tuple[str, str, str]:
    scheme, _, rest = text.partition("://")
    end = next((i for i, c in enumerate(rest) if c in "/?#"), len(rest))
    return scheme.lower(), rest[:end], rest[end:]


def _torn(authority: str, rest: str) -> bool:
    """Tell whether what stands before the first / ? # may be the first half of user and password.

    An @ further on may also be a part of the path. It counts as such only after what is certainly a host.
    """
    if "@" not in rest:
        return False
    match = _HOST.fullmatch(authority)
    return match is None or (match[2] is not None and not _is_number(match[1]))


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host == "localhost"
    return True


def _place(place: str) -> str:
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    return place if _HOST.fullmatch(place) else "…"


def _path(rest: str) -> str:
    path, dot = re.split(r"[?#]", rest, maxsplit=1)[0], "/…"
    decoded = urllib.parse.unquote(urllib.parse.unquote(path))
    if not _PLAIN_PATH.fullmatch(path) or _SECRET_WORD.search(decoded) or _RANDOM.search(path):
        return dot
    return path
