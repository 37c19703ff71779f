"""Sticks made of files: the stand-in libmvnc, a USB bus as the kernel would show it, and what happens to both."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from picam_infer.core import Pixels, Scores
from picam_infer.inference.engines.sticks import USBDEVFS_CLAIMINTERFACE, USBDEVFS_RESET, Usb
from picam_infer.models.bundle import Bundle, Card, Edges, Input, Photo, save

SOURCE = Path(__file__).parent / "mvnc_stand_in"
COMPILER = shutil.which("cc") or shutil.which("gcc")
LABELS = tuple("abcdefghij")


def build(folder: Path) -> Path:
    """Compile the stand-in into `folder` as libmvnc.so, with its firmware; return the folder."""
    library = folder / "libmvnc.so"
    assert COMPILER
    command = [COMPILER, "-O2", "-shared", "-fPIC", "-o", library, SOURCE / "stand_in.c", "-lm", "-lpthread", "-ldl"]
    subprocess.run(command, check=True)
    (folder / "mvnc").mkdir()
    (folder / "mvnc" / "MvNCAPI-ma2450.mvcmd").write_bytes(b"firmware")
    return folder


def graph(
    shape: tuple[int, int, int] = (28, 28, 1), classes: int = len(LABELS), seed: int = 0, features: bool = False
) -> bytes:
    """Return a graph file, softmax(W x + b), for (height, width, channels); `features`: relu(W x + b)."""
    h, w, c = shape
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1 / np.sqrt(h * w * c), (classes, h * w * c)).astype("<f4")
    bias = np.zeros(classes, "<f4")
    magic = b"PICAMFEAT\n" if features else b"PICAMSIM1\n"
    return magic + struct.pack("<4I", c, h, w, classes) + weights.tobytes() + bias.tobytes()


def bundle(
    folder: Path, shape: tuple[int, int, int] = (28, 28, 1), *, labels: Sequence[str] = LABELS, photo: bool = False
) -> Bundle:
    """Return a bundle with a graph (and no network: the CPU's part is played by `Cpu`)."""
    folder.mkdir(exist_ok=True)
    (folder / "graph").write_bytes(graph(shape, len(labels)))
    chain = Photo() if photo else Edges()
    return Bundle(folder, Card("lab", Input((1, *shape)), chain), tuple(labels))


def twin(folder: Path) -> Bundle:
    """Return a bundle whose network computes the same as its graph: softmax(W x + b) on 28 × 28 grey pixels."""
    import openvino as ov
    from openvino import opset13 as ops

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        card = bundle(work / "twin").card
        blob = graph()
        weights = np.frombuffer(blob, "<f4", offset=26)[: -len(LABELS)].reshape(len(LABELS), -1)
        source = ops.parameter([1, 28, 28, 1], np.float32, name="input")
        flat = ops.reshape(source, ops.constant(np.int64([1, -1])), False)
        output = ops.softmax(ops.matmul(flat, ops.constant(np.ascontiguousarray(weights)), False, True), 1)
        ov.save_model(ov.Model([ops.result(output)], [source], "twin"), work / "model.xml", compress_to_fp16=False)
        files = {name: (work / name).read_bytes() for name in ("model.xml", "model.bin")}
    return save(folder, card, LABELS, {**files, "graph": blob})


STRANGER = """
# Another make of the same module: no package, other declared types, devices without names, options that fail.
import ctypes
from pathlib import Path

exec(compile(Path({source!r}).read_text(), "mvncapi", "exec"))
for function in (f.ncGraphQueueInferenceWithFifoElem, f.ncFifoReadElem):
    function.argtypes, function.restype = [ctypes.c_char_p] * 6, ctypes.c_char_p
_enumerate = enumerate_devices


def enumerate_devices():
    handles = _enumerate()
    if not handles:
        raise Exception(-4)
    return handles


def _fails(self, option):
    raise Exception(Status.UNSUPPORTED_FEATURE)


Device.get_option = Graph.get_option = Fifo.get_option = _fails
"""


def stranger(folder: Path, text: str = "") -> list[str]:
    """Write a mvnc of another make into `folder`, or one of your own; return the sys.path that finds it."""
    text = text or STRANGER.format(source=str(SOURCE / "mvnc" / "mvncapi.py"))
    (folder / "mvnc").mkdir(parents=True)
    (folder / "mvnc" / "mvncapi.py").write_text(text + "\n")
    return [str(folder), *(entry for entry in sys.path if entry != str(SOURCE))]


def expected(model: Bundle, input_image: Pixels) -> Scores:
    """Return what the bundle's graph answers, computed here."""
    assert model.graph
    blob = model.graph.read_bytes()
    c, h, w, classes = struct.unpack_from("<4I", blob, 10)
    numbers = np.frombuffer(blob, "<f4", offset=26)
    weights, bias = numbers[: h * w * c * classes].reshape(classes, -1), numbers[h * w * c * classes :]
    chain = model.card.preprocess
    scores = weights @ (input_image.astype(np.float32) * chain.scale + chain.offset).ravel() + bias
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum(), np.float32)


class Cpu:
    """An engine that computes `expected`."""

    name, depth = "openvino:CPU", 1

    def __init__(self, model: Bundle) -> None:
        self.model, self.answers = model, list[Scores]()
        self.closed = False

    def submit(self, input_image: Pixels) -> None:
        assert len(self.answers) < self.depth and not self.closed
        self.answers.append(expected(self.model, input_image))

    def collect(self) -> Scores:
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


class StickLab:
    """The tree that the stand-in reads, and hands to reach into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 3
        (root / "control").mkdir(parents=True)
        (root / "sys/bus/usb/devices").mkdir(parents=True)
        (root / "dev/bus/usb/001").mkdir(parents=True)
        self.usb = Usb(root, self.ioctl)
        self.resets = 0

    def environment(self, library: Path) -> dict[str, str]:
        """Return what a process needs in its environment to find these sticks and the library."""
        paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"NCS_STAND_IN": str(self.root), "LD_LIBRARY_PATH": str(library), "PYTHONPATH": ":".join(paths)}

    def set(self, port: str, **control: object) -> None:
        """Write control files of a stick; None takes one away."""
        folder = self.root / "control" / port
        folder.mkdir(exist_ok=True)
        for name, value in control.items():
            if value is None:
                (folder / name).unlink(missing_ok=True)
            else:
                _replace(folder / name, str(value))

    def times(self, open_ms: float = 0, close_ms: float = 0) -> None:
        _replace(self.root / "control/open_ms", str(open_ms))
        _replace(self.root / "control/close_ms", str(close_ms))

    def plug(self, port: str = "2", product: str = "2150") -> None:
        """A stick appears, with a new device number."""
        self.unplug(port)
        self.set(port, dirty=None, hang=None)
        self.number += 1
        node = self.root / f"dev/bus/usb/001/{self.number:03d}"
        node.touch()
        folder = self.root / "sys/bus/usb/devices" / f".1-{port}"
        folder.mkdir()
        for name, text in (("idVendor", "03e7"), ("idProduct", product), ("busnum", 1), ("devnum", self.number)):
            (folder / name).write_text(f"{text}\n")
        folder.rename(folder.with_name(f"1-{port}"))

    def unplug(self, port: str = "2") -> None:
        """The stick is pulled."""
        folder = self.root / "sys/bus/usb/devices" / f"1-{port}"
        if folder.exists():
            number = int((folder / "devnum").read_text())
            (self.root / f"dev/bus/usb/001/{number:03d}").unlink(missing_ok=True)
            gone = folder.with_name(f".gone-{self.number}-{port}")
            folder.rename(gone)
            shutil.rmtree(gone)

    def product(self, port: str = "2") -> str:
        path = self.root / "sys/bus/usb/devices" / f"1-{port}" / "idProduct"
        return path.read_text().strip() if path.exists() else ""

    def ioctl(self, file: int, request: int, _: bytes) -> int:
        """What the kernel does for usbfs: claiming tells whether the stick is held, a reset makes it start anew."""
        node = Path(f"/proc/self/fd/{file}").readlink()
        if request == USBDEVFS_CLAIMINTERFACE:
            return 0
        if request == USBDEVFS_RESET:
            self.resets += 1
            for folder in (self.root / "sys/bus/usb/devices").glob("1-*"):
                port = folder.name[2:]
                hung = (self.root / "control" / port / "hang").exists()
                if int((folder / "devnum").read_text()) == int(node.name) and not hung:
                    self.set(port, dirty=None, stuck=None)  # it stays booted, as measured
        return 0


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


def left_overs(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what was not there at an earlier `possessions()`."""
    return {key: more for key, now in possessions().items() if (more := now - before[key])}


def possessions() -> dict[str, set[str]]:
    """Return what this process could leak: its children, and its open and mapped memory."""
    me, children = os.getpid(), set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == me:
            children.add(stat.parent.name)
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {
        "children": children,
        "fds": {str(number) for number in range(len(list(Path("/proc/self/fd").iterdir())))},
        "maps": {str(number) for number in range(sum("memfd:" in line for line in maps))},
    }


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
