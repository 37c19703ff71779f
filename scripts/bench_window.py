"""Measures whole processes on one camera's stream, watched on a monitor: ours, the posts' loops, other runtimes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from picam_infer.core import Frame
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle

ROOT = Path(__file__).resolve().parents[1]
LOOPS = ROOT / "scripts" / "bench_loops.py"
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM = 60
_FPS = 30
_PATIENCE_S = 120.0
AGAINST = ("written", "one", "square")
"""The post's loop as it is written, the same held to one thread, and a centre square in each runtime."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A program that prints a line for each picture."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What it took."""

    cpu_ms: float
    """A line, that is a picture it has answered."""
    rss_mb: float
    per_s: float
    """Answers a second: 30, or it did not keep up with the camera."""
    passed_over: int
    """Pictures that came and got no answer, where it tells."""


def serve(pictures: list[bytes], say: Connection) -> None:
    """Serve the pictures at 30 a second to whoever asks, as a network camera does; in a process of its own."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            due_s = time.monotonic()
            with contextlib.suppress(OSError):
                for number in range(10**9):
                    data = pictures[number % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    due_s += 1 / _FPS
                    time.sleep(max(0.0, due_s - time.monotonic()))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    say.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def camera(frames: list[Frame]) -> Iterator[str]:
    """Serve frames while the block runs; yields the address."""
    here, there = get_context("spawn").Pipe()
    pictures = [frame.data.tobytes() for frame in frames]
    process = get_context("spawn").Process(target=serve, args=(pictures, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/stream.mjpg"
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def monitor() -> Iterator[dict[str, str]]:
    """Run an X server of 1280×720 while the block runs; yields the environment that leads to it."""
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-noreset", "-screen", "0", "1280x720x24"]
    with subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL) as server:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        try:
            yield {**os.environ, "DISPLAY": f":{number}"}
        finally:
            server.terminate()


def cpu_s(pid: int) -> float:
    """Return what a process has used so far, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int | str = "self") -> float:
    """Return a process's resident memory in MB (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(runner: Runner, environment: dict[str, str], count: int) -> Measured:
    """Run it for so many pictures. Raises `SystemExit` with its name when it ends before that."""
    with subprocess.Popen(runner.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                          text=True) as process:  # fmt: skip
        late = threading.Timer(_PATIENCE_S + 4 * count / _FPS, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            for number in range(_WARM + count):
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"{runner.name}: ended after {number} pictures: {' '.join(runner.command)}")
                if number == _WARM - 1:
                    before_s, began_s, began = cpu_s(process.pid), time.monotonic(), line
            took_s = time.monotonic() - began_s
            return Measured((cpu_s(process.pid) - before_s) * 1e3 / count, rss_mb(process.pid), count / took_s,
                            _seq(line) - _seq(began) - count if line.startswith("{") else 0)  # fmt: skip
        finally:
            late.cancel()
            process.kill()


def _seq(line: str) -> int:
    return int(json.loads(line)["seq"])


def ours(model: Bundle, address: str, window: bool, folder: str) -> Runner:
    """Return the service's own loop; the page is on, at a port of its own."""
    config = Path(folder) / f"{model.name}-{window}.yaml"
    config.write_text(f"web: {{listen: '127.0.0.1:0', token_file: {folder}/token}}\ndisplay: {{fullscreen: true}}\n")
    return Runner("ours", (sys.executable, "-m", "picam_infer", "run", "-c", str(config), "--source", address, "-m",
                           str(model.folder), "--engine", "openvino", "--display", "window" if window else "none",
                           "--json"))  # fmt: skip


def loop(name: str, kind: str, file: Path, address: str, size: int, *, window: bool, one: bool) -> Runner:
    """Return a loop of `bench_loops.py`."""
    flags = (("--window",) if window else ()) + (("--one-thread",) if one else ())
    return Runner(name, (sys.executable, str(LOOPS), kind, str(file), address, "--size", str(size), *flags))


def compare(
    title: str, mine: Runner, others: list[Runner], environment: dict[str, str], args: argparse.Namespace
) -> None:
    """Print ours against the others, in turns: each turn's ratio is of processes that ran one after the other."""
    turns = [[measure(runner, environment, args.frames) for runner in (mine, *others)] for _ in range(args.rounds)]
    own = [turn[0] for turn in turns]
    print(f"{title}: ours {statistics.median(m.cpu_ms for m in own):.2f} ms of CPU a picture (least "
          f"{min(m.cpu_ms for m in own):.2f}), {max(m.rss_mb for m in own):.0f} MB, {min(m.per_s for m in own):.1f} "
          f"answers/s, {sum(m.passed_over for m in own)} pictures without one", flush=True)  # fmt: skip
    for at, other in enumerate(others, start=1):
        ratios = [turn[0].cpu_ms / turn[at].cpu_ms for turn in turns]
        print(f"  against {other.name}: {statistics.median(turn[at].cpu_ms for turn in turns):.2f} ms, "
              f"{min(turn[at].per_s for turn in turns):.1f} answers/s; ratio median "
              f"{statistics.median(ratios):.3f}, least {min(ratios):.3f}", flush=True)  # fmt: skip


def rows(models: dict[str, Bundle], frames: list[Frame], others: list[Path], args: argparse.Namespace) -> None:
    """Print a row for each model, headless and with a window. `others`: the photo network for other runtimes."""
    with tempfile.TemporaryDirectory() as folder, camera(frames) as address, monitor() as environment:
        environment = {**environment, "PYTHONPATH": str(ROOT), "HOME": folder, "XDG_CACHE_HOME": folder}
        for kind, model in models.items():
            size = model.card.input.width
            for window in [shown for shown in (False, True) if args.only in ("", "window" if shown else "headless")]:
                against = [loop(f"the post's loop, {'one thread' if one else 'as written'}", kind, model.network,
                                address, size, window=window, one=one)
                           for one in (False, True) if AGAINST[one] in args.against]  # fmt: skip
                if kind == "photo" and "square" in args.against:
                    against += [loop(f"OpenCV + {file.suffix[1:]}, one thread", "square", file, address, size,
                                     window=window, one=True) for file in (model.network, *others)]  # fmt: skip
                title = f"{kind}, {'window' if window else 'headless'}"
                compare(title, ours(model, address, window, folder), against, environment, args)


def main() -> None:
    """Run the rows alone; `scripts/bench` runs them with everything else."""
    from bench import as_a_webcam, photo_bundle, recorded

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", type=Path, metavar="DIR", help="a Teachable Machine bundle")
    parser.add_argument("--other", type=Path, action="append", default=[], metavar="FILE",
                        help="the same network as .tflite or .onnx")  # fmt: skip
    parser.add_argument("--only", choices=["headless", "window"], default="")
    parser.add_argument("--model", choices=["digits", "photo"], default="")
    parser.add_argument("--against", choices=AGAINST, nargs="+", default=AGAINST, help="whom to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300, help="pictures a turn")
    args = parser.parse_args()
    frames = as_a_webcam(recorded())
    if args.model != "photo":
        rows({"digits": bundles.load("digits")}, frames, [], args)
    for model in photo_bundle(args.photo) if args.model != "digits" else ():
        rows({"photo": model}, frames, args.other, args)


if __name__ == "__main__":
    main()
