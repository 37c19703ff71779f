"""Lets the service open its window in this desktop: each desktop runs it at its start (systemd/picam-infer.desktop).

It asks the X server for what `xhost +SI:localuser:picam-infer` asks, and stays: a Wayland compositor ends its X server,
which then forgets who was let in, some seconds after the last program has left it.
"""

from __future__ import annotations

import struct
import sys
import time

from picam_infer.core import Disconnected
from picam_infer.platform import x11
from picam_infer.platform.terminal import say

_CHANGE_HOSTS, _INSERT, _SERVER_INTERPRETED = 109, 0, 5
AGAIN_S = 1.0
_GONE_S = 30.0
"""A desktop without an X server for this long has ended, unless a compositor is running: it starts one on demand."""


def main(words: list[str], gone_s: float = _GONE_S) -> int:
    """Let a user in (`picam-infer`, or the first word) for as long as the desktop lasts; 1 when it refuses."""
    user = words[0] if words else x11.SERVICE_USER
    there_s = time.monotonic()
    while True:
        try:
            desktop = x11.find()
        except Disconnected:
            if time.monotonic() - there_s > gone_s and not x11.compositor():
                return 0
            time.sleep(AGAIN_S)
            continue
        try:
            refused = grant_access(desktop, user)
        except OSError:
            refused = ""
        finally:
            if desktop.link is not None:
                desktop.link.close()
        if refused:
            say(f"the desktop on {desktop.display} does not let {user} in: {refused}", error=True)
            return 1
        there_s = time.monotonic()
        time.sleep(AGAIN_S)


def grant_access(desktop: x11.Session, user: str) -> str:
    """Let a user in and wait until the X server ends; at once why it refuses, if it does. Raises `OSError`."""
    link = desktop.link
    assert link is not None, "a session that was found keeps its place"
    link.settimeout(None)
    link.sendall(request(user))
    while answer := link.recv(4096):
        if answer[0] == 0:
            return f"X error {answer[1]}; does this user exist?"
    return ""


def request(user: str) -> bytes:
    """Return the X request that adds a local user to those who may connect."""
    address = x11.padded(b"localuser\0" + user.encode())
    size = len(b"localuser\0") + len(user.encode())
    head = struct.pack("<BBHBxH", _CHANGE_HOSTS, _INSERT, 2 + len(address) // 4, _SERVER_INTERPRETED, size)
    return head + address


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
