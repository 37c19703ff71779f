"""Conversion in a process of its own: a hostile file may crash, stall or bloat a parser, and only that process dies.

HDF5, flatbuffers and protobuf are parsed by libraries in C++ that were not written for hostile input.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TextIO

from picam_infer import core
from picam_infer.bootstrap import bootstrap
from picam_infer.convert import archives
from picam_infer.core import PicamError
from picam_infer.platform import disk, memory, regular_file, scratch

READ_S = 120.0
"""Processor time for reading a small file; wall-clock time would depend on the machine and its load."""
BYTES_PER_S = 1e6
"""Added to `READ_S` for large files: bytes for a second of processor time."""
BUILD_S = 900.0
NICE = 10
"""A running service takes precedence for the processor: if starved, it would be killed by its watchdog."""
IDLE_S = 60.0
"""A reader that has neither computed nor waited for a disk or a processor for this long is stuck."""
ADDRESSES = 6 * 2**30
"""Address space of the child; far more than its memory, because OpenVINO reserves much."""
LEAST_MEMORY = 2**30
"""What the child may always allocate, however small the machine's memory is."""
BASE_MEMORY, MEMORY_PER_BYTE = 2 * 2**30, 16
"""The most it may allocate, for a small file and for each further byte, so that a trap cannot fill a large memory."""
TICK_S = 0.25
LIMITS_S = {"quantize": 8 * 3600.0, "try": BUILD_S, "check": BUILD_S, "save": BUILD_S}
_DOING = {
    "read": "reading",
    "build": "building",
    "quantize": "quantising",
    "try": "trying pictures on",
    "check": "checking",
    "save": "saving",
}
CODE = "from picam_infer.convert.sandbox import child; child()"
_TICKS = os.sysconf("SC_CLK_TCK")

Progress = Callable[[str, float], None]
"""Called repeatedly, and at once on a change, with what is being done and how long it has taken so far (s)."""


def convert(
    given: Path,
    output: Path | None,
    options: dict[str, Any],
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Run `conversion.convert` in a child process and return its report as JSON.

    `options` are the fields of `Options`. Raises what it raises, and `PicamError` if the child dies or stalls.
    """
    size = _bytes([given, *(options[key] for key in ("weights",) if options.get(key))])
    most = None if options.get("calibrate") else BASE_MEMORY + MEMORY_PER_BYTE * _bytes([given.parent, given])
    order = {"given": str(given), "output": str(output) if output else None, "options": options, "memory": most}
    # The scratch folder is ours, so that nothing stays in it when the child must be killed.
    with scratch.folder() as place, _life() as life:
        paths = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(place)}
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, json.dumps({**order, "life": life}, default=str)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **paths, "TF_CPP_MIN_LOG_LEVEL": "3"},
            pass_fds=(life,),
            start_new_session=True,
        )
        try:
            return listen(process, given, READ_S + size / BYTES_PER_S, progress)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


@contextlib.contextmanager
def _life() -> Iterator[int]:
    """Yield the end of a pipe that the child watches: it dies when our end is closed, however this process ends."""
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


def _bytes(paths: Sequence[Path]) -> int:
    """Return how large files are together, and the files right in folders and (of the last one) at any depth.

    So many files as a model may have are counted.
    """
    total = 0
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            inside = path.rglob("*") if path is paths[-1] else path.glob("*")
            files = [path] if path.is_file() else itertools.islice(inside, archives.MAX_ENTRIES)
            total += sum(file.stat().st_size for file in files if file.is_file())
    return total


class Child(Protocol):
    """What `listen` needs of a process."""

    pid: int
    stdout: IO[bytes] | None

    def wait(self) -> int:
        """Return the exit code; below 0 the signal that ended it."""


def listen(process: Child, given: Path, read_s: float, progress: Progress) -> dict[str, Any]:
    """Follow the child's messages; each phase has its own processor time. Raises `PicamError`."""
    assert process.stdout is not None
    began_s, phase, limit_s, pending = time.monotonic(), "read", read_s, b""
    reads = False
    descriptor, work = process.stdout.fileno(), _Work(process.pid)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = selector.select(TICK_S)
            work.look()
            progress(phase, time.monotonic() - began_s)
            if not ready:
                _enough(work, given, phase, limit_s)
                continue
            block = os.read(descriptor, 1 << 16)
            if not block:
                raise _death(process.wait(), given, reads)
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "report" in message:
                    report: dict[str, Any] = message["report"]
                    return report
                if "error" in message:
                    raise _rebuilt(message)
                phase, reads = message["phase"], True
                limit_s = LIMITS_S.get(phase, read_s)
                work.begin()
                progress(phase, time.monotonic() - began_s)


class _Work:
    """Processor time that a process has used in a phase, and how long it has been doing nothing."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._seen_s = time.monotonic()
        self._total_s = self._before_s = 0.0
        self.idle_s = 0.0

    @property
    def used_s(self) -> float:
        """Processor time since the phase began."""
        return self._total_s - self._before_s

    def begin(self) -> None:
        """A new phase begins."""
        self._before_s, self.idle_s = self._total_s, 0.0

    def look(self) -> None:
        """Measure. A thread that waits for a processor or a disk is delayed by the machine, not by the file."""
        now_s, before_s = time.monotonic(), self._total_s
        # A long step means that this process was delayed itself, and so was the other one.
        step_s, self._seen_s = min(now_s - self._seen_s, 4 * TICK_S), now_s
        own = self._stat(self._folder)
        if own:
            self._total_s = max(before_s, (int(own[11]) + int(own[12])) / _TICKS)
        with contextlib.suppress(OSError):
            states = {stat[0] for task in (self._folder / "task").iterdir() if (stat := self._stat(task))}
            if states & {"R", "D"}:
                step_s *= 0.0 if "R" in states else 0.1  # a disk that is gone does not come back
        # Looking at a clock now and then does not count as work.
        self.idle_s = max(0.0, self.idle_s + step_s - 20 * (self._total_s - before_s))

    def _stat(self, folder: Path) -> list[str]:
        """Return `stat` from its third field, the state, on; utime and stime are the 14th and 15th: see proc(5)."""
        try:
            return (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return []


def _enough(work: _Work, given: Path, phase: str, limit_s: float) -> None:
    """Raise `PicamError` when the child will not finish."""
    doing = _DOING.get(phase, phase)
    if work.used_s > limit_s:
        raise PicamError(
            f"{doing} {given.name} took longer than {limit_s:.0f} s of processor time",
            "no known model needs that much; if another program reads the file, please report it",
        )
    if work.idle_s > IDLE_S:
        raise PicamError(
            f"{doing} {given.name} has stopped: its reader did nothing for {IDLE_S:.0f} s",
            "try again, or please report it",
        )


def _death(code: int, given: Path, reads: bool) -> PicamError:
    """Return the error for a child that ended without a report."""
    if code == -signal.SIGKILL:
        return PicamError(f"converting {given.name} needs more memory than there is", "convert it on a larger computer")
    if code == -signal.SIGXCPU:
        return PicamError(f"converting {given.name} took too much processor time", "please report it")
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    if not reads:
        return PicamError(f"{given.name} cannot be converted: the converter {how} before it began to read",
                          f"is there enough memory? {memory.REMEDY}")  # fmt: skip
    return PicamError(
        f"{given.name} cannot be read: the library that reads such files {how}",
        "download or export the file again; if another program reads it, please report it",
    )


def _rebuilt(message: dict[str, Any]) -> PicamError:
    kind = getattr(core, str(message["error"]), PicamError)
    kind = kind if isinstance(kind, type) and issubclass(kind, PicamError) else PicamError
    return kind(str(message["message"]), str(message["hint"]))


def child() -> None:
    """Carry out the order in `argv` and report to the parent on standard output, one JSON object per line."""
    bootstrap()
    from picam_infer.inference.engines.ncs.child import die_with_parent

    order = json.loads(sys.argv[1])
    die_with_parent(order["life"])
    # Libraries may print; only this stream speaks to the parent.
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        limit_itself(order["memory"])
        sys.setrecursionlimit(3000)
        _say(speak, {"report": _convert(order, speak)})
    except Exception as error:  # the top of the child: the parent reports it in one line
        told = _failure(error, order)
        _say(speak, {"error": _kind(told), "message": told.message, "hint": told.hint})
    speak.flush()
    os._exit(0)  # without waiting for OpenVINO's threads, which have nothing left to do


def _failure(error: Exception, order: dict[str, Any]) -> PicamError:
    """Return our error for whatever has ended the conversion."""
    name = Path(order["given"]).name
    if isinstance(error, PicamError):
        return error
    if memory.is_short(error):
        return PicamError(f"converting {name} needs more memory than there is", "convert it on a larger computer")
    if isinstance(error, OSError):
        return _told(error, order)
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    return PicamError(f"{name} cannot be read: an unexpected {where}", "please report it, with the file if you can")


def _kind(error: PicamError) -> str:
    """Return the name by which the parent knows an error's kind, and with that its exit code."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == core.__name__)


def _told(error: OSError, order: dict[str, Any]) -> PicamError:
    """Return our error for an error of the system, naming the file concerned."""
    given = Path(order["given"])
    if disk.is_full(error):
        return PicamError(f"{given.name} cannot be converted ({error.strerror})", "make room on the disk of /tmp")
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else given
    # Inside the scratch folder it is a part of what was given.
    return regular_file.unreadable(given if named.is_relative_to(tempfile.gettempdir()) else named, error)


def limit_itself(most: int | None) -> None:
    """Limit this process: it is killed first when memory runs out, and it ends even if nobody listens any more."""
    os.nice(NICE)
    most_s = int(sum(LIMITS_S.values()))
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, ADDRESSES),
        (resource.RLIMIT_CPU, most_s),
        (resource.RLIMIT_DATA, max(LEAST_MEMORY, min(installed, ADDRESSES, most or ADDRESSES))),
    ):
        hard = resource.getrlimit(what)[1]  # an administrator's limit, which only they may raise
        most_of_all = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (most_of_all, most_of_all))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _say(speak: TextIO, message: dict[str, Any]) -> None:
    speak.write(json.dumps(message) + "\n")
    speak.flush()


def _convert(order: dict[str, Any], speak: TextIO) -> dict[str, Any]:
    from picam_infer.convert.conversion import Options, convert

    chosen: dict[str, Any] = {
        k: Path(v) if v is not None and k in ("weights", "labels", "calibrate", "try_") else v
        for k, v in order["options"].items()
    }
    output = Path(order["output"]) if order["output"] else None
    report = convert(Path(order["given"]), output, Options(**chosen), lambda name: _say(speak, {"phase": name}))
    return report.as_json()
