"""The virtual Pi as the appliance's tests drive it, and what the installed service says of itself."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from picam_infer.core import Pixels
from picam_infer.outputs import annotate, text

ROOT = Path(__file__).resolve().parents[2]
LAB = Path(os.environ.get("PICAM_LAB", ROOT.parent / "shared/lab"))
# As it is at import: each test gets a cache folder of its own, and the lab's machines live in the real one.
ENVIRONMENT = dict(os.environ)
STATUS = "/sys/class/drm/card0-Virtual-1/status"
PATIENCE_S = float(os.environ.get("PICAM_PATIENCE_S", "240"))
"""How long a recovery may take: an emulated machine is many times slower than a Pi."""
SHOW = "systemctl show picam-infer -p ActiveState -p MainPID -p NRestarts -p StatusText"
MAIN_PID = "systemctl show picam-infer -p MainPID --value"
# One `sudo` for all three: each costs an emulated processor a third of a second.
MEASURE = (
    f"sudo sh -c 'cd /proc/$({MAIN_PID}) && "
    "set -- fd/* && echo Files=$# && set -- task/* && echo Threads=$# && "
    "while read -r key value unit; do [ $key != VmRSS: ] || echo Rss=$value; done <status'"
)
WHOLE = os.environ.get("PICAM_SETTINGS", "source: camera\ncapture: {width: 640, height: 480}\nengine: {threads: 1}\n")
"""The configuration that runs when nothing is broken: pictures that an emulated processor can keep up with."""


class Failed(Exception):
    """The virtual Pi did not do what it should."""


def vm(*words: str, check: bool = True, timeout_s: float = 900) -> str:
    """Run a verb of the lab's `vm` and return what it printed. Raises `Failed`."""
    done = subprocess.run(
        [str(LAB / "vm"), *words], capture_output=True, text=True, timeout=timeout_s, check=False, env=ENVIRONMENT
    )
    if check and done.returncode:
        raise Failed(f"vm {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


@functools.cache
def files() -> Path:
    """Return the folder where the lab keeps this machine's sockets and settings."""
    return Path(vm("status").rpartition("files: ")[2].strip())


def ssh(command: str, check: bool = True, timeout_s: float = 900, text: str | None = None) -> str:
    """Run a shell command in the guest as user pi (`text` is its input), and return what it printed. Raises `Failed`.

    All commands share one connection: an emulated processor spends most of a second on each new one.
    """
    shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={files()}/ssh.control", "-o", "ControlPersist=600"]
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    done = subprocess.run(
        ["ssh", "-F", str(files() / "ssh_config"), *shared, "pi", command], capture_output=True, text=True,
        timeout=timeout_s, check=False, **source,
    )  # type: ignore[call-overload]  # fmt: skip
    if check and done.returncode:
        raise Failed(f"ssh {command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return str(done.stdout)


@dataclass(frozen=True)
class Facts:
    """The service as the guest sees it."""

    active: str
    pid: int
    restarts: int
    status: str
    rss_mb: float
    files: int
    threads: int


def facts() -> Facts:
    """Return the service's state now."""
    told = ssh(f"{SHOW}; {MEASURE}", check=False)
    values = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if "MainPID" not in values:  # the guest did not answer
        return Facts("?", 0, 0, "", 0.0, 0, 0)
    return Facts(
        values.get("ActiveState", "?"), int(values.get("MainPID", 0)), int(values.get("NRestarts", 0)),
        values.get("StatusText", ""), int(values.get("Rss", 0)) * 1024 / 1e6, int(values.get("Files", 0)),
        int(values.get("Threads", 0)),
    )  # fmt: skip


def main_pid() -> int:
    """Return the service's process."""
    return int(ssh(MAIN_PID))


def active() -> bool:
    """Whether the service is up."""
    return "ActiveState=active\n" in ssh(SHOW, check=False)


def screenshot(path: Path) -> Pixels:
    """Save what the monitor shows, and return it as BGR (H, W, 3)."""
    vm("screenshot", str(path))
    image = cv2.imread(str(path))
    if image is None:
        raise Failed(f"{path} is not a picture")
    return np.asarray(image, np.uint8)


def read_label(screen: Pixels, labels: tuple[str, ...] = tuple("0123456789")) -> str | None:
    """Return which label stands at the top left of the picture on a screenshot, None when it is none of them.

    The picture may have black bars beside it, and may have been drawn 480 lines high and enlarged.
    """
    picture = _without_bars(screen)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (round(width * 480 / height), 480), interpolation=cv2.INTER_AREA)
    found = [_overlap(shown, label) for shown in (picture, small) for label in labels]
    best, name = max(found)
    return name if best > 0.6 else None


def _without_bars(screen: Pixels) -> Pixels:
    bright = screen.max(axis=2) > 16
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if len(rows) < 100 or len(columns) < 100:
        return screen
    return screen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _overlap(screen: Pixels, label: str) -> tuple[float, str]:
    """Return how much of a label's ink and of the ink in its place is the same (0 to 1), and the label."""
    unit = max(3, round(min(screen.shape[0], screen.shape[1] * 3 / 4) / 72))
    size = 5 * unit
    left, top = unit + max(2, size // 3), unit + max(2, size // 3) // 2
    width, height = text.measure(label, size)
    drawn = np.zeros((height, width, 3), np.uint8)
    text.write(drawn, label, (0, 0), size, annotate.KNOWN)
    seen = screen[top : top + height, left : left + width]
    if seen.shape != drawn.shape:
        return 0.0, label
    ink, there = (np.abs(part.astype(int) - annotate.KNOWN).max(axis=2) < 90 for part in (drawn, seen))
    return np.count_nonzero(ink & there) / max(1, np.count_nonzero(ink | there)), label


def until(what: str, true: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Ask again and again until something is true; returns the seconds that took. Raises `Failed`."""
    began_s = time.monotonic()
    while not true():
        if time.monotonic() - began_s > patience_s:
            raise Failed(f"after {patience_s:.0f} s still not: {what}; {facts()}")
        time.sleep(0.5)
    return time.monotonic() - began_s


def shows(label: str, shots: Path) -> bool:
    """Whether a label is on the monitor. Looking costs the guest nothing."""
    return read_label(screenshot(shots / "screen.png")) == label


def sees(label: str, shots: Path) -> bool:
    """Whether the service is up and the monitor shows a label."""
    return shows(label, shots) and active()


def write_config(text: str) -> None:
    """Replace the service's configuration."""
    ssh("sudo tee /etc/picam-infer/config.yaml >/dev/null", text=text)
