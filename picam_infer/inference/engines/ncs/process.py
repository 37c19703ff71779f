"""The parent's side of the child process: start it, talk to it with deadlines, end it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picam_infer.core import Disconnected
from picam_infer.inference.engines.ncs import causes
from picam_infer.inference.engines.ncs.child import RESULT

PROGRAM = Path(__file__).with_name("child.py")
SLICE_S = 0.1
NOTE_BYTES = 4096
MOST_NOTES = 1 << 16
"""How many bytes of libmvnc's messages are held in memory at most, besides those of one answer."""


class Process:
    """A child that was just started and has its task; `memory` is the descriptor of what it shares with us.

    The memory has no name, the child dies when `life` is closed: nothing outlives us, however we end.
    """

    def __init__(
        self,
        graph: Path,
        stick: str,
        sizes: Sequence[int],
        *,
        wait: bool,
        last: Sequence[str] = (),
        stopping: threading.Event | None = None,
    ) -> None:
        self._stopping = stopping or threading.Event()
        self.step = "import"
        self.trying = ""
        """The stick that the child opens, once it does."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:

            def owned(descriptor: int, stack: contextlib.ExitStack) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            self.memory = owned(os.memfd_create("picam-infer-ncs"), ours)
            self._notes = owned(_memory_for_notes(), ours)
            reader, writer = os.pipe()
            owned(writer, ours)
            owned(reader, childs)
            self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.callback(self._sock.close)
            childs.callback(theirs.close)
            self._process = _spawned((theirs.fileno(), self.memory, reader), self._notes)
            self._closing = ours.pop_all()
        self._lock = threading.Lock()
        self._ended = False
        task = {"sys_path": sys.path, "graph": str(graph), "stick": stick, "wait": wait, "last": last, "sizes": sizes}
        with contextlib.suppress(OSError):  # why it ended shows at the next receive
            self._sock.send(json.dumps(task).encode())

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, message: bytes) -> None:
        """Send a request. Raises `Disconnected`."""
        try:
            self._sock.send(message)
        except OSError as error:
            raise self._gone() from error

    def receive(self, deadline_s: float) -> bytes:
        """Return the child's next message. Raises `Disconnected` when it dies or is silent for `deadline_s` seconds."""
        try:
            self._sock.settimeout(deadline_s)
            message = self._sock.recv(1 << 16)
        except TimeoutError as error:
            raise Disconnected.of(causes.silent(self.step, deadline_s)) from error
        except OSError as error:
            raise self._gone() from error
        if not message:
            raise self._gone()
        self._raise_failure(message)
        self._trim_notes()
        return message

    def next_event(self, deadline_s: float) -> dict[str, Any]:
        """Return the next JSON message of a child that is starting; `Disconnected` also when we are asked to stop."""
        end_s = time.monotonic() + deadline_s
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        while not poller.poll(SLICE_S * 1000):
            if self._stopping.is_set():
                raise Disconnected("the stick is no longer wanted")
            if time.monotonic() > end_s:
                raise Disconnected.of(causes.silent(self.step, deadline_s))
        event: dict[str, Any] = json.loads(self.receive(deadline_s))
        self.step = event.get("step", self.step)
        self.trying = event.get("name", self.trying)
        return event

    def _raise_failure(self, message: bytes) -> None:
        if len(message) == RESULT.size or message[:1] != b"{":  # a result may begin with any byte
            return
        if failed := json.loads(message).get("failed"):
            raise Disconnected.of(causes.explain(failed["step"], failed["status"], failed["detail"]))

    def _gone(self) -> Disconnected:
        """Return why the child is gone: its last words, or how it ended. Raises `Disconnected` with the former."""
        for _ in range(2):  # the first may only tell that the child closed without having read everything
            with contextlib.suppress(OSError):
                words = self._sock.recv(1 << 16, socket.MSG_DONTWAIT)
                self._raise_failure(words)
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.5)
            problem = causes.died(self.step, code)
            return Disconnected(problem.what + self.last_note(), problem.remedy)
        return Disconnected.of(causes.silent(self.step, 0.5))

    def last_note(self) -> str:
        """Return the last line that the child or libmvnc wrote, in brackets, or nothing."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._notes).st_size
            lines = os.pread(self._notes, NOTE_BYTES, max(0, size - NOTE_BYTES)).decode(errors="replace").split("\n")
            for line in reversed(lines):
                if line.strip():
                    return f" [{line.strip()[:200]}]"
        return ""

    def _trim_notes(self) -> None:
        """Drop what was written, so that a verbose library does not fill the memory."""
        with contextlib.suppress(OSError):
            if os.fstat(self._notes).st_size > MOST_NOTES:
                os.ftruncate(self._notes, 0)

    def end(self, patience_s: float = 0.0) -> None:
        """End the child: after `patience_s` by force. May be called again, and from another thread."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            if patience_s:
                self._process.wait(patience_s)
        self._process.kill()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # this wakes a thread that waits in `receive`
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel's hands; Popen reaps it later
            self._process.wait(0.3)
        self._closing.close()


def _spawned(given: Sequence[int], notes: int) -> subprocess.Popen[bytes]:
    """Start the child with the descriptors `given`; what it prints goes to `notes`."""
    return subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM), *map(str, given)],
        stdin=subprocess.DEVNULL,
        stdout=notes,  # libmvnc writes its warnings there; stdout is for results
        stderr=notes,
        pass_fds=given,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )


def _memory_for_notes() -> int:
    """Return the descriptor of a file in memory; it appends, so that notes start at the beginning after a trim."""
    made = os.memfd_create("picam-infer-ncs-notes")
    os.set_blocking(made, False)
    fcntl.fcntl(made, fcntl.F_SETFL, fcntl.fcntl(made, fcntl.F_GETFL) | os.O_APPEND)
    return made
