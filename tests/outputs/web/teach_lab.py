"""A whole daemon with its page, and a camera that a test holds things up to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from show_camera import Scene, ShowCamera, show_camera
from visitors import ask_json, until

PATIENCE_S = 60


class Service:
    """picam-infer as its user has it: a configuration, a state folder, a process that can be killed and started."""

    def __init__(self, folder: Path, camera: ShowCamera, settings: str = "", model: str = "digits",
                 program: Sequence[str] = ("-m", "picam_infer"), **environment: str) -> None:  # fmt: skip
        """`program`: what Python runs, in place of the program itself."""
        self.folder, self.camera = folder, camera
        self._program, self._environment = program, environment
        with socket.socket() as probe:  # the same one after a reload
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = folder / "config.yaml"
        self.config.write_text(
            f"# mine\nmodel: {model}\nsource: {camera.address}\ndisplay: {{kind: none}}\n"
            f"web: {{listen: '127.0.0.1:{self.port}'}}\nteach: {{max_mb: 50, reserve_mb: 0}}\n{settings}"
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def models(self) -> Path:
        """The folder of what is taught."""
        return self.folder / "state" / "picam-infer" / "models"

    def start(self) -> None:
        """Start, and wait until it sees something."""
        self.log.write_text("")
        environment = {
            **os.environ,
            **self._environment,
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, *self._program, "run", "-c", str(self.config)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        self.watches()

    def watches(self) -> None:
        """Wait until the page is there and pictures are judged."""

        def there() -> bool:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            return self.get("/healthz")[0] == 200

        until(there, PATIENCE_S)

    def end(self) -> float:
        """End it as systemd does; returns the seconds it took."""
        assert self.process is not None
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()
        return time.monotonic() - began_s

    def kill(self) -> None:
        """Pull the plug."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> tuple[int, Any]:
        try:
            return ask_json(self, path)  # type: ignore[arg-type]
        except OSError:  # it is not there, or not any more
            return 0, None

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        try:
            return ask_json(self, path, "POST", body or {}, **headers)  # type: ignore[arg-type]
        except OSError:
            return 0, None

    # -- what a visitor does ------------------------------------------------------------------------------------

    def teach(self, label: str, scene: Scene, least: int = 12) -> int:
        """Hold something up, and the button down, until so many pictures are learnt; returns how many there are."""
        self.camera.scene = scene
        time.sleep(0.4)  # what was there before is on its way
        if label not in self.counts():
            assert self.post("/api/teach/classes", {"add": label})[0] == 200
        hold = str(time.monotonic())

        def enough() -> bool:
            assert self.post("/api/teach/record", {"label": label, "hold": hold})[0] == 200
            return self.counts()[label] >= least

        until(enough, PATIENCE_S)
        self.post("/api/teach/record", {"label": None})
        self.settled()
        return self.counts()[label]

    def settled(self) -> None:
        """Wait until all that was recorded is learnt."""
        until(
            lambda: (now := self.get("/api/teach")[1]) and now["recording"] is None and not now["waiting"], PATIENCE_S
        )

    def counts(self) -> dict[str, int]:
        return {one["label"]: one["pictures"] for one in (self.get("/api/teach")[1] or {}).get("classes", [])}

    def thinks(self, label: str | None) -> None:
        """Wait until the lesson gives this label to what is held up."""
        until(lambda: (live := (self.get("/api/teach")[1] or {}).get("live")) and live["label"] == label, PATIENCE_S)

    def sees(self, label: str | None) -> None:
        """Wait until the running model gives this label to what is held up."""
        until(
            lambda: (got := self.get("/api/state")[1]) and got["result"] and got["result"]["label"] == label, PATIENCE_S
        )

    def uses(self) -> None:
        """Use what was taught, and wait until it runs."""
        status, answer = self.post("/api/teach/use")
        assert status == 200, answer
        self.in_use()

    def in_use(self) -> None:
        def there() -> bool:
            status, answer = self.get("/api/teach")
            return status == 200 and bool(answer.get("in_use"))

        until(there, PATIENCE_S)
        self.watches()


@contextlib.contextmanager
def service(folder: Path, scene: Scene, settings: str = "", model: str = "digits", **more: Any) -> Iterator[Service]:
    """Yield one that runs; `more`: as `Service` takes it."""
    with show_camera(scene) as camera:
        made = Service(folder, camera, settings, model, **more)
        try:
            made.start()
            yield made
        finally:
            made.kill()
