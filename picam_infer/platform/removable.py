"""USB sticks and memory cards that were plugged in: where they are mounted, and which are not. Nothing is written."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

MOUNTS = Path("/proc/self/mountinfo")
SYS = Path("/sys")
_OCTAL = re.compile(r"\\([0-7]{3})")
_SYSTEM = frozenset({"/", "/boot", "/boot/firmware", "/boot/efi"})


class Medium(msgspec.Struct, frozen=True):
    """One file system on a removable device."""

    device: str
    """`sda1`."""
    name: str
    """What the device calls itself: `SanDisk Ultra`."""
    folder: Path | None
    """Where it is mounted; None: nowhere."""

    @property
    def how(self) -> str:
        """How to make its files readable; empty: they are."""
        if self.folder is None:
            return (f"open it in the desktop's file manager, or: sudo mount -o ro /dev/{self.device} /mnt "
                    f"(and afterwards: sudo umount /mnt)")  # fmt: skip
        if not os.access(self.folder, os.R_OK | os.X_OK):
            return f"{self.folder} is another user's: run picam-infer models import as that user"
        return ""


def media(mounts: Path | None = None, sys: Path | None = None) -> list[Medium]:
    """Return what is plugged in, the mounted first. What cannot be read is left out."""
    mounts, sys = mounts or MOUNTS, sys or SYS
    mounted = [(device, folder) for number, folder in _mounted(mounts) if (device := _block(sys, number)) is not None]
    # A disk with the running system is not a stick, whatever else is on it.
    system = {_disk(device).name for device, folder in mounted if str(folder) in _SYSTEM}
    sticks: dict[str, Medium] = {}
    for device, folder in mounted:
        if _removable(device) and _disk(device).name not in system and device.name not in sticks:
            sticks[device.name] = Medium(device.name, _name(device), folder)
    taken = {device.name for device, _ in mounted}
    return [*sticks.values(), *(Medium(device.name, _name(device), None) for device in _unmounted(sys, taken, system))]


def _mounted(mounts: Path) -> Iterator[tuple[str, Path]]:
    """Yield each mount's device number and folder (proc(5): fields 3 and 5)."""
    with contextlib.suppress(OSError):
        for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            if len(fields) > 4:
                plain = _OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4])
                yield fields[2], Path(plain)


def _block(sys: Path, number: str) -> Path | None:
    """Return a block device's folder in /sys; None: the mount has no device (proc, tmpfs, a network)."""
    link = sys / "dev/block" / number
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _disk(device: Path) -> Path:
    """Return the disk that a device is a partition of, or itself."""
    return device.parent if (device / "partition").exists() else device


def _removable(device: Path) -> bool:
    """Whether a device or the disk it is a part of can be pulled out. Large USB disks do not call themselves so."""
    return _text(_disk(device) / "removable") == "1" or any(part.startswith("usb") for part in device.parts)


def _unmounted(sys: Path, taken: set[str], system: set[str]) -> Iterator[Path]:
    """Yield the partitions, or the disks without any, of removable devices that are mounted nowhere."""
    with contextlib.suppress(OSError):
        for link in sorted((sys / "block").iterdir()):
            device = link.resolve()
            if device.name in system or not _removable(device) or _text(device / "size") in ("", "0"):
                continue
            parts = sorted(part.parent for part in device.glob("*/partition"))
            yield from (part for part in parts or [device] if part.name not in taken)


def _name(device: Path) -> str:
    words = (_text(_disk(device) / "device" / part) for part in ("vendor", "model"))
    return " ".join(filter(None, words)) or device.name


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
