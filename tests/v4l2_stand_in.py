"""A stand-in for the kernel: a sysfs tree in a folder, and `ioctl` and `cv2.VideoCapture` as measured on a real one."""

import errno
import os
import threading
import time
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
        self.devices, self.errors = {}, {}
        monkeypatch.setattr(v4l2.fcntl, "ioctl", self.ioctl)
        self._open = os.open
        monkeypatch.setattr(v4l2.os, "open", self.open)

    def plug(self, number, name, *, driver="uvcvideo", caps=CAPTURE, formats=None, usb="", serial="", index=0, link=""):
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
        self.devices[str(node)] = {"caps": caps, "formats": formats if formats is not None else C270}

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
        if request == v4l2.QUERYCAP:
            caps = device["caps"]
            v4l2._CAPABILITY.pack_into(buffer, 0, b"", b"", b"", 0, caps, caps & 0x7FFFFFFF, 0, 0, 0)
        elif request == v4l2.ENUM_FMT:
            fourcc = self._nth(device["formats"], buffer)
            v4l2._FMTDESC.pack_into(buffer, 0, 0, 1, 0, fourcc.encode() + b" words", pixel(fourcc), 0, 0, 0, 0)
        elif request == v4l2.ENUM_FRAMESIZES:
            size = self._nth(self._format(device, buffer), buffer)
            v4l2._FRMSIZE.pack_into(buffer, 0, 0, 0, 1, *size, 0, 0, 0, 0, 0, 0)
        elif request == v4l2.ENUM_FRAMEINTERVALS:
            size = tuple(int.from_bytes(buffer[at : at + 4], "little") for at in (8, 12))
            rate = self._nth(self._format(device, buffer)[size], buffer)
            v4l2._FRMIVAL.pack_into(buffer, 0, 0, 0, 0, 0, 1, 1, rate, 0, 0, 0, 0, 0, 0)
        return 0

    def _format(self, device, buffer):
        return device["formats"][bytes(buffer[4:8]).decode()]

    def _nth(self, things, buffer):
        index = int.from_bytes(buffer[:4], "little")
        if index >= len(things):
            raise OSError(errno.EINVAL, "Invalid argument")
        return list(things)[index]


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
