"""The kernel's view of the cameras: which ones exist, what they offer, who uses them, and why one does not start."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from picam_infer.core import Disconnected
from picam_infer.platform import procfs, udev
from picam_infer.platform.paths import real
from picam_infer.platform.procfs import Process

# linux/videodev2.h, 64-bit layouts
CAPABILITY = struct.Struct("16s32s32sIII3I")
FMTDESC = struct.Struct("3I32sI4I")
FRMSIZE = struct.Struct("3I6I2I")
FRMIVAL = struct.Struct("5I6I2I")
FORMAT = struct.Struct("I4x12I152x")
REQUESTBUFFERS = struct.Struct("5I")
BUFFER = struct.Struct("5I4xqq16xIIQII4x4x")


def request(direction: int, number: int, size: int) -> int:
    """Return an ioctl's number: direction 2 reads, 1 writes, 3 both; `size` of its struct in bytes."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


_READ, _WRITE, _BOTH = 2, 1, 3
QUERYCAP = request(_READ, 0, CAPABILITY.size)
ENUM_FMT = request(_BOTH, 2, FMTDESC.size)
S_FMT = request(_BOTH, 5, FORMAT.size)
REQBUFS = request(_BOTH, 8, REQUESTBUFFERS.size)
QBUF = request(_BOTH, 15, BUFFER.size)
STREAMON = request(_WRITE, 18, 4)
STREAMOFF = request(_WRITE, 19, 4)
ENUM_FRAMESIZES = request(_BOTH, 74, FRMSIZE.size)
ENUM_FRAMEINTERVALS = request(_BOTH, 75, FRMIVAL.size)

CAPTURE, MMAP = 1, 1
CAP_CAPTURE, CAP_CAPTURE_MPLANE, CAP_M2M, CAP_M2M_MPLANE = 0x1, 0x1000, 0x8000, 0x4000
CAP_DEVICE_CAPS = 0x80000000
_NOT_CAMERAS = re.compile(r"bcm2835-(codec|isp)|rpivid|rpi-hevc|hevc-dec|pispbe|hantro|rkvdec|cedrus|vicodec", re.I)
_RIBBON = re.compile(r"unicam|rp1-cfe", re.I)
_COMMON_SIZES = ((1920, 1080), (1280, 720), (800, 600), (640, 480), (320, 240))
SETTLING_S = 2.0
_REPLUG = "unplug the camera and plug it in again; try another port or cable"


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's file systems are mounted."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Mode:
    """A picture size in pixels and its rates in frames per second, fastest first."""

    width: int
    height: int
    rates: tuple[float, ...] = ()

    def __str__(self) -> str:
        rates = f" at {', '.join(f'{rate:g}' for rate in self.rates)} fps" if self.rates else ""
        return f"{self.width}×{self.height}{rates}"


@dataclass(frozen=True, slots=True)
class Format:
    """A pixel format: its FOURCC (`MJPG`), the driver's words for it, its sizes, largest first."""

    fourcc: str
    name: str
    modes: tuple[Mode, ...] = ()

    def __str__(self) -> str:
        return f"{self.fourcc}: {'; '.join(map(str, self.modes))}" if self.modes else self.fourcc


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera: where it is, what it is called, what it offers."""

    node: str
    """`/dev/video0`; the number changes when it is plugged in again."""
    name: str
    driver: str = ""
    by_id: str = ""
    """The link in /dev/v4l/by-id, which stays; "" if there is none."""
    usb_id: str = ""
    """`046d:0825`; "" for a camera that is not on USB."""
    serial: str = ""
    bus: str = ""
    formats: tuple[Format, ...] = field(default=(), repr=False)
    busy_by: str = ""
    """Who streams from it now: `ffmpeg (PID 812)`."""
    problem: str = ""
    """Why its formats could not be asked for."""

    @property
    def path(self) -> str:
        """What to open: a path that stays the same when it is replugged."""
        return self.by_id or self.node


def list_cameras(roots: Roots = Roots()) -> list[CameraInfo]:
    """Return every capture device that is a camera, with its formats and who holds it, by number."""
    return [_examined(camera, roots) for camera in discover(roots)]


def discover(roots: Roots = Roots()) -> list[CameraInfo]:
    """Return the cameras without their formats: codecs, metadata and output nodes and raw sensors are left out."""
    return [_identity(node, roots) for node in _nodes(roots) if _is_camera(node, roots)]


def _nodes(roots: Roots) -> list[Path]:
    found = [path for path in (roots.sys / "class/video4linux").glob("video*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _driver(node: Path) -> str:
    return (node / "device/driver").resolve().name if (node / "device/driver").exists() else ""


def _is_camera(node: Path, roots: Roots) -> bool:
    words = f"{_text(node / 'name')} {_driver(node)}"
    if _NOT_CAMERAS.search(words) or _RIBBON.search(words):
        return False
    try:
        with opened(roots.dev / node.name) as handle:
            answer = CAPABILITY.unpack(ask(handle, QUERYCAP, bytes(CAPABILITY.size)))
    except OSError:
        # Not allowed or in use: a webcam's first node takes pictures, its others carry metadata.
        return _text(node / "index") in ("0", "")
    able = answer[5] if answer[4] & CAP_DEVICE_CAPS else answer[4]
    return bool(able & (CAP_CAPTURE | CAP_CAPTURE_MPLANE)) and not able & (CAP_M2M | CAP_M2M_MPLANE)


def _identity(node: Path, roots: Roots) -> CameraInfo:
    place = (node / "device").resolve()
    usb = next((p for p in (place, *place.parents) if (p / "idVendor").exists()), None)
    return CameraInfo(
        node=str(roots.dev / node.name),
        name=_once(_text(node / "name")) or node.name,
        driver=_driver(node),
        by_id=_by_id(roots.dev / node.name, roots),
        usb_id=f"{_text(usb / 'idVendor')}:{_text(usb / 'idProduct')}" if usb else "",
        serial=_text(usb / "serial") if usb else "",
        bus=f"usb-{usb.name}" if usb else place.name,
    )


def _once(name: str) -> str:
    # UVC cameras call themselves `C270: C270`, cut at 31 characters.
    first, _, second = name.partition(": ")
    return first if first.startswith(second) else name


def _by_id(node: Path, roots: Roots) -> str:
    links = sorted((roots.dev / "v4l/by-id").glob("*"))
    return next((str(link) for link in links if link.resolve() == node.resolve()), "")


def has_ribbon_camera(roots: Roots = Roots()) -> bool:
    """Tell whether a camera on the Pi's own connector is there, which only libcamera can use."""
    return any(_RIBBON.search(f"{_text(node / 'name')} {_driver(node)}") for node in _nodes(roots))


# -- choosing ------------------------------------------------------------


def matches(camera: CameraInfo, wanted: str) -> bool:
    """Tell whether NAME or usb:VID:PID means this camera: any part of its name or by-id link, in any case."""
    wanted = wanted.strip().lower()
    if wanted.startswith("usb:"):
        return camera.usb_id.lower() == wanted.removeprefix("usb:")
    return wanted in camera.name.lower() or wanted in Path(camera.by_id).name.lower()


def is_settling(camera: CameraInfo) -> bool:
    """Tell whether it was plugged in so lately that udev may not have set its owner and links yet."""
    try:
        age_s = time.time() - Path(camera.node).stat().st_ctime
    except OSError:
        return False
    done = os.access(camera.node, os.R_OK | os.W_OK) and (camera.by_id or not camera.usb_id)
    return not done and (0 <= age_s < SETTLING_S or (0 <= age_s < udev.PATIENCE_S and udev.working()))


# -- asking the driver ---------------------------------------------------


@contextlib.contextmanager
def opened(node: str | Path) -> Iterator[int]:
    """Open a device node to query it. Raises `OSError`."""
    handle = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def ask(handle: int, request: int, data: bytes) -> bytes:
    """Give the driver a struct and return what it made of it. Raises `OSError`."""
    buffer = bytearray(data)
    fcntl.ioctl(handle, request, buffer)
    return bytes(buffer)


def _examined(camera: CameraInfo, roots: Roots) -> CameraInfo:
    try:
        with opened(camera.node) as handle:
            formats = tuple(_formats(handle))
            try:
                ask(handle, REQBUFS, REQUESTBUFFERS.pack(0, CAPTURE, MMAP, 0, 0))
                busy = False
            except OSError as error:
                busy = error.errno == errno.EBUSY
        by = str(holder(camera.node, roots) or hidden_service(roots) or "another program") if busy else ""
        return replace(camera, formats=formats, busy_by=by)
    except OSError as error:
        return replace(camera, problem=error.strerror or str(error), busy_by=str(holder(camera.node, roots) or ""))


def formats(node: str) -> tuple[Format, ...]:
    """Return what the camera at `node` offers; nothing when it cannot be asked."""
    try:
        with opened(node) as handle:
            return tuple(_formats(handle))
    except OSError:
        return ()


def _enumerate(handle: int, request: int, layout: struct.Struct, *rest: int) -> Iterator[tuple[int | bytes, ...]]:
    for index in range(256):
        start = struct.pack(f"{1 + len(rest)}I", index, *rest)
        try:
            yield layout.unpack(ask(handle, request, start.ljust(layout.size, b"\0")))
        except OSError:
            return


def _formats(handle: int) -> Iterator[Format]:
    for _, _, _, words, code, *_ in _enumerate(handle, ENUM_FMT, FMTDESC, CAPTURE):
        pixel = int(code)
        fourcc = pixel.to_bytes(4, "little").decode("latin-1").strip()
        sizes = sorted(set(_sizes(handle, pixel)), key=lambda size: -size[0] * size[1])
        modes = tuple(Mode(w, h, _rates(handle, pixel, w, h)) for w, h in sizes)
        yield Format(fourcc, bytes(words).split(b"\0")[0].decode("latin-1") if isinstance(words, bytes) else "", modes)


def _sizes(handle: int, pixel: int) -> Iterator[tuple[int, int]]:
    for answer in _enumerate(handle, ENUM_FRAMESIZES, FRMSIZE, pixel):
        _, _, kind, *sizes = (int(number) for number in answer)
        if kind == 1:
            yield sizes[0], sizes[1]
        else:  # a range: least, most, step of the width, then of the height
            yield sizes[1], sizes[4]
            yield from ((w, h) for w, h in _COMMON_SIZES if sizes[0] <= w <= sizes[1] and sizes[3] <= h <= sizes[4])
            return


def _rates(handle: int, pixel: int, width: int, height: int) -> tuple[float, ...]:
    rates = set()
    for answer in _enumerate(handle, ENUM_FRAMEINTERVALS, FRMIVAL, pixel, width, height):
        kind, times = int(answer[4]), [int(number) for number in answer[5:11]]
        if times[0]:
            rates.add(round(times[1] / times[0], 3))
        if kind != 1:
            break
    return tuple(sorted(rates, reverse=True))


class Watched(Disconnected):
    """A picam-infer service has the camera."""

    def __init__(self, message: str, service: str) -> None:
        """`service`: which one, `picam-infer@bench`; empty: it cannot be seen."""
        unit = service or "picam-infer"
        super().__init__(
            message,
            f"{unit} is using it; to use the camera yourself: sudo systemctl stop {unit}; "
            "for two services, give each a camera of its own (source:)",
        )
        self.service = service


# -- what is the matter --------------------------------------------------


def holder(node: str, roots: Roots = Roots()) -> Process | None:
    """Return who else has `node` open; None when nobody is found (only root sees everyone's)."""
    device = str(real(Path(node)))
    return next(iter(procfs.holders([device], roots.proc)[device]), None)


def hidden_service(roots: Roots = Roots()) -> Process | None:
    """Return a running picam-infer whose open files this user may not see; None: there is none."""
    return next((process for process in procfs.others(roots.proc) if process.keeps_devices and process.hidden), None)


def start_error(node: str, fourcc: str, width: int, height: int) -> OSError | None:
    """Start and stop the camera as OpenCV does and return the error it hides; None when it starts."""
    try:
        with opened(node) as handle:
            pixel = int.from_bytes(fourcc.encode().ljust(4)[:4], "little")
            ask(handle, S_FMT, FORMAT.pack(CAPTURE, width, height, pixel, *([0] * 9)))
            count = REQUESTBUFFERS.unpack(ask(handle, REQBUFS, REQUESTBUFFERS.pack(2, CAPTURE, MMAP, 0, 0)))[0]
            for index in range(count):
                ask(handle, QBUF, BUFFER.pack(index, CAPTURE, 0, 0, 0, 0, 0, 0, MMAP, 0, 0, 0))
            ask(handle, STREAMON, struct.pack("i", CAPTURE))
            ask(handle, STREAMOFF, struct.pack("i", CAPTURE))
    except OSError as error:
        return error
    return None


def explain(camera: CameraInfo, error: OSError | None, roots: Roots = Roots()) -> Disconnected:
    """Return what `error` means for a person: what is wrong with the camera, and what to do."""
    number = error.errno if error else None
    who = f"{camera.name} ({camera.node})"
    if number in (errno.EACCES, errno.EPERM):
        return Disconnected(f"{who}: permission denied", f"run: sudo usermod -aG video {_user()}; then log in again")
    if number == errno.EBUSY:
        by = holder(camera.node, roots)
        if by is not None and by.keeps_devices:
            return Watched(f"{who} is in use by {by}", by.service)
        service = None if by else hidden_service(roots)
        if service is not None:
            return Watched(f"{who} is in use, most likely by {service}", service.service)
        return Disconnected(f"{who} is in use by {by or 'another program'}", "end that program")
    if number == errno.ENOSPC:
        return Disconnected(
            f"{who}: not enough USB bandwidth",
            "set a smaller capture size, or format: mjpg; "
            "or plug the camera into another USB port, away from other cameras",
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return unplugged(camera.name)
    if error is None:
        return Disconnected(f"{who} starts but gives no picture", _REPLUG)
    return Disconnected(f"{who} does not start: {error.strerror}", _REPLUG)


def unplugged(name: str) -> Disconnected:
    """Return the loss of a camera that was there before."""
    return Disconnected(f"{name} is unplugged", "plug it in again")


def none_found(wanted: str, roots: Roots = Roots()) -> Disconnected:
    """Return the loss for a camera that is not among those there are; `wanted` is NAME, a path, or "" for any."""
    there: Sequence[CameraInfo] = discover(roots)
    ribbon = "; a camera on the ribbon cable needs source: picamera" if has_ribbon_camera(roots) else ""
    names = ", ".join(f"{camera.name} ({camera.node})" for camera in there)
    if not wanted:
        return Disconnected("no camera is plugged in", f"plug in a USB webcam{ribbon}")
    listed = f"there is: {names}" if there else "plug it in; picam-infer devices lists the cameras"
    if not wanted.startswith("/"):
        return Disconnected(f"no camera matches {wanted!r}", listed + ribbon)
    what = f"{wanted} is not a camera" if Path(wanted).exists() else f"there is no {wanted}"
    return Disconnected(what, listed + ribbon)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "$USER"
