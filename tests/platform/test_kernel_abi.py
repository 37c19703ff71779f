"""Request numbers, sizes and places of the kernel's structures, as its headers have them on a 64-bit machine.

Ours are compared with literals, and the literals with the headers by a C compiler, where there are both.
"""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from picam_infer.inference.engines import sticks
from picam_infer.outputs.display import drm, framebuffer, keyboard
from picam_infer.sources import v4l2, v4l2_controls

VIDEO = {
    "VIDIOC_QUERYCAP": 0x80685600, "VIDIOC_ENUM_FMT": 0xC0405602, "VIDIOC_S_FMT": 0xC0D05605,
    "VIDIOC_REQBUFS": 0xC0145608, "VIDIOC_QBUF": 0xC058560F, "VIDIOC_STREAMON": 0x40045612,
    "VIDIOC_STREAMOFF": 0x40045613, "VIDIOC_ENUM_FRAMESIZES": 0xC02C564A, "VIDIOC_ENUM_FRAMEINTERVALS": 0xC034564B,
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": 1, "V4L2_MEMORY_MMAP": 1, "V4L2_FRMSIZE_TYPE_DISCRETE": 1,
    "V4L2_FRMIVAL_TYPE_DISCRETE": 1, "V4L2_CAP_VIDEO_CAPTURE": 0x1, "V4L2_CAP_VIDEO_CAPTURE_MPLANE": 0x1000,
    "V4L2_CAP_VIDEO_M2M": 0x8000, "V4L2_CAP_VIDEO_M2M_MPLANE": 0x4000, "V4L2_CAP_DEVICE_CAPS": 0x80000000,
    "offsetof(struct v4l2_capability, capabilities)": 84, "offsetof(struct v4l2_capability, device_caps)": 88,
    "offsetof(struct v4l2_fmtdesc, type)": 4, "offsetof(struct v4l2_fmtdesc, description)": 12,
    "offsetof(struct v4l2_fmtdesc, pixelformat)": 44,
    "offsetof(struct v4l2_frmsizeenum, pixel_format)": 4, "offsetof(struct v4l2_frmsizeenum, type)": 8,
    "offsetof(struct v4l2_frmsizeenum, discrete)": 12, "offsetof(struct v4l2_frmsizeenum, stepwise.max_width)": 16,
    "offsetof(struct v4l2_frmsizeenum, stepwise.min_height)": 24,
    "offsetof(struct v4l2_frmsizeenum, stepwise.max_height)": 28,
    "offsetof(struct v4l2_frmivalenum, width)": 8, "offsetof(struct v4l2_frmivalenum, type)": 16,
    "offsetof(struct v4l2_frmivalenum, discrete.numerator)": 20,
    "offsetof(struct v4l2_frmivalenum, discrete.denominator)": 24,
    "offsetof(struct v4l2_format, fmt.pix.width)": 8, "offsetof(struct v4l2_format, fmt.pix.height)": 12,
    "offsetof(struct v4l2_format, fmt.pix.pixelformat)": 16,
    "offsetof(struct v4l2_requestbuffers, type)": 4, "offsetof(struct v4l2_requestbuffers, memory)": 8,
    "offsetof(struct v4l2_buffer, type)": 4, "offsetof(struct v4l2_buffer, memory)": 60,
    "offsetof(struct v4l2_query_ext_ctrl, type)": 4, "offsetof(struct v4l2_query_ext_ctrl, name)": 8,
    "offsetof(struct v4l2_query_ext_ctrl, minimum)": 40, "offsetof(struct v4l2_query_ext_ctrl, maximum)": 48,
    "offsetof(struct v4l2_query_ext_ctrl, step)": 56, "offsetof(struct v4l2_query_ext_ctrl, default_value)": 64,
    "offsetof(struct v4l2_query_ext_ctrl, flags)": 72, "offsetof(struct v4l2_querymenu, index)": 4,
    "offsetof(struct v4l2_querymenu, name)": 8, "offsetof(struct v4l2_ext_control, size)": 4,
    "offsetof(struct v4l2_ext_control, value64)": 12, "offsetof(struct v4l2_ext_controls, count)": 4,
    "offsetof(struct v4l2_ext_controls, error_idx)": 8, "offsetof(struct v4l2_ext_controls, controls)": 24,
}  # fmt: skip
DRM = {
    "DRM_IOCTL_SET_MASTER": 0x641E, "DRM_IOCTL_GET_CAP": 0xC010640C, "DRM_IOCTL_MODE_GETRESOURCES": 0xC04064A0,
    "DRM_IOCTL_MODE_GETCRTC": 0xC06864A1, "DRM_IOCTL_MODE_SETCRTC": 0xC06864A2,
    "DRM_IOCTL_MODE_GETENCODER": 0xC01464A6, "DRM_IOCTL_MODE_GETCONNECTOR": 0xC05064A7,
    "DRM_IOCTL_MODE_ADDFB": 0xC01C64AE, "DRM_IOCTL_MODE_RMFB": 0xC00464AF, "DRM_IOCTL_MODE_PAGE_FLIP": 0xC01864B0,
    "DRM_IOCTL_MODE_CREATE_DUMB": 0xC02064B2, "DRM_IOCTL_MODE_MAP_DUMB": 0xC01064B3,
    "DRM_IOCTL_MODE_DESTROY_DUMB": 0xC00464B4,
    "sizeof(struct drm_mode_modeinfo)": 68, "DRM_CAP_DUMB_BUFFER": 1, "DRM_MODE_PAGE_FLIP_EVENT": 1,
    "DRM_EVENT_FLIP_COMPLETE": 2, "DRM_MODE_TYPE_PREFERRED": 8, "DRM_MODE_FLAG_INTERLACE": 0x10,
    "offsetof(struct drm_mode_modeinfo, hdisplay)": 4, "offsetof(struct drm_mode_modeinfo, vdisplay)": 14,
    "offsetof(struct drm_mode_modeinfo, vrefresh)": 24, "offsetof(struct drm_mode_modeinfo, flags)": 28,
    "offsetof(struct drm_mode_modeinfo, type)": 32,
    "offsetof(struct drm_mode_card_res, crtc_id_ptr)": 8, "offsetof(struct drm_mode_card_res, connector_id_ptr)": 16,
    "offsetof(struct drm_mode_card_res, count_crtcs)": 36,
    "offsetof(struct drm_mode_card_res, count_connectors)": 40,
    "offsetof(struct drm_mode_get_connector, encoders_ptr)": 0, "offsetof(struct drm_mode_get_connector, modes_ptr)": 8,
    "offsetof(struct drm_mode_get_connector, count_modes)": 32,
    "offsetof(struct drm_mode_get_connector, count_encoders)": 40,
    "offsetof(struct drm_mode_get_connector, encoder_id)": 44,
    "offsetof(struct drm_mode_get_connector, connector_id)": 48,
    "offsetof(struct drm_mode_get_connector, connector_type)": 52,
    "offsetof(struct drm_mode_get_connector, connector_type_id)": 56,
    "offsetof(struct drm_mode_get_connector, connection)": 60,
    "offsetof(struct drm_mode_get_encoder, crtc_id)": 8, "offsetof(struct drm_mode_get_encoder, possible_crtcs)": 12,
    "offsetof(struct drm_mode_crtc, count_connectors)": 8, "offsetof(struct drm_mode_crtc, crtc_id)": 12,
    "offsetof(struct drm_mode_crtc, fb_id)": 16, "offsetof(struct drm_mode_crtc, mode_valid)": 32,
    "offsetof(struct drm_mode_crtc, mode)": 36,
    "offsetof(struct drm_mode_fb_cmd, pitch)": 12, "offsetof(struct drm_mode_fb_cmd, depth)": 20,
    "offsetof(struct drm_mode_fb_cmd, handle)": 24, "offsetof(struct drm_mode_crtc_page_flip, flags)": 8,
    "offsetof(struct drm_mode_create_dumb, handle)": 16, "offsetof(struct drm_mode_create_dumb, pitch)": 20,
    "offsetof(struct drm_mode_create_dumb, size)": 24, "offsetof(struct drm_mode_map_dumb, offset)": 8,
    "DRM_MODE_CONNECTOR_HDMIA": 11, "DRM_MODE_CONNECTOR_DSI": 16, "DRM_MODE_CONNECTOR_WRITEBACK": 18,
}  # fmt: skip
INPUT = {
    "EVIOCGRAB": 0x40044590, "EVIOCGBIT(EV_KEY, 96)": 0x80604521, "EVIOCGKEY(96)": 0x80604518,
    "sizeof(struct input_event)": 24, "EV_SYN": 0, "EV_KEY": 1, "(KEY_MAX + 8) / 8": 96,
    "offsetof(struct input_event, type)": 16, "offsetof(struct input_event, code)": 18,
    "offsetof(struct input_event, value)": 20,
    "KEY_ESC": 1, "KEY_ENTER": 28, "KEY_LEFTCTRL": 29, "KEY_RIGHTCTRL": 97, "KEY_LEFTALT": 56, "KEY_RIGHTALT": 100,
    "KEY_SPACE": 57, "KEY_KPENTER": 96, "KEY_HOME": 102, "KEY_UP": 103, "KEY_PAGEUP": 104, "KEY_LEFT": 105,
    "KEY_RIGHT": 106, "KEY_DOWN": 108, "KEY_PAGEDOWN": 109, "KEY_1": 2, "KEY_0": 11, "KEY_Q": 16, "KEY_P": 25,
    "KEY_A": 30, "KEY_L": 38, "KEY_Z": 44, "KEY_M": 50,
}  # fmt: skip
FRAMEBUFFER = {
    "FBIOGET_VSCREENINFO": 0x4600, "FBIOGET_FSCREENINFO": 0x4602, "sizeof(struct fb_var_screeninfo)": 160,
    "sizeof(struct fb_fix_screeninfo)": 80, "offsetof(struct fb_fix_screeninfo, line_length)": 48,
    "offsetof(struct fb_var_screeninfo, xoffset)": 16, "offsetof(struct fb_var_screeninfo, yoffset)": 20,
    "offsetof(struct fb_var_screeninfo, bits_per_pixel)": 24, "offsetof(struct fb_var_screeninfo, red.offset)": 32,
    "offsetof(struct fb_var_screeninfo, blue.offset)": 56,
}  # fmt: skip
USB = {"USBDEVFS_RESET": 0x5514, "USBDEVFS_CLAIMINTERFACE": 0x8004550F, "USBDEVFS_RELEASEINTERFACE": 0x80045510}
HEADERS = {"linux/videodev2.h": VIDEO, "drm.h": DRM, "linux/input.h": INPUT, "linux/fb.h": FRAMEBUFFER,
           "linux/usbdevice_fs.h": USB}  # fmt: skip


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.parametrize("header", HEADERS)
def test_the_literals_are_the_headers(tmp_path: Path, header: str) -> None:
    numbers, source = HEADERS[header], tmp_path / "numbers.c"
    lines = "".join(f'printf("%lu\\n", (unsigned long)(unsigned int)({expression}));\n' for expression in numbers)
    includes = "".join(f"#include <{name}>\n" for name in ("sys/ioctl.h", "stddef.h", "stdio.h", header))
    source.write_text(f"{includes}int main(void) {{\n{lines}}}\n")
    built = subprocess.run(["cc", "-I/usr/include/drm", "-I/usr/include/libdrm", source, "-o", tmp_path / "numbers"],
                           capture_output=True, text=True)  # fmt: skip
    if f"{header}: No such file" in built.stderr:
        pytest.skip(f"needs {header} (Debian: linux-libc-dev, libdrm-dev)")
    assert built.returncode == 0, built.stderr
    printed = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    assert dict(zip(numbers, map(int, printed.split()), strict=True)) == numbers


def fields(layout: struct.Struct, **places: int) -> dict[str, int]:
    """Return at which place of the unpacked values each named 32-bit number is, by its byte in the structure."""
    found = {}
    for name, at in places.items():
        data = bytearray(layout.size)
        struct.pack_into("I", data, at, 0x01020304)
        found[name] = layout.unpack(data).index(0x01020304)
    return found


def test_requests_to_cameras() -> None:
    ours = (v4l2.QUERYCAP, v4l2.ENUM_FMT, v4l2.S_FMT, v4l2.REQBUFS, v4l2.QBUF, v4l2.STREAMON, v4l2.STREAMOFF,
            v4l2.ENUM_FRAMESIZES, v4l2.ENUM_FRAMEINTERVALS)  # fmt: skip
    assert ours == tuple(VIDEO.values())[:9]
    able = (v4l2.CAP_CAPTURE, v4l2.CAP_CAPTURE_MPLANE, v4l2.CAP_M2M, v4l2.CAP_M2M_MPLANE, v4l2.CAP_DEVICE_CAPS)
    assert able == (0x1, 0x1000, 0x8000, 0x4000, 0x80000000) and (v4l2.CAPTURE, v4l2.MMAP) == (1, 1)


def test_places_in_what_cameras_answer() -> None:
    assert fields(v4l2.CAPABILITY, all_caps=84, device_caps=88) == {"all_caps": 4, "device_caps": 5}
    assert fields(v4l2.FMTDESC, type=4, pixelformat=44) == {"type": 1, "pixelformat": 4}
    assert v4l2.FMTDESC.unpack(bytes(12) + b"words".ljust(52, b"\0"))[3].rstrip(b"\0") == b"words"
    assert fields(v4l2.FRMSIZE, type=8, width=12, max_width=16, min_height=24, max_height=28) == {
        "type": 2, "width": 3, "max_width": 4, "min_height": 6, "max_height": 7}  # fmt: skip
    assert fields(v4l2.FRMIVAL, width=8, type=16, numerator=20, denominator=24) == {
        "width": 2, "type": 4, "numerator": 5, "denominator": 6}  # fmt: skip
    assert fields(v4l2.FORMAT, type=0, width=8, height=12, pixelformat=16) == {
        "type": 0, "width": 1, "height": 2, "pixelformat": 3}  # fmt: skip
    assert fields(v4l2.REQUESTBUFFERS, count=0, type=4, memory=8) == {"count": 0, "type": 1, "memory": 2}
    assert fields(v4l2.BUFFER, index=0, type=4, memory=60) == {"index": 0, "type": 1, "memory": 8}


def test_places_in_what_cameras_tell_of_their_settings() -> None:
    assert fields(v4l2_controls.QUERY, id=0, type=4, flags=72) == {"id": 0, "type": 1, "flags": 7}
    answer = bytes(8) + b"Gain".ljust(32, b"\0") + struct.pack("qqQq", -9, 8, 7, -6) + bytes(232 - 72)
    assert v4l2_controls.QUERY.unpack(answer)[2:7] == (b"Gain".ljust(32, b"\0"), -9, 8, 7, -6)
    assert fields(v4l2_controls.MENU, id=0, index=4) == {"id": 0, "index": 1}
    assert v4l2_controls.MENU.unpack(bytes(8) + b"50 Hz".ljust(36, b"\0"))[2].rstrip(b"\0") == b"50 Hz"
    assert v4l2_controls.CONTROL.unpack(struct.pack("=IIIq", 1, 2, 0, -3)) == (1, 2, 0, -3)
    assert v4l2_controls.CONTROL.pack(0, 0, 0, 5)[12:20] == struct.pack("q", 5)
    assert fields(v4l2_controls.CONTROLS, which=0, count=4) == {"which": 0, "count": 1}
    assert v4l2_controls.CONTROLS.pack(0, 1, 0, 0, 0, 0x1234)[24:32] == struct.pack("P", 0x1234)


def test_requests_to_graphics_cards() -> None:
    ours = (drm.SET_MASTER, drm.GET_CAP, drm.GET_RESOURCES, drm.GET_CRTC, drm.SET_CRTC, drm.GET_ENCODER,
            drm.GET_CONNECTOR, drm.ADD_FB, drm.REMOVE_FB, drm.PAGE_FLIP, drm.CREATE_DUMB, drm.MAP_DUMB,
            drm.DESTROY_DUMB, ctypes.sizeof(drm.ModeInfo), drm.DUMB_BUFFER, drm.FLIP_EVENT, drm.FLIP_COMPLETE,
            drm.PREFERRED)  # fmt: skip
    assert ours == tuple(DRM.values())[: len(ours)]
    assert [drm.CONNECTOR_KINDS.index(name) for name in ("HDMI-A", "DSI", "Writeback")] == [11, 16, 18]


@pytest.mark.parametrize(
    ("structure", "places"),
    [(drm.ModeInfo, {"hdisplay": 4, "vdisplay": 14, "vrefresh": 24, "flags": 28, "type": 32}),
     (drm.Resources, {"crtcs": 8, "connectors": 16, "count_crtcs": 36, "count_connectors": 40}),
     (drm.Connector, {"encoders": 0, "modes": 8, "count_modes": 32, "count_encoders": 40, "encoder_id": 44, "id": 48,
                      "kind": 52, "kind_id": 56, "connection": 60}),
     (drm.Encoder, {"id": 0, "crtc_id": 8, "possible_crtcs": 12}),
     (drm.Crtc, {"connectors": 0, "count_connectors": 8, "id": 12, "fb_id": 16, "mode_valid": 32, "mode": 36}),
     (drm.Framebuffer, {"id": 0, "width": 4, "height": 8, "pitch": 12, "bpp": 16, "depth": 20, "handle": 24}),
     (drm.Flip, {"crtc_id": 0, "fb_id": 4, "flags": 8}),
     (drm.Dumb, {"height": 0, "width": 4, "bpp": 8, "handle": 16, "pitch": 20, "size": 24}),
     (drm.DumbMap, {"handle": 0, "offset": 8})],
)  # fmt: skip
def test_places_in_what_graphics_cards_answer(structure: type[ctypes.Structure], places: dict[str, int]) -> None:
    assert {name: getattr(structure, name).offset for name in places} == places


def test_requests_to_keyboards_and_their_keys() -> None:
    assert (keyboard.GRAB, keyboard.CAN, keyboard.DOWN) == (0x40044590, 0x80604521, 0x80604518)
    assert (keyboard.EVENT.size, keyboard.EV_SYN, keyboard.EV_KEY, keyboard.KEY_BYTES) == (24, 0, 1, 96)
    assert keyboard.EVENT.unpack(bytes(16) + struct.pack("HHi", 7, 8, 9))[2:] == (7, 8, 9)
    names = {"esc": "KEY_ESC", "enter": "KEY_ENTER", "space": "KEY_SPACE", "home": "KEY_HOME", "up": "KEY_UP",
             "pageup": "KEY_PAGEUP", "left": "KEY_LEFT", "right": "KEY_RIGHT", "down": "KEY_DOWN",
             "pagedown": "KEY_PAGEDOWN", **{key.lower(): f"KEY_{key}" for key in "10QPALZM"}}  # fmt: skip
    assert {keyboard.NAMES[INPUT[kernels]]: kernels for kernels in names.values()} == names
    assert keyboard.NAMES[INPUT["KEY_KPENTER"]] == "enter"
    assert (keyboard.CTRL, keyboard.ALT) == ((29, 97), (56, 100))


def test_frame_buffer_requests_and_answers() -> None:
    assert (framebuffer.GET_VARIABLE, framebuffer.GET_FIXED) == (0x4600, 0x4602)
    variable, fixed = bytearray(160), bytearray(80)
    for at, value in {0: 800, 4: 480, 16: 3, 20: 2, 24: 16, 32: 11, 56: 0}.items():
        struct.pack_into("I", variable, at, value)
    struct.pack_into("I", fixed, 48, 1664)
    got = framebuffer.geometry(bytes(variable), bytes(fixed))
    assert got == framebuffer.Geometry(800, 480, 1664, 16, 2 * 1664 + 3 * 2, red_first=False)


def test_requests_to_usb_devices() -> None:
    assert (sticks.USBDEVFS_RESET, sticks.USBDEVFS_CLAIMINTERFACE, sticks.USBDEVFS_RELEASEINTERFACE) == (
        0x5514, 0x8004550F, 0x80045510)  # fmt: skip
