"""Conversion in a process of its own: a hostile file may crash, stall or bloat a parser, and only that process dies.

HDF5, flatbuffers and protobuf are parsed by libraries in C++ that were not written for hostile input.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from picam_infer import core
from picam_infer.core import NoInput, PicamError

READ_S = 6.0
"""How long the first look at a small file may take."""
BYTES_PER_S = 2e6
"""A slow SD card and a slow processor, added to `READ_S` for large files."""
BUILD_S = 60.0
MEMORY = 6 * 2**30
"""Address space of the child; far more than resident memory, because OpenVINO reserves much."""
_LIMITS_S = {"quantize": 3600.0, "check": BUILD_S, "save": 300.0}
_CODE = "from picam_infer.convert.sandbox import child; child()"


def convert(
    given: Path,
    output: Path | None,
    options: dict[str, Any],
    phase: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run `conversion.convert` in a child process and return its report as JSON.

    `options` are the fields of `Options`. Raises what it raises, and `PicamError` if the child dies or stalls.
    """
    try:
        size = given.stat().st_size if given.is_file() else sum(p.stat().st_size for p in given.rglob("*"))
    except (OSError, ValueError) as error:
        raise NoInput(f"there is no {given}", "check the name") from error
    order = {"given": str(given), "output": str(output) if output else None, "options": options}
    # The scratch folder is ours, so that nothing stays in it when the child must be killed.
    with tempfile.TemporaryDirectory(prefix="picam-infer-", ignore_cleanup_errors=True) as scratch:
        paths = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": scratch}
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps(order, default=str)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **paths, "TF_CPP_MIN_LOG_LEVEL": "3"}, start_new_session=True,
        )  # fmt: skip
        try:
            return listen(process, given, READ_S + size / BYTES_PER_S, phase)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def listen(
    process: subprocess.Popen[bytes], given: Path, read_s: float, phase: Callable[[str], None]
) -> dict[str, Any]:
    """Follow the child's messages; each phase has its own time. Raises `PicamError`."""
    assert process.stdout is not None
    limit, deadline, pending = read_s, time.monotonic() + BUILD_S, b""
    descriptor = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise PicamError(
                    f"reading {given.name} took longer than {limit:.0f} s", "the file is damaged or a trap"
                )
            block = os.read(descriptor, 1 << 16)
            if not block:
                raise PicamError(f"{given.name} cannot be read: {_death(process)}", "the file is damaged or a trap")
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "report" in message:
                    report: dict[str, Any] = message["report"]
                    return report
                if "error" in message:
                    raise _rebuilt(message)
                phase(message["phase"])
                limit = _LIMITS_S.get(message["phase"], read_s)
                deadline = time.monotonic() + limit


def _death(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code < 0:
        return f"the reader was ended by {signal.Signals(-code).name}"
    return f"the reader ended with code {code}"


def _rebuilt(message: dict[str, Any]) -> PicamError:
    kind = getattr(core, str(message["error"]), PicamError)
    kind = kind if isinstance(kind, type) and issubclass(kind, PicamError) else PicamError
    return kind(str(message["message"]), str(message["hint"]))


def child() -> None:
    """Do the order in `argv` and tell the parent on standard output, one JSON object a line."""
    order = json.loads(sys.argv[1])
    # Libraries may print; only this stream speaks to the parent.
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setrecursionlimit(3000)
    try:
        _say(speak, {"report": _convert(order, speak)})
    except PicamError as error:
        _say(speak, {"error": type(error).__name__, "message": error.message, "hint": error.hint})
    except MemoryError:
        _say(speak, {"error": "PicamError", "message": "the model needs more memory than there is", "hint": ""})
    except Exception as error:  # the child's top: the parent tells it in one line
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        message = f"{Path(order['given']).name} cannot be read ({reason})"
        _say(speak, {"error": "PicamError", "message": message, "hint": "the file is damaged, or please report it"})
    speak.flush()
    os._exit(0)  # OpenVINO's threads have nothing left to do


def _say(speak: TextIO, message: dict[str, Any]) -> None:
    speak.write(json.dumps(message) + "\n")
    speak.flush()


def _convert(order: dict[str, Any], speak: TextIO) -> dict[str, Any]:
    from picam_infer.convert.conversion import Options, convert

    chosen: dict[str, Any] = {
        k: Path(v) if v is not None and k in ("weights", "labels", "calibrate") else v
        for k, v in order["options"].items()
    }
    output = Path(order["output"]) if order["output"] else None
    report = convert(Path(order["given"]), output, Options(**chosen), lambda name: _say(speak, {"phase": name}))
    return report.as_json()
