"""Finds a desktop session that this process may open a window in, also from outside of it (a service, ssh)."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from picam_infer.core import Disconnected
from picam_infer.platform.paths import interpreter
from picam_infer.platform.procfs import PROC, others

SOCKETS = Path("/tmp/.X11-unix")
RUN = Path("/run/user")
LOGIND = Path("/run/systemd")
_COOKIE = b"MIT-MAGIC-COOKIE-1"
PATIENCE_S = 1.0
"""For how long an X server may not answer before it counts as hanging."""
_STARTS_S = 30.0
"""For so long after its start a desktop may still be about to let us in: no remedy is due yet."""
SERVICE_USER = "picam-infer"
_COMPOSITORS = ("labwc", "wayfire", "sway", "weston", "kwin_wayland", "gnome-shell", "cage", "Hyprland")
_X_SERVERS = ("Xwayland", "Xorg", "X")
_AUTOSTARTS = {"labwc": "~/.config/labwc/autostart", "sway": "~/.config/sway/config"}
"""Desktops that do not run /etc/xdg/autostart by themselves, and the file that lists what they start."""


@dataclass(frozen=True, slots=True)
class Session:
    """An X display (of X11, or of a Wayland compositor's Xwayland) that lets this user in."""

    display: str
    """`:0`."""
    authority: str
    """The file with its key; empty: it needs none."""
    link: socket.socket | None = field(default=None, compare=False, repr=False)
    """The connection that was let in."""
    setup: bytes = field(default=b"", compare=False, repr=False)
    """What the server said of itself when it did."""


class Desktop(NamedTuple):
    """A Wayland compositor that a person is logged in at."""

    name: str
    """Its program's: `labwc`."""
    age_s: float
    """For how long it has been running."""
    x_server: bool = False
    """Whether an X server is running."""


class Refused(Disconnected):
    """A desktop is running, but there is no way to a window in it yet."""


class Silent(Disconnected):
    """A desktop's X server is there, but does not answer."""


def find(
    environ: Mapping[str, str] = os.environ, sockets: Path = SOCKETS, run: Path = RUN, logind: Path = LOGIND
) -> Session:
    """Return a session to draw in, the environment's own first.

    Raises `Disconnected`; `Refused`, naming the desktop, or `Silent`, if one is running nevertheless.
    """
    if not environ.get("DISPLAY") and greeter_shown(logind):
        raise Refused("the screen shows the login prompt", "the window opens once somebody has logged in")
    refused, silent, desktop = "", "", compositor()
    own, asleep = environ.get("DISPLAY", ""), desktop is not None and not desktop.x_server
    displays = list(_displays(environ, sockets))
    for display in displays:
        # Knocking would start the compositor's X server, and keep it: whoever lets us in has started it himself.
        if asleep and display != own:
            continue
        for authority in _authorities(environ, run):
            try:
                answered = try_connect(display, authority, sockets)
            except TimeoutError:
                silent = silent or display
                break
            if answered is None:
                break
            if answered.refusal == "":
                return Session(display, authority, answered.link, answered.setup)
            answered.link.close()
            refused = refused or f"the desktop on {display} refuses user {_user()} ({answered.refusal})"
    if desktop is not None and desktop.age_s < _STARTS_S:
        raise Refused(f"the desktop ({desktop.name}) is starting", f"the window opens once it lets user {_user()} in")
    name = desktop.name if desktop is not None else ""
    if refused:
        raise Refused(refused, way_in(name))
    if silent:
        raise Silent(f"the desktop's X server on {silent} does not answer", "log out and in again")
    if asleep and displays and shutil.which("Xwayland"):
        raise Refused(f"the desktop ({name}) has not let user {_user()} in yet", way_in(name))
    if name:
        raise Refused(*_without_x(name))
    raise Disconnected(
        "no desktop session is running",
        "log in at the desktop, or use the bare monitor: --display kms (display.kind)",
    )


def login(run: Path = LOGIND) -> str:
    """Return the desktop login that has the screen, as logind numbers them; empty: none, or it cannot be told."""
    session, about = _on_screen(run)
    return session if about.get("TYPE") in ("x11", "wayland") and about.get("CLASS") == "user" else ""


def greeter_shown(run: Path = LOGIND) -> bool:
    """Whether the screen shows the login prompt (the greeter); False if that cannot be told."""
    return _on_screen(run)[1].get("CLASS") == "greeter"


def _on_screen(run: Path) -> tuple[str, Mapping[str, str]]:
    """Return the session that has the screen, and what logind writes about it; both empty where it cannot be told."""
    session = _fields(run / "seats/seat0").get("ACTIVE", "")
    return session, _fields(run / "sessions" / session) if session else {}


def compositor(proc: Path = PROC, run: Path = LOGIND) -> Desktop | None:
    """Return the Wayland desktop that a person is logged in at; None: none that can be seen.

    The greeter's own compositor does not count.
    """
    users = {about.get("UID") for about in map(_fields, (run / "sessions").glob("*")) if about.get("CLASS") == "user"}
    named = [(one.name, one) for one in others(proc)]
    x_server = any(name in _X_SERVERS for name, _ in named)
    for name, one in named:
        if name in _COMPOSITORS and one.user_slice in users:
            return Desktop(name, one.age_s, x_server)
    return None


def way_in(desktop: str, etc: Path = Path("/etc")) -> str:
    """Return how a person lets this user into a desktop that refuses it."""
    user, file = _user(), _AUTOSTARTS.get(desktop, "")
    if not file or "xdg-autostart" in _text(etc / f"xdg/{desktop}/autostart"):
        return f"log in there again, or run in a terminal of that desktop: xhost +SI:localuser:{user}"
    line = f"{interpreter()} -m picam_infer.platform.x11_access" + ("" if user == SERVICE_USER else f" {user}")
    line = f"exec {line}" if desktop == "sway" else f"{line} &"
    return f"add the line “{line}” to {file}, then log in there again: {desktop} starts nothing by itself"


def _without_x(desktop: str) -> tuple[str, str]:
    """Return what a Wayland desktop lacks for the window, and what to do about it."""
    if shutil.which("Xwayland"):  # a desktop needs seconds until its X server listens, on a small machine many
        return (f"the desktop ({desktop}) has not started its X server, which the window needs",
                "if it stays so, allow Xwayland in the desktop's settings and log in there again")  # fmt: skip
    return (f"the desktop ({desktop}) has no X server, which the window needs",
            "sudo apt install xwayland, then log in there again")  # fmt: skip


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _fields(file: Path) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in _text(file).splitlines())}


class Answer(NamedTuple):
    """An X server's answer to a new connection."""

    link: socket.socket
    refusal: str
    """Empty: we are let in."""
    setup: bytes
    """Then: what it says of itself."""


def try_connect(display: str, authority: str, sockets: Path = SOCKETS) -> Answer | None:
    """Connect to a desktop's X server; None: it is not there. Raises `TimeoutError` if it does not answer."""
    try:
        link = _dial(display, sockets)
    except TimeoutError:
        raise
    except (OSError, ValueError, OverflowError):  # the name may be anything
        return None
    try:
        return Answer(link, *_greet(link, display, authority))
    except TimeoutError:
        link.close()
        raise
    except OSError:
        link.close()
        return None


def _greet(link: socket.socket, display: str, authority: str) -> tuple[str, bytes]:
    name, key = _cookie(authority, display) if authority else (b"", b"")
    link.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(key)) + padded(name) + padded(key))
    head = _received(link, 8)
    rest = _received(link, struct.unpack("<H", head[6:8])[0] * 4)
    if head[0] == 1:
        return "", rest
    return rest[: head[1] or None].decode("latin-1").strip("\0\n ") or "no reason given", b""


def _dial(display: str, sockets: Path) -> socket.socket:
    host, _, number = display.rpartition(":")
    number = number.partition(".")[0]
    if host and host != "unix":
        return socket.create_connection((host, 6000 + int(number)), PATIENCE_S)
    path = str(sockets / f"X{number}")
    # A Wayland compositor's X server listens at the first too; its file is its own user's alone. Qt tries both as well.
    silent = False
    for address in ("\0" + path, path):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(PATIENCE_S)
        try:
            link.connect(address)
        except OSError as error:
            silent = silent or isinstance(error, (TimeoutError, BlockingIOError))  # its queue is full
            link.close()
        else:
            return link
    raise TimeoutError if silent else ConnectionRefusedError


def _received(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _displays(environ: Mapping[str, str], sockets: Path) -> Iterator[str]:
    own = environ.get("DISPLAY", "")
    if own.rpartition(":")[2].partition(".")[0].isdigit():
        yield own
    for path in sorted(sockets.glob("X*")):
        if path.name[1:].isdigit() and f":{path.name[1:]}" != own:
            yield f":{path.name[1:]}"


def _authorities(environ: Mapping[str, str], run: Path) -> Iterator[str]:
    places = [Path(environ["XAUTHORITY"])] if environ.get("XAUTHORITY") else []
    with contextlib.suppress(RuntimeError):
        places.append(Path.home() / ".Xauthority")
    for user in sorted(run.glob("*")):
        with contextlib.suppress(OSError):
            places += [*sorted(user.glob(".mutter-Xwaylandauth.*")), *sorted(user.glob("xauth_*")),
                       user / "gdm/Xauthority"]  # fmt: skip
    yield from dict.fromkeys(str(place) for place in places if os.access(place, os.R_OK))
    yield ""


def _cookie(authority: str, display: str) -> tuple[bytes, bytes]:
    number = display.rpartition(":")[2].partition(".")[0].encode()
    for _, _, entry, name, key in entries(Path(authority).read_bytes()):
        if name == _COOKIE and entry in (b"", number):
            return name, key
    return b"", b""


def entries(data: bytes) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
    """Return (family, address, display number, kind, key) of each entry of an .Xauthority file's bytes."""
    at = 0
    with contextlib.suppress(struct.error):
        while at < len(data):
            family = struct.unpack_from(">H", data, at)[0]
            at += 2
            fields = []
            for _ in range(4):
                size = struct.unpack_from(">H", data, at)[0]
                fields.append(data[at + 2 : at + 2 + size])
                at += 2 + size
            yield family, fields[0], fields[1], fields[2], fields[3]


def padded(data: bytes) -> bytes:
    """Return the bytes of an X request's field: a multiple of four."""
    return data + bytes(-len(data) % 4)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
