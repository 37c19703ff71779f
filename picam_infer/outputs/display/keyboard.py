"""Keys of the attached keyboards without a desktop, from the kernel's event devices (input.h)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_DEV = Path("/dev/input")
_LAYOUT = Path("/etc/default/keyboard")
EVENT = struct.Struct("qqHHi")
EV_SYN, EV_KEY = 0, 1
_DROPPED = 3
"""What EV_SYN says when events came faster than they were read: some are missing."""
SCAN_S = 1.0
CTRL, ALT = (29, 97), (56, 100)

NAMES = {1: "esc", 12: "-", 14: "backspace", 28: "enter", 57: "space", 96: "enter",
          102: "home", 103: "up", 104: "pageup", 105: "left",
          106: "right", 108: "down", 109: "pagedown",
          **{2 + i: c for i, c in enumerate("1234567890")},
          **{71 + i: c for i, c in enumerate("789-456+1230") if c in "0123456789"},
          **{16 + i: c for i, c in enumerate("qwertyuiop")},
          **{30 + i: c for i, c in enumerate("asdfghjkl")},
          **{44 + i: c for i, c in enumerate("zxcvbnm")}}  # fmt: skip
# The kernel reports a key's position, not its label.
_LAYOUTS = {
    **dict.fromkeys(("fr", "be"), str.maketrans("qwazm", "azqw,")),
    **dict.fromkeys(("de", "at", "ch", "cz", "sk", "hu", "si", "hr"), str.maketrans("yz", "zy")),
}


def _iow(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | ord("E") << 8 | number


def _ior(number: int, size: int) -> int:
    return 2 << 30 | size << 16 | ord("E") << 8 | number


GRAB = _iow(0x90, 4)
KEY_BYTES = 96
CAN = _ior(0x20 + EV_KEY, KEY_BYTES)
DOWN = _ior(0x18, KEY_BYTES)


class Keyboard:
    """All attached keyboards, those plugged in later too. While it is open, they do not type anywhere else.

    Chords with Ctrl and Alt go to the kernel, so that Ctrl+Alt+F2 and Ctrl+Alt+Del do what they always do.
    """

    def __init__(self, folder: Path = _DEV, layout: Path = _LAYOUT) -> None:
        self._folder = folder
        self._print = _LAYOUTS.get(_layout(layout), {})
        self._devices: dict[Path, Device] = {}
        self._others: set[Path] = set()
        self._next_scan_s = 0.0

    def keys(self) -> Sequence[str]:
        """Return the keys pressed or repeated since the last call: a lower-case character, `space`, `esc`, `left`…"""
        if time.monotonic() >= self._next_scan_s:
            self._next_scan_s = time.monotonic() + SCAN_S
            self._scan()
        pressed: list[str] = []
        for path, device in list(self._devices.items()):
            try:
                pressed += [self._name(code) for code in device.pressed() if code in NAMES]
            except OSError:  # unplugged
                device.close()
                del self._devices[path]
        return pressed

    def held(self) -> frozenset[str]:
        """Return which keys are down, as of the last call of `keys`."""
        codes = (code for device in self._devices.values() for code in device.down if code in NAMES)
        return frozenset(self._name(code) for code in codes)

    def _name(self, code: int) -> str:
        name = NAMES[code]
        return name.translate(self._print) if len(name) == 1 else name

    def close(self) -> None:
        """Release the keyboards."""
        for device in self._devices.values():
            device.close()
        self._devices.clear()

    def _scan(self) -> None:
        there = set(self._folder.glob("event*"))
        self._others &= there
        for path in there - self._others - set(self._devices):
            try:
                device = Device(path)
            except PermissionError:  # a new device belongs to root until udev is done with it
                continue
            except OSError:
                self._others.add(path)
                continue
            if device.is_keyboard:
                self._devices[path] = device
            else:
                device.close()
                self._others.add(path)


class Device:
    """One event device, grabbed from the console as soon as no key is down."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises `OSError`."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._grabbed = False
        self._held: set[int] = set()

    @property
    def is_keyboard(self) -> bool:
        """Whether it has letters: power buttons and mouse receivers have none."""
        try:
            bits = self._bits(CAN)
        except OSError:
            return False
        return all(bits >> code & 1 for code in range(16, 26))

    def close(self) -> None:
        """Release it: its keys reach the console again."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    @property
    def down(self) -> frozenset[int]:
        """The codes of the keys that are down."""
        return frozenset(self._held)

    def pressed(self) -> Iterator[int]:
        """Return the codes of keys pressed or repeated without Ctrl or Alt. Raises `OSError` when it was unplugged."""
        handed_over = False
        for code, value in list(self._read()):
            (self._held.add if value else self._held.discard)(code)
            chord = self._held & {*CTRL, *ALT}
            if handed_over:
                self._press_again(code, value)
            elif chord & set(CTRL) and chord & set(ALT) and self._grabbed:
                handed_over = True
                self._grabbed = False
                fcntl.ioctl(self._fd, GRAB, 0)
                for down in self._held:
                    self._press_again(down, 1)
            elif value and not chord:
                yield code
        if not self._grabbed and not self._held:
            self._grab()

    def _grab(self) -> None:
        try:
            # Grabbed in mid-press, the console would never see the key's release and repeat it forever.
            if not self._bits(DOWN):
                fcntl.ioctl(self._fd, GRAB, 1)
                self._grabbed = True
        except OSError:  # somebody else has grabbed it: listen in case anything arrives
            self._grabbed = True

    def _press_again(self, code: int, value: int) -> None:
        """Tell the console of an event that it missed while the keyboard was ours."""
        with contextlib.suppress(OSError):
            for state in (0, 1) if value else (0,):  # a key that is down must come up first
                os.write(self._fd, EVENT.pack(0, 0, EV_KEY, code, state) + EVENT.pack(0, 0, EV_SYN, 0, 0))

    def _read(self) -> Iterator[tuple[int, int]]:
        while True:
            try:
                data = os.read(self._fd, EVENT.size * 64)
            except BlockingIOError:
                return
            yield from key_events(data)
            if _lost(data):  # a release may be among what is missing: a key would be held forever
                down = self._bits(DOWN)
                self._held &= {code for code in self._held if down >> code & 1}
            if len(data) < EVENT.size * 64:
                return

    def _bits(self, request: int) -> int:
        mask = bytearray(KEY_BYTES)
        fcntl.ioctl(self._fd, request, mask)
        return int.from_bytes(mask, "little")


def key_events(data: bytes) -> Iterator[tuple[int, int]]:
    """Return (code, value) of the key events in what an event device gave; value 0: up, 1: down, 2: repeated."""
    for _, _, kind, code, value in EVENT.iter_unpack(data[: len(data) // EVENT.size * EVENT.size]):
        if kind == EV_KEY:
            yield code, value


def _lost(data: bytes) -> bool:
    whole = data[: len(data) // EVENT.size * EVENT.size]
    return any(kind == EV_SYN and code == _DROPPED for _, _, kind, code, _ in EVENT.iter_unpack(whole))


def _layout(file: Path) -> str:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    values = [line.partition("=")[2].strip(" \"'") for line in lines if line.startswith("XKBLAYOUT=")]
    return values[0].split(",")[0] if values else ""
