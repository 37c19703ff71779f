"""A graphics card against a kernel that answers in drm_mode.h's structures, by literal places and numbers."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picam_infer.outputs.display import drm

SET_MASTER, GET_CAP, RESOURCES, GET_CRTC, SET_CRTC = 0x641E, 0xC010640C, 0xC04064A0, 0xC06864A1, 0xC06864A2
ENCODER, CONNECTOR, ADD_FB, RM_FB, FLIP = 0xC01464A6, 0xC05064A7, 0xC01C64AE, 0xC00464AF, 0xC01864B0
CREATE, MAP, DESTROY = 0xC02064B2, 0xC01064B3, 0xC00464B4
WIDTH, HEIGHT, PITCH, AT = 64, 48, 320, 4096
HDMI, WRITEBACK = 11, 18


def timing(width: int, height: int) -> bytes:
    """Return a struct drm_mode_modeinfo."""
    mode = bytearray(68)
    struct.pack_into("H", mode, 4, width)
    struct.pack_into("H", mode, 14, height)
    struct.pack_into("I", mode, 24, 60)
    return bytes(mode)


class Kernel:
    """Two scan-out units, two encoders, and connectors as a test wants them: (type, connection, modes, encoder now)."""

    def __init__(self) -> None:
        self.connectors: dict[int, tuple[int, int, list[bytes], int]] = {
            31: (HDMI, 2, [], 0),
            32: (HDMI, 1, [timing(WIDTH, HEIGHT)], 0),
            33: (WRITEBACK, 1, [timing(8, 8)], 0),
        }
        self.encoders = {21: (0, 0b00), 22: (0, 0b10)}
        """What each drives now, and which units could drive it."""
        self.errors: dict[int, list[int]] = {}
        """What a request fails with, once each."""
        self.dumb = 1
        self.asked: list[int] = []
        self.shown: list[tuple[int, int, int, int, bytes]] = []
        self.freed: list[tuple[int, int]] = []
        self.flipped: Callable[[], None] = lambda: None

    def __call__(self, fd: int, request: int, argument: Any = 0) -> int:
        self.asked.append(request)
        if self.errors.get(request):
            raise OSError(self.errors[request].pop(0), "refused")
        if request in (RM_FB, DESTROY):
            self.freed.append((request, struct.unpack("I", argument)[0]))
        elif request != SET_MASTER:
            size = request >> 16 & 0x3FFF
            assert ctypes.sizeof(argument) == size
            self.answer(request, (ctypes.c_ubyte * size).from_buffer(argument))
        return 0

    def answer(self, request: int, memory: Any) -> None:
        def number(at: int) -> int:
            return int(struct.unpack_from("I", memory, at)[0])

        if request == GET_CAP:
            assert struct.unpack_from("Q", memory)[0] == 1
            struct.pack_into("Q", memory, 8, self.dumb)
        elif request == RESOURCES:
            self.listed(memory, 8, 36, [11, 12])
            self.listed(memory, 16, 40, list(self.connectors))
        elif request == CONNECTOR:
            kind, connection, modes, encoder = self.connectors[number(48)]
            self.listed(memory, 0, 40, list(self.encoders))
            self.listed(memory, 8, 32, modes)
            struct.pack_into("IxxxxIII", memory, 44, encoder, kind, 1, connection)
        elif request == ENCODER:
            struct.pack_into("II", memory, 8, *self.encoders[number(0)])
        elif request == GET_CRTC:
            struct.pack_into("I", memory, 16, 77)
            struct.pack_into("I", memory, 32, 1)
        elif request == SET_CRTC:
            (pointer,) = struct.unpack_from("Q", memory)
            connector = struct.unpack("I", ctypes.string_at(pointer, 4 * number(8)))[0]
            self.shown.append((number(12), number(16), connector, number(32), bytes(memory)[36:104]))
        elif request == CREATE:
            assert struct.unpack_from("III", memory) == (HEIGHT, WIDTH, 32)
            struct.pack_into("IIQ", memory, 16, 5, PITCH, PITCH * HEIGHT)
        elif request == ADD_FB:
            assert struct.unpack_from("6I", memory, 4) == (WIDTH, HEIGHT, PITCH, 32, 24, 5)
            struct.pack_into("I", memory, 0, 91)
        elif request == MAP:
            assert number(0) == 5
            struct.pack_into("Q", memory, 8, AT)
        elif request == FLIP:
            assert struct.unpack_from("III", memory) == (12, 91, 1)
            self.flipped()

    @staticmethod
    def listed(memory: Any, pointer_at: int, count_at: int, items: list[Any]) -> None:
        """Fill a list of numbers or structures if there is room for all, and say how many there are."""
        (pointer,), (room,) = struct.unpack_from("Q", memory, pointer_at), struct.unpack_from("I", memory, count_at)
        if pointer and room >= len(items):
            data = b"".join(item if isinstance(item, bytes) else struct.pack("I", item) for item in items)
            ctypes.memmove(pointer, data, len(data))
        struct.pack_into("I", memory, count_at, len(items))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(drm.fcntl, "ioctl", made)
    return made


@pytest.fixture
def card(kernel: Kernel, tmp_path: Path) -> Iterator[drm.Card]:
    node = tmp_path / "card0"
    node.write_bytes(b"\xff" * (AT + PITCH * HEIGHT))
    made = drm.Card(node)
    yield made
    made.close()
    made.close()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EBUSY, errno.EPERM])
def test_who_is_not_the_master_may_not_set_modes(card: drm.Card, kernel: Kernel, error: int) -> None:
    assert card.master
    kernel.errors[SET_MASTER] = [error]
    assert not card.master
    kernel.errors[SET_MASTER] = [errno.EIO]
    with pytest.raises(OSError, match="refused"):
        _ = card.master


def test_a_card_without_plain_buffers(card: drm.Card, kernel: Kernel) -> None:
    assert card.can_draw
    kernel.dumb = 0
    assert not card.can_draw


def test_an_interrupted_request_is_made_again(card: drm.Card, kernel: Kernel) -> None:
    kernel.errors[GET_CAP] = [errno.EINTR, errno.EINTR]
    assert card.can_draw and kernel.asked == [GET_CAP] * 3


def test_monitors_that_are_certain_come_first(card: drm.Card, kernel: Kernel) -> None:
    kernel.connectors |= {30: (HDMI, 3, [timing(8, 8)], 0), 34: (99, 1, [timing(16, 8)], 22)}
    found = card.monitors()
    assert [(m.connector_id, m.name, m.certain) for m in found] == [
        (32, "HDMI-A-1", True),
        (34, "Unknown-1", True),
        (30, "HDMI-A-1", False),
    ]
    first = found[0]
    assert [(mode.hdisplay, mode.vdisplay, mode.vrefresh) for mode in first.modes] == [(WIDTH, HEIGHT, 60)]
    assert (first.encoder_ids, first.encoder_id, found[1].encoder_id) == ((21, 22), 0, 22)


def test_the_unit_that_drives_a_monitor_now_or_can(card: drm.Card, kernel: Kernel) -> None:
    assert card.crtc_for(card.monitors()[0]) == 12, "the first encoder can use neither, the other the second"
    kernel.encoders[21] = (11, 0)
    kernel.connectors[32] = (HDMI, 1, [timing(WIDTH, HEIGHT)], 21)
    assert card.crtc_for(card.monitors()[0]) == 11
    kernel.encoders = {21: (0, 0), 22: (0, 0)}
    with pytest.raises(OSError, match="nothing can drive HDMI-A-1"):
        card.crtc_for(card.monitors()[0])


def test_a_mode_is_set_with_the_picture_to_show(card: drm.Card, kernel: Kernel) -> None:
    (monitor,) = card.monitors()
    card.set_crtc(12, 91, monitor.modes[0], monitor.connector_id)
    assert kernel.shown == [(12, 91, 32, 1, timing(WIDTH, HEIGHT))]
    assert (card.crtc(12).fb_id, card.crtc(12).mode_valid) == (77, 1)


def test_a_buffer_is_drawn_in_and_freed(card: drm.Card, kernel: Kernel) -> None:
    buffer = drm.Buffer(card, WIDTH, HEIGHT)
    assert buffer.fb_id == 91 and not buffer.pixels.any()
    buffer.pixels[2, 3] = (1, 2, 3, 4)
    memory = np.fromfile(card.path, np.uint8)[AT:].reshape(HEIGHT, PITCH)
    assert memory[2, 12:16].tolist() == [1, 2, 3, 4] and (memory[:, 4 * WIDTH :] == 255).all()
    buffer.close()
    buffer.close()
    assert kernel.freed == [(RM_FB, 91), (DESTROY, 5)]


@pytest.mark.parametrize(
    ("request_", "freed"),
    [(CREATE, []), (ADD_FB, [(DESTROY, 5)]), (MAP, [(RM_FB, 91), (DESTROY, 5)])],
    ids=["create", "add", "map"],
)
def test_a_buffer_that_fails_half_way_leaves_nothing(
    card: drm.Card, kernel: Kernel, request_: int, freed: list[tuple[int, int]]
) -> None:
    kernel.errors[request_] = [errno.ENOMEM]
    with pytest.raises(OSError, match="refused"):
        drm.Buffer(card, WIDTH, HEIGHT)
    assert kernel.freed == freed


def test_a_flip_is_waited_for(kernel: Kernel, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card0")
    card = drm.Card(tmp_path / "card0")
    pipe = os.open(tmp_path / "card0", os.O_RDWR)
    vblank, complete = struct.pack("II24x", 1, 32), struct.pack("II24x", 2, 32)
    kernel.flipped = lambda: os.write(pipe, vblank + complete) and None
    card.flip(12, 91)
    assert card.flipped(20)
    kernel.flipped = lambda: os.write(pipe, vblank) and None
    card.flip(12, 91)
    assert not card.flipped(0.05), "another event is none"
    os.close(pipe)
    card.close()
