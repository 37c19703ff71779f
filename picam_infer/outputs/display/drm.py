"""Linux's mode-setting ioctls (drm.h, drm_mode.h): only those needed to show pictures on a monitor."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import select
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picam_infer.core import Pixels

PREFERRED = 0x08
USER_DEFINED = 0x20
INTERLACED = 0x10
FLIP_EVENT = 0x01
FLIP_COMPLETE = 0x02
DUMB_BUFFER = 0x1
CONNECTED, UNKNOWN = 1, 3
# Freeing continues whatever fails: the card may have been removed, a view of the memory may still exist.
_FREEING = (OSError, BufferError, ValueError)

CONNECTOR_KINDS = ("Unknown", "VGA", "DVI-I", "DVI-D", "DVI-A", "Composite", "SVIDEO", "LVDS", "Component", "DIN", "DP",
                   "HDMI-A", "HDMI-B", "TV", "eDP", "Virtual", "DSI", "DPI", "Writeback", "SPI", "USB")  # fmt: skip


class ModeInfo(ctypes.Structure):
    """struct drm_mode_modeinfo."""

    _fields_ = [
        ("clock", ctypes.c_uint32),
        *((name, ctypes.c_uint16) for name in ("hdisplay", "hsync_start", "hsync_end", "htotal", "hskew",
                                               "vdisplay", "vsync_start", "vsync_end", "vtotal", "vscan")),
        *((name, ctypes.c_uint32) for name in ("vrefresh", "flags", "type")),
        ("name", ctypes.c_char * 32),
    ]  # fmt: skip


class Resources(ctypes.Structure):
    """struct drm_mode_card_res: what the card has."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("fbs", "crtcs", "connectors", "encoders")] + [
        (name, ctypes.c_uint32) for name in ("count_fbs", "count_crtcs", "count_connectors", "count_encoders",
                                             "min_width", "max_width", "min_height", "max_height")]  # fmt: skip


class Connector(ctypes.Structure):
    """struct drm_mode_get_connector: a connector and what is plugged into it."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("encoders", "modes", "props", "prop_values")] + [
        (name, ctypes.c_uint32) for name in ("count_modes", "count_props", "count_encoders", "encoder_id", "id", "kind",
                                             "kind_id", "connection", "mm_width", "mm_height", "subpixel",
                                             "pad")]  # fmt: skip


class Encoder(ctypes.Structure):
    """struct drm_mode_get_encoder: what feeds a connector from a scan-out unit."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("id", "kind", "crtc_id", "possible_crtcs", "possible_clones")]


class Crtc(ctypes.Structure):
    """struct drm_mode_crtc: what a scan-out unit shows."""

    _fields_ = [("connectors", ctypes.c_uint64)] + [
        (name, ctypes.c_uint32) for name in ("count_connectors", "id", "fb_id", "x", "y", "gamma_size", "mode_valid")
    ] + [("mode", ModeInfo)]  # fmt: skip


class Framebuffer(ctypes.Structure):
    """struct drm_mode_fb_cmd: memory that can be shown."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("id", "width", "height", "pitch", "bpp", "depth", "handle")]


class Flip(ctypes.Structure):
    """struct drm_mode_crtc_page_flip."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("crtc_id", "fb_id", "flags", "reserved")] + [
        ("user_data", ctypes.c_uint64)
    ]


class Dumb(ctypes.Structure):
    """struct drm_mode_create_dumb: memory that a processor draws in."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("height", "width", "bpp", "flags", "handle", "pitch")] + [
        ("size", ctypes.c_uint64)
    ]


class DumbMap(ctypes.Structure):
    """struct drm_mode_map_dumb."""

    _fields_ = [("handle", ctypes.c_uint32), ("pad", ctypes.c_uint32), ("offset", ctypes.c_uint64)]


class Capability(ctypes.Structure):
    """struct drm_get_cap."""

    _fields_ = [("capability", ctypes.c_uint64), ("value", ctypes.c_uint64)]


def _iowr(number: int, size: int) -> int:
    return 3 << 30 | size << 16 | ord("d") << 8 | number


SET_MASTER = ord("d") << 8 | 0x1E
GET_CAP = _iowr(0x0C, ctypes.sizeof(Capability))
GET_RESOURCES = _iowr(0xA0, ctypes.sizeof(Resources))
GET_CRTC = _iowr(0xA1, ctypes.sizeof(Crtc))
SET_CRTC = _iowr(0xA2, ctypes.sizeof(Crtc))
GET_ENCODER = _iowr(0xA6, ctypes.sizeof(Encoder))
GET_CONNECTOR = _iowr(0xA7, ctypes.sizeof(Connector))
ADD_FB = _iowr(0xAE, ctypes.sizeof(Framebuffer))
REMOVE_FB = _iowr(0xAF, 4)
PAGE_FLIP = _iowr(0xB0, ctypes.sizeof(Flip))
CREATE_DUMB = _iowr(0xB2, ctypes.sizeof(Dumb))
MAP_DUMB = _iowr(0xB3, ctypes.sizeof(DumbMap))
DESTROY_DUMB = _iowr(0xB4, 4)


@dataclass(frozen=True, slots=True)
class Monitor:
    """A connector with something plugged in."""

    connector_id: int
    name: str
    """As in /sys/class/drm: `HDMI-A-1`."""
    certain: bool
    """False: the connector cannot tell whether something is plugged in."""
    modes: tuple[ModeInfo, ...]
    encoder_ids: tuple[int, ...]
    encoder_id: int


class Card:
    """One open graphics card. Every call raises `OSError`."""

    def __init__(self, path: Path) -> None:
        """Open a card; the first to open it becomes its master, the only one that may set modes."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def close(self) -> None:
        """Close it: the kernel takes our pictures off the screen and gives it back to the console."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def master(self) -> bool:
        """Whether this process may set modes."""
        try:
            fcntl.ioctl(self._fd, SET_MASTER)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EBUSY, errno.EPERM):
                return False
            raise
        return True

    @property
    def can_draw(self) -> bool:
        """Whether it has plain buffers that a processor can draw in."""
        capability = Capability(DUMB_BUFFER)
        self._ioctl(GET_CAP, capability)
        return bool(capability.value)

    def monitors(self) -> list[Monitor]:
        """Ask every connector what is plugged in (takes a moment); those that are certain first."""
        found = [monitor for i in self._ids("connectors") if (monitor := self._monitor(i)) is not None]
        return sorted(found, key=lambda monitor: not monitor.certain)

    def _ids(self, what: str) -> list[int]:
        resources = Resources()
        self._ioctl(GET_RESOURCES, resources)
        ids = (ctypes.c_uint32 * getattr(resources, f"count_{what}"))()
        ask = Resources()
        setattr(ask, what, ctypes.addressof(ids))
        setattr(ask, f"count_{what}", len(ids))
        self._ioctl(GET_RESOURCES, ask)
        return list(ids)

    def _monitor(self, connector_id: int) -> Monitor | None:
        asked = Connector(id=connector_id)
        self._ioctl(GET_CONNECTOR, asked)  # no room for modes: the kernel looks at the cable now
        modes = (ModeInfo * asked.count_modes)()
        encoders = (ctypes.c_uint32 * asked.count_encoders)()
        got = Connector(
            id=connector_id,
            modes=ctypes.addressof(modes),
            encoders=ctypes.addressof(encoders),
            count_modes=len(modes),
            count_encoders=len(encoders),
        )
        self._ioctl(GET_CONNECTOR, got)
        kind = CONNECTOR_KINDS[got.kind] if got.kind < len(CONNECTOR_KINDS) else "Unknown"
        if got.connection not in (CONNECTED, UNKNOWN) or not got.count_modes or kind == "Writeback":
            return None
        return Monitor(
            connector_id,
            f"{kind}-{got.kind_id}",
            got.connection == CONNECTED,
            tuple(modes[: got.count_modes]),
            tuple(encoders),
            got.encoder_id,
        )

    def crtc_for(self, monitor: Monitor) -> int:
        """Return the scan-out unit that drives the monitor now, or can."""
        crtcs = self._ids("crtcs")
        for encoder_id in (monitor.encoder_id, *monitor.encoder_ids):
            if not encoder_id:
                continue
            encoder = Encoder(id=encoder_id)
            self._ioctl(GET_ENCODER, encoder)
            if encoder_id == monitor.encoder_id and encoder.crtc_id in crtcs:
                return int(encoder.crtc_id)
            for i, crtc_id in enumerate(crtcs):
                if encoder.possible_crtcs >> i & 1:
                    return crtc_id
        raise OSError(errno.ENODEV, f"nothing can drive {monitor.name}")

    def crtc(self, crtc_id: int) -> Crtc:
        """Return what a scan-out unit shows now."""
        state = Crtc(id=crtc_id)
        self._ioctl(GET_CRTC, state)
        return state

    def set_crtc(self, crtc_id: int, fb_id: int, mode: ModeInfo, connector_id: int) -> None:
        """Switch the monitor to a mode and show a framebuffer."""
        connectors = (ctypes.c_uint32 * 1)(connector_id)
        self._ioctl(
            SET_CRTC,
            Crtc(
                connectors=ctypes.addressof(connectors),
                count_connectors=1,
                id=crtc_id,
                fb_id=fb_id,
                mode_valid=1,
                mode=mode,
            ),
        )

    def flip(self, crtc_id: int, fb_id: int) -> None:
        """Show a framebuffer from the next refresh on; `flipped` tells when."""
        self._ioctl(PAGE_FLIP, Flip(crtc_id, fb_id, FLIP_EVENT))

    def flipped(self, timeout_s: float) -> bool:
        """Wait until the flip under way is done; False when it took too long."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while poll.poll(timeout_s * 1000):
            if FLIP_COMPLETE in event_kinds(os.read(self._fd, 4096)):
                return True
        return False

    def _ioctl(self, request: int, argument: ctypes.Structure) -> None:
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument)
                return
            except InterruptedError:
                continue


class Buffer:
    """Screen memory of 32 bits a pixel (blue, green, red, unused), mapped for drawing."""

    def __init__(self, card: Card, width: int, height: int) -> None:
        self._card = card
        self._dumb = Dumb(height=height, width=width, bpp=32)
        self._map: mmap.mmap | None = None
        self.fb_id = 0
        card._ioctl(CREATE_DUMB, self._dumb)
        try:
            pitch, handle = self._dumb.pitch, self._dumb.handle
            framebuffer = Framebuffer(0, width, height, pitch, 32, 24, handle)
            card._ioctl(ADD_FB, framebuffer)
            self.fb_id = int(framebuffer.id)
            place = DumbMap(handle)
            card._ioctl(MAP_DUMB, place)
            self._map = mmap.mmap(
                card._fd, self._dumb.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=place.offset
            )
            self.pixels: Pixels = np.ndarray((height, width, 4), np.uint8, self._map, 0, (pitch, 4, 1))
        except BaseException:
            self.close()
            raise
        self.pixels[:] = 0

    def close(self) -> None:
        """Free it. `pixels` must not be used any more."""
        with contextlib.suppress(*_FREEING):
            if self.fb_id:
                fcntl.ioctl(self._card._fd, REMOVE_FB, struct.pack("I", self.fb_id))
        self.fb_id = 0
        if self._map is not None:
            self.pixels = np.empty((0, 0, 4), np.uint8)
            with contextlib.suppress(*_FREEING):
                self._map.close()
            self._map = None
        with contextlib.suppress(*_FREEING):
            if self._dumb.handle:
                fcntl.ioctl(self._card._fd, DESTROY_DUMB, struct.pack("I", self._dumb.handle))
        self._dumb.handle = 0


def event_kinds(data: bytes) -> list[int]:
    """Return the kinds of the events (struct drm_event) that a read of the card gave."""
    kinds, at = [], 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("II", data, at)
        kinds.append(kind)
        at += max(8, length)
    return kinds


def choose_mode(modes: Sequence[ModeInfo], picture: tuple[int, int] | None = None) -> ModeInfo:
    """Return the mode to drive a monitor in: one of its preferred mode's shape.

    Given the width and height of the pictures, it is the smallest that holds them, from 1280×720 on: enlarging costs
    a monitor nothing, but takes a program four times as long as copying. Otherwise it is the preferred one or, beyond
    2560×1600, the largest up to 1920×1200: filling a 4K screen by software takes a Pi longer than a camera's frame
    lasts, and shows nothing more. A mode named on the kernel's command line (video=…) is kept: somebody chose it.
    """
    if wished := [mode for mode in modes if mode.type & USER_DEFINED]:
        return wished[0]
    best = next((mode for mode in modes if mode.type & PREFERRED), modes[0])
    same = [m for m in modes if m.hdisplay <= best.hdisplay and not m.flags & INTERLACED and _off(m, best) <= 8]
    if picture is not None:
        width, height = max(picture[0], 1280), max(picture[1], 720)
        # One of a nearly equal shape, such as 1360×768, would be stretched.
        exact = [m for m in same if _off(m, best) <= 1 and _drawable(m)]
        if enough := [m for m in exact if m.hdisplay >= width and m.vdisplay >= height]:
            return min(enough, key=lambda m: (_area(m), m is not best, -min(m.vrefresh, 60)))
    if _drawable(best):
        return best
    small = [m for m in same if m.hdisplay <= 1920 and m.vdisplay <= 1200]
    return max(small, key=lambda m: (_area(m), min(m.vrefresh, 60)), default=best)


def _off(mode: ModeInfo, best: ModeInfo) -> float:
    """Return by how many pixels a mode is broader or narrower than one of its height and the best one's shape."""
    return float(abs(mode.hdisplay - mode.vdisplay * best.hdisplay / best.vdisplay))


def _area(mode: ModeInfo) -> int:
    return int(mode.hdisplay * mode.vdisplay)


def _drawable(mode: ModeInfo) -> bool:
    """Whether software can fill it at a camera's pace."""
    return _area(mode) <= 2560 * 1600
