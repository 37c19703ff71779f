"""What a window draws on: memory shared with the X server, else the connection to it."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import time
from collections.abc import Sequence

import cv2
import numpy as np

from picam_infer.core import Disconnected, Overlay, Pixels
from picam_infer.imaging.letterbox import Letterbox
from picam_infer.platform import x11_client
from picam_infer.platform.x11_client import Client, Extension

_SHOWN_S = 1.0
_NO_SHARING = (errno.ENOMEM, errno.EMFILE, errno.EPERM, errno.ENOSYS)


class Shared:
    """A picture in memory that the X server reads, which it finishes before the next one comes."""

    def __init__(self, client: Client, window: int, context: int, extension: Extension) -> None:
        self._client, self._window, self._context, self._extension = client, window, context, extension
        self._place = (0, 0)
        self._map: mmap.mmap | None = None
        self._pixels: Pixels = np.empty((0, 0, 4), np.uint8)
        self._segment = 0
        self._busy = False
        self._clear = True
        self._shape: tuple[int, ...] = ()

    def show(self, letterbox: Letterbox, image: Pixels, size: tuple[int, int], over: Sequence[Overlay] = ()) -> None:
        """Draw BGR (H, W, 3) with `over`, fitted into a window of (width, height), shown. Raises `Disconnected`."""
        if size != self._place:
            self._resize(size)
        if image.shape != self._shape:
            self._shape, self._clear = image.shape, True
        self._wait()
        letterbox.draw(image, self._pixels, self._clear, over)
        self._clear = False
        width, height = size
        body = struct.pack("<IIHHHHHHhhBBBxII", self._window, self._context, width, height, 0, 0, width, height, 0, 0,
                           self._client.screen.depth, 2, 1, self._segment, 0)  # fmt: skip
        self._client.send(self._extension.opcode, x11_client.SHM_PUT_IMAGE, body)
        self._busy = True

    def heard(self, event: bytes) -> None:
        """Take an event: the server has read a picture."""
        if event[0] & 0x7F == self._extension.first_event:
            self._busy = False

    def close(self) -> None:
        """Give the memory back."""
        if self._map is not None:
            self._pixels = np.empty((0, 0, 4), np.uint8)
            with contextlib.suppress(BufferError):
                self._map.close()
            self._map = None

    def _resize(self, size: tuple[int, int]) -> None:
        width, height = size
        bits = self._client.screen.bits
        stride = (width * bits + 31) // 32 * 4
        if self._segment:
            self._client.send(self._extension.opcode, x11_client.SHM_DETACH, struct.pack("<I", self._segment))
            self._client.settle()  # what was under way is read
        self.close()
        handle = os.memfd_create("picam-infer-window", os.MFD_CLOEXEC)
        try:
            os.ftruncate(handle, stride * height)
            self._map = mmap.mmap(handle, stride * height)
            self._segment = self._client.new_id()
            self._client.send(
                self._extension.opcode, x11_client.SHM_ATTACH_FD, struct.pack("<IBxxx", self._segment, 0), (handle,)
            )
        finally:
            os.close(handle)
        if not self._client.settle():
            raise Refused
        shape, strides = (height, width, bits // 8), (stride, bits // 8, 1)
        self._pixels = np.ndarray(shape, np.uint8, self._map, 0, strides)
        self._place, self._busy, self._clear = size, False, True

    def _wait(self) -> None:
        """Wait until the server has read the picture; other events are left for later."""
        ends_s = time.monotonic() + _SHOWN_S
        others: list[bytes] = []
        while self._busy:
            if time.monotonic() > ends_s:
                raise Disconnected(
                    "the desktop's X server does not take pictures", "is the desktop's compositor alive?"
                )
            for event in self._client.events(0.05):
                self.heard(event) if event[0] & 0x7F == self._extension.first_event else others.append(event)
        # Not before: the next look would return at once with them.
        for event in others:
            self._client.later(event)


class Refused(Exception):
    """The server does not share memory with us, though it can (another machine's, by ssh)."""


class Sent:
    """Pictures that travel through the connection, strip by strip: slow, for servers that share no memory."""

    def __init__(self, client: Client, window: int, context: int) -> None:
        self._client, self._window, self._context = client, window, context
        self._pixels: Pixels = np.empty((0, 0, 4), np.uint8)
        self._shape: tuple[int, ...] = ()

    def show(self, letterbox: Letterbox, image: Pixels, size: tuple[int, int], over: Sequence[Overlay] = ()) -> None:
        """Draw BGR (H, W, 3) with `over`, fitted into a window of (width, height), shown. Raises `Disconnected`."""
        width, height = size
        screen = self._client.screen
        stride = (width * screen.bits + 31) // 32 * 4
        memory = (height, stride * 8 // screen.bits, screen.bits // 8)
        resized = self._pixels.shape != memory
        clear = resized or image.shape != self._shape
        if resized:
            self._pixels = np.zeros(memory, np.uint8)
        self._shape = image.shape
        letterbox.draw(image, self._pixels[:, :width], clear, over)
        rows = max(1, (1 << 18) // stride - 1)
        rows = min(rows, 65_000 // (stride // 4)) or 1
        for top in range(0, height, rows):
            part = self._pixels[top : top + rows]
            head = struct.pack("<IIHHhhBBxx", self._window, self._context, width, len(part), 0, top, 0, screen.depth)
            self._client.send(x11_client.PUT_IMAGE, 2, head + part.tobytes())

    def heard(self, event: bytes) -> None:
        """Take an event: none matters here."""

    def close(self) -> None:
        """Give nothing back."""


class Surface:
    """What pictures are drawn on: shared memory where the server takes it, else the connection."""

    def __init__(self, client: Client, window: int) -> None:
        context = client.new_id()
        client.send(x11_client.CREATE_GC, 0, struct.pack("<III", context, window, 0))
        self._sent = Sent(client, window, context)
        shared = client.extension("MIT-SHM")
        version = client.ask(shared.opcode, x11_client.SHM_VERSION) if shared else b""
        able = bool(version) and struct.unpack_from("<HH", version, 8) >= (1, 2)
        self._way: Shared | Sent = Shared(client, window, context, shared) if shared and able else self._sent

    def show(self, letterbox: Letterbox, image: Pixels, size: tuple[int, int], over: Sequence[Overlay] = ()) -> None:
        """Show BGR (H, W, 3), and `over` over it, fitted into a window of (width, height). Raises `Disconnected`."""
        try:
            self._way.show(letterbox, image, size, over)
        except (Refused, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_SHARING:
                raise
            self._way.close()
            self._way = self._sent
            self._way.show(letterbox, image, size, over)

    def heard(self, event: bytes) -> None:
        """Take an event that is not the window's."""
        self._way.heard(event)

    def close(self) -> None:
        """Give the memory back."""
        self._way.close()


def conversion(screen: x11_client.Screen) -> int:
    """Return cv2's code from BGR to the screen's pixels. Raises `Disconnected`."""
    if screen.bits == 32 and screen.depth >= 24:
        return int(cv2.COLOR_BGR2RGBA if screen.red_mask == 0xFF else cv2.COLOR_BGR2BGRA)
    if screen.bits == 16 and screen.depth == 16:
        return int(cv2.COLOR_BGR2BGR565)
    raise Disconnected(f"the desktop has {screen.depth} bits a pixel, which cannot be drawn", "set it to 24 or 16 bits")
