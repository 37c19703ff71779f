"""The kernel's view of a camera's own settings: listing and setting V4L2 controls (linux/videodev2.h)."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from typing import Literal

from picam_infer.runtime.camera_controls import Control, Number, normalised
from picam_infer.sources import v4l2

# 64-bit layouts
QUERY = struct.Struct("II32sqqQq4I4I32I")
"""struct v4l2_query_ext_ctrl"""
MENU = struct.Struct("=II32sI")
"""struct v4l2_querymenu; an integer menu has its value in the first eight bytes of the name"""
CONTROL = struct.Struct("=IIIq")
"""struct v4l2_ext_control, packed; whole numbers of 32 bits use the lower half of the value"""
CONTROLS = struct.Struct("IIIiIP")
"""struct v4l2_ext_controls"""
QUERY_EXT_CTRL = v4l2.request(3, 103, QUERY.size)
QUERYMENU = v4l2.request(3, 37, MENU.size)
G_EXT_CTRLS = v4l2.request(3, 71, CONTROLS.size)
S_EXT_CTRLS = v4l2.request(3, 72, CONTROLS.size)
NEXT_CTRL = 0x80000000
DISABLED, READ_ONLY, INACTIVE, WRITE_ONLY, VOLATILE = 0x1, 0x4, 0x10, 0x40, 0x80
INTEGER, BOOLEAN, MENU_TYPE, INTEGER64, BITMASK, INTEGER_MENU = 1, 2, 3, 5, 8, 9
_MOST = 1024
_INT32 = 1 << 32

_KINDS: dict[int, Literal["integer", "boolean", "menu", "bitmask"]] = {
    INTEGER: "integer",
    BOOLEAN: "boolean",
    MENU_TYPE: "menu",
    INTEGER64: "integer",
    BITMASK: "bitmask",
    INTEGER_MENU: "menu",
}
"""The kinds whose value is a number, so that it can be set again after a reconnect; buttons and texts are left out."""
_CAMERA, _USER = 0x009A0900, 0x00980900
NAMES = {
    _USER + 12: ("white_balance_automatic", "white_balance_temperature_auto", "auto_white_balance"),
    _CAMERA + 1: ("auto_exposure", "exposure_auto"),
    _CAMERA + 2: ("exposure_time_absolute", "exposure_absolute"),
    _CAMERA + 3: ("exposure_dynamic_framerate", "exposure_auto_priority"),
    _CAMERA + 12: ("focus_automatic_continuous", "focus_auto"),
}
"""The same control under other kernels: uvcvideo took the common names with Linux 6.0."""


class NodeControls:
    """The controls of one device node. It is opened for each call, which disturbs no running stream."""

    def __init__(self, node: str) -> None:
        self._node = node

    def controls(self) -> list[Control]:
        """Return what can be set. Raises `OSError` when the device cannot be opened."""
        with v4l2.opened(self._node) as handle:
            return [control for asked in _queried(handle) if (control := _control(handle, *asked)) is not None]

    def set_control(self, control: Control, value: Number) -> None:
        """Set one. Raises `OSError` when the driver refuses."""
        with v4l2.opened(self._node) as handle:
            _ext(handle, S_EXT_CTRLS, control.id, int(value))


def _queried(handle: int) -> Iterator[tuple[int, int, str, int, int, int, int, int]]:
    """Yield id, type, title, minimum, maximum, step, default, flags of every control."""
    at = 0
    for _ in range(_MOST):
        try:
            answer = v4l2.ask(handle, QUERY_EXT_CTRL, struct.pack("I", at | NEXT_CTRL).ljust(QUERY.size, b"\0"))
        except OSError:  # the end of the list, or a driver that has none
            return
        number, kind, title, low, high, step, default, flags, *_ = QUERY.unpack(answer)
        if number <= at:  # a driver that stays at the same control
            return
        at = number
        yield number, kind, title.split(b"\0")[0].decode("latin-1"), low, high, step, default, flags


def _control(
    handle: int, number: int, kind: int, title: str, low: int, high: int, step: int, default: int, flags: int
) -> Control | None:
    if kind not in _KINDS or flags & (DISABLED | READ_ONLY):
        return None
    name = normalised(title)
    value = None if flags & WRITE_ONLY else _value(handle, number, kind)
    menu = dict(_menu(handle, number, kind, low, high)) if _KINDS[kind] == "menu" else {}
    return Control(
        name,
        title,
        _KINDS[kind],
        low,
        high,
        step,
        default,
        value,
        menu,
        tuple(alias for alias in NAMES.get(number, ()) if alias != name),
        bool(flags & INACTIVE),
        bool(flags & VOLATILE),
        number,
    )


def _menu(handle: int, number: int, kind: int, low: int, high: int) -> Iterator[tuple[int, str]]:
    for index in range(low, min(high, low + _MOST) + 1):
        try:
            answer = v4l2.ask(handle, QUERYMENU, MENU.pack(number, index, b"", 0))
        except OSError:  # menus have gaps
            continue
        words: bytes = MENU.unpack(answer)[2]
        text = str(struct.unpack("=q", words[:8])[0]) if kind == INTEGER_MENU else ""
        yield index, text or words.split(b"\0")[0].decode("latin-1")


def _value(handle: int, number: int, kind: int) -> int | None:
    try:
        got = _ext(handle, G_EXT_CTRLS, number, 0)
    except OSError:
        return None
    if kind == INTEGER64:
        return got
    low = got % _INT32
    return low - _INT32 if low >= _INT32 // 2 and kind != BITMASK else low


def _ext(handle: int, request: int, number: int, value: int) -> int:
    """Get or set one control and return its eight bytes as a whole number."""
    one = ctypes.create_string_buffer(CONTROL.pack(number, 0, 0, value), CONTROL.size)
    v4l2.ask(handle, request, CONTROLS.pack(0, 1, 0, 0, 0, ctypes.addressof(one)))
    got: int = CONTROL.unpack(one.raw)[3]
    return got
