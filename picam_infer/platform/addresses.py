"""This machine's addresses in its networks, as another machine would write them."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IPV6 = Path("/proc/net/if_inet6")
_PASSED_BY = ("docker", "veth", "br-", "virbr", "lxc", "tailscale")
"""Networks inside this machine, and those that only their members can reach: listed last."""


def own() -> list[str]:
    """Return the addresses at which others may reach this machine: the one towards the router first, IPv4 first."""
    default = _default_route()
    names = sorted((name for _, name in socket.if_nameindex()), key=lambda name: name.startswith(_PASSED_BY))
    found = [default, *(_ipv4(name) for name in names), *_ipv6()]
    return list(dict.fromkeys(address for address in found if address and _useful(address)))


def host_name() -> str:
    """Return the name that this machine announces by mDNS, `raspberrypi.local`; empty when it has none of its own."""
    name = socket.gethostname().partition(".")[0]
    return f"{name}.local" if name and name != "localhost" else ""


def _useful(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_unspecified or (parsed.version == 6 and parsed.is_link_local))


def _default_route() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("198.51.100.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
    return ""


def _ipv4(interface: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, contextlib.suppress(OSError):
        answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        return socket.inet_ntoa(answer[20:24])
    return ""


def _ipv6() -> list[str]:
    try:
        rows = [line.split() for line in _IPV6.read_text("ascii").splitlines()]
    except OSError:  # a kernel without IPv6
        return []
    return [str(ipaddress.IPv6Address(bytes.fromhex(row[0]))) for row in rows if len(row) > 3 and row[3] == "00"]
