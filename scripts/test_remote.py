"""The work of scripts/test-remote: drills with a real model server, and how many Pis it carries.

`drills KIND PYTHON` · `herd KIND PYTHON SECONDS` · `scale KIND PYTHON SECONDS`; ends with 1 when a drill fails.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import model_server  # noqa: E402
from remote_lab import KINDS, Server, Wire, free_port, lab_bundle  # noqa: E402

from picam_infer.config import EngineSettings  # noqa: E402
from picam_infer.core import Pixels, Scores  # noqa: E402
from picam_infer.inference.engines.failover import FailoverEngine  # noqa: E402
from picam_infer.inference.engines.openvino import bare_network  # noqa: E402
from picam_infer.inference.engines.remote.engine import Remote  # noqa: E402
from picam_infer.inference.engines.remote.preferred import PreferredServer  # noqa: E402
from picam_infer.inference.engines.remote.server_time import ServerTime  # noqa: E402
from picam_infer.inference.engines.remote.traffic import Traffic  # noqa: E402
from picam_infer.models.bundle import Bundle  # noqa: E402

CPU = "openvino:CPU"
DEADLINE_S = 2.0


class Local:
    """The CPU's part of many Pis at once: one network of OpenVINO's, in turns."""

    name, depth, telemetry = CPU, 1, None
    _lock = threading.Lock()

    def __init__(self, model: Bundle, run: Callable[[Any], Scores]) -> None:
        self._model, self._run, self._answers = model, run, list[Scores]()

    def expected(self, input_image: Pixels) -> Scores:
        """Return the network's answer to (H, W, C) uint8."""
        with self._lock:
            return self._run(self._model.card.normalisation(input_image))

    def submit(self, input_image: Pixels) -> None:
        """Infer at once."""
        self._answers.append(self.expected(input_image))

    def collect(self) -> Scores:
        """Return what `submit` made."""
        return self._answers.pop(0)

    def close(self) -> None:
        """Nothing to give back."""


class Pi:
    """One Pi: pictures at its own pace through a server's engine with the CPU behind it, every answer checked."""

    def __init__(self, model: Bundle, settings: EngineSettings, run: Callable[[Any], Scores], fps: float,
                 check: bool = True, seed: int = 0) -> None:  # fmt: skip
        self.said: list[tuple[float, str]] = []
        self.answers: Counter[str] = Counter()
        self.name, self.longest_s, self.wrong = "", 0.0, 0
        self.traffic = Traffic()
        self._fps, self._check, self._ended = fps, check, threading.Event()
        self._random, self._size = np.random.default_rng(seed), model.card.input
        self._local = Local(model, run)
        front = PreferredServer(model, settings, self.traffic)
        self.engine = FailoverEngine(model, lambda: self._local, self._hear, front)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _hear(self, text: str) -> None:
        self.said.append((time.monotonic(), text))

    def _work(self) -> None:
        shape = (self._size.height, self._size.width, self._size.channels)
        pictures = [self._random.integers(0, 256, shape, np.uint8) for _ in range(4)]
        known = [self._local.expected(picture) for picture in pictures]
        sent: list[int] = []
        due_s, number = time.monotonic() + self._random.uniform(0, 1 / self._fps), 0
        while not self._ended.is_set():
            if len(sent) < self.engine.depth and time.monotonic() >= due_s:
                due_s = max(due_s + 1 / self._fps, time.monotonic() - 1 / self._fps)
                self.engine.submit(pictures[number % 4])
                sent.append(number % 4)
                number += 1
            elif sent:
                began_s = time.monotonic()
                scores = self.engine.collect()
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                self.wrong += self._check and float(np.abs(scores - known[sent[0]]).max()) > 1e-3
                sent.pop(0)
                self.name = self.engine.name
                self.answers[self.name] += 1
            else:
                self._ended.wait(max(0.0, due_s - time.monotonic()))

    def close(self) -> None:
        """End its thread, then its engine."""
        self._ended.set()
        self._thread.join(DEADLINE_S + 5)
        self.engine.close()


def until(holds: Callable[[], bool], limit_s: float) -> float:
    """Wait for something; return how long it took. Raises `TimeoutError`."""
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > limit_s:
            raise TimeoutError(f"not within {limit_s} s")
        time.sleep(0.01)
    return time.monotonic() - began_s


@contextlib.contextmanager
def serving(kind: str, python: Path, model: Bundle, batching: bool = True) -> Iterator[Server]:
    """Run a server that has a model, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="picam-remote-") as folder:
        server = KINDS[kind](python, Path(folder) / "server", [model], batching)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def proxy(
    folder: Path, server: Server, certificate: tuple[Path, Path], token: str
) -> tuple[Any, int, Callable[[], None]]:
    """Run a real nginx with TLS and a token in front of the server's gRPC; return it, its port, and `again`."""
    port = free_port()

    def write(cert: tuple[Path, Path], word: str) -> None:
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
            f"http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert[0]};\n"
            f"ssl_certificate_key {cert[1]}; location / {{\n"
            f"if ($http_authorization != 'Bearer {word}') {{ return 401; }}\n"
            f"grpc_pass grpc://127.0.0.1:{server.grpc}; }} }} }}\n")  # fmt: skip

    def start() -> Any:
        return subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)

    write(certificate, token)
    running = [start()]

    def again(cert: tuple[Path, Path], word: str) -> None:
        write(cert, word)
        running[0].terminate()
        running[0].wait()
        running[0] = start()

    return running, port, again


def drills(kind: str, python: Path) -> int:
    """Go through every way of losing the server; print a table."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
        folder = Path(name)
        model, other = lab_bundle(folder / "lab"), lab_bundle(folder / "eleven" / "lab", 11)
        run = bare_network(model)
        with serving(kind, python, model) as server:
            wire = Wire(server.grpc)

            def replace_model() -> None:
                server.unload("lab")
                server.put(other)
                server.load("lab")

            def put_back() -> None:
                server.unload("lab")
                server.put(model)
                server.load("lab")

            def restart() -> None:
                server.kill()
                server.start()

            table: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
                ("killed, started again", server.kill, server.start),
                ("hangs (SIGSTOP)", lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT)),
                ("answers after 5 s", lambda: server.slow(5), lambda: server.slow(0)),
                ("another model, eleven classes", replace_model, put_back),
                ("the network cut", wire.cut, wire.mend),
            ]
            for title, lose, mend in table:
                failed += drill(kind, title, model, f"grpc://127.0.0.1:{wire.port}", run, lose, mend)
            failed += behind_nginx(kind, folder, model, server, run)
            wire.close()
    return failed


def drill(kind: str, title: str, model: Bundle, url: str, run: Callable[[Any], Scores], lose: Callable[[], None],
          mend: Callable[[], None], **more: Any) -> int:  # fmt: skip
    """Lose the server, have it back, and print how that went; 1: it failed."""
    pi = Pi(model, EngineSettings(kind="remote", url=url, model="lab", deadline_s=DEADLINE_S, **more), run, fps=20)
    try:
        until(lambda: pi.name.startswith("remote"), 60)
        pi.longest_s = 0.0
        lose()
        away_s = until(lambda: pi.name == CPU, 30)
        time.sleep(1)
        with contextlib.suppress(TimeoutError):  # why it is not used meanwhile, which may be another reason
            until(lambda: "is not used" in pi.said[-1][1], 6)
        reason = next(text for _, text in reversed(pi.said) if "is lost: " in text or "is not used: " in text)
        reason = reason.partition(": ")[2].partition(";")[0]
        mend()
        back_s = until(lambda: pi.name.startswith("remote"), 60)
        began_s = time.monotonic()
        longest_s, wrong = pi.longest_s, pi.wrong
        ok = not wrong and longest_s < DEADLINE_S + 1
        pi.close()
        closed_s = time.monotonic() - began_s
        figures = (f"CPU after {away_s:5.2f} s, longest wait {longest_s:4.2f} s, back after {back_s:5.2f} s, "
                   f"closed in {closed_s:4.2f} s, {sum(pi.answers.values())} answers, {wrong} wrong")  # fmt: skip
        print(f"{'ok  ' if ok else 'FAIL'} {kind:8} {title:30} {figures}: {reason}", flush=True)
        return int(not ok)
    except (TimeoutError, StopIteration) as error:
        pi.close()
        print(f"FAIL {kind:8} {title}: {error}; {pi.said}", flush=True)
        return 1


def behind_nginx(kind: str, folder: Path, model: Bundle, server: Server, run: Callable[[Any], Scores]) -> int:
    """Certificate and token, checked by a real proxy in front of the server."""
    if not (shutil.which("nginx") and shutil.which("openssl")):
        print("skip certificate and token: needs nginx and openssl", flush=True)
        return 0
    (folder / "good").mkdir()
    (folder / "old").mkdir()
    good = model_server.certificate(folder / "good", 2, "IP:127.0.0.1")
    old = model_server.certificate(folder / "old", -1, "IP:127.0.0.1")
    both = folder / "trusted.pem"
    both.write_bytes(good[0].read_bytes() + old[0].read_bytes())
    token = folder / "token"
    token.write_text("first")
    token.chmod(0o600)
    running, port, again = proxy(folder, server, good, "first")
    failed = 0
    try:
        for title, broken in (("certificate expired", (old, "first")), ("token revoked", (good, "second"))):
            failed += drill(kind, title, model, f"grpcs://127.0.0.1:{port}", run, lambda b=broken: again(*b),
                            lambda: again(good, "first"), token_file=str(token), ca_file=str(both))  # fmt: skip
    finally:
        running[0].terminate()
        running[0].wait()
    return failed


def own_memory_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def herd(kind: str, python: Path, seconds: float, count: int = 64) -> int:
    """64 Pis at 10 pictures a second, then the server restarted under them."""
    with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
        model = lab_bundle(Path(name) / "lab")
        run = bare_network(model)
        with serving(kind, python, model) as server:
            settings = EngineSettings(kind="remote", url=f"grpc://127.0.0.1:{server.grpc}", deadline_s=10.0)
            pis = [Pi(model, settings, run, fps=10, seed=i) for i in range(count)]
            until(lambda: all(pi.name.startswith("remote") for pi in pis), 120)
            time.sleep(seconds / 6)
            first_mb, first_server_mb = own_memory_mb(), server.memory_mb()
            before = sum(sum(pi.answers.values()) for pi in pis)
            time.sleep(seconds)
            rate = (sum(sum(pi.answers.values()) for pi in pis) - before) / seconds
            later_mb, later_server_mb = own_memory_mb(), server.memory_mb()
            server.kill()
            until(lambda: all(pi.name == CPU for pi in pis), 60)
            server.start()
            up_s = time.monotonic()
            until(lambda: all(pi.name.startswith("remote") for pi in pis), 120)
            back = sorted(pi.said[-1][0] - up_s for pi in pis)
            for pi in pis:
                pi.close()
            wrong = sum(pi.wrong for pi in pis)
            spread_s = back[-1] - back[0]
            ok = not wrong and spread_s >= 2
            print(f"{'ok  ' if ok else 'FAIL'} {kind}: {count} Pis, {rate:.0f} answers/s in all for {seconds:.0f} s, "
                  f"{wrong} wrong; memory of the Pis' process {first_mb:.0f} → {later_mb:.0f} MB, of the server "
                  f"{first_server_mb:.0f} → {later_server_mb:.0f} MB; after the restart all {count} came "
                  f"back, {back[0]:.1f} to {back[-1]:.1f} s after it was up "
                  f"(spread {spread_s:.1f} s)", flush=True)  # fmt: skip
            return int(not ok)


def scale(kind: str, python: Path, seconds: float) -> int:
    """Print what Pis cost a server, and themselves, for both chains' sizes, with and without batching."""
    for side, channels in ((28, 1), (224, 3)):
        with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
            model = lab_bundle(Path(name) / "lab", side=side, channels=channels)
            run = bare_network(model)
            for batching in (True, False):
                with serving(kind, python, model, batching) as server:
                    for count in (1, 8, 32, 64):
                        _load(kind, server, model, run, count, batching, seconds)
    return 0


def _load(kind: str, server: Server, model: Bundle, run: Callable[[Any], Scores], count: int, batching: bool,
          seconds: float) -> None:  # fmt: skip
    settings = EngineSettings(kind="remote", url=f"grpc://127.0.0.1:{server.grpc}", deadline_s=10.0)
    pis = [Pi(model, settings, run, fps=10, check=False, seed=i) for i in range(count)]
    until(lambda: all(pi.name.startswith("remote") for pi in pis), 120)
    asking = Remote(model, settings)

    def counted() -> ServerTime | None:
        with contextlib.suppress(Exception):
            return ServerTime.of(asking.statistics())
        return None

    times, cpu_s, own_s = counted(), server.cpu_s(), time.process_time()
    bytes_sent = sum(pi.traffic.sent_bytes for pi in pis)
    before = sum(sum(pi.traffic.round_trip.counts) for pi in pis)
    time.sleep(seconds)
    frames = sum(sum(pi.traffic.round_trip.counts) for pi in pis) - before
    moved = sum(pi.traffic.sent_bytes for pi in pis) - bytes_sent
    now = counted()
    batch = "    –"
    if times and now:
        added = now.since(times)
        batch = f"{added.pictures / max(1, added.batches):5.2f}"
    size, per = model.card.input, 1e3 / max(1, frames)
    print(f"{kind} {size.height}×{size.width}×{size.channels} {'batching' if batching else 'single  '} {count:3} Pis: "
          f"{frames / seconds:6.1f} requests/s, {moved / seconds / 1e3:8.1f} kB/s, batch {batch}, "
          f"server CPU {(server.cpu_s() - cpu_s) * per:5.2f} ms a frame, "
          f"Pi CPU {(time.process_time() - own_s) * per:5.2f} ms a frame", flush=True)  # fmt: skip
    asking.close()
    for pi in pis:
        pi.close()


def main() -> int:
    """Do what the command line says."""
    what, kind, python = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "drills":
        return min(1, drills(kind, python))
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 60.0
    return herd(kind, python, seconds) if what == "herd" else scale(kind, python, seconds)


if __name__ == "__main__":
    sys.exit(main())
