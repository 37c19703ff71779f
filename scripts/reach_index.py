"""Whether the place that pip takes packages from can be reached: if not, ends with 1 and names it, within seconds.

Part of scripts/install.sh, which runs it with the system's own Python: standard library only.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE_S = 5.0
PYPI = "https://pypi.org/simple"


def setting(name: str) -> str:
    """Return what pip is told: by the environment, or by its configuration files, the user's before the system's."""
    value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if value is not None:
        return value
    files = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf", Path.home() / ".pip/pip.conf",
             Path.home() / ".config/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")]  # fmt: skip
    told = configparser.RawConfigParser(strict=False)
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):  # pip itself says what is wrong with them
        told.read([file for file in files if file], "utf-8")
    for section in ("install", "wheel", "global"):
        if told.has_option(section, name):
            return told.get(section, name)
    return ""


def reached(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except (OSError, UnicodeError):
        return False
    return True


def address(url: str) -> tuple[str, int] | None:
    """Return the host and port that a request for `url` goes to, the proxy's where one is set; None: no network's."""
    asked = urllib.parse.urlsplit(url)
    if asked.scheme not in ("http", "https") or not asked.hostname:
        return None
    proxy = setting("proxy") or urllib.request.getproxies().get(asked.scheme, "")
    if proxy and not urllib.request.proxy_bypass(asked.hostname):
        asked = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    default = 443 if asked.scheme == "https" else 80
    return (asked.hostname or "", asked.port or default)


def main() -> int:
    """Return 0 when pip has somewhere to go, as far as can be told."""
    if setting("no-index") or setting("find-links"):
        return 0
    index = setting("index-url") or PYPI
    try:
        place = address(index)
    except ValueError:  # pip itself says what is wrong with it
        return 0
    if place is None or reached(*place):
        return 0
    print(place[0])
    return 1


if __name__ == "__main__":
    sys.exit(main())
