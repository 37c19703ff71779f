"""The page's addresses, for this machine and for others; never one that does not work."""

from __future__ import annotations

from picam_infer.config import Web
from picam_infer.platform import addresses

ANY = {"": (4, 6), "0.0.0.0": (4,), "::": (6,)}
"""Hosts in `web.listen` that stand for every address of the machine, and of which versions of IP."""


def reachable(settings: Web, port: int, shared: bool = False) -> list[str]:
    """Return the page's addresses, the most reliable first; `shared`: it listens on all of the machine's."""
    return from_elsewhere(settings, port, shared) or [_address(settings, _here(settings), port)]


def from_elsewhere(settings: Web, port: int, shared: bool = False) -> list[str]:
    """Return the page's addresses for other machines: an IP address, which always works, before the mDNS name.

    Empty while this machine is not in any network, or the page is for this machine only.
    """
    host = settings.listen.rpartition(":")[0].strip("[]")
    if not shared and host not in ANY:
        return []
    versions = ANY[""] if shared else ANY[host]
    own = [one for one in addresses.own() if (6 if ":" in one else 4) in versions]
    name = addresses.host_name() if own else ""
    return [_address(settings, one, port) for one in (*own, name) if one]


def _here(settings: Web) -> str:
    host = settings.listen.rpartition(":")[0].strip("[]")
    return host if host not in ANY else "127.0.0.1" if 4 in ANY[host] else "::1"


def _address(settings: Web, host: str, port: int) -> str:
    scheme, usual = ("https", 443) if settings.tls_cert else ("http", 80)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}{'' if port == usual else f':{port}'}/"
