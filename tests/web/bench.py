"""Measures what the page costs: at rest, and with many watchers of whom some are stuck."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FPS = 30
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the daemon with and without the page, and with watchers; 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--stuck", type=int, default=5)
    parser.add_argument("--fps", type=float, default=5.0, help="pictures a second for each watcher")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print(
        f"demo source {args.size} at 30 fps; {args.watchers} watchers at {args.fps:g} fps and {args.stuck} stuck ones"
    )
    print(f"{'':26}{'inferences/s':>14}{'CPU %':>8}{'memory MB':>11}{'pictures/s':>12}")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(args.rounds):
        for name in ("web: off", "page, nobody watching", "page, all watching"):
            with daemon(width, height, web=name != "web: off") as (process, port):
                crowd = (args.watchers, args.stuck, args.fps) if "all" in name else (0, 0, 1.0)
                with watched(port, *crowd) as count:
                    found.setdefault(name, []).append(measure(name, process, args.seconds, count))
    return verdict({name: [median(values) for values in zip(*rows, strict=True)] for name, rows in found.items()})


def verdict(figures: dict[str, list[float]]) -> int:
    """Print what the limits are about."""
    off, idle, busy = figures.values()
    if min(off[0], idle[0]) < 0.97 * _FPS:
        print(
            "\nthis machine is too busy to measure anything: not even without watchers does every picture get its turn"
        )
        return 2
    loss = 100 * (1 - busy[0] / off[0])
    print(f"\nat rest: {idle[1] - off[1]:+.2f} % CPU, {idle[2] - off[2]:+.1f} MB   (limits: 1 %, 25 MB)")
    print(f"all watching: {-loss:+.1f} % inferences   (limit: -5 %)")
    return int(idle[1] - off[1] > 1 or idle[2] - off[2] > 25 or loss > 5)


@contextlib.contextmanager
def daemon(width: int, height: int, web: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `picam-infer run` on the demo source; yields it and its port once results come."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    page = f"{{listen: '127.0.0.1:{port}', max_clients: 200}}" if web else "off"
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "c.yaml", Path(folder) / "out"
        path.write_text(f"source: demo\ncapture: {{width: {width}, height: {height}}}\nmodel: digits\nweb: {page}\n"
                        "display: {kind: none}\n")  # fmt: skip
        with out.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-m", "picam_infer", "run", "-c", path, "--json"], stdout=file)
        try:
            end_s = time.monotonic() + 60
            while out.stat().st_size < 20_000 and time.monotonic() < end_s:
                time.sleep(0.2)
            process.results = out  # type: ignore[attr-defined]
            yield process, port
        finally:
            process.terminate()
            process.wait(20)


def measure(name: str, process: Any, seconds: float, count: Any) -> tuple[float, float, float]:
    """Return results a second, CPU per cent of one core, resident MB."""
    time.sleep(2)
    began = reading(process), time.monotonic(), count.value
    time.sleep(seconds)
    took_s = time.monotonic() - began[1]
    (results, ticks), (results_then, ticks_then) = reading(process), began[0]
    rate = (results - results_then) / took_s
    cpu = 100 * (ticks - ticks_then) / _TICKS / took_s
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    pictures = (count.value - began[2]) / took_s
    print(f"{name:26}{rate:14.2f}{cpu:8.1f}{memory:11.1f}{pictures:12.0f}", flush=True)
    return rate, cpu, memory


def reading(process: Any) -> tuple[int, int]:
    """Return (results so far, CPU ticks so far)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    with process.results.open("rb") as file:
        seen = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return seen, int(fields[11]) + int(fields[12])


@contextlib.contextmanager
def watched(port: int, watchers: int, stuck: int, fps: float) -> Iterator[Any]:
    """Watch in a process of its own, so that it is not the daemon's CPU; yields the count of pictures."""
    count, stop = multiprocessing.Value("q", 0), multiprocessing.Event()
    crowd = multiprocessing.Process(target=watch, args=(port, watchers, stuck, fps, count, stop))
    if watchers + stuck:
        crowd.start()
    try:
        yield count
    finally:
        stop.set()
        if crowd.pid:
            crowd.join(20)


def watch(port: int, watchers: int, stuck: int, fps: float, count: Any, stop: Any) -> None:
    """Read streams until told to stop, half of them raw, half drawn; the stuck ones are never read."""
    import selectors

    readers = selectors.DefaultSelector()
    socks = []
    for number in range(watchers + stuck):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        raw = number % 2
        sock.sendall(f"GET /stream.mjpg?raw={raw}&fps={fps if number < watchers else 60} HTTP/1.1\r\n"
                     f"Host: localhost\r\n\r\n".encode())  # fmt: skip
        socks.append(sock)
        if number < watchers:
            sock.setblocking(False)
            readers.register(sock, selectors.EVENT_READ)
    while not stop.is_set():
        for key, _ in readers.select(0.1):
            data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
            if not data:
                readers.unregister(key.fileobj)
            count.value += data.count(b"--frame\r\n")
    for sock in socks:
        sock.close()


def median(values: Any) -> float:
    """Return the middle value."""
    return float(sorted(values)[len(values) // 2])


if __name__ == "__main__":
    raise SystemExit(main())
