"""A stand-in for the kernel: a sysfs tree in a folder, and `ioctl` and `cv2.VideoCapture` as measured on a real one."""

import ctypes
import errno
import os
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from picam_infer.sources import v4l2
from picam_infer.sources.v4l2 import Roots

CAPTURE, META, M2M = 0x85200001, 0x85A00000, 0x84208000
C270 = {"MJPG": {(1280, 720): (30, 15), (640, 480): (30,)}, "YUYV": {(1280, 720): (10,), (640, 480): (30, 15)}}


def pixel(fourcc):
    return int.from_bytes(fourcc.encode(), "little")


class Kernel:
    """Devices in a temporary /sys, /dev and /proc; `errors` maps an ioctl (or "open") to the errno it fails with."""

    def __init__(self, root, monkeypatch):
        self.roots = Roots(root / "sys", root / "dev", root / "proc")
        for folder in (self.roots.sys / "class/video4linux", self.roots.dev / "v4l/by-id", self.roots.proc):
            folder.mkdir(parents=True)
        self.devices, self.errors, self.set = {}, {}, []
        monkeypatch.setattr(v4l2.fcntl, "ioctl", self.ioctl)
        self._open = os.open
        monkeypatch.setattr(v4l2.os, "open", self.open)

    def plug(self, number, name, *, driver="uvcvideo", caps=CAPTURE, formats=None, usb="", serial="", index=0, link="",
             controls=()):  # fmt: skip
        node = self.roots.dev / f"video{number}"
        node.touch()
        device = self.roots.sys / f"devices/pci/usb1/1-{number + 1}/1-{number + 1}:1.0"
        (device / f"video4linux/video{number}").mkdir(parents=True)
        driver_folder = self.roots.sys / "bus/drivers" / driver
        driver_folder.mkdir(parents=True, exist_ok=True)
        (device / "driver").symlink_to(driver_folder)
        if usb:
            for key, value in zip(("idVendor", "idProduct", "serial"), (*usb.split(":"), serial), strict=True):
                (device.parent / key).write_text(value + "\n")
        entry = device / f"video4linux/video{number}"
        (entry / "name").write_text(name + "\n")
        (entry / "index").write_text(f"{index}\n")
        (entry / "device").symlink_to(device)
        (self.roots.sys / f"class/video4linux/video{number}").symlink_to(entry)
        if link:
            (self.roots.dev / "v4l/by-id" / link).symlink_to(f"../../video{number}")
        self.devices[str(node)] = {"caps": caps, "formats": formats if formats is not None else C270,
                                   "controls": [replace(control) for control in controls]}  # fmt: skip

    def unplug(self, number):
        node = self.roots.dev / f"video{number}"
        del self.devices[str(node)]
        node.unlink()
        (self.roots.sys / f"class/video4linux/video{number}").unlink()
        for link in (self.roots.dev / "v4l/by-id").iterdir():
            if not link.exists():
                link.unlink()
        device = self.roots.sys / f"devices/pci/usb1/1-{number + 1}"
        device.rename(device.with_name(f"gone-{time.monotonic_ns()}"))

    def hold(self, number, pid, name):
        folder = self.roots.proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "fd/5").symlink_to(self.roots.dev / f"video{number}")

    def open(self, path, flags, *rest, **more):
        if str(path) in self.devices and "open" in self.errors:
            raise OSError(self.errors["open"], os.strerror(self.errors["open"]))
        return self._open(path, flags, *rest, **more)

    def ioctl(self, handle, request, buffer):
        device = self.devices[str(Path(f"/proc/self/fd/{handle}").readlink())]
        if request in self.errors:
            raise OSError(self.errors[request], os.strerror(self.errors[request]))
        if request == 0x80685600:  # VIDIOC_QUERYCAP
            caps = device["caps"]
            struct.pack_into("=II", buffer, 84, caps, caps & 0x7FFFFFFF)
        elif request == 0xC0405602:  # VIDIOC_ENUM_FMT
            fourcc = self._nth(device["formats"], buffer)
            struct.pack_into("=32sI", buffer, 12, fourcc.encode() + b" words", pixel(fourcc))
        elif request == 0xC02C564A:  # VIDIOC_ENUM_FRAMESIZES
            size = self._nth(self._format(device, buffer), buffer)
            struct.pack_into("=III", buffer, 8, 1, *size)
        elif request == 0xC034564B:  # VIDIOC_ENUM_FRAMEINTERVALS
            size = struct.unpack_from("=II", buffer, 8)
            rate = self._nth(self._format(device, buffer)[size], buffer)
            struct.pack_into("=III", buffer, 16, 1, 1, rate)
        elif request in CONTROL_REQUESTS:
            CONTROL_REQUESTS[request](self, device["controls"], buffer)
        return 0

    def control(self, number, name):
        """Return a control of /dev/video`number`."""
        return next(c for c in self.devices[str(self.roots.dev / f"video{number}")]["controls"] if c.name == name)

    def query_control(self, controls, buffer):
        (asked,) = struct.unpack_from("=I", buffer)
        assert asked & 0x80000000 and len(buffer) == 232
        after = sorted((c for c in controls if c.id > asked & 0x0FFFFFFF), key=lambda c: c.id)
        if not after:
            raise OSError(errno.EINVAL, "Invalid argument")
        one = after[0]
        struct.pack_into("=II32sqqQqI", buffer, 0, one.id, one.type, one.name.encode(), one.low, one.high, one.step,
                         one.default, one.flags | (0x10 if one.ruled(controls) else 0))  # fmt: skip

    def query_menu(self, controls, buffer):
        number, index = struct.unpack_from("=II", buffer)
        one = next(c for c in controls if c.id == number)
        if index not in one.menu:
            raise OSError(errno.EINVAL, "Invalid argument")
        words = one.menu[index]
        struct.pack_into("=32s", buffer, 8, words.encode() if isinstance(words, str) else struct.pack("=q", words))

    def get_control(self, controls, buffer):
        one, at = self._ext(controls, buffer)
        ctypes.memmove(at + 12, struct.pack("=q" if one.type == 5 else "=i4x", one.value), 8)

    def set_control(self, controls, buffer):
        one, at = self._ext(controls, buffer)
        form = "=q" if one.type == 5 else "=i4x"
        value = struct.unpack(form, ctypes.string_at(at + 12, 8))[0]
        self.set.append((one.name, value))
        if one.fails or one.ruled(controls):  # uvcvideo says EACCES of what an automatic rules
            number = one.fails or errno.EACCES
            raise OSError(number, os.strerror(number))
        if not one.low <= value <= one.high:
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        one.value = value - (value - one.low) % one.step

    @staticmethod
    def _ext(controls, buffer):
        which, count, _, _, _, at = struct.unpack("=IIIiI4xQ", buffer)
        assert which == 0 and count == 1
        number = struct.unpack("=I", ctypes.string_at(at, 4))[0]
        return next(c for c in controls if c.id == number), at

    def _format(self, device, buffer):
        return device["formats"][bytes(buffer[4:8]).decode()]

    def _nth(self, things, buffer):
        index = int.from_bytes(buffer[:4], "little")
        if index >= len(things):
            raise OSError(errno.EINVAL, "Invalid argument")
        return list(things)[index]


CONTROL_REQUESTS = {0xC0E85667: Kernel.query_control, 0xC02C5625: Kernel.query_menu, 0xC0205647: Kernel.get_control,
                    0xC0205648: Kernel.set_control}  # fmt: skip


@dataclass
class Knob:
    """One of a camera's controls, with the kernel's numbers for types and flags."""

    id: int
    type: int
    name: str
    low: int
    high: int
    default: int
    step: int = 1
    flags: int = 0
    menu: dict = field(default_factory=dict)
    ruler: tuple = ()
    """Name of the automatic and the value with which it does not rule this one."""
    fails: int = 0
    value: int = None

    def __post_init__(self):
        self.value = self.default if self.value is None else self.value

    def ruled(self, controls):
        return bool(self.ruler) and any(c.name == self.ruler[0] and c.value != self.ruler[1] for c in controls)


EXPOSURES = {1: "Manual Mode", 3: "Aperture Priority Mode"}
C920_CONTROLS = (
    Knob(0x00980001, 6, "User Controls", 0, 0, 0, flags=0x44),
    Knob(0x00980900, 1, "Brightness", -64, 64, 0),
    Knob(0x0098090C, 2, "White Balance, Automatic", 0, 1, 1),
    Knob(0x00980918, 3, "Power Line Frequency", 0, 2, 2, menu={0: "Disabled", 1: "50 Hz", 2: "60 Hz"}),
    Knob(0x0098091A, 1, "White Balance Temperature", 2000, 6500, 4000, step=10, flags=0x80,
         ruler=("White Balance, Automatic", 0)),
    Knob(0x009A0901, 3, "Auto Exposure", 0, 3, 3, menu=EXPOSURES),
    Knob(0x009A0902, 1, "Exposure Time, Absolute", 3, 2047, 250, ruler=("Auto Exposure", 1)),
    Knob(0x009A090A, 1, "Focus, Absolute", 0, 250, 0, step=5, ruler=("Focus, Automatic Continuous", 0)),
    Knob(0x009A090C, 2, "Focus, Automatic Continuous", 0, 1, 1),
    Knob(0x009A090F, 4, "Iris, Reset", 0, 0, 0, flags=0x48),
)  # fmt: skip
"""As a webcam has them under Linux 6; older kernels call the automatics otherwise."""


def jpeg(width=1280, height=720, shade=128):
    return cv2.imencode(".jpg", np.full((height, width, 3), shade, np.uint8))[1].reshape(1, -1)


class Webcam:
    """What cv2.VideoCapture does with a webcam, bad habits included. Class attributes are the camera's state."""

    def __init__(self, kernel):
        self.kernel, self.opened, self.released = kernel, [], []
        self.formats = C270
        self.script = []
        """What the next reads give: an array, False, or seconds of silence and then False."""
        self.hang = None
        """An event: `read` waits for it, then fails."""
        self.in_read = threading.Event()
        self.stamp_ms = None
        self.refuses = False
        self.log = []

    def __call__(self, path, backend, *params):
        assert backend == cv2.CAP_V4L2
        self.opened.append(path)
        return Capture(self, Path(path).resolve())


class Capture:
    def __init__(self, webcam, node):
        self.webcam, self.node = webcam, node
        self.values = {cv2.CAP_PROP_FOURCC: pixel("YUYV"), cv2.CAP_PROP_FRAME_WIDTH: 640,
                       cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_CONVERT_RGB: 1}  # fmt: skip
        self.was_there = str(node) in webcam.kernel.devices
        self.alive, self.reading = True, False
        self._nearest()

    def isOpened(self):  # noqa: N802
        return self.was_there and not self.webcam.refuses  # stays true when it is unplugged

    def get(self, prop):
        if prop == cv2.CAP_PROP_POS_MSEC:
            stamp = self.webcam.stamp_ms
            return time.monotonic() * 1e3 - 5 if stamp is None else stamp
        if prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS):
            order = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
            return float(self.granted[order.index(prop)])
        return float(self.values.get(prop, 0))

    def set(self, prop, value):
        self.webcam.log.append((prop, value))
        if prop == cv2.CAP_PROP_FOURCC and not any(pixel(f) == int(value) for f in self.webcam.formats):
            return True  # says yes and keeps what it had
        self.values[prop] = value
        self._nearest()
        return True

    def _nearest(self):
        fourcc = int(self.values[cv2.CAP_PROP_FOURCC]).to_bytes(4, "little").decode()
        sizes = self.webcam.formats.get(fourcc, {(640, 480): (30,)})
        wanted = self.values[cv2.CAP_PROP_FRAME_WIDTH], self.values[cv2.CAP_PROP_FRAME_HEIGHT]
        width, height = min(sizes, key=lambda s: abs(s[0] - wanted[0]) + abs(s[1] - wanted[1]))
        self.granted = width, height, max(sizes[(width, height)])

    def read(self):
        assert self.alive, "read after release"
        self.reading = True
        self.webcam.in_read.set()
        try:
            if self.webcam.hang is not None:
                self.webcam.hang.wait(20)
                return False, None
            if str(self.node) not in self.webcam.kernel.devices:
                return False, None
            if self.webcam.script:
                image = self.webcam.script.pop(0)
                if isinstance(image, float):
                    time.sleep(image)  # select() ran out
                    return False, None
                return (False, None) if image is False else (True, image)
            return True, self._picture()
        finally:
            self.reading = False

    def _picture(self):
        width, height, _ = self.granted
        if self.values[cv2.CAP_PROP_CONVERT_RGB]:
            return np.zeros((height, width, 3), np.uint8)
        fourcc = int(self.values[cv2.CAP_PROP_FOURCC]).to_bytes(4, "little").decode()
        return jpeg(width, height) if fourcc == "MJPG" else np.zeros((height, width, 2), np.uint8)

    def release(self):
        assert not self.reading, "released under a reading thread"
        self.alive = False
        self.webcam.released.append(str(self.node))
