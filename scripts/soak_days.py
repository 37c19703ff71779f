"""The work of scripts/soak-days: whole services watch a camera that never rests; ends with 1 when anything grows.

Each codec gets a service of its own: page, status and journal as installed, no monitor. Only the camera is a stand-in:
it hands out small pictures as fast as they are taken, turns from dark to bright and back, and rests in the end: what
the journal then holds is all that there will be.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench_window import rss_mb  # noqa: E402

CODECS = ("jpeg", "yuyv", "grey", "bgr")
GROWTH_MB = 3.0
ODD_LINES = 12
"""Of the journal: start, camera, page, stop."""
WARM_SHARE = 0.1
"""Of all frames: by then everything that is kept for good has been taken."""


# -- the service -----------------------------------------------------------


def serve(codec: str, frames: int, frames_a_turn: int, rest_s: float, settings: Path) -> int:
    """Run the service on a camera that is tireless for so many frames, until it is told to stop."""
    import numpy as np
    from makers import jpeg_frame, picture

    from picam_infer import sources
    from picam_infer.core import Frame
    from picam_infer.runtime import daemon
    from picam_infer.runtime.options import Options

    def data(value: int) -> np.ndarray:
        shape = {"bgr": (48, 64, 3), "grey": (48, 64), "yuyv": (48, 64, 2)}.get(codec)
        return np.full(shape, value, np.uint8) if shape else np.asarray(jpeg_frame(picture(value, 64, 48)).data)

    class Tireless:
        live, description = True, f"tireless 64×48 {codec}"

        def __init__(self) -> None:
            self._seq, self._looks = 0, (data(20), data(235))

        def read(self) -> Frame:
            seq = self._seq
            self._seq += 1
            if seq >= frames:
                time.sleep(0.1)
            elif seq % frames_a_turn == 0:  # the model needs a moment, as it has between two pictures of a real camera
                time.sleep(rest_s)
            look = self._looks[min(seq, frames) // frames_a_turn % 2].copy()
            return Frame(look, codec, 64, 48, time.monotonic(), time.time(), seq)  # type: ignore[arg-type]

        def close(self) -> None:
            pass

    sources.open_source = lambda *given, **named: Tireless()  # type: ignore[assignment]
    return daemon.run(Options(settings))


# -- watching it -------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """The service at one moment."""

    frames: int
    changes: int
    rss_mb: float
    files: int
    threads: int
    written: int
    """Bytes that it had written to a disk."""


class Service:
    """One service under watch."""

    def __init__(self, codec: str, folder: Path, args: argparse.Namespace) -> None:
        from makers import make_bundle

        make_bundle(folder / "m", shape=(1, 8, 8, 3))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        settings = {
            "source": "camera", "model": str(folder / "m"), "display": {"kind": "none"},
            "decide": {"hold": 1}, "web": {"listen": f"127.0.0.1:{self._port}"}, "engine": {"threads": 1},
        }  # fmt: skip
        (folder / "c.yaml").write_text(json.dumps(settings))
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        threading.Thread(target=self._hear, daemon=True).start()
        command = [sys.executable, __file__, "--serve", codec, str(args.frames), str(args.turn), str(args.rest_s),
                   str(folder / "c.yaml")]  # fmt: skip
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "XDG_CACHE_HOME": str(folder / "cache"),
                       "XDG_STATE_HOME": str(folder / "state"), "MALLOC_ARENA_MAX": "2"}  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
        self.lines = 0
        self.first_lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _hear(self) -> None:
        while self._manager.recv(4096):
            pass

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            # On a starved machine the camera may be lost and found again, too: that is said, and no line too many.
            self.lines += b" lost: " not in line and b" is back after " not in line
            if len(self.first_lines) < 20:
                self.first_lines.append(line.decode())

    def look(self) -> Look | None:
        """Return how the service is, by its metrics and the kernel; None: it is not up yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
                words = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        except OSError:
            return None
        told = {name: float(value) for name, *_, value in words}
        place = Path(f"/proc/{self.process.pid}")
        written = next(line for line in (place / "io").read_text().splitlines() if line.startswith("write_bytes"))
        files = min(self._files(place) for _ in range(5))  # the page's connection for this closes in its own time
        return Look(int(told["picam_frames_total"]), int(told["picam_label_changes_total"]), rss_mb(self.process.pid),
                    files, len(list((place / "task").iterdir())), int(written.split()[1]))  # fmt: skip

    @staticmethod
    def _files(place: Path) -> int:
        time.sleep(0.1)
        return len(list((place / "fd").iterdir()))

    def after(self, frames: int) -> Look:
        """Return how it is once it has had so many frames."""
        while True:
            look = self.look()
            if look is not None and look.frames >= frames:
                return look
            if self.process.poll() is not None:
                raise SystemExit("the service ended: " + "".join(self.first_lines))
            time.sleep(0.5)

    def settled(self, frames: int) -> Look:
        """Return how it is once it has had so many frames and has told all that it saw."""
        before = self.after(frames)
        while (now := self.after(frames)).changes > before.changes:
            before = now
        return now

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(5)


def soak(codec: str, args: argparse.Namespace) -> bool:
    """Let one codec run, print its line; False when something grew."""
    with tempfile.TemporaryDirectory() as name:
        service = Service(codec, Path(name), args)
        try:
            warm = service.after(round(args.frames * WARM_SHARE))
            done = service.settled(args.frames)
        finally:
            service.end()
    growth_mb = done.rss_mb - warm.rss_mb
    good = (growth_mb <= GROWTH_MB and done.files <= warm.files and done.threads <= warm.threads
            and done.written == warm.written and service.lines <= done.changes + ODD_LINES)  # fmt: skip
    print(f"{codec:<6} {done.frames:>9} {done.changes:>8} {done.rss_mb:>7.1f} {growth_mb:>+7.2f} "
          f"{warm.files:>4} {done.files:>4} {warm.threads:>4} {done.threads:>4} {done.written - warm.written:>8} "
          f"{service.lines:>8}  {'ok' if good else 'LEAK'}", flush=True)  # fmt: skip
    return good


def main() -> int:
    """Soak each codec; returns 1 when anything grew."""
    if sys.argv[1:2] == ["--serve"]:
        codec, frames, turn, rest_s, settings = sys.argv[2:]
        return serve(codec, int(frames), int(turn), float(rest_s), Path(settings))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="of each codec (default: %(default)s)")
    parser.add_argument("--turn", type=int, default=25, help="frames between two changes (default: %(default)s)")
    parser.add_argument("--rest-s", type=float, default=0.001, help="the model's time for one (default: %(default)s)")
    parser.add_argument("codecs", nargs="*", default=CODECS, help="jpeg, yuyv, grey, bgr (default: all)")
    args = parser.parse_args()
    print("codec     frames  changes  RSS MB  growth  files    threads    written  journal")
    results = [soak(codec, args) for codec in args.codecs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
