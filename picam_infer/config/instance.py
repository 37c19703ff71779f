"""The identity of a service: names that differ between machines and between the configurations on one machine."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import socket
import uuid
from pathlib import Path

import msgspec

from picam_infer.config.schema import INSTALLED
from picam_infer.platform.paths import state_folder

_APPLICATION = b"picam-infer instance"
MACHINE_IDS = (Path("/etc/machine-id"), Path("/proc/device-tree/serial-number"))
"""A copied card has the same machine ID as its original; the board's serial number distinguishes the two."""


class Instance(msgspec.Struct, frozen=True):
    """One service: a machine and the configuration file it runs with."""

    config: Path | None = None
    machine: str = ""
    """What identifies the machine; empty: its own ids."""

    @property
    def name(self) -> str:
        """Its name for people: empty for the installed configuration, `bench` for bench.yaml."""
        return "" if self._path == INSTALLED else self._path.stem

    @property
    def service(self) -> str:
        """What systemd calls it, `picam-infer@bench`; empty for a configuration that belongs to no service."""
        if self._path == INSTALLED:
            return "picam-infer"
        return f"picam-infer@{self.name}" if self._path.parent == INSTALLED.parent else ""

    @property
    def ident(self) -> str:
        """Twelve hexadecimal digits, the same at every start. The machine id cannot be derived from them."""
        told = f"{self.machine or _machine()}\0{self._path}".encode("utf-8", "surrogateescape")
        return hmac.new(_APPLICATION, told, hashlib.sha256).hexdigest()[:12]

    @property
    def network_name(self) -> str:
        """A name that is unique on the network: host, instance and six digits, only A–Z a–z 0–9 _ -."""
        words = (socket.gethostname().partition(".")[0], self.name, self.ident[:6])
        return "-".join(plain for word in words if (plain := re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-")))

    @property
    def _path(self) -> Path:
        # Not resolved: a link stays the same name when what it points to is replaced.
        return INSTALLED if self.config is None else Path(os.path.abspath(self.config))  # noqa: PTH100


def _machine() -> str:
    found = []
    for path in MACHINE_IDS:
        with contextlib.suppress(OSError, UnicodeError):
            found.append(path.read_text("ascii").strip("\0\n "))
    return "\0".join(filter(None, found)) or _made_up()


def _made_up() -> str:
    """Return a substitute for the machine's id where it has none (in a container), as long as its state is kept."""
    try:
        path = state_folder() / "machine-id"
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(f"{uuid.uuid4().hex}\n")
        return path.read_text("ascii").strip() or socket.gethostname()
    except (OSError, UnicodeError, RuntimeError):
        return f"{socket.gethostname()} {uuid.getnode():012x}"
