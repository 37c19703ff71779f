"""Neural compute sticks as the USB bus shows them: listed, checked and reset without any vendor's library."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from picam_infer.core import Problem
from picam_infer.inference.engines.ncs import causes
from picam_infer.platform import procfs
from picam_infer.platform.procfs import Process

VENDOR = "03e7"
UNBOOTED, BOOTED, SECOND = "2150", "f63b", "2485"
KINDS = {
    UNBOOTED: "Neural Compute Stick",
    BOOTED: "Neural Compute Stick (running)",
    SECOND: "Neural Compute Stick 2",
}
NCS2 = Problem(
    "a Neural Compute Stick 2 is not served by NCSDK2",
    "its route is OpenVINO's MYRIAD device, which needs OpenVINO 2022.3.2 or older and Python 3.10 or older"
    " (engine: {kind: openvino, device: MYRIAD}); this release of picam-infer needs Python 3.11",
)
UDEV = "install the udev rules (systemd/99-picam-infer-ncs.rules; scripts/install-ncsdk.sh does), then replug the stick"

ONE_AT_A_TIME = "stop that program: a stick serves one process at a time"

# linux/usbdevice_fs.h: the kernel's numbers for these requests on every architecture the Pi has.
USBDEVFS_RESET = 0x5514
USBDEVFS_CLAIMINTERFACE = 0x8004550F
USBDEVFS_RELEASEINTERFACE = 0x80045510

Ioctl = Callable[[int, int, bytes], Any]


class Stick(msgspec.Struct, frozen=True):
    """One stick on the bus."""

    product: str
    """The USB product id: `2150` before its firmware is loaded, `f63b` after, `2485` for the second generation."""
    path: str
    """The kernel's name for where it is plugged in: bus, then ports, such as `1-1.2`."""
    node: Path
    """Its file under /dev/bus/usb."""
    allowed: bool
    """Whether this user may open the node."""
    holders: tuple[int, ...]
    """The processes that have it open, as far as this user may see."""

    @property
    def port(self) -> str:
        """How libmvnc's names of sticks begin: the ports without the bus."""
        return self.path.partition("-")[2]

    @property
    def kind(self) -> str:
        """What it is, for people."""
        return KINDS[self.product]

    def __str__(self) -> str:
        cause = trouble(self)
        state = f"not usable: {cause.what}; {cause.remedy}" if cause else "usable"
        return f"{self.path}  {self.kind} (usb {VENDOR}:{self.product}): {state}"

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object of this stick, as `devices --json` prints it."""
        cause = trouble(self)
        return {
            "path": self.path,
            "device": self.port,
            "name": self.kind,
            "usb": f"{VENDOR}:{self.product}",
            "node": str(self.node),
            "held_by": list(self.holders),
            "usable": cause is None,
            "reason": cause.what if cause else "",
            "hint": cause.remedy if cause else "",
        }


class Usb(msgspec.Struct, frozen=True):
    """The USB bus under `root`; tests give another root and ioctl."""

    root: Path = Path("/")
    ioctl: Ioctl = fcntl.ioctl

    @property
    def devices(self) -> Path:
        """The kernel's list of USB devices."""
        return self.root / "sys/bus/usb/devices"

    def sticks(self) -> list[Stick]:
        """Return the sticks that are plugged in, by their place on the bus."""
        found = []
        for folder in sorted(self.devices.glob("*-*")):
            if _word(folder / "idVendor") == VENDOR and (product := _word(folder / "idProduct")) in KINDS:
                with contextlib.suppress(ValueError):
                    node = self._node(int(_word(folder / "busnum")), int(_word(folder / "devnum")))
                    allowed = os.access(node, os.R_OK | os.W_OK)
                    found.append(Stick(product, folder.name, node, allowed, ()))
        if not found:
            return []
        holders = procfs.holders(str(stick.node) for stick in found)
        pids = {node: tuple(process.pid for process in processes) for node, processes in holders.items()}
        return [Stick(s.product, s.path, s.node, s.allowed, pids[str(s.node)]) for s in found]

    def plugged(self) -> tuple[tuple[str, str], ...]:
        """Return (path, device number) of each first-generation stick: it changes with every replug. Cheap to poll."""
        folders = sorted(self.devices.glob("*-*"))
        return tuple(
            (folder.name, _word(folder / "devnum"))
            for folder in folders
            if _word(folder / "idVendor") == VENDOR and _word(folder / "idProduct") in (UNBOOTED, BOOTED)
        )

    def _node(self, bus: int, device: int) -> Path:
        return self.root / f"dev/bus/usb/{bus:03d}/{device:03d}"

    def held(self, stick: Stick) -> bool:
        """Whether a living process, of whatever user, uses the stick."""
        if stick.holders:
            return True
        interface = struct.pack("I", 0)
        try:
            with _opened(stick.node) as file:
                self.ioctl(file, USBDEVFS_CLAIMINTERFACE, interface)
                self.ioctl(file, USBDEVFS_RELEASEINTERFACE, interface)
        except OSError as error:
            return error.errno == errno.EBUSY
        return False

    def reset(self, stick: Stick) -> None:
        """Reset the stick's USB port; a stick left running by a dead process starts afresh. Raises `OSError`."""
        with _opened(stick.node) as file:
            self.ioctl(file, USBDEVFS_RESET, b"")

    def revive(self, port: str = "", wait_s: float = 3.0) -> list[str]:
        """Reset each stick that runs for no living process; return what was done, one sentence a stick.

        `port` limits it to one stick. libmvnc would block or abort over such a stick (status ERROR at best).
        """
        done = []
        for stick in self.sticks():
            if stick.product != BOOTED or (port and stick.port != port) or self.held(stick):
                continue
            try:
                self.reset(stick)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENODEV):  # it was pulled meanwhile
                    continue
                reason = error.strerror or str(error)
                done.append(f"stick {stick.path} was left running and cannot be reset ({reason}); {_remedy(stick)}")
                continue
            done.append(f"stick {stick.path} was left running by a dead process: reset")
            end_s = time.monotonic() + wait_s
            while not _word(self.devices / stick.path / "idProduct") and time.monotonic() < end_s:
                time.sleep(0.02)  # it may leave the bus for a moment; libmvnc then takes it back to 2150 itself
        return done


def list_sticks() -> list[Stick]:
    """Return the sticks on this machine's bus."""
    return Usb().sticks()


def trouble(stick: Stick) -> Problem | None:
    """Return why the stick cannot be used as things stand, or None."""
    if stick.product == SECOND:
        return NCS2
    if not stick.allowed:
        return Problem(f"no permission to use the stick at {stick.path} ({stick.node})", UDEV)
    others = [pid for pid in stick.holders if not _ours(pid)]
    if others:
        return Problem(f"the stick at {stick.path} is held by {name_processes(others)}", ONE_AT_A_TIME)
    if not installed():
        return Problem(f"a stick is plugged in at {stick.path}, but mvnc is not installed", causes.INSTALL)
    return None


def installed() -> bool:
    """Whether the Python package mvnc is there; it is not imported, for that could block."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec("mvnc") is not None
    return False


def library_users() -> tuple[int, ...]:
    """Return the processes, other than ours, that have libmvnc loaded, as far as this user may see.

    The service has a user name space of its own, so that only root sees what it loaded: its child has a known name.
    """
    found = [p for p in procfs.others() if any(w.endswith("/ncs/child.py") for w in p.command) or p.maps("/libmvnc.so")]
    return tuple(process.pid for process in found if process.parent != os.getpid())


def name_processes(pids: Iterable[int]) -> str:
    """Return `process 12 (python3)`, or several, for people."""
    named = [(pid, Process(procfs.PROC / str(pid)).name or "ended") for pid in pids]
    return "process " + ", ".join(f"{pid} ({name})" for pid, name in named)


def _remedy(stick: Stick) -> str:
    return UDEV if not stick.allowed else causes.REPLUG


def _ours(pid: int) -> bool:
    return os.getpid() in (pid, Process(procfs.PROC / str(pid)).parent)


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def _opened(node: Path) -> Iterator[int]:
    file = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
