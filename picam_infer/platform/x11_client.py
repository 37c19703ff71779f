"""A connection to an X server, spoken by ourselves: Xlib ends the whole process when its server goes away.

Only what one window needs (X11 protocol, core requests and MIT-SHM 1.2). Numbers are those of X11/Xproto.h.
"""

from __future__ import annotations

import array
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from picam_infer.core import Disconnected

CREATE_WINDOW, MAP_WINDOW, CONFIGURE_WINDOW = 1, 8, 12
INTERN_ATOM, CHANGE_PROPERTY, SEND_EVENT = 16, 18, 25
CREATE_PIXMAP, CREATE_GC, FILL_RECTANGLE, PUT_IMAGE = 53, 55, 70, 72
CREATE_CURSOR, CHANGE_ATTRIBUTES, QUERY_EXTENSION, KEYBOARD_MAPPING, SYNC = 93, 2, 98, 101, 43
GET_PROPERTY, TRANSLATE, QUERY_KEYMAP = 20, 40, 44
XINERAMA_SCREENS = 5
XKB_USE, XKB_SELECT_EVENTS = 0, 1
_MAPPING_NOTIFY = 34
SHM_VERSION, SHM_DETACH, SHM_PUT_IMAGE, SHM_ATTACH_FD = 0, 2, 3, 6
_ERROR, _REPLY = 0, 1
_LIMIT_S = 2.0


class Extension(NamedTuple):
    """Where a server has put an extension."""

    opcode: int
    first_event: int


@dataclass(frozen=True, slots=True)
class Screen:
    """A server's first screen."""

    root: int
    width: int
    height: int
    depth: int
    """Bits of a colour: 24 nearly everywhere, 16 on some small panels."""
    bits: int
    """Bits that a pixel takes in memory."""
    black: int
    red_mask: int
    keycodes: tuple[int, int]
    """The lowest and the highest key number."""


class Monitor(NamedTuple):
    """The part of a screen that one monitor shows, pixels."""

    x: int
    y: int
    width: int
    height: int

    def holds(self, x: int, y: int) -> bool:
        """Whether a point of the screen is on it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Client:
    """Requests out, replies and events in. For one thread. Everything raises `Disconnected` when the server is gone."""

    def __init__(self, link: socket.socket, setup: bytes) -> None:
        """`link` has been let in; `setup` is what the server said then, without its first eight bytes."""
        self._link = link
        self._pending = bytearray()
        self._events: deque[bytes] = deque()
        self._sequence = 0
        self._ids, self._mask = struct.unpack_from("<II", setup, 4)
        self._next = 0
        self.screen = _screen(setup)
        self.failed: bytes | None = None
        """The last error the server reported of a request that has no answer."""
        # Blocking, with limits that the kernel keeps: changing the mode for each look would be two more system calls.
        link.settimeout(None)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_LIMIT_S), 0))
        self._readable = select.poll()
        self._readable.register(link, select.POLLIN)

    def close(self) -> None:
        """End the connection; the server removes what belonged to it."""
        self._link.close()

    def new_id(self) -> int:
        """Return a number for a window, pixmap or the like."""
        step = self._mask & -self._mask
        self._next += step
        return int(self._ids | self._next)

    def send(self, opcode: int, detail: int = 0, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        """Send a request that has no answer; `body` is padded to whole words."""
        body += bytes(-len(body) % 4)
        data = struct.pack("<BBH", opcode, detail, 1 + len(body) // 4) + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._sequence = (self._sequence + 1) & 0xFFFF
        try:
            sent = self._link.sendmsg([data], rights)
            if sent < len(data):
                self._link.sendall(data[sent:])
        except OSError as error:
            raise _gone() from error

    def ask(self, opcode: int, detail: int = 0, body: bytes = b"") -> bytes:
        """Send a request and return its answer; b"" when the server refuses it."""
        self.send(opcode, detail, body)
        ends_s = time.monotonic() + _LIMIT_S
        while True:
            message = self._message(ends_s - time.monotonic())
            if message is None:
                raise Disconnected("the desktop's X server does not answer", "log out and in again")
            if message[0] in (_REPLY, _ERROR) and struct.unpack_from("<H", message, 2)[0] == self._sequence:
                return message if message[0] == _REPLY else b""
            self._sort(message)

    def events(self, timeout_s: float = 0.0) -> list[bytes]:
        """Return the events that have come, each of 32 bytes; waits for the first one if none has."""
        while (message := self._message(0.0 if self._events else timeout_s)) is not None:
            self._sort(message)
        found = list(self._events)
        self._events.clear()
        return found

    def later(self, event: bytes) -> None:
        """Put an event back: `events` returns it next time."""
        self._events.append(event)

    def settle(self) -> bool:
        """Wait until the server has done everything so far; False when it reported an error meanwhile."""
        self.failed = None
        self.ask(SYNC)  # GetInputFocus: the shortest question there is
        return self.failed is None

    def atom(self, name: str) -> int:
        """Return the number of a name."""
        answer = self.ask(INTERN_ATOM, 0, struct.pack("<HH", len(name), 0) + name.encode())
        return int(struct.unpack_from("<I", answer, 8)[0]) if answer else 0

    def extension(self, name: str) -> Extension | None:
        """Return an extension; None: this server lacks it."""
        answer = self.ask(QUERY_EXTENSION, 0, struct.pack("<HH", len(name), 0) + name.encode())
        return Extension(answer[9], answer[10]) if answer and answer[8] else None

    def monitors(self) -> list[Monitor]:
        """Return what each monitor shows of the screen now, the primary one first; never empty."""
        found: list[Monitor] = []
        if extension := self.extension("XINERAMA"):
            answer = self.ask(extension.opcode, XINERAMA_SCREENS)
            count = struct.unpack_from("<I", answer, 8)[0] if answer else 0
            found = [Monitor(*struct.unpack_from("<hhHH", answer, 32 + 8 * i)) for i in range(count)]
        return [one for one in found if one.width and one.height] or [
            Monitor(0, 0, self.screen.width, self.screen.height)
        ]

    def words(self, window: int, name: int) -> tuple[int, ...]:
        """Return a property of a window: numbers of 32 bits; empty: the window, or that property, does not exist."""
        answer = self.ask(GET_PROPERTY, 0, struct.pack("<IIIII", window, name, 0, 0, 1 << 10))
        if not answer or answer[1] != 32:
            return ()
        return struct.unpack_from(f"<{struct.unpack_from('<I', answer, 16)[0]}I", answer, 32)

    def follow_layouts(self) -> int:
        """Be told of each change of the keyboard's layouts, and with each key of the chosen one; return that event.

        A server tells a program that has not asked for it by XKB of neither the second layout nor the third.
        """
        keyboards = self.extension("XKEYBOARD")
        if keyboards is None or not self.ask(keyboards.opcode, XKB_USE, struct.pack("<HH", 1, 0)):
            return _MAPPING_NOTIFY
        new_keyboard_or_map = 0x3
        body = struct.pack("<HHHHHH", 0x100, new_keyboard_or_map, 0, new_keyboard_or_map, 0, 0)
        self.send(keyboards.opcode, XKB_SELECT_EVENTS, body)
        return keyboards.first_event

    def keysyms(self) -> dict[tuple[int, int, bool], int]:
        """Return what the keyboard's keys mean: (key number, layout, with Shift) → keysym.

        The layout is 0 or 1: a person may switch between two.
        """
        first, last = self.screen.keycodes
        answer = self.ask(KEYBOARD_MAPPING, 0, struct.pack("<BBH", first, last - first + 1, 0))
        found: dict[tuple[int, int, bool], int] = {}
        each = answer[1] if answer else 0
        for index in range(last - first + 1):
            for layout in range(min(2, each // 2)):
                plain, shifted = struct.unpack_from("<II", answer, 32 + 4 * (each * index + 2 * layout))
                found[first + index, layout, False] = plain
                found[first + index, layout, True] = shifted or plain
        return found

    def _sort(self, message: bytes) -> None:
        if message[0] == _ERROR:
            self.failed = message
        elif message[0] != _REPLY:
            self._events.append(message)

    def _message(self, timeout_s: float) -> bytes | None:
        """Return the next reply, error or event; None: none came in that time."""
        while True:
            size = self._size()
            if size and len(self._pending) >= size:
                message = bytes(self._pending[:size])
                del self._pending[:size]
                return message
            try:
                if timeout_s > 0 and not self._readable.poll(timeout_s * 1e3):
                    return None
                more = self._link.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                raise _gone() from error
            if not more:
                raise _gone()
            self._pending += more

    def _size(self) -> int:
        if len(self._pending) < 32:
            return 0
        extra = struct.unpack_from("<I", self._pending, 4)[0] * 4 if self._pending[0] in (_REPLY, 35) else 0
        return 32 + int(extra)


def _screen(setup: bytes) -> Screen:
    (vendor,) = struct.unpack_from("<H", setup, 16)
    roots, formats = setup[20], setup[21]
    if not roots:
        raise Disconnected("the desktop's X server has no screen", "log out and in again")
    at = 32 + vendor + (-vendor % 4)
    bits = {setup[at + 8 * i]: setup[at + 8 * i + 1] for i in range(formats)}
    at += 8 * formats
    root, _, _, black, _, width, height = struct.unpack_from("<IIIIIHH", setup, at)
    (visual,) = struct.unpack_from("<I", setup, at + 32)
    depth, red_mask = setup[at + 38], 0
    place = at + 40
    for _ in range(setup[at + 39]):
        (visuals,) = struct.unpack_from("<H", setup, place + 2)
        for i in range(visuals):
            one = place + 8 + 24 * i
            if struct.unpack_from("<I", setup, one)[0] == visual:
                (red_mask,) = struct.unpack_from("<I", setup, one + 8)
        place += 8 + 24 * visuals
    return Screen(root, width, height, depth, bits.get(depth, 0), black, red_mask, (setup[26], setup[27]))


def _gone() -> Disconnected:
    return Disconnected("the desktop's X server has ended", "the window comes back with it, or with the next login")
