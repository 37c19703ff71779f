"""Other processes, as /proc shows them: their names, what they have open, which service they belong to."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")
COMMAND = "picam-infer"
_LISTENING = "0A"
"""The state of a listening socket in the kernel's tables."""


class Process(msgspec.Struct, frozen=True):
    """One process; everything about it is read when it is asked for, and empty once it has ended."""

    folder: Path

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self.folder.name)

    @property
    def name(self) -> str:
        """What it is called: `ffmpeg`."""
        return _bytes(self.folder / "comm").decode("utf-8", "replace").strip()

    @property
    def command(self) -> list[str]:
        """Its command line's words."""
        return _bytes(self.folder / "cmdline").decode("utf-8", "replace").split("\0")

    @property
    def service(self) -> str:
        """The picam-infer service that it is or belongs to, `picam-infer@bench`; empty: none."""
        for part in reversed(_bytes(self.folder / "cgroup").decode("ascii", "replace").strip().split("/")):
            if part.startswith(COMMAND) and part.endswith(".service"):
                return part.removesuffix(".service").replace("\\x2d", "-")
        return ""

    @property
    def user_slice(self) -> str:
        """The number of the user whose login it belongs to, `1000`; empty: none's, as a system service."""
        found = re.search(r"/user-(\d+)\.slice/", _bytes(self.folder / "cgroup").decode("ascii", "replace"))
        return found[1] if found else ""

    @property
    def keeps_devices(self) -> bool:
        """Whether it is a picam-infer that keeps camera and monitor (`run`), unlike `check` and `devices`."""
        return self.name == COMMAND and "run" in self.command

    @property
    def parent(self) -> int:
        """Its parent's number; 0: it has ended."""
        with contextlib.suppress(IndexError, ValueError):
            return int(self._stat[1])
        return 0

    @property
    def age_s(self) -> float:
        """For how long it has been running; infinite: it has ended."""
        with contextlib.suppress(IndexError, ValueError):
            return time.clock_gettime(time.CLOCK_BOOTTIME) - int(self._stat[19]) / os.sysconf("SC_CLK_TCK")
        return math.inf

    def files(self) -> Iterator[str]:
        """Yield the files it has open, as far as this user may see (root sees everyone's)."""
        with contextlib.suppress(OSError):
            for link in (self.folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    yield str(link.readlink())

    @property
    def hidden(self) -> bool:
        """Whether it has open files that we may not see: those of another user namespace are only counted."""
        with contextlib.suppress(OSError):
            next((self.folder / "fd").iterdir(), self.folder / "exe").readlink()
            return False
        return True

    def maps(self, library: str) -> bool:
        """Whether it has loaded a library whose path holds this text, as far as this user may see."""
        return library.encode() in _bytes(self.folder / "maps")

    @property
    def _stat(self) -> list[bytes]:
        """What follows its name, which may hold blanks and brackets, in the kernel's line about it; empty: it ended."""
        return _bytes(self.folder / "stat").rpartition(b")")[2].split()

    def __str__(self) -> str:
        """Return how people find it: `ffmpeg (PID 812)`, `picam-infer@bench (PID 90)`."""
        return f"{self.service or self.name or 'a process'} (PID {self.pid})"


def others(proc: Path = PROC) -> list[Process]:
    """Return the processes except this one, the oldest numbers first."""
    mine = str(os.getpid())
    try:
        folders = [folder for folder in proc.iterdir() if folder.name.isdigit() and folder.name != mine]
    except OSError:
        return []
    return [Process(folder) for folder in sorted(folders, key=lambda folder: int(folder.name))]


def holders(devices: Iterable[str], proc: Path = PROC) -> dict[str, list[Process]]:
    """Return who has each of these device files open, as far as this user may see."""
    found: dict[str, list[Process]] = {device: [] for device in devices}
    for process in others(proc):
        for device in set(process.files()) & found.keys():
            found[device].append(process)
    return found


def listening(proc: Path = PROC) -> dict[int, list[int]]:
    """Return the TCP ports that somebody listens on, each with its sockets' inodes: open as `socket:[INODE]`."""
    found: dict[int, list[int]] = {}
    for table in ("tcp", "tcp6"):
        for line in _bytes(proc / "net" / table).decode("ascii", "replace").splitlines()[1:]:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTENING:
                found.setdefault(int(columns[1].rpartition(":")[2], 16), []).append(int(columns[9]))
    return found


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
