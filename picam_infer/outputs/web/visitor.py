"""Who asks, and under which address, also behind a proxy; and this machine's names. Independent of aiohttp."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from picam_infer.config import BASE_PATH, Web

Headers = Mapping[str, str]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Real-IP", "Via")
HOME_DOMAINS = ("local", "lan", "home.arpa", "fritz.box", "internal", "localdomain")
"""Domains that routers and mDNS append to a host name. None of them exists in the public DNS, except fritz.box,
which belongs to the router's maker."""
_LONGEST_PREFIX = 200


class WrongPrefix(ValueError):
    """A trusted proxy's X-Forwarded-Prefix is not a path."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The visitor, as far as proxies' headers can be trusted."""

    address: str
    """Their IP address; empty for a socket without one."""
    host: str
    """The host (and port) that they typed."""
    base: str = ""
    """The path below which they see this server: empty, or `/cam`."""
    secure: bool = False
    """Whether they use https."""


def canonical(host: str) -> str:
    """Return a host name in lower-case ASCII without port or final dot: `Küche.local.:80` → `xn--kche-0ra.local`."""
    name = host.strip()
    if name.startswith("["):
        name = name[1:].partition("]")[0].partition("%")[0].lower() if "]" in name else ""
        return name if name.isascii() else ""
    name = name.partition(":")[0].rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8").encode("idna").decode("ascii")
    except UnicodeError:
        return ""


class Names:
    """The host names of this machine."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        """`more`: those of the configuration, where a scheme, port or path is ignored."""
        self._more = {canonical(name.rpartition("://")[2].partition("/")[0]) for name in more}

    def has(self, host: str) -> bool:
        """Whether a Host header names this machine: by address, its own name here or at home, or a configured one."""
        name = canonical(host)
        if not name:
            return False
        return name == "localhost" or name in self._more or _is_address(name) or self._is_own(name)

    @staticmethod
    def _is_own(name: str) -> bool:
        # Looked up each time, as a host may be renamed while this runs.
        whole = canonical(socket.gethostname())
        if not whole:
            return False
        first = re.escape(whole.partition(".")[0])
        # mDNS and routers call the second machine of the same name NAME-2.
        homes = "|".join(map(re.escape, HOME_DOMAINS))
        return name == whole or re.fullmatch(rf"{first}(-[0-9]{{1,4}})?(\.({homes}))?", name) is not None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Proxies:
    """The trusted proxies, and the path prefix of this server behind them."""

    def __init__(self, settings: Web) -> None:
        self.base = base_path(settings.base)
        self._trusted = [ipaddress.ip_network(each, strict=False) for each in settings.proxies]

    def trusts(self, peer: str) -> bool:
        """Whether an address is a trusted proxy's."""
        address = parsed(peer)
        return address is not None and any(address in network for network in self._trusted)

    def inner(self, path: str) -> str:
        """Return a request's path without the prefix, which a proxy may have left or stripped."""
        if self.base and (path == self.base or path.startswith(self.base + "/")):
            return path[len(self.base) :] or "/"
        return path

    def visitor(self, peer: str, path: str, headers: Headers, secure: bool) -> Visitor:
        """Return who asks. Raises `WrongPrefix`."""
        host, trusted = headers.get("Host", ""), self.trusts(peer)
        if not trusted:
            proxied = self.inner(path) != path or any(name in headers for name in FORWARDED)
            return Visitor(peer, host, self.base if proxied else "", secure)
        given = headers.get("X-Forwarded-Prefix", "").strip()
        if given and (len(given) > _LONGEST_PREFIX or not re.search(BASE_PATH, given) or given[0] != "/"):
            raise WrongPrefix(given[:_LONGEST_PREFIX])
        return Visitor(
            self._first_stranger(headers.get("X-Forwarded-For", "").split(",")) or peer,
            headers.get("X-Forwarded-Host", "").split(",")[0].strip() or host,
            base_path(given) if given else self.base,
            secure or headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower() == "https",
        )

    def _first_stranger(self, chain: Sequence[str]) -> str:
        """Return the last address that is not a trusted proxy's; anybody may have forged those before it."""
        for each in reversed(chain):
            name = each.strip()
            name = name[1:].partition("]")[0] if name.startswith("[") else name
            address = parsed(name if name.count(":") != 1 else name.partition(":")[0])
            if address is None:
                return ""
            if not self.trusts(str(address)):
                return str(address)
        return ""


def base_path(path: str) -> str:
    """Return a path with a leading slash and without a trailing one: `cam/` → `/cam`, `/` → empty."""
    return f"/{path.strip('/')}" if path.strip("/") else ""


def parsed(peer: str) -> Address | None:
    """Return an IP address, unwrapping IPv4 inside IPv6; None: it is not an address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_local(peer: str) -> bool:
    """Whether a connection's other end (empty: a socket without an address) is on this machine."""
    address = parsed(peer)
    return peer == "" or (address is not None and address.is_loopback)
