"""The legacy frame buffer (/dev/fb0), for small panels and boards without a mode-setting driver."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from picam_infer.config import DisplaySettings
from picam_infer.core import Disconnected, Overlay, Pixels
from picam_infer.imaging.letterbox import Letterbox
from picam_infer.outputs.display import owner
from picam_infer.outputs.display.bare_screen import ENABLE_DRIVER, BareScreen, permission_denied, unplugged

DEVICE = Path("/dev/fb0")
GET_VARIABLE, GET_FIXED = 0x4600, 0x4602


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the screen's memory is laid out: pixels, bytes a line, bits a pixel, bytes before the first pixel."""

    width: int
    height: int
    line_bytes: int
    bits: int
    start: int = 0
    red_first: bool = False
    """Red in the lowest byte, where blue usually is."""

    @property
    def conversion(self) -> int:
        """cv2's code from BGR to this screen's pixels."""
        codes = {16: cv2.COLOR_BGR2BGR565, 32: cv2.COLOR_BGR2RGBA if self.red_first else cv2.COLOR_BGR2BGRA}
        if self.bits not in codes:
            raise Disconnected(
                f"{DEVICE} has {self.bits} bits a pixel, which cannot be drawn", "`fbset -depth 32` sets 32"
            )
        return int(codes[self.bits])


def geometry(variable: bytes, fixed: bytes) -> Geometry:
    """Return the layout from struct fb_var_screeninfo and struct fb_fix_screeninfo (linux/fb.h)."""
    width, height, _, _, x, y, bits, _, red, _, _, _, _, _, blue = struct.unpack_from("15I", variable)
    line_bytes = struct.unpack_from("I", fixed, 48)[0]
    return Geometry(width, height, line_bytes, bits, y * line_bytes + x * bits // 8, red < blue)


class Framebuffer(BareScreen):
    """The first frame buffer. It has no second page, so fast movement may tear."""

    def __init__(self, settings: DisplaySettings) -> None:
        """Map the screen's memory. Raises `Disconnected`."""
        super().__init__()
        self._map: mmap.mmap | None = None
        self._console: int | None = None
        self._pixels = self._before = np.empty((0, 0, 4), np.uint8)
        self._shape: tuple[int, ...] = ()
        self._look()
        try:
            self._open()
        except OSError as error:
            self.close()
            raise _refused(error) from error
        self._take_keyboard()
        self._hide_cursor()

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of the screen, pixels."""
        return self._pixels.shape[1], self._pixels.shape[0]

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        """Show BGR (H, W, 3) and what is laid over it. Raises `Disconnected`."""
        if self._map is None:
            raise Disconnected("the screen was given back", "")
        if self._look_due():
            try:
                self._look()
            except Disconnected:
                self.close()
                raise
        self._resizer.draw(image, self._pixels, image.shape != self._shape, over)
        self._shape = image.shape

    def close(self) -> None:
        """Give screen and keyboard back."""
        super().close()
        if self._console is not None:
            with contextlib.suppress(OSError):
                os.write(self._console, b"\33[?25h")
            os.close(self._console)
            self._console = None
        if self._map is not None:
            self._pixels[:] = self._before
            self._pixels = np.empty((0, 0, 4), np.uint8)
            with contextlib.suppress(BufferError):
                self._map.close()
            self._map = None

    def _open(self) -> None:
        handle = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            variable, fixed = bytearray(160), bytearray(80)
            fcntl.ioctl(handle, GET_VARIABLE, variable)
            fcntl.ioctl(handle, GET_FIXED, fixed)
            layout = geometry(bytes(variable), bytes(fixed))
            self._resizer = Letterbox(layout.conversion)
            self._map = mmap.mmap(handle, layout.start + layout.line_bytes * layout.height)
        finally:
            os.close(handle)
        self._pixels = pixels(self._map, layout)
        self._before = self._pixels.copy()
        self.name = f"framebuffer {layout.width}×{layout.height}"

    def _look(self) -> None:
        """Raise `Disconnected` for an unplugged monitor, where that can be told, or a person at another console."""
        self._looked()
        owner.require_active_vt()
        found = owner.connectors()
        if found and not any(connector.plugged for connector in found):
            raise unplugged(found)

    def _hide_cursor(self) -> None:
        # Allowed to members of the group tty, and on the user's own console.
        for console in ("/dev/tty0", "/dev/tty"):
            with contextlib.suppress(OSError):
                self._console = os.open(console, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
                os.write(self._console, b"\33[?25l")
                return


def pixels(memory: mmap.mmap, layout: Geometry) -> Pixels:
    """Return the screen's pixels in its memory, (height, width, bytes a pixel)."""
    size = layout.bits // 8
    shape = (layout.height, layout.width, size)
    return np.ndarray(shape, np.uint8, memory, layout.start, (layout.line_bytes, size, 1))


def _refused(error: OSError) -> Disconnected:
    if error.errno == errno.ENOENT:
        return Disconnected(f"{DEVICE}: there is no frame buffer", f"attach a monitor; {ENABLE_DRIVER}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return permission_denied(DEVICE)
    return Disconnected(f"{DEVICE}: {os.strerror(error.errno or 0)}", "see `dmesg` for the graphics driver's complaint")
