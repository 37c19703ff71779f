"""The work of scripts/test-remote: drills with a real model server, and how many Pis it carries.

`WHAT KIND PYTHON SECONDS`; WHAT: drills, quick, herd, scale or cost. Ends with 1 when something failed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bootstrapped as bootstrapped  # noqa: E402
import model_server  # noqa: E402
from bench_window import rss_mb  # noqa: E402
from remote_lab import KINDS, Proxy, Server, Wire, conv_bundle, lab_bundle  # noqa: E402
from remote_pi import CPU, Lateness, Local, Pi, Run  # noqa: E402

from picam_infer.config import EngineSettings  # noqa: E402
from picam_infer.core import PicamError  # noqa: E402
from picam_infer.inference.engines.openvino import bare_network  # noqa: E402
from picam_infer.inference.engines.remote import preferred  # noqa: E402
from picam_infer.inference.engines.remote.engine import Remote  # noqa: E402
from picam_infer.inference.engines.remote.server_time import ServerTime  # noqa: E402
from picam_infer.models.bundle import Bundle  # noqa: E402

DEADLINE_S = 2.0
QUICK_BACK_OFF_S = (0.2, 0.4)
FLAT = 1.05
"""Memory that grew by less than this is flat."""
LOCAL_MS = 5.0
"""A network that takes the Pi as long as this, or longer, is worth sending away."""


def until(holds: Callable[[], bool], limit_s: float, what: str) -> float:
    """Wait for something; return how long it took. Raises `TimeoutError`."""
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > limit_s:
            raise TimeoutError(f"{what}: not within {limit_s:g} s")
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


# -- drills -----------------------------------------------------------------------


@dataclass(frozen=True)
class Drill:
    """One way of losing a server."""

    title: str
    lose: Callable[[], object]
    mend: Callable[[], object]
    words: str
    """A pattern that what is said of it has to match."""
    url: str
    options: dict[str, Any]


class Drills:
    """A server with its wire and its proxy, and the bounds that this machine allows."""

    def __init__(self, server: Server, folder: Path, quick: bool) -> None:
        self.server, self.folder, self.quick = server, folder, quick
        self.model, self.other = lab_bundle(folder / "lab"), lab_bundle(folder / "eleven" / "lab", 11)
        self.run = bare_network(self.model)
        self.wires = {"grpc": Wire(server.grpc), "http": Wire(server.http)}
        self.deadline_s = self._deadline_s()

    def _deadline_s(self) -> float:
        """Return a deadline that this server on this machine does not miss by being busy."""
        settings = EngineSettings(kind="remote", url=f"grpc://127.0.0.1:{self.server.grpc}", deadline_s=30)
        took_s = []
        picture = np.zeros(self.model.card.input.shape[1:], np.uint8)
        with contextlib.closing(Remote(self.model, settings)) as engine:
            for _ in range(50):
                began_s = time.monotonic()
                engine.submit(picture)
                engine.collect()
                took_s.append(time.monotonic() - began_s)
        print(f"     {self.server.kind}: a round trip takes {np.median(took_s) * 1e3:.1f} ms here, "
              f"{max(took_s) * 1e3:.0f} ms at most", flush=True)  # fmt: skip
        usual_s = float(np.percentile(took_s, 90))
        return round(min(5.0, max(1.0 if self.quick else DEADLINE_S, 10 * usual_s)), 1)

    def all(self) -> Iterator[Drill]:
        """Yield every drill that this server can do."""
        for scheme in ("grpc", "http") if self.server.binary_http else ("grpc",):
            yield from self._server_drills(scheme)

    def _server_drills(self, scheme: str) -> Iterator[Drill]:
        server, wire = self.server, self.wires[scheme]
        url = f"{scheme}://127.0.0.1:{wire.port}"
        silent = "gave no answer within"
        yield Drill("hangs (SIGSTOP)", lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT),
                    silent, url, {})  # fmt: skip
        if scheme == "http" and self.quick:
            return
        yield Drill("killed, started again", server.kill, server.start, "refused|connection lost|gave no answer", url,
                    {})  # fmt: skip
        late_s = self.deadline_s + 3
        yield Drill(f"answers after {late_s:g} s", lambda: server.slow(late_s), lambda: server.slow(0), silent, url, {})
        yield Drill("another model, eleven classes", lambda: server.replace(self.other),
                    lambda: server.replace(self.model), "model lab has 10 labels", url, {})  # fmt: skip
        yield Drill("the network cut", wire.cut, wire.mend, silent, url, {})

    def behind(self, proxy: Proxy, certificates: dict[str, model_server.Certificate]) -> Iterator[Drill]:
        """Yield what a proxy with TLS and a token adds."""
        token = self.folder / "token"
        token.write_text("secret")
        token.chmod(0o600)
        options = {"token_file": str(token), "ca_file": str(certificates["authority"][0])}
        for scheme, port in (("grpcs", proxy.grpc), ("https", proxy.http)):
            if scheme == "https" and not self.server.binary_http:
                return
            for title, name, words in (
                ("certificate expired", "expired", "expired"),
                ("certificate of another host", "elsewhere", "mismatch"),
                ("certificate of an unknown authority", "stranger", "self.signed certificate"),
            ):
                yield Drill(title, lambda name=name: proxy.certify(certificates[name]),
                            lambda: proxy.certify(certificates["good"]), f"not trusted .*{words}",
                            f"{scheme}://127.0.0.1:{port}", options)  # fmt: skip
            for status in (401, 403):
                yield Drill(f"token revoked ({status})", lambda status=status: proxy.revoke(status), proxy.allow,
                            "does not accept the token", f"{scheme}://127.0.0.1:{port}", options)  # fmt: skip

    def close(self) -> None:
        """Take the wires away."""
        for wire in self.wires.values():
            wire.close()

    def passes(self, drill: Drill) -> bool:
        """Lose the server, have it back, and print how that went; one that fails has a second chance."""
        for again in (False, True):
            lateness = Lateness()
            try:
                ok, figures = self._once(drill, lateness)
            except TimeoutError as error:
                ok, figures = False, str(error)
            finally:
                lateness.close()
                drill.mend()
            mark = "ok  " if ok else "FAIL" if again else "again"
            way = drill.url.partition(":")[0]
            print(f"{mark} {self.server.kind:8} {way:5} {drill.title:35} {figures}", flush=True)
            if ok:
                break
        return ok

    def _once(self, drill: Drill, lateness: Lateness) -> tuple[bool, str]:
        settings = EngineSettings(kind="remote", url=drill.url, model="lab", deadline_s=self.deadline_s,
                                  **drill.options)  # fmt: skip
        waits_s = QUICK_BACK_OFF_S if self.quick else preferred.BACK_OFF_S
        pi = Pi(self.model, settings, self.run, fps=20, back_off_s=waits_s)
        closed_s = 0.0
        try:
            until(lambda: pi.served, 60, f"not served at first ({pi.said})")
            pi.longest_s, lost_s = 0.0, time.monotonic()
            drill.lose()
            away_s = until(lambda: pi.name == CPU, 30, "the CPU did not take over")
            until(lambda: _match(drill.words, pi.lines(lost_s)) != "", 40, f"{drill.words!r} is not said, but "
                  f"{pi.lines(lost_s)}")  # fmt: skip
            reason, told = _match(drill.words, pi.lines(lost_s)), len(pi.lines(lost_s))
            drill.mend()
            back_s = until(lambda: pi.served, 60, "the server was not taken back")
        finally:
            closed_s = pi.close()
        # Beyond the deadline: the grace of the engine, an inference on the CPU, and what the machine is late.
        longest_s = self.deadline_s + 0.7 + 5 * lateness.worst_s
        ok = not pi.wrong and pi.longest_s < longest_s and closed_s < 2 + 5 * lateness.worst_s
        return ok, (f"CPU after {away_s:5.2f} s, longest wait {pi.longest_s:4.2f} s, back after {back_s:5.2f} s, "
                    f"closed in {closed_s:4.2f} s, {sum(pi.answers.values())} answers, {pi.wrong} wrong, lines {told}: "
                    f"{reason}")  # fmt: skip


def _match(pattern: str, lines: Sequence[str]) -> str:
    """Return the reason in the first line that matches, without its remedy."""
    found = next((line for line in lines if re.search(pattern, line)), "")
    return found.partition(": ")[2].partition(";")[0]


def drills(kind: str, python: Path, quick: bool) -> int:
    """Go through every way of losing the server; print a table, and return how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
        folder = Path(name)
        with serving(kind, python, lab_bundle(folder / "first" / "lab")) as server:
            table = Drills(server, folder, quick)
            try:
                failed += sum(not table.passes(drill) for drill in table.all())
                failed += _behind_nginx(table)
            finally:
                table.close()
    return failed


def _behind_nginx(table: Drills) -> int:
    if not (shutil.which("nginx") and shutil.which("openssl")):
        print("FAIL certificate and token: needs nginx and openssl", flush=True)
        return 1
    certificates = model_server.certificates(table.folder)
    proxy = Proxy(table.folder / "nginx", table.server, certificates["good"])
    try:
        return sum(not table.passes(drill) for drill in table.behind(proxy, certificates))
    finally:
        proxy.close()


# -- many Pis ---------------------------------------------------------------------


def asked(pis: Sequence[Pi]) -> int:
    """Return how many answers came, from wherever."""
    return sum(sum(pi.answers.values()) for pi in pis)


def herd(kind: str, python: Path, seconds: float, count: int = 64) -> int:
    """64 Pis at 10 pictures a second, then the server restarted under them."""
    with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
        model = lab_bundle(Path(name) / "lab")
        with serving(kind, python, model) as server:
            settings = EngineSettings(kind="remote", url=f"grpc://127.0.0.1:{server.grpc}", deadline_s=10.0)
            run = bare_network(model)
            pis = [Pi(model, settings, run, fps=10, seed=i) for i in range(count)]
            until(lambda: all(pi.served for pi in pis), 120, "not all are served")
            time.sleep(seconds / 6)
            memory_mb, before = (rss_mb(), server.memory_mb()), asked(pis)
            time.sleep(seconds)
            rate, later_mb = (asked(pis) - before) / seconds, (rss_mb(), server.memory_mb())
            server.kill()
            until(lambda: all(pi.name == CPU for pi in pis), 60, "not all are on the CPU")
            server.start()
            up_s = time.monotonic()
            until(lambda: all(pi.served for pi in pis), 120, "not all came back")
            back = np.sort([pi.said[-1][0] - up_s for pi in pis])
            for pi in pis:
                pi.close()
    busiest = max(int(((back >= at) & (back < at + 1)).sum()) for at in back)
    wrong, flat = sum(pi.wrong for pi in pis), all(b <= a * FLAT for a, b in zip(memory_mb, later_mb, strict=True))
    ok = not wrong and back[-1] - back[0] >= 2 and flat
    print(f"{'ok  ' if ok else 'FAIL'} {kind}: {count} Pis, {rate:.0f} answers/s in all for {seconds:.0f} s, {wrong} "
          f"wrong; memory of the Pis' process {memory_mb[0]:.0f} → {later_mb[0]:.0f} MB, of the server "
          f"{memory_mb[1]:.0f} → {later_mb[1]:.0f} MB; after the restart all {count} came back, {back[0]:.1f} to "
          f"{back[-1]:.1f} s after it was up, {busiest} in the busiest second", flush=True)  # fmt: skip
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
                        load(kind, server, model, run, count, batching, seconds)
    return 0


def load(kind: str, server: Server, model: Bundle, run: Run, count: int, batching: bool, seconds: float) -> None:
    """Print what so many Pis at 10 pictures a second cost."""
    settings = EngineSettings(kind="remote", url=f"grpc://127.0.0.1:{server.grpc}", deadline_s=10.0)
    pis = [Pi(model, settings, run, fps=10, check=False, seed=i) for i in range(count)]
    until(lambda: all(pi.served for pi in pis), 120, "not all are served")
    asking = Remote(model, settings)

    def counted() -> ServerTime | None:
        with contextlib.suppress(PicamError):
            return ServerTime.of(asking.statistics())
        return None

    def moved() -> tuple[int, int]:
        return (sum(sum(pi.traffic.round_trip.counts) for pi in pis), sum(pi.traffic.sent_bytes for pi in pis))

    time.sleep(1)
    times, cpu_s, own_s, before = counted(), server.cpu_s(), time.process_time(), moved()
    time.sleep(seconds)
    now, after, cpu_s, own_s = counted(), moved(), server.cpu_s() - cpu_s, time.process_time() - own_s
    frames, sent = after[0] - before[0], after[1] - before[1]
    added = now.since(times) if times and now else None
    batch = f"{added.pictures / max(1, added.batches):5.2f}" if added else "    –"
    size, per = model.card.input, 1e3 / max(1, frames)
    print(f"{kind} {size.height}×{size.width}×{size.channels} {'batching' if batching else 'single  '} {count:3} Pis: "
          f"{frames / seconds:6.1f} requests/s, {sent / seconds / 1e3:8.1f} kB/s, batch {batch}, "
          f"server CPU {cpu_s * per:5.2f} ms a frame, Pi CPU {own_s * per:5.2f} ms a frame", flush=True)  # fmt: skip
    asking.close()
    for pi in pis:
        pi.close()


# -- what a picture costs the Pi ------------------------------------------------------


def cost(kind: str, python: Path, seconds: float) -> int:
    """Print the processor time of a picture here and through a server, for networks that take longer and longer."""
    failed = 0
    for side, layers in ((28, 1), (224, 1), (224, 4), (224, 12)):
        channels = 1 if side == 28 else 3
        with tempfile.TemporaryDirectory(prefix="picam-remote-") as name:
            model = conv_bundle(Path(name) / "lab", side, channels, layers)
            with serving(kind, python, model) as server:
                url = f"grpc://127.0.0.1:{server.grpc}"
                here_ms, alone_ms = _spent(Local(model, bare_network(model, threads=1)), model, seconds)
                with contextlib.closing(Remote(model, EngineSettings(kind="remote", url=url, deadline_s=10))) as away:
                    there_ms, _ = _spent(away, model, seconds)
        ok = there_ms < here_ms or alone_ms < LOCAL_MS
        failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {side}×{side}×{channels}, {layers} layers: {alone_ms:6.2f} ms per inference "
              f"here, CPU a picture {here_ms:6.2f} ms here, {there_ms:5.2f} ms through {kind}", flush=True)  # fmt: skip
    return failed


def _spent(engine: Any, model: Bundle, seconds: float) -> tuple[float, float]:
    """Return processor time a picture at 10 a second, and how long one takes, both in ms."""
    picture = np.random.default_rng(1).integers(0, 256, model.card.input.shape[1:], np.uint8)
    engine.submit(picture)
    engine.collect()
    took_s, cpu_s, count = 0.0, time.process_time(), max(20, round(10 * seconds))
    for _ in range(count):
        began_s = time.monotonic()
        engine.submit(picture)
        engine.collect()
        took_s += time.monotonic() - began_s
        time.sleep(max(0.0, 0.1 - (time.monotonic() - began_s)))
    return (time.process_time() - cpu_s) / count * 1e3, took_s / count * 1e3


def main() -> int:
    """Do what the command line says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its servers end with it
    what, kind, python = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 60.0
    if what in ("drills", "quick"):
        return min(1, drills(kind, python, what == "quick"))
    return min(1, {"herd": herd, "scale": scale, "cost": cost}[what](kind, python, seconds))


if __name__ == "__main__":
    sys.exit(main())
