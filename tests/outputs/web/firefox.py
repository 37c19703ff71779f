"""A headless Firefox, driven through its own protocol (Marionette) with nothing but a socket."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Firefox:
    """One browser with one tab."""

    def __init__(self, port: int) -> None:
        self._socket = _connected(port)
        self._file = self._socket.makefile("rb")
        self._numbers = itertools.count(1)
        self._read()  # it says who it is
        self._call("WebDriver:NewSession", capabilities={})

    def open(self, address: str) -> None:
        self._call("WebDriver:Navigate", url=address)

    def js(self, code: str, *args: Any) -> Any:
        """Run the body of a function, and return what it returns."""
        return self._call("WebDriver:ExecuteScript", script=code, args=args)["value"]

    def size(self, width: int, height: int) -> None:
        """Make the window so large that the page has this size."""
        self._call("WebDriver:SetWindowRect", width=width, height=height)
        inner = self.js("return [innerWidth, innerHeight]")
        self._call("WebDriver:SetWindowRect", width=2 * width - inner[0], height=2 * height - inner[1])

    def keys(self, text: str) -> None:
        """Press keys where the focus is."""
        steps = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._call("WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": steps}])

    def drag(self, selector: str, by: tuple[int, int]) -> None:
        """Press in the middle of an element, move by so many pixels, let go."""
        x, y = self.js(
            """const e = document.querySelector(arguments[0]);
            e.scrollIntoView({block: 'center'});
            const r = e.getBoundingClientRect();
            return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)]""",
            selector,
        )
        move = {"type": "pointerMove", "origin": "viewport", "duration": 100}
        steps = [
            {**move, "x": x, "y": y, "duration": 0},
            {"type": "pointerDown", "button": 0},
            {**move, "x": x + by[0] // 2, "y": y + by[1] // 2},
            {**move, "x": x + by[0], "y": y + by[1]},
            {"type": "pointerUp", "button": 0},
        ]
        self._call("WebDriver:PerformActions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])

    def quit(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._call("Marionette:Quit", flags=["eForceQuit"])
        self._file.close()
        self._socket.close()

    def _call(self, command: str, **params: Any) -> Any:
        number = next(self._numbers)
        text = json.dumps([0, number, command, params]).encode()
        self._socket.sendall(f"{len(text)}:".encode() + text)
        _, answered, error, result = self._read()
        assert answered == number and error is None, error
        return result

    def _read(self) -> Any:
        digits = b""
        while (byte := self._file.read(1)) != b":":
            assert byte, "Firefox hung up"
            digits += byte
        return json.loads(self._file.read(int(digits)))


def _connected(port: int) -> socket.socket:
    end_s = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def firefox() -> Iterator[Firefox]:
    """Start one, or skip the test."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("needs Firefox (Debian package firefox-esr)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        wanted = {"marionette.port": port, "datareporting.policy.dataSubmissionEnabled": False,
                  "toolkit.telemetry.reportingpolicy.firstRun": False, "browser.shell.checkDefaultBrowser": False,
                  "app.update.enabled": False, "network.captive-portal-service.enabled": False,
                  "network.connectivity-service.enabled": False, "browser.region.network.url": "",
                  "services.settings.server": "", "extensions.getAddons.cache.enabled": False}  # fmt: skip
        prefs = "".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items())
        (Path(profile) / "user.js").write_text(prefs)
        process = subprocess.Popen(
            [program, "--headless", "--marionette", "--no-remote", "--profile", profile],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            browser = Firefox(port)
            try:
                yield browser
            finally:
                browser.quit()
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait(10)
