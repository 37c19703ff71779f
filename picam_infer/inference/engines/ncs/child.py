"""The process that owns libmvnc: run as a file, it imports nothing from picam_infer and dies with its parent.

Started as `python -P child.py SOCKET MEMORY LIFE`, three inherited descriptors. The first message is JSON: the names
in `Child.run`. JSON messages answer it: `{"step"}` as each begins, then `{"ready"}` or `{"failed"}`.
After that every request is one byte (QUEUE + slot, READ, CLOSE); RESULT or a JSON `{"failed"}` answers a READ.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

QUEUE, READ, CLOSE = b"q", b"r", b"c"
RESULT = struct.Struct("<fi")
"""The stick's highest temperature (°C, 0 while unknown) and its throttling level (0, 1 or 2)."""
SLOTS = 2
LOOK_EVERY_S = 1.0
FEEL_EVERY_S = 5.0
F_SETSIG = 10  # <fcntl.h>; the fcntl module does not have it
SOON_S = 1.0
"""An open that is refused sooner leaves libmvnc as it was; after a later refusal its lock may stay locked."""
_Pointer, _Length, _User = ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_void_p)
QUEUE_ELEMENT = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, _Pointer, _Pointer, _Length, _Pointer)
READ_ELEMENT = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, _Length, _User)


class LoadedFrom(ctypes.Structure):
    """Dl_info of <dlfcn.h>."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


class Failed(Exception):
    """A step failed: its name, NCSDK2's status (or an exception's name), and what else is known."""

    def __init__(self, step: str, status: str, detail: str = "") -> None:
        super().__init__(step, status, detail)
        self.report = {"step": step, "status": status, "detail": detail}


def die_with_parent(life: int) -> None:
    """Have the kernel kill this process when the other end of the pipe `life` is closed, whatever it is doing.

    PR_SET_PDEATHSIG would strike when the *thread* that started us ends; a watching thread would need the interpreter.
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # it was closed before the kernel had been asked
        os._exit(1)


class Child:
    """libmvnc's calls in order. Every one of them may block forever: the parent enforces the deadlines."""

    def __init__(self, sock: socket.socket, memory: int) -> None:
        self.sock = sock
        self.memory = memory
        self.api: Any = None
        self.device: Any = None
        self.graph: Any = None
        self.fifos: tuple[Any, ...] = ()
        self.queue_element: Any = None
        self.read_element: Any = None
        self.temperature, self.level = 0.0, 0
        self.felt_s = 0.0

    def step(self, name: str, /, **more: object) -> None:
        """Tell the parent which step comes next, so that it knows what to wait for and what failed."""
        self.sock.send(json.dumps({"step": name, **more}).encode())

    def call(self, step: str, function: Any, *args: Any) -> Any:
        """Call one of mvncapi's functions; its `Exception(Status.X)` becomes `Failed`."""
        try:
            return function(*args)
        except Exception as error:
            raise Failed(step, *_reason(error)) from error

    def load(self) -> None:
        """Import mvncapi and take the two functions whose wrappers in it fail from NumPy 2.3 on."""
        self.step("import")
        try:
            from mvnc import mvncapi

            self.api = mvncapi
            self.queue_element = _bare(mvncapi.f.ncGraphQueueInferenceWithFifoElem, QUEUE_ELEMENT)
            self.read_element = _bare(mvncapi.f.ncFifoReadElem, READ_ELEMENT)
        except Exception as error:
            kinds = (kind for kind in (ImportError, OSError) if isinstance(error, kind))
            raise Failed("import", next(kinds, type(error)).__name__, str(error)) from error

    def look(self, stick: str, wait: bool, last: list[str]) -> list[tuple[str, Any]]:
        """Return (name, device) of the sticks to try, the likeliest first; `wait`: wait until there is one."""
        while True:
            self.step("enumerate")
            found = [(self.name(i, device), device) for i, device in enumerate(self.devices())]
            wanted = [pair for pair in found if not stick or stick in (pair[0], pair[0].partition("-")[0])]
            if wanted:
                # A name without a chip is a stick that another process holds, or that one left running.
                return sorted(wanted, key=lambda pair: (pair[0] in last, pair[0].endswith("-")))
            if not wait:
                others = ", ".join(name for name, _ in found)
                raise Failed("enumerate", "DEVICE_NOT_FOUND", f"there is {others}, not {stick}" if others else "")
            self.step("waiting")
            time.sleep(LOOK_EVERY_S)

    def devices(self) -> list[Any]:
        """Return the library's devices."""
        try:
            handles = self.call("enumerate", self.api.enumerate_devices)
        except Failed as error:
            if error.report["status"] == "DEVICE_NOT_FOUND":
                return []
            raise
        return [self.call("enumerate", self.api.Device, handle) for handle in handles or ()]

    def name(self, index: int, device: Any) -> str:
        """Return the library's name for the stick."""
        try:
            return str(device.get_option(self.api.DeviceOption.RO_DEVICE_NAME)) or str(index)
        except Exception:
            return str(index)

    def open(self, stick: str, wait: bool, last: list[str]) -> str:
        """Open the first stick that can be opened, those in `last` after all others, and return its name."""
        failure = Failed("open", "DEVICE_NOT_FOUND")
        for name, device in self.look(stick, wait, last):
            self.step("open", name=name)
            began_s = time.monotonic()
            try:
                self.call("open", device.open)
            except Failed as error:
                failure = self.why_closed(error, name)
                if time.monotonic() - began_s > SOON_S:
                    break
                continue
            self.device = device
            return name
        raise failure

    def why_closed(self, failure: Failed, name: str) -> Failed:
        """Return a better report of an `open` that failed: libmvnc says ERROR for a missing firmware file as well."""
        chip = name.partition("-")[2]
        if failure.report["status"] != "ERROR" or "-" not in name:
            return failure
        if not chip:
            return Failed("open", "ERROR", f"{name} is running already: for another process, or since one died")
        folder = self.folder()
        firmware = folder / "mvnc" / f"MvNCAPI-{chip}.mvcmd" if folder else None
        if firmware is None or firmware.is_file():
            return failure
        return Failed("open", "MVCMD_NOT_FOUND", f"libmvnc says ERROR, there is no {firmware}")

    def folder(self) -> Path | None:
        """Return where libmvnc was loaded from; it looks for its firmware there."""
        info = LoadedFrom()
        try:
            address = ctypes.cast(self.api.f.ncDeviceOpen, ctypes.c_void_p)
            ctypes.CDLL(None).dladdr(address, ctypes.byref(info))
        except Exception:  # not an ordinary shared library
            return None
        return Path(os.fsdecode(info.file)).parent if info.file else None

    def allocate(self, path: str, expected: list[int]) -> dict[str, Any]:
        """Load the graph; return the sizes of one input and one output in bytes and, if known, the input's shape.

        Where the library does not report the sizes, they are assumed to be the `expected` ones.
        """
        try:
            blob = Path(path).read_bytes()
        except OSError as error:
            raise Failed("allocate", "OSError", f"{path}: {error.strerror}") from error
        self.step("allocate")
        self.graph = self.call("allocate", self.api.Graph, "picam-infer")
        self.fifos = self.call("allocate", self.graph.allocate_with_fifos, self.device, blob)
        sizes = [self.size(fifo, usual) for fifo, usual in zip(self.fifos, expected, strict=True)]
        os.ftruncate(self.memory, SLOTS * sizes[0] + sizes[1])
        return {"sizes": sizes, "shape": self.shape()}

    def size(self, fifo: Any, usual: int) -> int:
        """Return the bytes of one element of a FIFO, `usual` where the library does not report it."""
        try:
            return int(fifo.get_option(self.api.FifoOption.RO_ELEMENT_DATA_SIZE))
        except Exception:
            return usual

    def shape(self) -> list[int]:
        """Return height, width and channels that the graph takes; empty where the library does not report them."""
        try:
            tensor = self.graph.get_option(self.api.GraphOption.RO_INPUT_TENSOR_DESCRIPTORS)[0]
            return [int(tensor.h), int(tensor.w), int(tensor.c)]
        except Exception:
            return []

    def serve(self, sizes: list[int]) -> None:
        """Answer requests until CLOSE or the end of the socket."""
        shared = mmap.mmap(self.memory, 0)  # in use until the very end: never closed
        start = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        while message := self.sock.recv(16):
            if message[:1] == CLOSE:
                break
            if message[:1] == QUEUE:
                self.queue(start + message[1] * sizes[0], sizes[0])
            else:
                self.read(start + SLOTS * sizes[0], sizes[1])
                self.sock.send(RESULT.pack(self.temperature, self.level))
                self.feel()
        self.close()

    def queue(self, tensor: int, size: int) -> None:
        """Start an inference on `size` bytes at address `tensor`."""
        # mvncapi's own methods fail from NumPy 2.3 on (tostring, fromstring) and copy twice.
        length = ctypes.c_uint(size)
        status = self.queue_element(
            self.graph.handle,
            self.fifos[0].handle,
            self.fifos[1].handle,
            ctypes.c_void_p(tensor),
            ctypes.byref(length),
            ctypes.c_void_p(0),
        )
        if status != 0:
            detail = f"the graph takes {length.value} bytes, not {size}" if length.value != size else ""
            raise Failed("queue", self.status(status), detail)

    def read(self, tensor: int, size: int) -> None:
        """Wait for the oldest inference and put its `size` bytes at address `tensor`."""
        length, user = ctypes.c_uint(size), ctypes.c_void_p()
        status = self.read_element(
            self.fifos[1].handle, ctypes.c_void_p(tensor), ctypes.byref(length), ctypes.byref(user)
        )
        if status != 0:
            raise Failed("read", self.status(status), self.debug(status))

    def status(self, value: int) -> str:
        """Return the name of a status."""
        try:
            return str(self.api.Status(value).name)
        except Exception:
            return f"status {value}"

    def debug(self, status: int) -> str:
        """Return the stick's own text about a MYRIAD_ERROR."""
        if self.status(status) != "MYRIAD_ERROR":
            return ""
        try:
            return str(self.graph.get_option(self.api.GraphOption.RO_DEBUG_INFO)).strip("\0 ")
        except Exception:
            return ""

    def feel(self) -> None:
        """Read temperature and throttling now and then, when nothing is waiting."""
        now = time.monotonic()
        if now - self.felt_s < FEEL_EVERY_S or select.select([self.sock], [], [], 0)[0]:
            return
        self.felt_s = now
        options = self.api.DeviceOption
        with contextlib.suppress(Exception):  # a failed reading is no reason to give up a working stick
            self.temperature = float(max(self.device.get_option(options.RO_THERMAL_STATS)))
            self.level = int(self.device.get_option(options.RO_THERMAL_THROTTLING_LEVEL))

    def close(self) -> None:
        """Release everything, as far as possible."""
        with contextlib.suppress(Exception):
            for fifo in self.fifos:
                fifo.destroy()
            if self.graph is not None:
                self.graph.destroy()
        with contextlib.suppress(Exception):
            if self.device is not None:
                self.device.close()
                self.device.destroy()

    def run(self, task: dict[str, Any]) -> None:
        """Run all steps; a failure is the last message."""
        try:
            self.load()
            name = self.open(task["stick"], task["wait"], task["last"])
            about = self.allocate(task["graph"], task["sizes"])
            self.feel()
            about |= {"name": name, "temperature": self.temperature, "level": self.level}
            self.sock.send(json.dumps({"ready": about}).encode())
            self.serve(about["sizes"])
        except Failed as failure:
            with contextlib.suppress(OSError):
                self.sock.send(json.dumps({"failed": failure.report}).encode())
            self.close()


def _reason(error: Exception) -> tuple[str, str]:
    status = error.args[0] if error.args else None
    name = getattr(status, "name", None)
    if isinstance(status, int) and not name:
        return f"status {status}", ""
    return (str(name), "") if name else (type(error).__name__, str(error))


def _bare(function: Any, prototype: Any) -> Any:
    """Return a C function with our argument types, whatever mvncapi declared for it."""
    try:
        return prototype(ctypes.cast(function, ctypes.c_void_p).value)
    except Exception:  # not a C function: somebody has wrapped it
        return function


def main(arguments: list[str]) -> NoReturn:
    """Serve the parent whose descriptors are given."""
    sock, memory, life = map(int, arguments)
    die_with_parent(life)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # signals to the whole process group are handled by the parent
    channel = socket.socket(fileno=sock)
    if task := channel.recv(1 << 16):
        task = json.loads(task)
        sys.path[:] = task["sys_path"]
        Child(channel, memory).run(task)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
