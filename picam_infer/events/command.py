"""Events for a program: started for each, the JSON on its standard input, killed when it takes too long."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from picam_infer.config import Command
from picam_infer.events.outlet import Event, Undelivered


class Program:
    """Starts the program without a shell, one at a time, in a process group of its own."""

    retries = 0
    pictures = False

    def __init__(self, settings: Command) -> None:
        self.name = Path(settings.argv[0]).name
        self._argv = settings.argv
        self._timeout_s = settings.timeout_s

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Run it. Raises `Undelivered` when it cannot be started, fails or takes too long."""
        try:
            process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
        except OSError as error:
            raise Undelivered(f"cannot be started: {error.strerror}", final=True) from error
        try:
            _, said = process.communicate(event.as_bytes() + b"\n", self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Undelivered(f"took longer than {self._timeout_s:g} s and was killed", final=True) from error
        finally:
            _end(process)
        if process.returncode:
            last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Undelivered(
                f"ended with {process.returncode}" + "".join(f": {line[:200]}" for line in last), final=True
            )

    def idle(self, waiting: Callable[[float], bool]) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is open."""


def _end(process: subprocess.Popen[bytes]) -> None:
    # The whole group: what the program started must not stay when it is killed.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
