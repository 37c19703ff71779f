"""The folders that belong to this program: state that outlives a restart, and caches that may go at any time."""

from __future__ import annotations

import os
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
