"""Measures what the page costs: at rest, and with many watchers of whom some are stuck.

Made for a machine that has other work too: what is compared runs side by side or in turn, again and again, and the
medians of the differences count.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FPS = 30
_CPU_BAR, _MEMORY_BAR_MB, _LOSS_BAR = 1.0, 25.0, 5.0
_LEAST = 0.97
"""Share of the pictures that must get their turn without watchers; else the machine is too busy to say anything."""


def main() -> int:
    """Measure both; 1 when a bar is missed, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--stuck", type=int, default=5)
    parser.add_argument("--fps", type=float, default=5.0, help="pictures a second for each watcher")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one window")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="let neither the watchers, which are other machines in "
        "earnest, nor other work take the daemon's turn; needs root",
    )
    args = parser.parse_args()
    print(f"demo source {args.size} at {_FPS} fps, windows of {args.seconds:g} s, {args.rounds} rounds")
    with running(args, web=True) as paged:
        with running(args, web=False) as bare:
            rests = at_rest(bare, paged, args)
        watches = watched(paged, args)
    return max(rests, watches)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A `picam-infer run`, its port, and the file that its results go to, a line each."""

    process: subprocess.Popen[bytes]
    port: int
    results: Path

    def threads_s(self) -> list[float]:
        """Return the CPU time so far of each of its threads, the oldest first, in nanoseconds' resolution."""
        tasks = sorted(Path(f"/proc/{self.process.pid}/task").iterdir(), key=lambda task: int(task.name))
        return [int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks]

    def cpu_s(self) -> float:
        """Return the CPU time so far of all its threads."""
        return sum(self.threads_s())

    def memory_mb(self) -> float:
        """Return its resident memory in MB (10^6 bytes)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def count(self) -> int:
        """Return how many results there are."""
        with self.results.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


@contextlib.contextmanager
def running(args: argparse.Namespace, web: bool) -> Iterator[Daemon]:
    """Run the daemon on the demo source; yields it once results come."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    page = f"{{listen: '127.0.0.1:{port}', max_clients: 200}}" if web else "off"
    width, height = args.size.split("x")
    before = ["chrt", "--rr", "1"] if args.realtime else []
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "c.yaml", Path(folder) / "out"
        path.write_text(
            f"source: demo\ncapture: {{width: {width}, height: {height}, fps: {_FPS}}}\nmodel: digits\n"
            f"web: {page}\ndisplay: {{kind: none}}\n"
        )
        command = [*before, sys.executable, "-m", "picam_infer", "run", "-c", path, "--json"]
        with out.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
        daemon = Daemon(process, port, out)
        try:
            end_s = time.monotonic() + 60
            while daemon.count() < 60:
                if time.monotonic() > end_s or process.poll() is not None:
                    raise SystemExit("the daemon gives no results")
                time.sleep(0.2)
            yield daemon
        finally:
            process.terminate()
            process.wait(20)


def at_rest(bare: Daemon, paged: Daemon, args: argparse.Namespace) -> int:
    """Compare a daemon with the page, which nobody watches, to one without, side by side.

    Two daemons without a page differ by a per cent already, by where the system places their threads. So what counts is
    the CPU time of the threads that only the page has; they are the youngest.
    """
    print(f"\n{'nobody watching':>16}{'CPU % off':>12}{'on':>8}{'the page':>10}{'results/s off':>16}{'on':>8}")
    more, others = [], len(bare.threads_s())
    for number in range(args.rounds):
        own_s = sum(paged.threads_s()[others:])
        began_s, before = time.monotonic(), [(d.cpu_s(), d.count()) for d in (bare, paged)]
        time.sleep(args.seconds)
        took_s = time.monotonic() - began_s
        after = [(d.cpu_s(), d.count()) for d in (bare, paged)]
        cpu, rate = zip(
            *((100 * (b[0] - a[0]) / took_s, (b[1] - a[1]) / took_s) for a, b in zip(before, after, strict=True)),
            strict=True,
        )
        more.append(100 * (sum(paged.threads_s()[others:]) - own_s) / took_s)
        print(f"{number + 1:16}{cpu[0]:12.2f}{cpu[1]:8.2f}{more[-1]:10.2f}{rate[0]:16.2f}{rate[1]:8.2f}", flush=True)
    memory_mb = paged.memory_mb() - bare.memory_mb()
    print(f"resident: {bare.memory_mb():.1f} MB off, {paged.memory_mb():.1f} MB on")
    return max(
        told("at rest, CPU of one core", statistics.median(more), "%", _CPU_BAR),
        told("at rest, memory", memory_mb, "MB", _MEMORY_BAR_MB),
    )


def watched(daemon: Daemon, args: argparse.Namespace) -> int:
    """Compare windows with watchers to the windows before and after without."""
    print(f"\n{args.watchers} watchers at {args.fps:g} fps, half of them raw, half drawn, and {args.stuck} stuck ones")
    print(f"{'':16}{'results/s':>12}{'CPU %':>8}{'pictures/s':>12}")
    alone, kept = [window("alone", daemon, args.seconds)], []
    for _ in range(args.rounds):
        with crowd(daemon.port, args.watchers, args.stuck, args.fps) as seen:
            busy = window("watched", daemon, args.seconds, seen)
        alone.append(window("alone", daemon, args.seconds))
        kept.append(busy / statistics.mean(alone[-2:]))
    if statistics.median(alone) < _LEAST * _FPS:
        print(
            f"not measured: this machine is too busy; even without watchers only {statistics.median(alone):.1f} of "
            f"{_FPS} pictures a second get their turn"
        )
        return 2
    return told("watched, results lost", 100 * (1 - statistics.median(kept)), "%", _LOSS_BAR)


def told(what: str, value: float, unit: str, bar: float) -> int:
    """Print a figure and whether its bar is met; 1 when it is missed."""
    print(f"{what}: {value:+.2f} {unit} (bar {bar:g} {unit}: {'met' if value <= bar else 'MISSED'})", flush=True)
    return int(value > bar)


def window(name: str, daemon: Daemon, seconds: float, seen: Any = None) -> float:
    """Return the results a second of one window, after a moment to settle."""
    time.sleep(1.5)
    began_s, results, cpu_s, pictures = time.monotonic(), daemon.count(), daemon.cpu_s(), seen.value if seen else 0
    time.sleep(seconds)
    took_s = time.monotonic() - began_s
    rate = (daemon.count() - results) / took_s
    more = f"{(seen.value - pictures) / took_s:12.0f}" if seen else ""
    print(f"{name:16}{rate:12.2f}{100 * (daemon.cpu_s() - cpu_s) / took_s:8.1f}{more}", flush=True)
    return rate


@contextlib.contextmanager
def crowd(port: int, watchers: int, stuck: int, fps: float) -> Iterator[Any]:
    """Watch in a process of its own, which steps back for the daemon as other machines would; yields its count."""
    count, stop = multiprocessing.Value("q", 0), multiprocessing.Event()
    process = multiprocessing.Process(target=watch, args=(port, watchers, stuck, fps, count, stop))
    process.start()
    try:
        yield count
    finally:
        stop.set()
        process.join(20)


def watch(port: int, watchers: int, stuck: int, fps: float, count: Any, stop: Any) -> None:
    """Read streams until told to stop, half of them raw, half drawn; the stuck ones are never read."""
    os.nice(19)
    readers = selectors.DefaultSelector()
    socks = []
    for number in range(watchers + stuck):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.sendall(
            f"GET /stream.mjpg?raw={number % 2}&fps={fps if number < watchers else 60} HTTP/1.1\r\n"
            f"Host: localhost\r\n\r\n".encode()
        )
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


if __name__ == "__main__":
    raise SystemExit(main())
