"""Where this program keeps things: state that outlives a restart, caches that may be deleted, its own Python."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where what must outlive a restart is written: systemd's StateDirectory, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "picam-infer"


def cache_folder() -> Path | None:
    """Return where compiled networks are kept; None when no such folder can be made."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "picam-infer"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return base if os.access(base, os.W_OK) else None


def real(path: Path) -> Path:
    """Return where a path leads; unlike `Path.resolve` it raises nothing for links in a circle."""
    return Path(os.path.realpath(path))


def system_package(name: str, environment: Path = Path(sys.prefix)) -> str:
    """Return how to install a package of the system so that the Python of this environment finds it."""
    install = f"sudo apt install {name}"
    try:
        settings = (environment / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:  # no virtual environment
        return install
    if re.search(r"(?m)^include-system-site-packages *= *true", settings):
        return install
    return f"{install}, and let {environment} see it: python3 -m venv --upgrade --system-site-packages {environment}"


def interpreter(program: Path = Path(sys.executable)) -> Path:
    """Return the running Python by the path that an upgrade leaves valid: through the installation's link `current`."""
    for folder in program.parents:
        link = folder / "current"
        if link.is_symlink() and program.is_relative_to(link.resolve()):
            return link / program.relative_to(link.resolve())
    return program
