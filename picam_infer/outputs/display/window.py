"""A window of a running desktop (X11, or Wayland through its X server). Main thread only."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import time
from collections.abc import Sequence

import cv2
import numpy as np

from picam_infer.config import DisplaySettings
from picam_infer.core import Disconnected, Overlay, Pixels
from picam_infer.imaging.letterbox import Letterbox
from picam_infer.outputs.display import x11_surface
from picam_infer.outputs.display.x11_surface import Surface
from picam_infer.platform import atomic_file, x11, x11_client
from picam_infer.platform.paths import state_folder
from picam_infer.platform.x11_client import Client, Monitor

TITLE = "picam-infer"
CLOSE = "close"
"""The key that closing the window with the mouse counts as."""
_LEAST_WIDTH = 960
_SAME_SHAPE = 0.01
_KEYSYMS = {0xFF1B: "esc", 0xFF08: "backspace", 0xFF0D: "enter", 0xFF8D: "enter", 0x20: "space",
            0xFF50: "home", 0xFF51: "left",
            0xFF52: "up", 0xFF53: "right", 0xFF54: "down", 0xFF55: "pageup", 0xFF56: "pagedown"}  # fmt: skip
_KEY_PRESS, _EXPOSE, _VISIBILITY, _DESTROYED, _UNMAPPED, _MAPPED, _CONFIGURED = 2, 12, 15, 17, 18, 19, 22
_PROPERTY, _MESSAGE = 28, 33
_BUTTON_PRESS, _FOCUS_IN = 4, 9
_PROPERTY_CHANGE = 1 << 22
_EVENTS = 1 << 0 | 1 << 2 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 21 | _PROPERTY_CHANGE
"""KeyPress, ButtonPress, Exposure, VisibilityChange, StructureNotify, FocusChange and PropertyChange."""
_SHIFT_OR_LOCK = 0x0001
_CHORD = 0x0004 | 0x0008 | 0x0040
"""Ctrl, Alt or the Super key: with one of them, a key is a shortcut and not ours."""
_FULLY_OBSCURED = 2
_DELETED = 1
_APPEARS_S = 3.0
"""How long a window manager may take for a new window."""
_QUIET_MS = 3000
"""For so long nobody must have typed before the keys of a window that took the focus when it opened are heeded."""
_BY_A_PERSON = 2
"""The source of a request for a window: a person, not the program itself."""
_ATOM, _CARDINAL, _STRING, _WM_NAME, _WM_HINTS, _WM_NORMAL_HINTS, _WM_CLASS = 4, 6, 31, 39, 35, 40, 67


class Window:
    """One window that never takes the focus by itself; `f` changes between full screen and a window of its own."""

    desktop = True
    typing = False

    def __init__(self, settings: DisplaySettings, picture_size: tuple[int, int] | None = None) -> None:
        """Open it on the desktop that lets us in, in the shape of pictures of that size. Raises `Disconnected`."""
        self.name = ""
        self._memory_of_mode = state_folder() / "window.json"
        self._full = self._remembered(settings.fullscreen)
        self._aspect = picture_size[0] / picture_size[1] if picture_size else 16 / 9
        # Mutter takes its title bar off a window that began in full screen.
        self._shape = math.inf if self._full else self._aspect
        """Width by height of the pictures that the window outside full screen was made for; infinite: none."""
        self._pressed: list[str] = []
        self._down: dict[int, str] = {}
        """Keys that were pressed here, by number; some may have been released."""
        self._size: tuple[int, int] = (0, 0)
        self._last: Pixels | None = None
        self._over: Sequence[Overlay] = ()
        self._known = self._listed = self._front_asked = self._hidden = False
        self._agreed = False
        """Whether the window manager has made it what was asked for last: full screen, or a window."""
        self._quiet = False
        """Whether it took the focus when it opened, so that keys may not be meant for it."""
        self._typed_ms = 0
        """When somebody typed last, or it was opened, by the X server's clock."""
        self._before = 0
        """The window that had the focus when this one was opened; 0: none that can be given it back."""
        session = x11.find()
        link = session.link
        assert link is not None, "a session that was found keeps its place"
        self._client = Client(link, session.setup)
        try:
            self._letterbox = Letterbox(x11_surface.conversion(self._client.screen))
            self._open()
        except BaseException:
            self._client.close()
            raise
        self.name = f"window on {session.display}"

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of what it shows, pixels."""
        return self._size

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        """Show BGR (H, W, 3) and what is laid over it, fitted with black bars. Raises `Disconnected`."""
        self._aspect = image.shape[1] / image.shape[0]
        self._last, self._over = image, over
        self._handle(self._client.events())
        if time.monotonic() > self._map_again_s:
            self._map()
        self._draw()

    def _draw(self) -> None:
        if self._last is not None and self._seen and not self._hidden and min(self._size) > 0:
            self._surface.show(self._letterbox, self._last, self._size, self._over)

    def keys(self) -> Sequence[str]:
        """Return the keys pressed since the last call; `close` when a person closed it. Raises `Disconnected`."""
        self._take_events()
        pressed, self._pressed = self._pressed, []
        if "f" in pressed and not self.typing:
            self._full = not self._full
            self._apply()
            self._remember()
        return pressed

    def held(self) -> frozenset[str]:
        """Return which of the keys that were pressed here are still down. Raises `Disconnected`.

        The server is asked, because for a held key it sends releases and presses in turn.
        """
        if self._down:
            answer = self._client.ask(x11_client.QUERY_KEYMAP)
            bits = int.from_bytes(answer[8:40], "little")
            self._down = {number: name for number, name in self._down.items() if bits >> number & 1}
        return frozenset(self._down.values())

    def to_front(self) -> None:
        """Come to the front, as a click in the window list would do. Raises `Disconnected`."""
        self._take_events()  # keys that were pressed before are not meant for it either
        self._quiet = False
        self._ask_for_front()

    def _ask_for_front(self) -> None:
        # The window manager ignores what is asked about a window that it does not have yet.
        self._front_asked = not self._known
        if self._known:
            self._ask("_NET_ACTIVE_WINDOW", _BY_A_PERSON, 0, 0)

    def close(self) -> None:
        """Close the window. May be called more than once."""
        if self.name:
            self.name = ""
            self._surface.close()
            self._client.close()

    # -- the window ----------------------------------------------------------

    def _open(self) -> None:
        client, screen = self._client, self._client.screen
        self._seen = True
        self._layout_event = client.follow_layouts()
        self._keysyms = client.keysyms()
        names = ("WM_PROTOCOLS", "WM_DELETE_WINDOW", "_NET_WM_PING", "_NET_WM_STATE", "_NET_WM_STATE_FULLSCREEN",
                 "_NET_WM_STATE_HIDDEN",
                 "_NET_WM_NAME", "UTF8_STRING", "_NET_WM_USER_TIME", "_NET_WM_PID", "_NET_WM_ICON",
                 "_NET_ACTIVE_WINDOW", "_NET_CLIENT_LIST", "_NET_SUPPORTED",
                 "_NET_SUPPORTING_WM_CHECK")  # fmt: skip
        self._atoms = {name: client.atom(name) for name in names}
        self._id = client.new_id()
        # The window that a window manager makes full screen has its size without that, for later.
        place = self._placed(client.monitors()[0], self._full and not self._managed("_NET_WM_STATE_FULLSCREEN"))
        self._size = (place.width, place.height)
        head = struct.pack("<IIhhHHHHII", self._id, screen.root, *place, 0, 1, 0, 1 << 1 | 1 << 11)
        client.send(x11_client.CREATE_WINDOW, 0, head + struct.pack("<II", screen.black, _EVENTS))
        self._describe()
        client.send(x11_client.CHANGE_ATTRIBUTES, 0, struct.pack("<III", screen.root, 1 << 11, _PROPERTY_CHANGE))
        self._lists = self._managed("_NET_CLIENT_LIST")
        if self._lists:
            self._before = next(iter(client.words(screen.root, self._atoms["_NET_ACTIVE_WINDOW"])), 0)
            self._quiet = True
        self._hide_pointer(self._full)
        self._surface = Surface(client, self._id)
        self._map()
        if not client.settle():
            raise Disconnected("the desktop refuses the window", "log out and in again")

    def _map(self) -> None:
        """Ask for the window to appear; again until it does, for Openbox overlooks what is asked while it starts."""
        self._client.send(x11_client.MAP_WINDOW, 0, struct.pack("<I", self._id))
        self._map_again_s = time.monotonic() + _APPEARS_S

    def _describe(self) -> None:
        atoms = self._atoms
        self._property(_WM_NAME, _STRING, TITLE.encode())
        self._property(atoms["_NET_WM_NAME"], atoms["UTF8_STRING"], TITLE.encode())
        self._property(_WM_CLASS, _STRING, f"{TITLE}\0{TITLE}\0".encode())
        self._property(
            atoms["WM_PROTOCOLS"], _ATOM, struct.pack("<II", atoms["WM_DELETE_WINDOW"], atoms["_NET_WM_PING"])
        )
        self._property(atoms["_NET_WM_PID"], _CARDINAL, struct.pack("<I", os.getpid()))
        # Takes the focus only when a person clicks on it: what is typed elsewhere keeps going there.
        self._property(_WM_HINTS, _WM_HINTS, struct.pack("<9I", 1, 1, *([0] * 7)))
        self._property(atoms["_NET_WM_USER_TIME"], _CARDINAL, struct.pack("<I", 0))
        self._property(_WM_NORMAL_HINTS, 41, struct.pack("<18I", 1 << 4, 0, 0, 0, 0, 320, 240, *([0] * 11)))
        self._property(atoms["_NET_WM_ICON"], _CARDINAL, _icon())
        if self._full:
            self._property(atoms["_NET_WM_STATE"], _ATOM, struct.pack("<I", atoms["_NET_WM_STATE_FULLSCREEN"]))

    def _property(self, name: int, kind: int, data: bytes) -> None:
        form = 8 if kind in (_STRING, self._atoms["UTF8_STRING"]) else 32
        head = struct.pack("<IIIBxxxI", self._id, name, kind, form, len(data) * 8 // form)
        self._client.send(x11_client.CHANGE_PROPERTY, 0, head + data)

    def _placed(self, monitor: Monitor, full: bool) -> Monitor:
        """Return a window's place on a monitor: all of it, or a window of the picture's shape in its middle.

        It is at least 960 wide where the monitor is.
        """
        if full:
            return monitor
        width = min(max(_LEAST_WIDTH, monitor.width // 2), monitor.width * 9 // 10)
        height = round(width / self._aspect)
        if height > monitor.height * 8 // 10:
            height = monitor.height * 8 // 10
            width = round(height * self._aspect)
        width, height = max(1, width), max(1, height)
        left, top = monitor.x + (monitor.width - width) // 2, monitor.y + (monitor.height - height) // 2
        return Monitor(left, top, width, height)

    def _managed(self, hint: str) -> bool:
        """Whether the desktop has a window manager that knows a hint (Extended Window Manager Hints 1.5)."""
        check, root = self._atoms["_NET_SUPPORTING_WM_CHECK"], self._client.screen.root
        its = self._client.words(root, check)
        if not its or self._client.words(its[0], check) != its:  # one that has ended leaves the first
            return False
        return self._atoms[hint] in self._client.words(root, self._atoms["_NET_SUPPORTED"])

    def _apply(self) -> None:
        """Ask the window manager for full screen or a window; without one, set the size."""
        self._agreed, full = False, self._atoms["_NET_WM_STATE_FULLSCREEN"]
        self._ask("_NET_WM_STATE", int(self._full), full, 0, 1)
        if not self._managed("_NET_WM_STATE_FULLSCREEN"):
            self._reshape()
        self._hide_pointer(self._full)

    def _reshape(self) -> None:
        """Set the size, and the place on the monitor where the window is."""
        place, self._shape = self._placed(self._monitor(), self._full), self._aspect
        self._client.send(x11_client.CONFIGURE_WINDOW, 0, struct.pack("<IHxxiiII", self._id, 0b1111, *place))

    def _monitor(self) -> Monitor:
        """Return the monitor that has the window's middle, or else the first one."""
        middle = (self._size[0] // 2, self._size[1] // 2)
        root = self._client.screen.root
        answer = self._client.ask(x11_client.TRANSLATE, 0, struct.pack("<IIhh", self._id, root, *middle))
        x, y = struct.unpack_from("<hh", answer, 12) if answer else (0, 0)
        monitors = self._client.monitors()
        return next((one for one in monitors if one.holds(x, y)), monitors[0])

    def _ask(self, what: str, *values: int, window: int = 0) -> None:
        """Send a message about a window (0: this one) to the window manager (Extended Window Manager Hints 1.5)."""
        event = struct.pack(
            "<BBHII20s",
            _MESSAGE,
            32,
            0,
            window or self._id,
            self._atoms[what],
            struct.pack(f"<{len(values)}I", *values),
        )
        self._client.send(
            x11_client.SEND_EVENT, 0, struct.pack("<II", self._client.screen.root, 1 << 19 | 1 << 20) + event
        )

    def _hide_pointer(self, hidden: bool) -> None:
        client, cursor = self._client, 0
        if hidden:
            pixmap, context, cursor = client.new_id(), client.new_id(), client.new_id()
            client.send(x11_client.CREATE_PIXMAP, 1, struct.pack("<IIHH", pixmap, self._id, 1, 1))
            client.send(x11_client.CREATE_GC, 0, struct.pack("<IIII", context, pixmap, 1 << 2, 0))
            client.send(x11_client.FILL_RECTANGLE, 0, struct.pack("<IIhhHH", pixmap, context, 0, 0, 1, 1))
            client.send(x11_client.CREATE_CURSOR, 0, struct.pack("<III6HHH", cursor, pixmap, pixmap, *([0] * 8)))
        client.send(x11_client.CHANGE_ATTRIBUTES, 0, struct.pack("<III", self._id, 1 << 14, cursor))

    # -- events --------------------------------------------------------------

    def _take_events(self) -> None:
        if self._handle(self._client.events()):
            self._draw()  # a frozen picture is not shown again by anybody else

    def _handle(self, events: Sequence[bytes]) -> bool:
        """Take events; whether a part of the window has to be drawn again.

        Not meanwhile: drawing waits for an event that may be among these.
        """
        exposed = False
        for event in events:
            kind = event[0] & 0x7F
            if kind == _KEY_PRESS:
                self._key(event)
            elif kind == _BUTTON_PRESS:
                self._quiet = False
            elif kind == _FOCUS_IN:
                self._give_focus_back()
            elif kind == _CONFIGURED:
                self._size = struct.unpack_from("<HH", event, 20)
            elif kind == _VISIBILITY:
                self._seen = event[8] != _FULLY_OBSCURED
            elif kind in (_MAPPED, _UNMAPPED):
                self._seen, self._map_again_s = kind == _MAPPED, math.inf
                if self._seen and not self._lists:
                    self._is_known()
            elif kind == _DESTROYED:
                self._pressed.append(CLOSE)
            elif kind == _EXPOSE:
                exposed = True
            elif kind == _PROPERTY:
                window, name, now_ms = struct.unpack_from("<III", event, 4)
                self._typed_ms = self._typed_ms or now_ms
                self._property_changed(window, name, deleted=event[16] == _DELETED)
            elif kind == _MESSAGE:
                self._message(event)
            elif kind == self._layout_event:
                self._keysyms = self._client.keysyms()
            else:
                self._surface.heard(event)
        return exposed

    def _give_focus_back(self) -> None:
        """Return a focus that nobody gave this window: labwc and sway give it to each new one.

        What somebody types in another program goes on there. Of those without X11 none can be named: their keys are
        only not heeded here.
        """
        if self._before and self._quiet:
            self._ask("_NET_ACTIVE_WINDOW", _BY_A_PERSON, 0, 0, window=self._before)
            self._before = 0

    def _is_known(self) -> None:
        """The window manager has the window: only now does it heed what is asked about it."""
        self._known = True
        if self._front_asked:
            self._ask_for_front()

    def _property_changed(self, window: int, name: int, deleted: bool) -> None:
        atoms, client = self._atoms, self._client
        if name == atoms["_NET_CLIENT_LIST"]:
            was_listed, self._listed = self._listed, self._id in client.words(window, name)
            if self._listed and not was_listed:
                if self._full:
                    # labwc and sway may forget the state that it was opened with, and others have only started now.
                    self._ask("_NET_WM_STATE", 1, atoms["_NET_WM_STATE_FULLSCREEN"], 0, 1)
                self._is_known()
        # A window manager that ends takes the state away: nobody has chosen that.
        if name != atoms["_NET_WM_STATE"] or window != self._id or deleted:
            return
        state = client.words(window, name)
        self._hidden = atoms["_NET_WM_STATE_HIDDEN"] in state
        full = atoms["_NET_WM_STATE_FULLSCREEN"] in state
        if full == self._full:
            if not full and not self._agreed and abs(self._aspect / self._shape - 1) > _SAME_SHAPE:
                self._reshape()  # what the window manager remembers is the shape of another picture
            self._agreed = self._listed
        elif self._agreed:  # it was changed by the window manager's own menu or keys
            self._full = full
            self._hide_pointer(full)
            self._remember()

    def _key(self, event: bytes) -> None:
        (modifiers,) = struct.unpack_from("<H", event, 28)
        if self._may_be_for_others(event) or modifiers & _CHORD:
            return
        # What the second layout does not have in Latin letters is where the first has it.
        names = (
            self._key_name(event[1], layout, bool(modifiers & _SHIFT_OR_LOCK)) for layout in (modifiers >> 13 & 3, 0)
        )
        if name := next(filter(None, names), ""):
            self._pressed.append(name)
            self._down[event[1]] = name

    def _key_name(self, number: int, layout: int, shifted: bool) -> str:
        keysym, other = (self._keysyms.get((number, layout, one), 0) for one in (shifted, not shifted))
        if chr(other).isdigit() and other < 0x80:  # French keyboards have them behind Shift
            keysym = other
        return _KEYSYMS.get(keysym) or (chr(keysym).lower() if 0x20 < keysym < 0x100 else "")

    def _may_be_for_others(self, event: bytes) -> bool:
        """Whether a key belongs to what somebody was typing elsewhere when this window opened and took the focus."""
        (now_ms,) = struct.unpack_from("<I", event, 4)
        since_ms = (now_ms - self._typed_ms) & 0xFFFFFFFF  # the clock goes round
        self._quiet = self._quiet and since_ms < _QUIET_MS
        self._typed_ms = now_ms
        return self._quiet

    def _message(self, event: bytes) -> None:
        kind, wanted = struct.unpack_from("<II", event, 8)
        if kind != self._atoms["WM_PROTOCOLS"]:
            return
        if wanted == self._atoms["WM_DELETE_WINDOW"]:
            self._pressed.append(CLOSE)
        elif wanted == self._atoms["_NET_WM_PING"]:
            root = self._client.screen.root
            back = event[:4] + struct.pack("<I", root) + event[8:]
            self._client.send(x11_client.SEND_EVENT, 0, struct.pack("<II", root, 1 << 19 | 1 << 20) + back)

    # -- the mode, remembered --------------------------------------------------

    def _remembered(self, otherwise: bool) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return bool(json.loads(self._memory_of_mode.read_text("utf-8"))["fullscreen"])
        return otherwise

    def _remember(self) -> None:
        with contextlib.suppress(OSError):
            self._memory_of_mode.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write(self._memory_of_mode, (json.dumps({"fullscreen": self._full}) + "\n").encode())


def _icon() -> bytes:
    """Return the window's picture in lists: an eye, 32×32, as _NET_WM_ICON wants it."""
    picture = np.zeros((32, 32, 4), np.uint8)
    cv2.ellipse(picture, (16, 16), (15, 9), 0, 0, 360, (255, 255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(picture, (16, 16), 8, (120, 90, 20, 255), -1, cv2.LINE_AA)
    cv2.circle(picture, (16, 16), 4, (0, 0, 0, 255), -1, cv2.LINE_AA)
    return struct.pack("<II", 32, 32) + picture.tobytes()
