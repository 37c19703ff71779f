"""Talks to the service manager: readiness, status, watchdog (sd_notify(3)) and the journal."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping

from picam_infer.platform.terminal import PrintableFilter, printable

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LOADING_S = 300
"""How long a model may load before the watchdog acts: as long as the unit lets a start take."""


class Notifier:
    """Tells systemd the state of the service; does nothing without systemd."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self._fed_s = 0.0
        self._loading = False
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "0") if mine else "0"
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() else 0.0
        """The watchdog's time limit; 0: none."""

    @property
    def active(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """The service works (or its screen says why not); `status` is its line from then on, where there is one.

        Both go in one message, so that whoever waits for the end of a reload never reads the old line.
        """
        self._status = ""  # the next line is sent even if it is the same
        self._send(f"STATUS={printable(status)}\nREADY=1" if status else "READY=1")

    def reloading(self) -> None:
        """A reload began; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end began."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; the same text again is not sent."""
        text = printable(text)  # a line break would begin another message
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def loading(self) -> None:
        """A model is being loaded, which takes long without a ping: the watchdog waits longer until that is over."""
        if self.watchdog_s:
            self._loading = True
            self._send(f"WATCHDOG_USEC={_LOADING_S * 1_000_000}")

    def watchdog_ping(self, loading: bool = False) -> None:
        """Work was done. Sent at most ten times in a watchdog period.

        `loading`: the model is still being loaded. What is done meanwhile says nothing about how long that takes.
        """
        now_s = time.monotonic()
        if self._loading and not loading:
            self._loading = False
            self._fed_s = now_s
            self._send(f"WATCHDOG_USEC={round(self.watchdog_s * 1e6)}\nWATCHDOG=1")
        if self.watchdog_s and now_s - self._fed_s >= self.watchdog_s / 10:
            self._fed_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(1)
                sock.sendto(message.encode(), address)
        except OSError as error:
            logging.getLogger(__name__).debug("systemd does not listen: %s", error)


class _Priority(logging.Formatter):
    """Prefixes lines with the priority that journald reads from a service's stderr (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n ")
        return f"<{_PRIORITY.get(record.levelno, 5)}>{text}"


def journal_handler(environ: Mapping[str, str] = os.environ) -> logging.Handler:
    """Return the log's handler: the journal with fields, the journal through stderr, or a terminal.

    Fields are passed as `extra={"PICAM_LABEL": …}`; systemd-python carries them, stderr cannot.
    """
    handler = _handler(environ)
    handler.addFilter(PrintableFilter())
    return handler


def _handler(environ: Mapping[str, str]) -> logging.Handler:
    if environ.get("JOURNAL_STREAM"):
        try:
            journal = importlib.import_module("systemd.journal")
        except ImportError:
            handler: logging.Handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_Priority("%(message)s"))
            return handler
        native: logging.Handler = journal.JournalHandler(SYSLOG_IDENTIFIER="picam-infer")
        native.setFormatter(logging.Formatter("%(message)s"))  # level and origin are fields there
        return native
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("picam-infer: %(message)s"))
    return handler
