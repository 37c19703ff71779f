"""Events for a program: started for each, the JSON on its standard input, killed when it takes too long."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from picam_infer.config import Command
from picam_infer.outputs.events.outlet import DeliveryError, Event

_LOOK_S = 0.05
_TAIL_BYTES = 4096
"""Only the end of its standard error is kept: it may print any amount."""


class Program:
    """Starts the program without a shell, one at a time, in a process group of its own."""

    retries = 0
    pictures = False
    note = ""

    def __init__(self, settings: Command) -> None:
        self.name = Path(settings.argv[0]).name
        self._settings = settings
        self._argv = settings.argv
        self._timeout_s = settings.timeout_s

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Run it. Raises `DeliveryError` when it cannot be started, fails or takes too long."""
        try:
            process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DeliveryError(f"cannot be started: {reason}", final=True, hint=self._remedy()) from error
        try:
            said = _converse(process, event.as_bytes() + b"\n", self._timeout_s)
        except TimeoutError as error:
            raise DeliveryError(f"took longer than {self._timeout_s:g} s and was killed", final=True,
                                hint="have it work in the background, or raise timeout_s") from error  # fmt: skip
        finally:
            _end(process)
        if process.returncode:
            last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise DeliveryError(
                f"ended with {process.returncode}" + "".join(f": {line[:200]}" for line in last),
                final=True,
                hint="run it by hand with an event as JSON on its standard input",
            )

    def _remedy(self) -> str:
        """Return what `check` advises about a program that cannot be started."""
        from picam_infer.outputs.events import checks

        found = checks.command(self._settings)
        return next((finding.remedy for finding in found if finding.grade == "error"), "")

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        """Nothing is due."""
        return False

    def close(self) -> None:
        """Nothing is open."""


def _converse(process: subprocess.Popen[bytes], data: bytes, timeout_s: float) -> bytes:
    """Feed a program until it ends, and return the end of its standard error. Raises `TimeoutError`.

    It ends when its process does: children that it leaves behind may hold its pipes forever.
    """
    assert process.stdin is not None and process.stderr is not None
    ends_s, said = time.monotonic() + timeout_s, b""
    with selectors.DefaultSelector() as ready:
        for pipe, events in ((process.stdin, selectors.EVENT_WRITE), (process.stderr, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            ready.register(pipe, events)
        while True:
            over = process.poll() is not None
            for key, _ in ready.select(0 if over else _LOOK_S):
                if key.fileobj is process.stderr:
                    heard = os.read(key.fd, 65536)
                    said = (said + heard)[-_TAIL_BYTES:]
                    if not heard:
                        ready.unregister(key.fileobj)
                else:
                    data = _fed(key.fd, data)
                    if not data:
                        ready.unregister(key.fileobj)
                        process.stdin.close()
            if over:
                return said
            if not ready.get_map():
                time.sleep(_LOOK_S)  # it has closed its pipes and works on
            if time.monotonic() > ends_s:
                raise TimeoutError


def _fed(pipe: int, data: bytes) -> bytes:
    """Write, and return what is left; nothing when the program does not listen."""
    try:
        return data[os.write(pipe, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""


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
