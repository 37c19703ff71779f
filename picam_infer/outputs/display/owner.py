"""Who has the screen, found in /sys, /proc and /run without opening (and so seizing) a graphics card."""

from __future__ import annotations

from pathlib import Path

import msgspec

from picam_infer.core import Disconnected
from picam_infer.platform import procfs
from picam_infer.platform.procfs import Process

SYS, PROC, RUN = Path("/sys"), Path("/proc"), Path("/run")
# Programs that draw on a monitor by themselves; they are named even if the kernel hides their open files.
_DRAWERS = ("Xorg", "X", "labwc", "wayfire", "cage", "weston", "sway", "kwin_wayland", "gnome-shell", "mutter",
            "plymouthd", "kodi.bin", "vlc", "mpv", "rpicam-hello")  # fmt: skip
_DESKTOP_HOME = "tty1"


class Held(Disconnected):
    """Another program draws on the monitor: the frame buffer would be painted where nobody sees it."""


class Connector(msgspec.Struct, frozen=True):
    """A connector as /sys shows it."""

    card: str
    """`card0`."""
    name: str
    """`HDMI-A-1`."""
    status: str
    """connected, disconnected or unknown."""
    signature: bytes
    """Changes when another monitor is plugged in (its EDID and modes)."""

    @property
    def plugged(self) -> bool:
        """Whether a monitor may be there."""
        return self.status == "connected" or (self.status == "unknown" and bool(self.signature.strip()))


def connectors(sys: Path | None = None) -> list[Connector]:
    """Return every connector of every card, the certainly connected first. `sys`: None is the machine's own."""
    sys, found = sys or SYS, []
    for folder in sorted((sys / "class/drm").glob("card*-*")):
        card, _, name = folder.name.partition("-")
        if name.startswith("Writeback"):
            continue
        found.append(connector(card, name, sys))
    return sorted(found, key=lambda o: (o.status != "connected", not o.plugged))


def connector(card: str, name: str, sys: Path | None = None) -> Connector:
    """Return one connector's state; a card that was pulled out has it disconnected."""
    folder = (sys or SYS) / "class/drm" / f"{card}-{name}"
    status = _bytes(folder / "status").decode("ascii", "replace").strip() or "disconnected"
    return Connector(card, name, status, _bytes(folder / "modes") + _bytes(folder / "edid"))


def console_in_use(sys: Path | None = None, proc: Path | None = None) -> str:
    """Return the virtual console a person switched to (`tty2`); empty: the screen is on ours.

    Ours is the one this program was started from, or the first one for a service.
    """
    active = _bytes((sys or SYS) / "class/tty/tty0/active").decode("ascii", "replace").strip()
    return active if active and active != _home(proc or PROC) else ""


def require_active_vt() -> None:
    """Raise `Disconnected` while a person works at another console."""
    console = console_in_use()
    if console:
        raise Disconnected(f"the screen shows the console {console}", "Ctrl+Alt+F1 brings the picture back")


def _home(proc: Path) -> str:
    try:
        number = int(_bytes(proc / "self/stat").rpartition(b")")[2].split()[4])
    except (ValueError, IndexError):
        return _DESKTOP_HOME
    major, minor = number >> 8 & 0xFFF, number & 0xFF
    return f"tty{minor}" if major == 4 and 1 <= minor <= 63 else _DESKTOP_HOME


def holder(device: Path, proc: Path = PROC) -> Process | None:
    """Return who has a device open, or else a program that draws on monitors; None: nobody that can be seen."""
    found = procfs.holders([str(device)], proc)[str(device)]
    drawers = [process for process in found or procfs.others(proc) if _draws(process)]
    return next(iter(drawers or found), None)


def desktop_expected(etc: Path = Path("/etc")) -> bool:
    """Whether this machine starts a desktop by itself: then the screen is left to it, even before it is up."""
    target = etc / "systemd/system/default.target"
    try:
        graphical = not target.is_symlink() or target.readlink().name == "graphical.target"
        return graphical and (etc / "systemd/system/display-manager.service").is_symlink()
    except OSError:
        return False


def _draws(process: Process) -> bool:
    return process.name in _DRAWERS or process.keeps_devices


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
