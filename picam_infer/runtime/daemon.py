"""The process of `picam-infer run`: its log, its signals, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from types import FrameType

import cv2

from picam_infer.config import Config
from picam_infer.core import ConfigError, PicamError
from picam_infer.platform import early_signals, malloc, terminal
from picam_infer.platform.systemd import Notifier, journal_handler
from picam_infer.runtime.options import Options
from picam_infer.runtime.supervisor import SIGNALS, Supervisor

log = logging.getLogger("picam_infer")

_END_S = 1.7
"""How long the threads may take to end after SIGTERM."""


def run(options: Options) -> int:
    """Run until told to stop; returns the exit code. Raises `PicamError` for errors that waiting cannot fix."""
    malloc.limit_arenas()
    notifier = Notifier()
    wrong: ConfigError | None = None
    early_signals.forget(signal.SIGHUP)  # the settings are read now
    try:
        config = options.config()
    except ConfigError as error:
        if not notifier.active:
            raise
        # Nobody reads a service's exit code: it keeps running, shows what is wrong on the screen, and watches the file.
        config, wrong = Config(), error
    logging.basicConfig(handlers=[journal_handler()], level=config.log.level.upper(), force=True)
    # Its pictures are small: OpenCV's own threads would spend more time waiting for each other than they save.
    cv2.setNumThreads(1)
    supervisor = Supervisor(config, options, notifier, wrong)

    def on_signal(number: int, frame: FrameType | None) -> None:
        supervisor.on_signal(number, frame)
        if number in (signal.SIGTERM, signal.SIGINT):  # a driver or a dead endpoint must not delay the end
            last = threading.Timer(_END_S, _leave, (0,))
            last.daemon = True
            last.start()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    early_signals.hand_over(on_signal)
    code = 0
    try:
        supervisor.run()
    except PicamError as error:
        log.error("%s", error)
        code = error.exit_code
    if supervisor.stuck or supervisor.stopped:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End the process without tearing it down: threads that wait inside a driver would be waited for, or crash."""
    with contextlib.suppress(OSError, PicamError):
        terminal.flush()
    os._exit(code)
